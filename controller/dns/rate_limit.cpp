#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>

#include "dns/cookie.h"
#include "dns/rate_limit_table.h"
#include "dns/sip_words.h"
#include "loadstar/abi/dns.h"
#include "loadstar/abi/dns_rate.h"

// One entry is one word, so that workers, and programs in the kernel where the words are those of ls_dns_rate, change it by one
// compare-and-swap. From the top: 20 bits of the prefix's hash, 4 bits that count what went over the limit, 40 bits of time in units
// of 256 ns of CLOCK_MONOTONIC. The arithmetic, which programs share, is in loadstar/abi/dns_rate.h. The eight words of a set are one
// cache line; the set is in the low bits of the hash.

namespace ls::dns {
namespace {

static_assert(std::atomic_ref<uint64_t>::is_always_lock_free, "the kernel changes the same words");
static_assert(uint32_t(RateLimit::Verdict::kSend) == LS_DNS_RATE_SEND &&
              uint32_t(RateLimit::Verdict::kSlip) == LS_DNS_RATE_SLIPPED &&
              uint32_t(RateLimit::Verdict::kDrop) == LS_DNS_RATE_DROPPED);

size_t sets_for(size_t buckets) {
  return std::bit_ceil(std::max<size_t>(buckets, LS_DNS_RATE_WAYS)) / LS_DNS_RATE_WAYS;
}

}  // namespace

RateLimit::RateLimit(Options options)
    : impl_(options.per_second ? std::make_unique<Impl>(options, std::span<uint64_t>(), random_cookie_secret())
                               : nullptr) {}
RateLimit::RateLimit(Options options, std::span<uint64_t> words, const std::array<uint8_t, 16>& key) {
  if (words.size() != LS_DNS_RATE_SETS * LS_DNS_RATE_WAYS) std::abort();
  if (options.per_second) impl_ = std::make_unique<Impl>(options, words, key);
}
RateLimit::~RateLimit() = default;

RateLimit::Impl::Impl(const Options& o, std::span<uint64_t> shared, const std::array<uint8_t, 16>& secret)
    : slip(std::min<uint32_t>(o.slip, LS_DNS_RATE_SLIP_MAX)),
      step(ls_dns_rate_step(o.per_second)),
      sets(shared.empty() ? sets_for(o.buckets) : LS_DNS_RATE_SETS),
      key{sip_word(secret.data()), sip_word(secret.data() + 8)},
      own(shared.empty() ? new uint64_t[sets * LS_DNS_RATE_WAYS]() : nullptr),
      words(shared.empty() ? own.get() : shared.data()) {}

RateLimit::Verdict RateLimit::check(const IpAddress& client, uint8_t kind, Instant now) {
  if (!impl_) return Verdict::kSend;
  const uint64_t hash =
      ls_dns_rate_hash(impl_->key[0], impl_->key[1], AddressWords(client).be, !client.is_v4(), kind);
  const uint64_t ticks = ls_dns_rate_now(uint64_t(now.time_since_epoch().count()));
  uint64_t* const set = impl_->words + (hash & (impl_->sets - 1)) * LS_DNS_RATE_WAYS;
  for (int tries = 0; tries < LS_DNS_RATE_TRIES; tries++) {
    ls_dns_rate_pick pick = LS_DNS_RATE_NONE;
    for (uint32_t way = 0; way < LS_DNS_RATE_WAYS; way++)
      ls_dns_rate_look(&pick, way, std::atomic_ref(set[way]).load(std::memory_order_relaxed), hash, ticks);
    const auto verdict = Verdict(ls_dns_rate_take(&pick, hash, ticks, impl_->step, impl_->slip));
    uint64_t before = pick.word;
    if (std::atomic_ref(set[pick.way]).compare_exchange_strong(before, pick.next, std::memory_order_relaxed))
      return verdict;
  }
  return Verdict::kDrop;  // so many workers at one entry at the same moment: it is a flood
}

}  // namespace ls::dns
