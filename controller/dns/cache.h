#pragma once
/// Cache: answers of upstreams, by folded name, type, class and whether DNSSEC data was wanted. Never holds internal names.
///
/// Threads: any; sharded, one short lock a lookup (util/guarded.h). Bounded by bytes; the least recently used go first.
/// Time is an argument. Cost: O(answer), independent of the number of entries.
/// TTL: the smallest of the answer's records, cut to max_ttl; negative answers by their SOA (RFC 2308), without SOA not kept.
/// After its TTL an entry may still be served for `stale_for` when no upstream answers (RFC 8767), with TTL 30.
/// Prefetch: a hit in the last tenth of the TTL of an entry that was hit before asks the caller to fetch it anew, once.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "dns/query.h"
#include "util/clock.h"

namespace ls::dns {

struct CacheOptions {
  size_t bytes = 64 << 20;
  Millis max_ttl{86'400'000}, max_negative_ttl{3'600'000};
  Millis stale_for{86'400'000};  ///< 0: never serve stale
  bool prefetch = true;
};

struct CacheView {
  uint64_t entries = 0, bytes = 0, hits = 0, misses = 0, stale = 0, prefetches = 0, evictions = 0;
};

class Cache {
 public:
  explicit Cache(CacheOptions options);
  ~Cache();

  enum class Hit { kMiss, kFresh, kFreshPrefetch, kStale };
  /// Writes the whole answer to `query` into `out`: its id, its flags RD and CD, its spelling of the name, TTLs counted down, OPT
  /// if it had one, cut with TC to `limit`. kStale only with `allow_stale`.
  Hit answer(const Query& query, Instant now, size_t limit, bool allow_stale, std::span<uint8_t> out, size_t& size);
  /// `response` has been checked: it answers the question and is complete (no TC).
  void store(std::span<const uint8_t> response, Instant now);
  /// Everything at and below `suffix`; the root: all. Returns how many.
  size_t flush(const DnsName& suffix);
  CacheView view() const;
  /// For `dns explain`: seconds left of the TTL (negative: stale), or nothing.
  std::optional<double> remaining(std::string_view folded_wire, uint16_t type, Instant now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
