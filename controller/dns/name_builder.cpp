#include "dns/name_builder.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

namespace ls::dns {
namespace {

constexpr size_t kFew = 16;  // entries that are searched one by one

uint64_t entry_hash(RrType type, uint32_t ttl, std::string_view rdata) {
  return name_hash(rdata, random_key()) ^ (static_cast<uint64_t>(type) << 32 | ttl) * 0x9e3779b97f4a7c15ull;
}

}  // namespace

void NameBuilder::start(const ZoneName* existing) {
  entries_.clear();
  slots_.clear();
  live_ = 0;
  if (!existing) return;
  const uint8_t* at = existing->first_set();
  for (size_t s = 0; s < existing->sets_; ++s) {
    const RrSet set(at);
    const RrSet::Head head = set.head();
    const bool own_ttls = head.flags & RrSet::kTtls;
    // The last words of a set, when it has them.
    const uint8_t* ttls = own_ttls ? at + sizeof head + 4 * (RrSet::words(head) - head.total) : nullptr;
    for (size_t i = 0; i < head.total; ++i) {
      const uint32_t ttl = own_ttls ? RrSet::word(ttls + 4 * i) : head.ttl;
      const uint32_t times = set.multiplicity(i);
      append({set.type(), ttl, times, times, set.rdata(i)});
    }
    at += head.size;
  }
}

void NameBuilder::forget() {
  for (Entry& e : entries_) e.has = 0;
  live_ = 0;
}

void NameBuilder::add(const Record& record) {
  if (Entry* e = find(record.type, record.ttl, record.rdata)) {
    if (e->has++ == 0) ++live_;
    return;
  }
  append({record.type, record.ttl, 0, 1, record.rdata});
}

bool NameBuilder::remove(const Record& record) {
  Entry* e = find(record.type, record.ttl, record.rdata);
  if (!e || e->has == 0) return false;
  if (--e->has == 0) --live_;
  return true;
}

bool NameBuilder::changed() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.had != e.has; });
}

void NameBuilder::append(Entry entry) {
  if (entry.has != 0) ++live_;
  entries_.push_back(entry);
  if (entries_.size() <= kFew) return;
  if (entries_.size() * 2 <= slots_.size()) return index(entries_.size() - 1);
  slots_.assign(slots_.empty() ? 8 * kFew : 2 * slots_.size(), 0);
  for (size_t i = 0; i < entries_.size(); ++i) index(i);
}

void NameBuilder::index(size_t entry) {
  const Entry& e = entries_[entry];
  const size_t mask = slots_.size() - 1;
  size_t at = entry_hash(e.type, e.ttl, e.rdata) & mask;
  while (slots_[at] != 0) at = (at + 1) & mask;
  slots_[at] = static_cast<uint32_t>(entry + 1);
}

NameBuilder::Entry* NameBuilder::find(RrType type, uint32_t ttl, std::string_view rdata) {
  const auto same = [&](const Entry& e) { return e.type == type && e.ttl == ttl && e.rdata == rdata; };
  if (slots_.empty()) {
    const auto found = std::find_if(entries_.begin(), entries_.end(), same);
    return found == entries_.end() ? nullptr : &*found;
  }
  const size_t mask = slots_.size() - 1;
  for (size_t at = entry_hash(type, ttl, rdata) & mask; slots_[at] != 0; at = (at + 1) & mask)
    if (same(entries_[slots_[at] - 1])) return &entries_[slots_[at] - 1];
  return nullptr;
}

void NameBuilder::collect_types() {
  types_.clear();
  for (const Entry& e : entries_)
    if (e.has != 0 && std::find(types_.begin(), types_.end(), e.type) == types_.end()) types_.push_back(e.type);
}

/// Which entries a set has, in which form, and how large it gets.
void NameBuilder::plan(RrType type, Set& set) const {
  set.members.clear();
  bool fixed = true, counted = false, ttls = false;
  size_t data = 0;
  uint32_t ttl = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    if (e.type != type || e.has == 0) continue;
    if (!set.members.empty()) {
      const Entry& first = entries_[set.members.front()];
      fixed = fixed && e.rdata.size() == first.rdata.size();
      ttls = ttls || e.ttl != first.ttl;
    }
    counted = counted || e.has != 1;
    if (e.ttl != 0 && (ttl == 0 || e.ttl < ttl)) ttl = e.ttl;
    data += e.rdata.size();
    set.members.push_back(static_cast<uint32_t>(i));
  }
  size_t shown = set.members.size();
  if (ttls) {
    // The same data with two TTLs is one record to a reader: the later ones go behind the others.
    std::vector<uint32_t> sorted = set.members, hidden;
    std::stable_sort(sorted.begin(), sorted.end(), [&](uint32_t a, uint32_t b) { return entries_[a].rdata < entries_[b].rdata; });
    for (size_t i = 1; i < sorted.size(); ++i)
      if (entries_[sorted[i]].rdata == entries_[sorted[i - 1]].rdata) hidden.push_back(sorted[i]);
    std::sort(hidden.begin(), hidden.end());
    shown -= hidden.size();
    std::stable_partition(set.members.begin(), set.members.end(),
                          [&](uint32_t i) { return !std::binary_search(hidden.begin(), hidden.end(), i); });
  }
  RrSet::Head& h = set.head;
  h = {};
  h.type = static_cast<uint16_t>(type);
  h.flags = static_cast<uint8_t>((fixed ? RrSet::kFixed : 0) | (counted ? RrSet::kCounted : 0) | (ttls ? RrSet::kTtls : 0));
  h.ttl = ttl;
  h.count = static_cast<uint32_t>(shown);
  h.total = static_cast<uint32_t>(set.members.size());
  h.fixed = static_cast<uint16_t>(fixed ? entries_[set.members.front()].rdata.size() : 0);
  h.size = static_cast<uint32_t>(sizeof h + 4 * RrSet::words(h) + data);
}

size_t NameBuilder::records() const {
  size_t n = 0;
  for (size_t i = 0; i < types_.size(); ++i) n += sets_[i].head.count;
  return n;
}

ZoneName* NameBuilder::build(std::string_view owner, uint32_t children) {
  collect_types();
  if (sets_.size() < types_.size()) sets_.resize(types_.size());
  size_t size = sizeof(ZoneName) + owner.size();
  for (size_t i = 0; i < types_.size(); ++i) {
    plan(types_[i], sets_[i]);
    size += sets_[i].head.size;
  }
  auto* memory = static_cast<uint8_t*>(::operator new(size));
  auto* name = new (memory) ZoneName();
  name->children_ = children;
  name->size_ = static_cast<uint32_t>(size);
  name->sets_ = static_cast<uint16_t>(types_.size());
  name->owner_size_ = static_cast<uint8_t>(owner.size());
  uint8_t* out = memory + sizeof(ZoneName);
  const auto put = [&out](const void* from, size_t n) {
    std::memcpy(out, from, n);
    out += n;
  };
  put(owner.data(), owner.size());
  for (size_t s = 0; s < types_.size(); ++s) {
    const Set& set = sets_[s];
    put(&set.head, sizeof set.head);
    uint32_t offset = 0;
    if (!(set.head.flags & RrSet::kFixed)) {
      put(&offset, 4);
      for (const uint32_t i : set.members) {
        offset += static_cast<uint32_t>(entries_[i].rdata.size());
        put(&offset, 4);
      }
    }
    if (set.head.flags & RrSet::kCounted)
      for (const uint32_t i : set.members) put(&entries_[i].has, 4);
    if (set.head.flags & RrSet::kTtls)
      for (const uint32_t i : set.members) put(&entries_[i].ttl, 4);
    for (const uint32_t i : set.members) put(entries_[i].rdata.data(), entries_[i].rdata.size());
  }
  return name;
}

void NameBuilder::free(ZoneName* name) { ::operator delete(name); }

}  // namespace ls::dns
