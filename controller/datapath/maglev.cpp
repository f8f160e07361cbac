#include "datapath/maglev.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace ls {
namespace {

/// Finaliser of splitmix64: every input bit reaches every output bit.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}
constexpr uint64_t kStep = 0x9e3779b97f4a7c15ull;  // 2^64 / golden ratio, odd

using Shuffle = std::array<uint16_t, kRingCells>;

/// The fixed shuffle S. Part of the contract between nodes: never change it or mix().
const Shuffle& shuffle() {
  static const Shuffle s = [] {
    Shuffle t;
    for (uint32_t i = 0; i < kRingCells; i++) t[i] = uint16_t(i);
    for (uint32_t i = kRingCells - 1; i > 0; i--) std::swap(t[i], t[mix(kStep * i) % (i + 1)]);
    return t;
  }();
  return s;
}

struct Claimer {
  uint32_t offset, skip;
  uint32_t number;
  uint32_t room;  // slots up to the even share
  bool may_have_one_more;
};

}  // namespace

uint64_t ring_hash(const Endpoint& e) {
  uint64_t high, low;
  std::memcpy(&high, e.address.bytes().data(), 8);
  std::memcpy(&low, e.address.bytes().data() + 8, 8);
  return mix(mix(mix(high + kStep) + low) + kStep * (e.port + 1ull));
}

uint32_t ring_slots(uint32_t backends) {
  if (backends < 2) return backends;
  uint32_t slots = kRingCells;
  for (uint32_t d = 0; d < kRingMaxDoublings && slots < uint64_t(backends) * kRingSlotsPerBackend; d++) slots *= 2;
  return slots;
}

void build_ring(std::span<const RingMember> members, std::span<uint32_t> out) {
  auto slots = uint32_t(out.size());
  uint32_t per_cell = slots / kRingCells;
  bool size_ok = slots == 1 || (per_cell > 0 && slots % kRingCells == 0 && (per_cell & (per_cell - 1)) == 0);
  if (members.empty() || !size_ok) std::abort();
  if (slots == 1) {
    auto least = [](auto& a, auto& b) { return a.hash < b.hash; };
    out[0] = std::min_element(members.begin(), members.end(), least)->number;
    return;
  }

  std::vector<RingMember> sorted(members.begin(), members.end());
  std::sort(sorted.begin(), sorted.end(), [](auto& a, auto& b) { return a.hash < b.hash; });
  if (sorted.size() > slots) sorted.resize(slots);
  auto n = uint32_t(sorted.size());
  uint32_t share = slots / n, extras = slots % n;
  std::vector<Claimer> claimers(n);
  for (uint32_t i = 0; i < n; i++) {
    uint64_t h = mix(sorted[i].hash + kStep);
    claimers[i] = {uint32_t(h) % kRingCells, uint32_t(h >> 32) % (kRingCells - 1) + 1, sorted[i].number, share, true};
  }

  // Each turn every backend that still has room tries its next cell. Everybody tries every cell once, and the shares add up
  // to the slots, so the ring is full at the end.
  std::vector<uint16_t> used(kRingCells, 0);  // slots taken of each cell
  uint32_t left = slots;
  auto& s = shuffle();
  for (uint32_t turn = 0; left; turn++) {
    uint32_t place = s[turn];
    bool one_is_full = false;
    for (auto& c : claimers) {
      uint32_t cell = (c.offset + c.skip * place) % kRingCells;  // below 2^25
      uint32_t open = per_cell - used[cell];
      if (!open) continue;
      uint32_t room = c.room;
      if (room < open && c.may_have_one_more && extras) {
        // The first that fill their share take one slot of the remainder each.
        extras--;
        c.may_have_one_more = false;
        room++;
      }
      uint32_t take = std::min(open, room);
      if (!take) continue;
      uint32_t at = cell * per_cell + used[cell];
      for (uint32_t i = 0; i < take; i++) out[at + i] = c.number;
      used[cell] = uint16_t(used[cell] + take);
      c.room = room - take;
      left -= take;
      one_is_full |= c.room == 0;
    }
    if (one_is_full) {
      std::erase_if(claimers, [&](auto& c) { return c.room == 0 && !(extras && c.may_have_one_more); });
    }
  }
}

}  // namespace ls
