#include "datapath/dns_tables.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "datapath/dns_rooms.h"
#include "util/log.h"

namespace ls::datapath {

namespace {

/// As many rooms at rest make a grace period (8 to 20 ms) worth its while: 64 in the smallest maps, 256 from 4 MiB on. For fewer a new
/// entry waits at most every kPause and is refused in between; what replaces another always waits, because without it the name would be gone.
size_t bulk_of(const DnsRooms& rooms) { return std::clamp<size_t>(rooms.units() / DnsRooms::kChunkUnits * 4, 64, 256); }
constexpr std::chrono::milliseconds kPause{250};
/// More do not rest, so that what is used stays together.
constexpr size_t kRestMax = 32768;
/// A key goes to its first bucket while that has fewer entries, then to the emptier of its two. Simulated with 2^17 buckets: at 57 % of the slots
/// 12 % of the keys are in their second bucket, and the first key finds both full at 68 %; with "the first one that has a free slot"
/// that comes at 34 %, with "the emptier one" at 71 % with 31 % in the second.
constexpr int kFirstBucket = 5;

/// Mapped octets that stay mapped, when nothing happens and while entries come and go. Buckets are met at random, so all of them stay (16 MiB at
/// the default size) until let_go().
constexpr size_t kKeptBuckets = 2 << 20, kKeptData = 4 << 20, kKeptBusy = 8 << 20;

struct Slot {
  uint32_t bucket = 0;
  int way = 0;
};

bool is_view(uint32_t space) { return space >= LS_DNS_SPACE_VIEW && space < LS_DNS_SPACE_VIEW + LS_DNS_SERVICES; }

}  // namespace

struct DnsTables::Impl {
  Impl(DnsMaps m, const uint64_t hash_key[2], void (*wait_readers)())
      : maps(std::move(m)), key{hash_key[0], hash_key[1]}, wait(wait_readers), mask(maps.buckets.size() - 1), rooms(maps.data.size()), bulk(bulk_of(rooms)) {}

  uint64_t slot(Slot s) const { return maps.buckets[s.bucket].slot[s.way]; }
  void show(Slot s, uint64_t word) {
    std::atomic_ref(maps.buckets.edit(s.bucket, 1)[0].slot[s.way]).store(word, std::memory_order_release);
  }
  bool inside(uint32_t place) const { return place / DnsRooms::kSegmentUnits < maps.data.size(); }
  const uint8_t* at(uint32_t place) const {
    return maps.data[place / DnsRooms::kSegmentUnits].octets + place % DnsRooms::kSegmentUnits * LS_DNS_UNIT;
  }
  /// The header is a copy: slots that are not checked yet may lead anywhere in the data.
  ls_dns_entry header(uint32_t place) const {
    ls_dns_entry e;
    std::memcpy(&e, at(place), sizeof e);
    return e;
  }
  const char* key_at(uint32_t place) const { return reinterpret_cast<const char*>(at(place)) + sizeof(ls_dns_entry); }
  Key key_of(uint32_t place) const {
    auto e = header(place);
    return {e.space, e.aux, {key_at(place), e.key_octets}};
  }

  uint64_t hash(const Key& k) const;
  std::optional<Slot> locate(const Key& k, uint64_t h) const;
  std::optional<Slot> free_slot(uint64_t h) const;
  bool sound(Slot s) const;
  void read_back();

  void settle();
  std::optional<uint32_t> room(uint32_t units, RoomFor use);
  void write(uint32_t place, const Key& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body);
  void freshen(uint32_t place, uint8_t to);
  size_t sweep(const uint32_t* space);  ///< nullptr: all spaces
  void clear(Slot s);
  bool put(const Key& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body);

  template <class Each>  // each(Slot, word) for slots in use
  void walk(Each each) const {
    for (uint32_t b = 0; b <= mask; b++) {
      for (int way = 0; way < LS_DNS_WAYS; way++) {
        if (uint64_t word = slot({b, way})) each(Slot{b, way}, word);
      }
    }
  }

  DnsMaps maps;
  __u64 key[2];
  void (*wait)();
  uint32_t mask;
  DnsRooms rooms;
  size_t bulk;
  /// 1 .. 255; what was put since the last mark() has it in its entry. 0: put longer ago, whatever the count has done since.
  uint8_t round = 1;
  uint64_t entries = 0, refused = 0;
  std::chrono::steady_clock::time_point last_wait{};
};

uint64_t DnsTables::Impl::hash(const Key& k) const {
  uint64_t h = ls_dns_hash_begin(key, k.space, k.aux);
  for (size_t i = 0; i < k.key.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, k.key.data() + i, std::min<size_t>(8, k.key.size() - i));
    h = ls_dns_hash_word(h, word, key[1]);
  }
  return ls_dns_hash_end(h, uint32_t(k.key.size()), key[1]);
}

/// Goes on past entries of other keys with the same tag, which a program does not.
std::optional<Slot> DnsTables::Impl::locate(const Key& k, uint64_t h) const {
  for (uint32_t bucket : {ls_dns_bucket1(h, mask), ls_dns_bucket2(h, mask)}) {
    for (int way = 0; way < LS_DNS_WAYS; way++) {
      uint64_t word = slot({bucket, way});
      uint32_t place = LS_DNS_PLACE(word);
      if ((word ^ h) >> 32 || !place || !inside(place)) continue;
      auto e = header(place);
      if (e.space == k.space && e.aux == k.aux && e.key_octets == k.key.size() && !std::memcmp(key_at(place), k.key.data(), k.key.size()))
        return Slot{bucket, way};
    }
  }
  return std::nullopt;
}

std::optional<Slot> DnsTables::Impl::free_slot(uint64_t h) const {
  struct Bucket {
    uint32_t number;
    int used = 0, first_free = -1;
  };
  auto look = [&](uint32_t number) {
    Bucket b{number};
    for (int way = LS_DNS_WAYS; way-- > 0;) {
      if (slot({number, way})) {
        b.used++;
      } else {
        b.first_free = way;
      }
    }
    return b;
  };
  auto in = look(ls_dns_bucket1(h, mask));
  if (in.used >= kFirstBucket) {
    auto second = look(ls_dns_bucket2(h, mask));
    if (second.used < in.used) in = second;
  }
  if (in.first_free < 0) return std::nullopt;
  return Slot{in.number, in.first_free};
}

/// Whether a slot that was found in the maps shows an entry that programs find through it, and through no slot before.
bool DnsTables::Impl::sound(Slot s) const {
  uint64_t word = slot(s);
  uint32_t place = LS_DNS_PLACE(word);
  if (!place || !inside(place)) return false;
  auto e = header(place);
  if (e.octets > LS_DNS_ENTRY_MAX || e.octets < LS_DNS_BODY(e.key_octets)) return false;
  for (const char *pad = key_at(place) + e.key_octets, *end = key_at(place) + LS_DNS_PADDED(e.key_octets); pad < end; pad++) {
    if (*pad) return false;
  }
  auto k = key_of(place);
  uint64_t h = hash(k);
  if ((word ^ h) >> 32 || (s.bucket != ls_dns_bucket1(h, mask) && s.bucket != ls_dns_bucket2(h, mask))) return false;
  auto first = locate(k, h);
  return first && first->bucket == s.bucket && first->way == s.way;
}

void DnsTables::Impl::read_back() {
  std::vector<Slot> bad, views;
  walk([&](Slot s, uint64_t word) {
    uint32_t place = LS_DNS_PLACE(word);
    if (!sound(s) || !rooms.claim(place, DnsRooms::units_of(header(place).octets))) {
      bad.push_back(s);
      return;
    }
    entries++;
    if (is_view(header(place).space)) views.push_back(s);
    freshen(place, 0);
  });
  rooms.claimed();
  if (!bad.empty()) {
    // Names may have been lost, and a zone that says it is complete would deny them: without views every question goes up
    // until the zones have been put again.
    for (auto s : views) clear(s);
    for (auto s : bad) show(s, 0);
    log::warn("dns_tables_cleared", {{"slots", bad.size()}, {"views", views.size()}, {"kept", entries}});
  }
  // Rooms that were given up just before the start count as free, but a program may still be reading there.
  settle();
}

void DnsTables::Impl::settle() {
  wait();
  rooms.settle();
  last_wait = std::chrono::steady_clock::now();
}

/// Rooms at rest are asked for when many of them are worth it, before anything is wasted; few of them last, and not often.
std::optional<uint32_t> DnsTables::Impl::room(uint32_t units, RoomFor use) {
  auto place = rooms.take(units);
  if (!place && rooms.retired() >= bulk) {
    settle();
    place = rooms.take(units);
  }
  if (!place) place = rooms.take_larger(units, 2 * units);
  if (!place) place = rooms.take_reserve(units, use);
  if (!place && rooms.retired() && (use == RoomFor::kKept || std::chrono::steady_clock::now() - last_wait >= kPause)) {
    settle();
    place = rooms.take(units);
    if (!place) place = rooms.take_reserve(units, use);
  }
  if (!place) place = rooms.take_larger(units, LS_DNS_ENTRY_MAX / LS_DNS_UNIT);
  return place;
}

void DnsTables::Impl::write(uint32_t place, const Key& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) {
  ls_dns_entry e{};
  e.space = k.space;
  e.aux = k.aux;
  e.key_octets = uint8_t(k.key.size());
  e.flags = flags;
  e.octets = uint16_t(LS_DNS_BODY(k.key.size()) + body.size());
  e.sets = sets;
  e.round = round;
  auto& segment = maps.data.edit(place / DnsRooms::kSegmentUnits, 1)[0];
  uint8_t* to = segment.octets + place % DnsRooms::kSegmentUnits * LS_DNS_UNIT;
  auto add = [&to](const void* from, size_t n) {
    if (n) std::memcpy(to, from, n);
    to += n;
  };
  auto zeros = [&to](size_t n) {
    std::memset(to, 0, n);
    to += n;
  };
  add(&e, sizeof e);
  add(k.key.data(), k.key.size());
  zeros(LS_DNS_PADDED(k.key.size()) - k.key.size());
  add(body.data(), body.size());
  zeros(DnsRooms::units_of(e.octets) * LS_DNS_UNIT - e.octets);
}

void DnsTables::Impl::freshen(uint32_t place, uint8_t to) {
  if (header(place).round == to) return;
  auto& segment = maps.data.edit(place / DnsRooms::kSegmentUnits, 1)[0];
  auto& octet = segment.octets[place % DnsRooms::kSegmentUnits * LS_DNS_UNIT + offsetof(ls_dns_entry, round)];
  std::atomic_ref(octet).store(to, std::memory_order_relaxed);
}

void DnsTables::Impl::clear(Slot s) {
  uint32_t place = LS_DNS_PLACE(slot(s));
  show(s, 0);
  rooms.retire(place, DnsRooms::units_of(header(place).octets));
  entries--;
  if (rooms.retired() >= kRestMax) settle();
}

bool DnsTables::Impl::put(const Key& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) {
  if (k.key.size() > LS_DNS_KEY_MAX) return false;
  maps.data.let_go(kKeptBusy);
  uint64_t h = hash(k);
  size_t octets = LS_DNS_BODY(k.key.size()) + body.size();
  auto found = locate(k, h);
  uint32_t old = 0;
  if (found) {
    old = LS_DNS_PLACE(slot(*found));
    auto e = header(old);
    if (e.flags == flags && e.sets == sets && e.octets == octets &&
        std::equal(body.begin(), body.end(), at(old) + LS_DNS_BODY(k.key.size()))) {
      freshen(old, round);
      return true;
    }
  }
  auto to = found ? found : free_slot(h);
  std::optional<uint32_t> place;
  if (to && octets <= LS_DNS_ENTRY_MAX)
    place = room(DnsRooms::units_of(octets), found || is_view(k.space) ? RoomFor::kKept : RoomFor::kNew);
  if (!place) return false;
  write(*place, k, flags, sets, body);
  show(*to, LS_DNS_SLOT(h, *place));
  if (found) {
    rooms.retire(old, DnsRooms::units_of(header(old).octets));
    if (rooms.retired() >= kRestMax) settle();
  } else {
    entries++;
  }
  return true;
}

// ---------------------------------------------------------------- public

DnsTables::DnsTables(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DnsTables::DnsTables(DnsTables&&) noexcept = default;
DnsTables& DnsTables::operator=(DnsTables&&) noexcept = default;
DnsTables::~DnsTables() = default;

Result<DnsTables> DnsTables::adopt(DnsMaps maps, const uint64_t hash_key[2], void (*wait_readers)()) {
  constexpr uint32_t kSegmentsMax = uint32_t((uint64_t(1) << 32) / DnsRooms::kSegmentUnits);
  if (!std::has_single_bit(maps.buckets.size())) return fail(EINVAL, "adopt ls_dns_bucket: the number of buckets is no power of two");
  if (!maps.data.size() || maps.data.size() > kSegmentsMax) return fail(EINVAL, "adopt ls_dns_data: more segments than places can name");
  if (!(hash_key[1] & 1)) return fail(EINVAL, "adopt the DNS tables: the second word of the hash key is even");
  auto impl = std::make_unique<Impl>(std::move(maps), hash_key, wait_readers);
  impl->read_back();
  return DnsTables(std::move(impl));
}

bool DnsTables::put(const Key& key, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) {
  if (impl_->put(key, flags, sets, body)) return true;
  impl_->refused++;
  return false;
}

bool DnsTables::remove(const Key& key) {
  impl_->maps.data.let_go(kKeptBusy);
  auto found = impl_->locate(key, impl_->hash(key));
  if (!found) return false;
  impl_->clear(*found);
  return true;
}

uint64_t DnsTables::hash(const Key& key) const { return impl_->hash(key); }

size_t DnsTables::sweep(uint32_t space) { return impl_->sweep(&space); }

size_t DnsTables::sweep_all() { return impl_->sweep(nullptr); }

size_t DnsTables::Impl::sweep(const uint32_t* space) {
  size_t gone = 0;
  walk([&](Slot s, uint64_t word) {
    auto e = header(LS_DNS_PLACE(word));
    if ((space && e.space != *space) || e.round == round) return;
    clear(s);
    gone++;
  });
  return gone;
}

void DnsTables::mark() {
  if (impl_->round == UINT8_MAX) {
    // The numbers begin again, so none of the last 255 rounds may be left in an entry.
    impl_->walk([&](Slot, uint64_t word) { impl_->freshen(LS_DNS_PLACE(word), 0); });
    impl_->round = 0;
  }
  impl_->round++;
}

uint32_t DnsTables::place(const Key& key) const {
  auto found = impl_->locate(key, impl_->hash(key));
  return found ? LS_DNS_PLACE(impl_->slot(*found)) : 0;
}

std::span<const uint8_t> DnsTables::find(const Key& key) const {
  auto found = impl_->locate(key, impl_->hash(key));
  if (!found) return {};
  uint32_t place = LS_DNS_PLACE(impl_->slot(*found));
  return {impl_->at(place), impl_->header(place).octets};
}

void DnsTables::each(void (*visit)(void*, const ls_dns_entry&, std::string_view), void* context) const {
  impl_->walk([&](Slot, uint64_t word) {
    auto e = impl_->header(LS_DNS_PLACE(word));
    visit(context, e, {impl_->key_at(LS_DNS_PLACE(word)), e.key_octets});
  });
}

void DnsTables::let_go() {
  impl_->maps.buckets.let_go(kKeptBuckets);
  impl_->maps.data.let_go(kKeptData);
}

DnsTablesView DnsTables::view() const {
  return {impl_->entries, uint64_t(impl_->maps.buckets.size()) * LS_DNS_WAYS, impl_->rooms.used_units() * LS_DNS_UNIT,
          impl_->rooms.units() * LS_DNS_UNIT, impl_->refused};
}

}  // namespace ls::datapath
