#include "dns/cache_entry.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace ls::dns {

namespace {

constexpr uint16_t kA = static_cast<uint16_t>(RrType::kA), kAaaa = static_cast<uint16_t>(RrType::kAaaa),
                   kCname = static_cast<uint16_t>(RrType::kCname), kSoa = static_cast<uint16_t>(RrType::kSoa),
                   kAny = static_cast<uint16_t>(RrType::kAny);
constexpr size_t kMaxTtls = 4096;  ///< records of one message; a larger one is not worth its place

struct Folded {
  std::array<uint8_t, DnsName::kMaxWire> octets;
  size_t size = 0;
  bool operator==(const Folded& other) const {
    return size == other.size && std::memcmp(octets.data(), other.octets.data(), size) == 0;
  }
  /// At or below `zone`.
  bool within(const Folded& zone) const {
    if (zone.size > size) return false;
    size_t at = 0;
    while (at < size - zone.size) at += size_t{1} + octets[at];
    return at == size - zone.size && std::memcmp(octets.data() + at, zone.octets.data(), zone.size) == 0;
  }
};

bool folded_at(const Response& r, size_t at, Folded& name) {
  size_t end = 0;
  return read_name(r.message, at, end, nullptr, name.octets.data(), &name.size);
}

uint32_t sane(uint32_t ttl) { return ttl & 0x80000000u ? 0 : ttl; }

uint32_t seconds(Millis ms) { return static_cast<uint32_t>(std::clamp<int64_t>(ms.count() / 1000, 0, INT32_MAX)); }

bool meta_type(uint16_t type) { return type == static_cast<uint16_t>(RrType::kOpt) || (type >= 249 && type <= 254); }

/// Answers that are a row of equally long address records of one owner can be turned by moving their data alone.
void find_rotation(const Response& r, CacheEntry& e) {
  const ResponseRecord* first = nullptr;
  for (size_t i = 0; i < r.body_records && r.records[i].section == Section::kAnswer; i++) {
    const ResponseRecord& record = r.records[i];
    if (record.type != r.question_type || (record.type != kA && record.type != kAaaa)) {
      if (first) return;
      continue;
    }
    if (!first) {
      first = &record;
      e.addresses = 1;
      continue;
    }
    const ResponseRecord& before = r.records[i - 1];
    const size_t stride = record.rdata - before.rdata, owner = size_t{record.fixed} - record.owner;
    const size_t first_owner = size_t{first->fixed} - first->owner;
    const bool alike = owner == first_owner && record.ttl == first->ttl && (e.addresses == 1 || stride == e.stride) &&
                       std::memcmp(r.message.data() + record.owner, r.message.data() + first->owner, owner) == 0;
    if (!alike) {
      e.addresses = 0;
      return;
    }
    e.stride = static_cast<uint16_t>(stride);
    e.addresses++;
  }
  if (!first) return;
  e.first_address = first->rdata;
  e.address_size = static_cast<uint8_t>(first->rdata_size);
}

CacheEntryPtr allocate(size_t ttls, size_t message_size) {
  void* memory = std::malloc(sizeof(CacheEntry) + 2 * ttls + message_size);
  if (!memory) return nullptr;
  CacheEntryPtr e(new (memory) CacheEntry);
  e->ttls = static_cast<uint16_t>(ttls);
  e->message_size = static_cast<uint16_t>(message_size);
  return e;
}

}  // namespace

std::optional<Lifetime> lifetime(const Response& r, const CacheOptions& options) {
  if (!r.has_question || (r.flags & kTc) || meta_type(r.question_type)) return std::nullopt;
  if (r.rcode != Rcode::kNoError && r.rcode != Rcode::kNxDomain) return std::nullopt;
  Folded name, other;
  if (!folded_at(r, kHeader, name)) return std::nullopt;
  bool data = false;
  uint32_t ttl = seconds(options.max_ttl);
  for (size_t i = 0; i < r.body_records; i++) {
    const ResponseRecord& record = r.records[i];
    ttl = std::min(ttl, sane(record.ttl));
    if (record.section != Section::kAnswer || !folded_at(r, record.owner, other) || !(other == name)) continue;
    if (record.type == r.question_type || r.question_type == kAny) {
      data = true;
    } else if (record.type == kCname && !folded_at(r, record.rdata, name)) {
      return std::nullopt;
    }
  }
  Lifetime life{ttl, r.rcode == Rcode::kNxDomain || !data, 0};
  if (life.negative) {
    bool found = false;
    for (size_t i = 0; i < r.body_records && !found; i++) {
      const ResponseRecord& record = r.records[i];
      if (record.section != Section::kAuthority || record.type != kSoa) continue;
      if (!folded_at(r, record.owner, other) || !name.within(other)) continue;
      found = true;
      life.soa = i;
      const uint32_t minimum = sane(get32(r.message.data() + record.end() - 4));
      life.seconds = std::min({life.seconds, minimum, seconds(options.max_negative_ttl)});
    }
    if (!found) return std::nullopt;
  }
  if (life.seconds == 0) return std::nullopt;
  return life;
}

CacheEntryPtr make_entry(const Response& r, const CacheOptions& options, Instant now) {
  auto life = lifetime(r, options);
  if (!life || r.body_records > kMaxTtls) return nullptr;
  CacheEntryPtr e = allocate(r.body_records, r.body_end);
  if (!e) return nullptr;
  uint8_t* m = e->message();
  std::memcpy(m, r.message.data(), r.body_end);
  put16(m, 0);
  put16(m + 2, static_cast<uint16_t>(kQr | kRa | (r.flags & (kAd | 0xf))));
  put16(m + 6, static_cast<uint16_t>(r.count(Section::kAnswer)));
  put16(m + 8, static_cast<uint16_t>(r.count(Section::kAuthority)));
  put16(m + 10, static_cast<uint16_t>(r.count(Section::kAdditional)));
  fold({m + kHeader, r.question_name.size()});
  const uint32_t max = seconds(options.max_ttl);
  for (size_t i = 0; i < r.body_records; i++) {
    const uint16_t at = static_cast<uint16_t>(r.records[i].fixed + 4);
    e->ttl_offsets()[i] = at;
    put32(m + at, std::min(sane(r.records[i].ttl), max));
  }
  // RFC 2308 5: the SOA's TTL goes out as the time for which the answer holds.
  if (life->negative) put32(m + r.records[life->soa].fixed + 4, life->seconds);
  e->question_end = static_cast<uint16_t>(r.question_end);
  e->stored = now;
  e->expires = now + std::chrono::seconds(life->seconds);
  e->serve_until = e->expires + options.stale_for;
  if (!life->negative) find_rotation(r, *e);
  return e;
}

CacheEntryPtr make_failure(const Query& query, Instant now) {
  const size_t size = kHeader + query.name_size + 4;
  CacheEntryPtr e = allocate(0, size);
  if (!e) return nullptr;
  uint8_t* m = e->message();
  std::memset(m, 0, kHeader);
  put16(m + 2, static_cast<uint16_t>(kQr | kRa | static_cast<uint16_t>(Rcode::kServFail)));
  put16(m + 4, 1);
  std::memcpy(m + kHeader, query.folded_bytes.data(), query.name_size);
  put16(m + size - 4, query.type);
  put16(m + size - 2, query.qclass);
  e->question_end = static_cast<uint16_t>(size);
  e->stored = now;
  e->expires = e->serve_until = now + Cache::kFailure;
  return e;
}

std::optional<HotAnswer> hot_answer(CacheEntry& e, Instant now) {
  const auto question = e.question();
  const uint8_t* m = e.message();
  if (e.flavour != 0 || get16(question.data() + question.size() - 2) != kClassIn || e.message_size > Cache::kHotOctets ||
      (m[3] & 0xf) == static_cast<uint8_t>(Rcode::kServFail) || e.expires - e.stored < Cache::kHotTtl || now >= e.prefetch_from())
    return std::nullopt;
  const auto nanoseconds = [](Instant t) { return static_cast<uint64_t>(t.time_since_epoch().count()); };
  return HotAnswer{{m, m + e.message_size}, nanoseconds(e.stored), nanoseconds(e.prefetch_from())};
}

void copy_out(CacheEntry& e, Instant now, bool stale, uint8_t* out) {
  const uint8_t* m = e.message();
  std::memcpy(out, m, e.message_size);
  const uint16_t* offsets = e.ttl_offsets();
  if (stale) {
    for (size_t i = 0; i < e.ttls; i++) put32(out + offsets[i], Cache::kStaleTtl);
  } else {
    const auto age = std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(now - e.stored).count());
    for (size_t i = 0; i < e.ttls; i++)
      put32(out + offsets[i], static_cast<uint32_t>(std::max<int64_t>(0, int64_t{get32(m + offsets[i])} - age)));
  }
  if (e.addresses < 2) return;
  size_t from = ++e.rotor % e.addresses;
  for (size_t i = 0; i < e.addresses; i++) {
    std::memcpy(out + e.first_address + i * e.stride, m + e.first_address + from * e.stride, e.address_size);
    if (++from == e.addresses) from = 0;
  }
}

}  // namespace ls::dns
