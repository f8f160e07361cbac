#include "datapath/dns_rooms.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace ls::datapath {

namespace {

constexpr std::array<uint16_t, 27> kUnits = {2,  3,  4,  5,  6,  7,  8,  10, 12,  14,  16,  20,  24, 28,
                                             32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256};
constexpr uint32_t kMaxUnits = LS_DNS_ENTRY_MAX / LS_DNS_UNIT;
static_assert(kUnits.back() == kMaxUnits);

constexpr auto kClassOf = [] {
  std::array<uint8_t, kMaxUnits + 1> of{};
  size_t c = 0;
  for (uint32_t u = 0; u <= kMaxUnits; u++) {
    if (u > kUnits[c]) c++;
    of[u] = uint8_t(c);
  }
  return of;
}();

/// A room that is given back is in use, or two entries would come to share it.
[[noreturn]] void not_in_use(uint32_t place) {
  std::fprintf(stderr, "ls_dns_data: place %u is given back but not in use\n", place);
  std::abort();
}

}  // namespace

/// What claim() found so far. Whether all entries of a chunk lie where rooms of a class begin is kept as one bit for each class.
struct DnsRooms::Claims {
  explicit Claims(size_t chunks) : occupied(chunks * kChunkUnits / 64), classes(chunks, (1u << kClasses) - 1), begins(kChunkUnits) {
    for (uint32_t at = 0; at < kChunkUnits; at++) {
      for (size_t c = 0; c < kClasses; c++) begins[at] |= uint32_t(at % kUnits[c] == 0 && at + kUnits[c] <= kChunkUnits) << c;
    }
  }
  std::vector<uint64_t> occupied;  // a bit for each unit
  std::vector<uint32_t> classes;   // of each chunk
  std::vector<uint32_t> begins;    // classes of which a room begins so many units into a chunk
  std::vector<Resting> taken;
};

DnsRooms::DnsRooms(uint32_t segments) : chunks_(size_t(segments) * (kSegmentUnits / kChunkUnits)) {
  for (auto& lanes : heads_) lanes.fill(kNone);
  // 512 KiB hold thousands of replaced names between two grace periods; small maps keep an eighth.
  reserve_ = uint32_t(std::min<size_t>(8, chunks_.size() / 8));
  claims_ = std::make_unique<Claims>(chunks_.size());
}
DnsRooms::DnsRooms(DnsRooms&&) noexcept = default;
DnsRooms& DnsRooms::operator=(DnsRooms&&) noexcept = default;
DnsRooms::~DnsRooms() = default;

uint32_t DnsRooms::room_units(uint32_t units) { return kUnits[kClassOf[units]]; }

bool DnsRooms::claim(uint32_t place, uint32_t units) {
  uint32_t chunk = place / kChunkUnits, at = place % kChunkUnits;
  if (!place || !units || units > kMaxUnits || chunk >= chunks_.size() || at + units > kChunkUnits) return false;
  auto* bits = claims_->occupied.data() + size_t(chunk) * (kChunkUnits / 64);
  for (uint32_t u = at; u < at + units; u++) {
    if (bits[u / 64] >> (u % 64) & 1) return false;
  }
  for (uint32_t u = at; u < at + units; u++) bits[u / 64] |= 1ull << (u % 64);
  claims_->classes[chunk] &= claims_->begins[at] & ~((1u << kClassOf[units]) - 1);
  claims_->taken.push_back({place, units});
  chunks_[chunk].used++;
  return true;
}

void DnsRooms::claimed() {
  // Any class that fits all entries will do; it need not be the one the rooms were made for.
  for (uint32_t n = uint32_t(chunks_.size()); n-- > 0;) {
    auto used = std::exchange(chunks_[n].used, 0);
    if (!used) {
      pool_.push_back(n);
    } else if (uint32_t fit = claims_->classes[n]) {
      open_chunk(n, size_t(std::countr_zero(fit)), kOpen);
    } else {
      chunks_[n].size_class = kMixed;
    }
  }
  for (auto [place, units] : claims_->taken) {
    auto& c = chunks_[place / kChunkUnits];
    used_units_ += size_of(c, units);
    c.used++;
    if (c.size_class == kMixed) continue;
    uint32_t room = place % kChunkUnits / kUnits[c.size_class];
    c.free[room / 64] &= ~(1ull << (room % 64));
    if (--c.left == 0) unlink(place / kChunkUnits);
  }
  claims_.reset();
}

uint32_t DnsRooms::size_of(const Chunk& c, uint32_t units) const { return c.size_class == kMixed ? units : kUnits[c.size_class]; }

void DnsRooms::link(uint32_t number) {
  auto& c = chunks_[number];
  auto& head = heads_[c.size_class][c.lane];
  c.before = kNone;
  c.after = head;
  if (head != kNone) chunks_[head].before = number;
  head = number;
}

void DnsRooms::unlink(uint32_t number) {
  auto& c = chunks_[number];
  if (c.before == kNone) {
    heads_[c.size_class][c.lane] = c.after;
  } else {
    chunks_[c.before].after = c.after;
  }
  if (c.after != kNone) chunks_[c.after].before = c.before;
}

void DnsRooms::open_chunk(uint32_t number, size_t size_class, Lane lane) {
  auto& c = chunks_[number];
  c = {};
  c.size_class = uint8_t(size_class);
  c.lane = lane;
  c.left = uint16_t(kChunkUnits / kUnits[size_class]);
  for (uint32_t room = 0; room < c.left; room++) c.free[room / 64] |= 1ull << (room % 64);
  if (number == 0) {  // place 0 says that a slot is free
    c.free[0] &= ~1ull;
    c.left--;
  }
  link(number);
}

std::optional<uint32_t> DnsRooms::take_from(size_t size_class, Lane lane) {
  uint32_t number = heads_[size_class][lane];
  if (number == kNone) return std::nullopt;
  auto& c = chunks_[number];
  while (!c.free[c.first_word]) c.first_word++;
  uint32_t room = c.first_word * 64u + uint32_t(std::countr_zero(c.free[c.first_word]));
  c.free[c.first_word] &= c.free[c.first_word] - 1;
  c.used++;
  if (--c.left == 0) unlink(number);
  used_units_ += kUnits[size_class];
  return number * kChunkUnits + room * kUnits[size_class];
}

std::optional<uint32_t> DnsRooms::take(uint32_t units) {
  size_t size_class = kClassOf[units];
  if (heads_[size_class][kOpen] == kNone && pool_.size() > reserve_) {
    open_chunk(pool_.back(), size_class, kOpen);
    pool_.pop_back();
  }
  return take_from(size_class, kOpen);
}

std::optional<uint32_t> DnsRooms::take_larger(uint32_t units, uint32_t limit) {
  for (size_t c = kClassOf[units] + 1u; c < kClasses && kUnits[c] <= limit; c++) {
    if (auto place = take_from(c, kOpen)) return place;
  }
  return std::nullopt;
}

std::optional<uint32_t> DnsRooms::take_reserve(uint32_t units, RoomFor use) {
  if (use == RoomFor::kNew && borrowed_units_ + units > resting_units_) return std::nullopt;
  size_t size_class = kClassOf[units];
  if (heads_[size_class][kReserve] == kNone && !pool_.empty()) {
    open_chunk(pool_.back(), size_class, kReserve);
    pool_.pop_back();
  }
  auto place = take_from(size_class, kReserve);
  for (size_t c = size_class + 1; c < kClasses && !place; c++) place = take_from(c, kReserve);
  if (place && use == RoomFor::kNew) borrowed_units_ += units;
  return place;
}

void DnsRooms::retire(uint32_t place, uint32_t units) {
  resting_.push_back({place, units});
  resting_units_ += units;
}

void DnsRooms::settle() {
  for (auto [place, units] : resting_) give(place, units);
  resting_.clear();
  resting_units_ = borrowed_units_ = 0;
}

void DnsRooms::give(uint32_t place, uint32_t units) {
  uint32_t number = place / kChunkUnits;
  if (number >= chunks_.size() || chunks_[number].size_class == kFree || !chunks_[number].used) not_in_use(place);
  auto& c = chunks_[number];
  used_units_ -= size_of(c, units);
  c.used--;
  if (c.size_class != kMixed) {
    uint32_t room = place % kChunkUnits / kUnits[c.size_class];
    uint64_t bit = 1ull << (room % 64);
    if (c.free[room / 64] & bit || place % kChunkUnits % kUnits[c.size_class]) not_in_use(place);
    c.free[room / 64] |= bit;
    c.first_word = uint8_t(std::min<uint32_t>(c.first_word, room / 64));
    if (c.left++ == 0) link(number);
    if (!c.used) unlink(number);
  }
  if (!c.used) {
    c.size_class = kFree;
    pool_.push_back(number);
  }
}

}  // namespace ls::datapath
