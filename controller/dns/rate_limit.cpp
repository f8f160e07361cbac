#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include "dns/cookie.h"
#include "dns/rate_limit_table.h"

namespace ls::dns {
namespace {

// One entry is one word, so that workers change it by one compare-and-swap: 20 bits of the prefix's hash, 4
// bits that count what went over the limit, 40 bits of time.
constexpr int kTimeBits = 40, kCountBits = 4;
constexpr uint64_t kTimeMask = (1ull << kTimeBits) - 1, kCountMask = (1ull << kCountBits) - 1;
constexpr size_t kWays = 8;  // entries of one cache line
constexpr int kTick =
    8;  // time in units of 256 ns: 40 bits wrap after 78 hours, 4 million answers a second are told apart
constexpr uint64_t kSecond = 1'000'000'000ull >> kTick;

uint64_t pack(uint64_t tag, uint64_t count, uint64_t time) {
  return tag << (kTimeBits + kCountBits) | (count & kCountMask) << kTimeBits | (time & kTimeMask);
}

/// How far `time` lies ahead of `now`; zero for everything that is past. Nothing lies further ahead than a
/// second.
uint64_t ahead(uint64_t time, uint64_t now) {
  uint64_t d = (time - now) & kTimeMask;
  return d <= 2 * kSecond ? d : 0;
}

}  // namespace

RateLimit::RateLimit(Options options)
    : impl_(options.per_second ? std::make_unique<Impl>(options) : nullptr) {}
RateLimit::~RateLimit() = default;

RateLimit::Impl::Impl(const Options& o)
    : slip(std::min<uint32_t>(o.slip, 15)),
      step(std::max<uint64_t>(1, kSecond / o.per_second)),
      sets(std::bit_ceil(std::max(o.buckets, kWays)) / kWays),
      entries(new std::atomic<uint64_t>[sets * kWays] {}) {
  key = random_cookie_secret();
}

RateLimit::Verdict RateLimit::check(const IpAddress& client, uint8_t kind, Instant now) {
  if (!impl_) return Verdict::kSend;
  // The first 24 bits of an IPv4 address, the first 56 of an IPv6 one: what one customer has.
  uint8_t prefix[9] = {};
  if (client.is_v4())
    std::memcpy(prefix, client.bytes().data() + 12, 3);
  else
    std::memcpy(prefix, client.bytes().data(), 7);
  prefix[7] = client.is_v4();
  prefix[8] = kind;
  uint64_t hash = siphash24(impl_->key, prefix);
  uint64_t tag = hash >> (kTimeBits + kCountBits);
  uint64_t t = uint64_t(now.time_since_epoch().count()) >> kTick;
  auto* set = &impl_->entries[(hash & (impl_->sets - 1)) * kWays];

  for (int tries = 0; tries < 4; tries++) {
    size_t chosen = 0;
    uint64_t idle = ~0ull;
    for (size_t i = 0; i < kWays; i++) {
      uint64_t e = set[i].load(std::memory_order_relaxed);
      if (e >> (kTimeBits + kCountBits) == tag) {
        chosen = i;
        break;
      }
      // Whose place is taken: the one that asked least lately.
      if (uint64_t d = ahead(e & kTimeMask, t); d < idle) idle = d, chosen = i;
    }
    uint64_t old = set[chosen].load(std::memory_order_relaxed);
    bool known = old >> (kTimeBits + kCountBits) == tag;
    uint64_t due = known ? ahead(old & kTimeMask, t) : 0;
    // A second's worth may come at once; after that one for each step (generic cell rate algorithm, ITU-T
    // I.371).
    if (due + impl_->step <= kSecond) {
      if (set[chosen].compare_exchange_weak(old, pack(tag, 0, t + due + impl_->step),
                                            std::memory_order_relaxed))
        return Verdict::kSend;
      continue;
    }
    uint64_t count = ((old >> kTimeBits) & kCountMask) + 1;
    bool slip = impl_->slip && count >= impl_->slip;
    if (set[chosen].compare_exchange_weak(old, pack(tag, slip ? 0 : count, old & kTimeMask),
                                          std::memory_order_relaxed))
      return slip ? Verdict::kSlip : Verdict::kDrop;
  }
  return Verdict::kDrop;  // so many workers at one entry at the same moment: it is a flood
}

}  // namespace ls::dns
