#pragma once
/// CacheEntry: one answer as the cache keeps it, in one block of memory: this struct, the offsets of the TTLs, the message (folded
/// question, no OPT). Also what decides whether and how long an answer is kept. No thread rules: the cache's shard guards it.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

#include "dns/cache.h"
#include "dns/response.h"

namespace ls::dns {

struct CacheEntry {
  CacheEntry* next = nullptr;                      ///< in the same bucket
  CacheEntry *newer = nullptr, *older = nullptr;   ///< by last use
  uint64_t hash = 0;
  Instant stored{}, expires{}, serve_until{}, failed_until{};
  uint16_t message_size = 0, ttls = 0, question_end = 0;
  uint16_t first_address = 0, stride = 0, addresses = 0;  ///< addresses that are rotated: offset of the first, step, how many
  uint8_t address_size = 0;
  uint8_t flavour = 0;   ///< flavour_of()
  bool hit = false, prefetching = false;
  uint16_t rotor = 0;
  uint8_t hits = 0;     ///< by clients since it was stored, up to kHotHits
  bool handed = false;  ///< as a HotAnswer

  uint16_t* ttl_offsets() { return reinterpret_cast<uint16_t*>(this + 1); }
  uint8_t* message() { return reinterpret_cast<uint8_t*>(ttl_offsets() + ttls); }
  std::span<const uint8_t> question() { return {message() + kHeader, size_t{question_end} - kHeader}; }
  size_t bytes() const { return sizeof(CacheEntry) + size_t{2} * ttls + message_size + kOverhead; }
  /// From then on a hit that comes asks for a prefetch: the last tenth of the TTL begins.
  Instant prefetch_from() const { return expires - (expires - stored) / 10; }
  static constexpr size_t kOverhead = 32;  ///< of the allocator and the table, for the account
};

struct FreeEntry {
  void operator()(CacheEntry* e) const { std::free(e); }
};
using CacheEntryPtr = std::unique_ptr<CacheEntry, FreeEntry>;

inline uint8_t flavour_of(bool dnssec_ok, bool checking_disabled) {
  return static_cast<uint8_t>((dnssec_ok ? 1 : 0) | (checking_disabled ? 2 : 0));
}

/// Seconds an answer may be kept; nothing when it may not. `negative`: NXDOMAIN or no data; `soa`: index of the SOA that says so.
struct Lifetime {
  uint32_t seconds = 0;
  bool negative = false;
  size_t soa = 0;
};
std::optional<Lifetime> lifetime(const Response& response, const CacheOptions& options);

/// Nothing when the answer is not to be kept.
CacheEntryPtr make_entry(const Response& response, const CacheOptions& options, Instant now);
/// SERVFAIL for `query`, for kFailure.
CacheEntryPtr make_failure(const Query& query, Instant now);

/// As a HotAnswer; nothing when the kernel is not to have it: DNSSEC data or CD wanted, another class than IN, SERVFAIL, too long, too short a
/// TTL, or the prefetch is due.
std::optional<HotAnswer> hot_answer(CacheEntry& entry, Instant now);

/// The entry's message with the TTLs of `now` and the addresses turned one further, into `out` (room for message_size octets).
void copy_out(CacheEntry& entry, Instant now, bool stale, uint8_t* out);

}  // namespace ls::dns
