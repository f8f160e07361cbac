#pragma once
/// Who may ask, and how often an address range gets answers. Threads: any. An AccessList is
/// immutable; the workers of a service share one RateLimit, without a lock.
#include <cstdint>
#include <memory>
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

 private:
  std::vector<IpNetwork> networks_;
};

/// Response rate limiting as Knot and NSD do it: answers a second for each client prefix (/24, /56) and kind of answer; above it
/// every `slip`-th answer is sent truncated and empty, so that a real client comes back over TCP; the others are dropped.
/// Clients with a valid cookie or over TCP are exempt. A second's worth may come at once. Memory: fixed, eight octets a bucket; when
/// a place is needed the range that asked least lately loses its own. Cost: O(1).
class RateLimit {
 public:
  enum class Verdict { kSend, kSlip, kDrop };
  struct Options {
    uint32_t per_second = 0;  ///< 0: off; up to 1,000,000
    uint32_t slip = 2;        ///< 1: always slip, 0: never; up to 15
    size_t buckets = 65536;
    bool operator==(const Options&) const = default;
  };
  explicit RateLimit(Options options);
  ~RateLimit();
  /// `kind`: rcode and whether answers are there; floods of one kind do not silence another.
  Verdict check(const IpAddress& client, uint8_t kind, Instant now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
