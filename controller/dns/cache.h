#pragma once
/// Cache: answers of upstreams, by folded name, type, class, whether DNSSEC data was wanted and whether it was to go unchecked (CD).
/// Never holds internal names.
///
/// Threads: any; sharded, one short lock a lookup (util/guarded.h). Bounded by bytes; the least recently used go first.
/// Time is an argument. Cost: O(answer), independent of the number of entries.
/// Whole answers are kept, by their question only: a record that came along (additional, or of another name) never answers a question of
/// its own.
/// TTL: the smallest of the answer's records, cut to max_ttl; negative answers by the SOA of a zone that the name lies in (RFC 2308),
/// without one not kept. TTLs with the top bit set count as 0 (RFC 2181 8).
/// After its TTL an entry may still be served for `stale_for` when no upstream answers (RFC 8767), with TTL 30.
/// Failure of all upstreams is remembered: for kFailure as SERVFAIL (RFC 2308 7.1 allows up to 300 s; one second is what RFC 9520 asks
/// for at least, so that a storm of one question does not reach upstreams that are down), and for kRecheck a stale entry is
/// served without asking again (RFC 8767 5 proposes 30 s; 5 s, so that a node that gets its upstreams back notices soon).
/// Addresses of one name are rotated from hit to hit.
/// Prefetch: a hit in the last tenth of the TTL of an entry that was hit before asks the caller to fetch it anew, once.
/// Hot answers: an entry without DNSSEC data and CD wanted, of class IN, with kHotTtl at least and kHotOctets at most, is handed on when it
/// is hit for the kHotHits-th time, so that the kernel answers it from then on. The kernel lets go of it when the last tenth of the TTL begins: the
/// question then comes up again, its first hit asks for the prefetch, and the answer that is stored then is handed on at once, as is one
/// that comes within another TTL after the end. Questions that the kernel answers are not counted here and do not keep
/// the entry from being evicted. Hits with `allow_stale` do not count: that is how answers of groups that are not cached are read.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dns/hot_answer.h"
#include "dns/query.h"
#include "util/clock.h"

namespace ls::dns {

struct CacheOptions {
  size_t bytes = 64 << 20;
  Millis max_ttl{86'400'000}, max_negative_ttl{3'600'000};
  Millis stale_for{86'400'000};  ///< 0: never serve stale
  bool prefetch = true;
  /// Takes hot answers, to be kept in the kernel (abi/dns.h LS_DNS_SPACE_CACHE). Called on the thread of answer() or store(), outside of locks, so it
  /// must be quick. Empty: none are made. flush() does not reach what was handed on: who flushes has it flushed there too, and drops
  /// answers still on their way whose stored_ns is not after the flush.
  std::function<void(HotAnswer&&)> hot = {};
};

struct CacheView {
  uint64_t entries = 0, bytes = 0, hits = 0, misses = 0, stale = 0, prefetches = 0, evictions = 0;
};

class Cache {
 public:
  static constexpr Millis kFailure{1'000}, kRecheck{5'000};
  static constexpr uint32_t kStaleTtl = 30;  ///< seconds
  static constexpr uint8_t kHotHits = 3;     ///< so that a name that is asked for once or twice costs the kernel nothing
  static constexpr Millis kHotTtl{5'000};
  static constexpr size_t kHotOctets = 1232;  ///< abi/dns.h LS_DNS_MESSAGE_MAX

  explicit Cache(CacheOptions options);
  ~Cache();

  enum class Hit { kMiss, kFresh, kFreshPrefetch, kStale };
  /// Writes the whole answer to `query` into `out`: its id, its flags RD and CD, its spelling of the name, TTLs counted down, OPT
  /// if it had one (with `cookie` in it), cut with TC to `limit`. kStale with `allow_stale`, or within kRecheck after failed().
  Hit answer(const Query& query, Instant now, size_t limit, bool allow_stale, std::span<uint8_t> out, size_t& size,
             std::span<const uint8_t> cookie = {});
  /// `response` answers the question that was asked with these two; anything that is not to be kept (TC, errors, malformed) is left out.
  void store(std::span<const uint8_t> response, bool dnssec_ok, bool checking_disabled, Instant now);
  /// All upstreams failed to answer `query`.
  void failed(const Query& query, Instant now);
  /// Everything at and below `suffix`; the root: all. Returns how many. The kernel's answers are not touched: CacheOptions::hot.
  size_t flush(const DnsName& suffix);
  CacheView view() const;
  /// For `dns explain`: seconds left of the TTL (negative: stale), or nothing.
  std::optional<double> remaining(std::string_view folded_wire, uint16_t type, Instant now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
