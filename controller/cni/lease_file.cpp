#include "cni/lease_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "cni/checksum.h"

namespace ls::cni {
namespace {

constexpr char kMagic[8] = {'l', 's', 'l', 'e', 'a', 's', 'e', 's'};
constexpr uint32_t kFormat = 1;
constexpr uint32_t kJournalMagic = 0x6c6a7232;

struct JournalHead {
  uint32_t magic = 0, crc = 0;  ///< of everything behind it, `size` octets counted from `sequence`
  uint64_t sequence = 0;
  uint32_t size = 0, pieces = 0;
};
struct JournalPiece {
  uint64_t offset;
  uint64_t size;
};
constexpr size_t kCovered = offsetof(JournalHead, sequence);

std::span<const uint8_t> octets(const void* p, size_t n) { return {static_cast<const uint8_t*>(p), n}; }

/// FNV-1a. On the disk, so it never changes.
uint32_t hash(std::string_view a, std::string_view b = {}) {
  uint64_t h = 0xcbf29ce484222325ull;
  auto add = [&](std::string_view s) {
    for (char c : s) h = (h ^ uint8_t(c)) * 0x100000001b3ull;
    h = (h ^ 0xff) * 0x100000001b3ull;
  };
  add(a);
  add(b);
  return uint32_t(h ^ h >> 32);
}

uint32_t bucket_of(std::string_view container, std::string_view ifname) { return hash(container, ifname) % kBuckets; }
uint32_t bucket_of(const IpAddress& a) {
  return hash({reinterpret_cast<const char*>(a.bytes().data()), 16}) % kBuckets;
}

std::string_view text(const char* p, size_t size) { return {p, strnlen(p, size)}; }

uint32_t record_crc(const LeaseRecord& r) {
  return crc32c(octets(&r, sizeof r).subspan(sizeof r.crc));
}

uint32_t header_crc(LeaseHeader h) {
  h.crc = 0;
  return crc32c(octets(&h, sizeof h));
}

uint64_t record_at(uint32_t slot) { return LeaseFile::kRecordsAt + uint64_t(slot - 1) * sizeof(LeaseRecord); }
uint64_t head_at(Index i, uint32_t bucket) { return LeaseFile::kHeadsAt + (uint64_t(i) * kBuckets + bucket) * 4; }

bool all_zero(std::span<const uint8_t> b) {
  return std::all_of(b.begin(), b.end(), [](uint8_t c) { return c == 0; });
}

struct Journal {
  uint64_t sequence = 0;
  std::vector<std::pair<uint64_t, std::span<const uint8_t>>> writes;
};

/// nullopt: never written, torn, or not a journal.
std::optional<Journal> parse_journal(std::span<const uint8_t> area) {
  JournalHead head;
  std::memcpy(&head, area.data(), sizeof head);
  if (head.magic != kJournalMagic || head.size < sizeof head - kCovered || head.size > area.size() - kCovered) return std::nullopt;
  if (crc32c(area.subspan(kCovered, head.size)) != head.crc) return std::nullopt;
  Journal out;
  out.sequence = head.sequence;
  auto rest = area.subspan(sizeof head, head.size - (sizeof head - kCovered));
  for (uint32_t i = 0; i < head.pieces; i++) {
    JournalPiece p;
    if (rest.size() < sizeof p) return std::nullopt;
    std::memcpy(&p, rest.data(), sizeof p);
    rest = rest.subspan(sizeof p);
    if (p.size > rest.size() || p.offset > LeaseFile::kSize || p.size > LeaseFile::kSize - p.offset) return std::nullopt;
    out.writes.emplace_back(p.offset, rest.subspan(0, p.size));
    rest = rest.subspan(p.size);
  }
  return out;
}

}  // namespace

std::optional<IpAddress> address_of(const LeaseRecord& r, bool v4) {
  auto a = IpAddress::from_bytes(r.address[v4 ? 0 : 1]);
  if (a.is_zero()) return std::nullopt;
  return a;
}

void set_address(LeaseRecord& r, const IpAddress& a) { std::memcpy(r.address[a.is_v4() ? 0 : 1], a.bytes().data(), 16); }

bool set_text(char* to, size_t size, std::string_view from) {
  if (from.size() >= size) return false;
  std::memset(to, 0, size);
  from.copy(to, from.size());
  return true;
}

void LeaseFile::Changes::put(uint64_t offset, const void* data, size_t size) {
  auto* p = static_cast<const uint8_t*>(data);
  for (auto& piece : pieces) {
    if (piece.offset == offset && piece.bytes.size() == size) {
      piece.bytes.assign(p, p + size);
      return;
    }
  }
  pieces.push_back({offset, std::vector<uint8_t>(p, p + size)});
}

void LeaseFile::Changes::record(uint32_t slot, LeaseRecord r) {
  r.crc = record_crc(r);
  put(record_at(slot), &r, sizeof r);
  for (auto& [s, have] : records) {
    if (s == slot) {
      have = r;
      return;
    }
  }
  records.emplace_back(slot, r);
}

void LeaseFile::Changes::header(LeaseHeader h) {
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.format = kFormat;
  h.crc = header_crc(h);
  put(kHeaderAt, &h, sizeof h);
}

tl::unexpected<Failure> LeaseFile::damaged(std::string_view what) const {
  return refuse(Code::kIo, fmt::format("{} is damaged: {}", name_, what), "it is left as it is; move it away to begin with an empty one");
}

const LeaseRecord& LeaseFile::raw(uint32_t slot) const {
  return *reinterpret_cast<const LeaseRecord*>(disk_->data().data() + record_at(slot));
}

uint32_t LeaseFile::head(Index i, uint32_t bucket) const {
  uint32_t slot;
  std::memcpy(&slot, disk_->data().data() + head_at(i, bucket), sizeof slot);
  return slot;
}

Outcome<LeaseFile> LeaseFile::open(std::unique_ptr<Disk> disk, std::string name) {
  LeaseFile out;
  out.disk_ = std::move(disk);
  out.name_ = std::move(name);
  if (auto r = out.recover(); !r) return tl::make_unexpected(r.error());
  return out;
}

Outcome<> LeaseFile::recover() {
  auto data = disk_->data();
  auto a = parse_journal(data.subspan(kJournalAt, kJournalSize)), b = parse_journal(data.subspan(kJournalAt + kJournalSize, kJournalSize));
  if (a && b && a->sequence > b->sequence) std::swap(a, b);
  // What both write is what the newer one wrote. Places are always written as a whole: a header, a head, a record.
  if (a && b) {
    std::erase_if(a->writes, [&](auto& older) {
      return std::any_of(b->writes.begin(), b->writes.end(), [&](auto& newer) { return newer.first == older.first && newer.second.size() >= older.second.size(); });
    });
  }
  std::vector<std::pair<uint64_t, std::span<const uint8_t>>> missing;
  for (auto* j : {&a, &b}) {
    if (!*j) continue;
    for (auto& [offset, bytes] : (*j)->writes) {
      if (std::equal(bytes.begin(), bytes.end(), data.begin() + long(offset))) continue;
      // The journals are not among what a journal may write.
      if (offset < kJournalAt + 2 * kJournalSize && offset + bytes.size() > kJournalAt) return damaged("a journal that writes into the journals");
      missing.emplace_back(offset, bytes);
    }
    sequence_ = std::max(sequence_, (*j)->sequence);
  }
  // The last transaction may not have been synced: then the next one would be written over the journal of the one before it, whose places
  // that sync was to make durable. So it is synced now, before the first write that makes it look finished. The header holds the sequence:
  // an unfinished transaction always misses a write.
  if (!missing.empty())
    if (auto r = disk_->sync(); !r) return refuse(Code::kIo, r.error());
  for (auto& [offset, bytes] : missing)
    if (auto r = disk_->write(offset, bytes); !r) return refuse(Code::kIo, r.error());
  std::memcpy(&header_, data.data(), sizeof header_);
  if (sequence_ == 0 && all_zero(octets(&header_, sizeof header_))) {
    if (auto r = disk_->make_room(0, kRecordsAt); !r) return refuse(Code::kIo, r.error());
    Changes c;
    return commit(c, LeaseHeader{});
  }
  if (std::memcmp(header_.magic, kMagic, sizeof kMagic) != 0 || header_.crc != header_crc(header_)) return damaged("its header does not check");
  if (header_.format != kFormat) return refuse(Code::kIo, fmt::format("{} is of format {}, this program knows {}", name_, header_.format, kFormat));
  if (header_.high > kSlots || header_.free_slot > header_.high || header_.used > header_.high) return damaged("its header names records that cannot be");
  return {};
}

Outcome<> LeaseFile::commit(Changes& c, LeaseHeader h) {
  h.sequence = sequence_ + 1;
  c.header(h);
  std::vector<uint8_t> out(sizeof(JournalHead));
  for (auto& p : c.pieces) {
    JournalPiece head{p.offset, p.bytes.size()};
    auto b = octets(&head, sizeof head);
    out.insert(out.end(), b.begin(), b.end());
    out.insert(out.end(), p.bytes.begin(), p.bytes.end());
  }
  if (out.size() > kJournalSize) return refuse(Code::kIo, fmt::format("{}: a change of {} octets is too large", name_, out.size()));
  JournalHead head;
  head.magic = kJournalMagic;
  head.sequence = sequence_ + 1;
  head.size = uint32_t(out.size() - kCovered);
  head.pieces = uint32_t(c.pieces.size());
  std::memcpy(out.data(), &head, sizeof head);
  head.crc = crc32c(std::span<const uint8_t>(out).subspan(kCovered));
  std::memcpy(out.data(), &head, sizeof head);
  for (auto& [slot, r] : c.records)
    if (auto done = disk_->make_room(record_at(slot), sizeof r); !done) return refuse(Code::kIo, done.error());
  uint64_t at = kJournalAt + head.sequence % 2 * kJournalSize;
  if (auto r = disk_->write(at, out); !r) return refuse(Code::kIo, r.error());
  if (auto r = disk_->sync(); !r) return refuse(Code::kIo, r.error());
  sequence_ = head.sequence;
  for (auto& p : c.pieces)
    if (auto r = disk_->write(p.offset, p.bytes); !r) return refuse(Code::kIo, r.error());
  std::memcpy(&header_, disk_->data().data(), sizeof header_);
  return {};
}

Outcome<LeaseRecord> LeaseFile::read(uint32_t slot) const {
  if (slot == kNoSlot || slot > header_.high) return damaged(fmt::format("record {} of {} is named", slot, header_.high));
  LeaseRecord r = raw(slot);
  if (r.crc != record_crc(r)) return damaged(fmt::format("record {} does not check", slot));
  if (r.mappings > kMaxMappings) return damaged(fmt::format("record {} has {} port mappings", slot, r.mappings));
  return r;
}

Outcome<LeaseRecord> LeaseFile::current(const Changes& c, uint32_t slot) const {
  for (auto& [s, r] : c.records)
    if (s == slot) return r;
  return read(slot);
}

Outcome<uint32_t> LeaseFile::find(std::string_view container, std::string_view ifname) const {
  uint32_t slot = head(Index::kKey, bucket_of(container, ifname));
  for (uint32_t steps = 0; slot != kNoSlot; steps++) {
    if (steps > header_.high) return damaged("records are linked in a ring");
    if (slot > header_.high) return damaged(fmt::format("record {} of {} is named", slot, header_.high));
    auto& r = raw(slot);
    if (r.used && text(r.container, sizeof r.container) == container && text(r.ifname, sizeof r.ifname) == ifname) {
      auto checked = read(slot);
      if (!checked) return tl::make_unexpected(checked.error());
      return slot;
    }
    slot = r.next[0];
  }
  return kNoSlot;
}

Outcome<uint32_t> LeaseFile::find(const IpAddress& a) const {
  auto index = a.is_v4() ? Index::kIpv4 : Index::kIpv6;
  uint32_t slot = head(index, bucket_of(a));
  for (uint32_t steps = 0; slot != kNoSlot; steps++) {
    if (steps > header_.high) return damaged("records are linked in a ring");
    if (slot > header_.high) return damaged(fmt::format("record {} of {} is named", slot, header_.high));
    auto& r = raw(slot);
    if (std::memcmp(r.address[a.is_v4() ? 0 : 1], a.bytes().data(), 16) == 0) return slot;
    slot = r.next[size_t(index)];
  }
  return kNoSlot;
}

bool LeaseFile::taken(const IpAddress& a) const {
  auto slot = find(a);
  // What cannot be read is not handed out.
  return !slot || *slot != kNoSlot;
}

Outcome<uint32_t> LeaseFile::add(LeaseRecord r, const LeaseHeader& wanted) {
  Changes c;
  LeaseHeader h = wanted;
  uint32_t slot = h.free_slot;
  if (slot != kNoSlot) {
    auto free = read(slot);
    if (!free) return tl::make_unexpected(free.error());
    if (free->used) return damaged(fmt::format("record {} is in use and in the list of the free ones", slot));
    h.free_slot = free->next[0];
  } else {
    if (h.high >= kSlots) return refuse(Code::kExhausted, fmt::format("the network has {} attachments on this node, at most {}", h.high, kSlots));
    slot = ++h.high;
  }
  h.used++;
  r.used = 1;
  auto link = [&](Index i, uint32_t bucket) {
    r.next[size_t(i)] = head(i, bucket);
    c.put(head_at(i, bucket), &slot, sizeof slot);
  };
  link(Index::kKey, bucket_of(text(r.container, sizeof r.container), text(r.ifname, sizeof r.ifname)));
  for (bool v4 : {true, false}) {
    r.next[v4 ? 1 : 2] = kNoSlot;
    auto a = address_of(r, v4);
    if (a && (r.owned & (v4 ? 1 : 2))) link(v4 ? Index::kIpv4 : Index::kIpv6, bucket_of(*a));
  }
  c.record(slot, r);
  if (auto done = commit(c, h); !done) return tl::make_unexpected(done.error());
  return slot;
}

Outcome<> LeaseFile::unlink(Changes& c, Index i, uint32_t bucket, uint32_t slot, uint32_t next) const {
  uint32_t at = head(i, bucket);
  if (at == slot) {
    c.put(head_at(i, bucket), &next, sizeof next);
    return {};
  }
  for (uint32_t steps = 0; at != kNoSlot && steps <= header_.high; steps++) {
    auto r = current(c, at);
    if (!r) return tl::make_unexpected(r.error());
    if (r->next[size_t(i)] == slot) {
      r->next[size_t(i)] = next;
      c.record(at, *r);
      return {};
    }
    at = r->next[size_t(i)];
  }
  return damaged(fmt::format("record {} is in none of the lists it belongs to", slot));
}

Outcome<> LeaseFile::remove(uint32_t slot, const LeaseHeader& wanted) {
  auto r = read(slot);
  if (!r) return tl::make_unexpected(r.error());
  if (!r->used) return damaged(fmt::format("record {} is removed twice", slot));
  Changes c;
  if (auto done = unlink(c, Index::kKey, bucket_of(text(r->container, sizeof r->container), text(r->ifname, sizeof r->ifname)), slot, r->next[0]); !done)
    return done;
  for (bool v4 : {true, false}) {
    auto a = address_of(*r, v4);
    if (!a || !(r->owned & (v4 ? 1 : 2))) continue;
    if (auto done = unlink(c, v4 ? Index::kIpv4 : Index::kIpv6, bucket_of(*a), slot, r->next[v4 ? 1 : 2]); !done) return done;
  }
  LeaseHeader h = wanted;
  LeaseRecord gone;
  gone.next[0] = h.free_slot;
  h.free_slot = slot;
  h.used--;
  c.record(slot, gone);
  return commit(c, h);
}

Outcome<> LeaseFile::replace(uint32_t slot, LeaseRecord r) {
  Changes c;
  c.record(slot, r);
  return commit(c, header_);
}

Outcome<> LeaseFile::set_header(const LeaseHeader& h) {
  Changes c;
  return commit(c, h);
}

Outcome<> LeaseFile::for_each(const std::function<Outcome<>(uint32_t, const LeaseRecord&)>& each) const {
  for (uint32_t slot = 1; slot <= header_.high; slot++) {
    auto r = read(slot);
    if (!r) return tl::make_unexpected(r.error());
    if (!r->used) continue;
    if (auto done = each(slot, *r); !done) return done;
  }
  return {};
}

}  // namespace ls::cni
