#pragma once
/// Who may ask, and how often an address range gets answers. Threads: any. An AccessList is
/// immutable; the workers of a service share one RateLimit, without a lock.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "util/address.h"
#include "util/clock.h"
#include "util/network.h"

namespace ls::dns {

class AccessList {
 public:
  AccessList() = default;  ///< everybody
  explicit AccessList(std::vector<IpNetwork> networks);  ///< empty: everybody
  bool allows(const IpAddress& client) const;  ///< O(different prefix lengths)
  const std::vector<IpNetwork>& networks() const { return networks_; }  ///< empty: everybody

 private:
  std::vector<IpNetwork> networks_;
};

/// Response rate limiting as Knot and NSD do it: answers a second for each client prefix (/24, /56) and kind of answer; above it
/// every `slip`-th answer is sent truncated and empty, so that a real client comes back over TCP; the others are dropped.
/// Clients with a valid cookie or over TCP are exempt. A second's worth may come at once. Memory: fixed, eight octets a bucket; when
/// a place is needed the range that asked least lately loses its own. Cost: O(1). The words may be those of a map that programs in the
/// kernel change too: then a range has one budget for both. Time: CLOCK_MONOTONIC, as the programs have it (util/clock.h).
class RateLimit {
 public:
  enum class Verdict { kSend, kSlip, kDrop };
  struct Options {
    uint32_t per_second = 0;  ///< 0: off; up to 1,000,000
    uint32_t slip = 2;        ///< 1: always slip, 0: never; up to 15
    size_t buckets = 65536;  ///< of memory of its own; shared memory has LS_DNS_RATE_SETS sets
    bool operator==(const Options&) const = default;
  };
  explicit RateLimit(Options options);
  /// `words`: LS_DNS_RATE_SETS * LS_DNS_RATE_WAYS of them (abi/dns.h; aborts when not), aligned to 8 octets, that outlive this.
  /// `key`: of all who use the words. What is in the words
  /// goes on to count, whatever rate wrote it.
  RateLimit(Options options, std::span<uint64_t> words, const std::array<uint8_t, 16>& key);
  ~RateLimit();
  /// `kind`: rcode and whether answers are there; floods of one kind do not silence another.
  Verdict check(const IpAddress& client, uint8_t kind, Instant now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
