#pragma once
/// What the tests of DnsTables share: real maps, entries by short text, and a look at them as a program has it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "bpf_maps.h"
#include "datapath/dns_rooms.h"
#include "datapath/dns_tables.h"

namespace ls::test {

using datapath::DnsMaps;
using datapath::DnsTables;

constexpr uint64_t kHashKey[2] = {0x243f6a8885a308d3, 0x13198a2e03707345};
/// With these, keys of two words are easily made to share all 64 bits of the hash.
constexpr uint64_t kWeakKey[2] = {0, 1};

inline std::atomic<uint64_t> waits{0};
inline void count_wait() { waits++; }

struct Id {
  uint32_t space = LS_DNS_SPACE_ZONE;
  uint16_t aux = 0;
  std::string key;
  auto operator<=>(const Id&) const = default;
  DnsTables::Key ref() const { return {space, aux, key}; }
};

struct Content {
  uint8_t flags = 0, sets = 0;
  std::vector<uint8_t> body;
  bool operator==(const Content&) const = default;
};

/// Different for different `n`, so many octets.
inline Content content(uint32_t n, size_t octets = 32) {
  Content c{uint8_t(n % 3), uint8_t(n % 2), std::vector<uint8_t>(octets)};
  for (size_t i = 0; i < octets; i++) c.body[i] = uint8_t((n >> (i % 4 * 8)) + i / 4);
  return c;
}

inline Id name(uint32_t n, uint32_t space = LS_DNS_SPACE_ZONE) { return {space, 0, "name-" + std::to_string(n)}; }

inline uint64_t hash_of(const Id& id, const uint64_t key[2]) {
  const __u64 k[2] = {key[0], key[1]};
  uint64_t h = ls_dns_hash_begin(k, id.space, id.aux);
  std::string padded = id.key;
  padded.resize(LS_DNS_PADDED(padded.size()));
  for (size_t i = 0; i < padded.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, padded.data() + i, 8);
    h = ls_dns_hash_word(h, word, k[1]);
  }
  return ls_dns_hash_end(h, uint32_t(id.key.size()), k[1]);
}

/// Two keys of 16 octets with equal hashes under kWeakKey (its multiplications do nothing).
inline Id twin(uint32_t n) {
  uint64_t first = 0x6161616161610000ull + n, second = 0x6262626262626262ull;
  uint64_t x = (uint64_t(LS_DNS_SPACE_ZONE) << 32) ^ first;
  second ^= x ^ (x >> 32);  // what is there before the second word is xored in
  std::string key(16, '\0');
  std::memcpy(key.data(), &first, 8);
  std::memcpy(key.data() + 8, &second, 8);
  return {LS_DNS_SPACE_ZONE, 0, key};
}

class DnsKernelMaps {
 public:
  explicit DnsKernelMaps(uint32_t buckets = 1024, uint32_t segments = 2) {
    set_.add("ls_dns_bucket", make_map(BPF_MAP_TYPE_ARRAY, "ls_dns_bucket", 4, sizeof(ls_dns_bucket), buckets, BPF_F_MMAPABLE));
    set_.add("ls_dns_data", make_map(BPF_MAP_TYPE_ARRAY, "ls_dns_data", 4, sizeof(ls_dns_segment), segments, BPF_F_MMAPABLE));
  }
  DnsMaps open() const { return {map<ls_dns_bucket>("ls_dns_bucket"), map<ls_dns_segment>("ls_dns_data")}; }
  DnsTables adopt(const uint64_t key[2] = kHashKey, void (*wait)() = count_wait) const {
    auto t = DnsTables::adopt(open(), key, wait);
    EXPECT_TRUE(t) << t.error().text();
    return std::move(*t);
  }

 private:
  template <class T>
  MmapArray<T> map(const char* n) const {
    auto fd = set_.opener()(n);
    EXPECT_TRUE(fd);
    auto m = MmapArray<T>::adopt(std::move(*fd));
    EXPECT_TRUE(m) << m.error().text();
    return std::move(*m);
  }
  MapSet set_;
};

/// Looks up as a program does: the first slot with the tag, then the key. Slots are loaded as a program loads them; the octet `round` is never read.
struct Look {
  enum { kNone, kUp, kFound } what = kNone;
  Content content;
};
inline Look look(const DnsMaps& maps, const Id& id, const uint64_t key[2] = kHashKey) {
  uint64_t h = hash_of(id, key);
  uint32_t mask = maps.buckets.size() - 1;
  for (uint32_t b : {ls_dns_bucket1(h, mask), ls_dns_bucket2(h, mask)}) {
    for (auto& slot : maps.buckets[b].slot) {
      uint64_t word = std::atomic_ref(const_cast<__u64&>(slot)).load(std::memory_order_acquire);
      if (!word || (word ^ h) >> 32) continue;
      uint64_t at = uint64_t(LS_DNS_PLACE(word)) * LS_DNS_UNIT;
      const uint8_t* entry = maps.data[uint32_t(at / LS_DNS_SEGMENT)].octets + at % LS_DNS_SEGMENT;
      auto& e = *reinterpret_cast<const ls_dns_entry*>(entry);
      if (e.space != id.space || e.aux != id.aux || e.key_octets != id.key.size() ||
          std::memcmp(entry + sizeof e, id.key.data(), id.key.size()))
        return {Look::kUp, {}};
      return {Look::kFound, {e.flags, e.sets, {entry + LS_DNS_BODY(e.key_octets), entry + e.octets}}};
    }
  }
  return {};
}

/// Everything a program could be led to, by slots alone. Fails the test when rooms overlap or a slot leads outside.
using Shown = std::map<Id, Content>;
inline Shown shown(const DnsMaps& maps, const uint64_t key[2] = kHashKey) {
  Shown out;
  std::map<uint64_t, uint64_t> spans;
  for (uint32_t b = 0; b < maps.buckets.size(); b++) {
    for (uint64_t word : maps.buckets[b].slot) {
      if (!word) continue;
      uint64_t at = uint64_t(LS_DNS_PLACE(word)) * LS_DNS_UNIT;
      if (!at || at / LS_DNS_SEGMENT >= maps.data.size()) {
        ADD_FAILURE() << "slot leads to " << at;
        continue;
      }
      const uint8_t* entry = maps.data[uint32_t(at / LS_DNS_SEGMENT)].octets + at % LS_DNS_SEGMENT;
      ls_dns_entry e;
      std::memcpy(&e, entry, sizeof e);
      EXPECT_LE(at % LS_DNS_SEGMENT + e.octets, LS_DNS_SEGMENT);
      EXPECT_LE(e.octets, LS_DNS_ENTRY_MAX);
      Id id{e.space, e.aux, {reinterpret_cast<const char*>(entry) + sizeof e, e.key_octets}};
      for (size_t i = sizeof e + e.key_octets; i < LS_DNS_BODY(e.key_octets); i++) EXPECT_EQ(entry[i], 0) << "key is padded with zeros";
      uint64_t h = hash_of(id, key);
      EXPECT_EQ(h >> 32, word >> 32);
      EXPECT_TRUE(b == ls_dns_bucket1(h, maps.buckets.size() - 1) || b == ls_dns_bucket2(h, maps.buckets.size() - 1));
      EXPECT_TRUE(out.emplace(id, Content{e.flags, e.sets, {entry + LS_DNS_BODY(e.key_octets), entry + e.octets}}).second) << "shown twice";
      EXPECT_TRUE(spans.emplace(at, at + e.octets).second);
    }
  }
  uint64_t end = 0;
  for (auto [from, to] : spans) {
    EXPECT_GE(from, end) << "two entries share a room";
    end = to;
  }
  return out;
}

inline bool put(DnsTables& t, const Id& id, const Content& c) { return t.put(id.ref(), c.flags, c.sets, c.body); }

/// What DnsTables itself says under a key.
inline std::optional<Content> found(const DnsTables& t, const Id& id) {
  auto e = t.find(id.ref());
  if (e.empty()) return std::nullopt;
  ls_dns_entry h;
  std::memcpy(&h, e.data(), sizeof h);
  EXPECT_EQ(h.octets, e.size());
  auto body = e.subspan(LS_DNS_BODY(h.key_octets));
  return Content{h.flags, h.sets, {body.begin(), body.end()}};
}

/// Random octets wherever no slot leads: what a writer that was killed may have left in the room it was filling.
inline void scribble(DnsMaps& maps, std::mt19937& rng) {
  std::map<uint64_t, uint64_t> spans;
  for (auto& b : maps.buckets.view()) {
    for (uint64_t word : b.slot) {
      if (!word) continue;
      uint64_t at = uint64_t(LS_DNS_PLACE(word)) * LS_DNS_UNIT;
      ls_dns_entry e;
      std::memcpy(&e, maps.data[uint32_t(at / LS_DNS_SEGMENT)].octets + at % LS_DNS_SEGMENT, sizeof e);
      spans[at] = at + std::max<uint64_t>(1, e.octets);
    }
  }
  for (uint32_t s = 0; s < maps.data.size(); s++) {
    uint64_t base = uint64_t(s) * LS_DNS_SEGMENT, at = base;
    auto* octets = maps.data.edit(s, 1)[0].octets;
    while (at < base + LS_DNS_SEGMENT) {
      auto next = spans.lower_bound(at);
      uint64_t until = next == spans.end() ? base + LS_DNS_SEGMENT : std::min(next->first, base + LS_DNS_SEGMENT);
      if (until > at) std::memset(octets + (at - base), int(rng()), until - at);
      at = next == spans.end() ? until : std::max(until, next->second);
      if (until == base + LS_DNS_SEGMENT) break;
    }
    std::memset(octets + LS_DNS_SEGMENT, int(rng()), LS_DNS_ENTRY_MAX);
  }
}

}  // namespace ls::test
