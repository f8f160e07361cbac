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
  uint32_t room;  // slots it may still take
  bool may_have_one_more = true;
};

uint32_t cell_of(const Claimer& c, uint32_t place) {
  return (c.offset + c.skip * place) % kRingCells;
}  // below 2^25

/// One turn of everybody on cells of one slot. Written without a branch on whether the slot is open: that is
/// a coin toss, and mispredicting it would be half of the cost.
uint32_t turn_of_single_slots(std::vector<Claimer>& claimers, uint32_t place, uint32_t* out) {
  uint32_t taken = 0;
  for (auto& c : claimers) {
    uint32_t& slot = out[cell_of(c, place)];
    uint32_t open = slot == 0;
    slot += c.number * open;
    c.room -= open;
    taken += open;
  }
  return taken;
}

uint32_t turn_of_split_cells(std::vector<Claimer>& claimers, uint32_t place, uint32_t per_cell,
                             uint32_t& extras, std::vector<uint16_t>& used, uint32_t* out) {
  uint32_t taken = 0;
  for (auto& c : claimers) {
    uint32_t cell = cell_of(c, place);
    uint32_t open = per_cell - used[cell];
    if (!open) continue;
    // An extra slot is best spent on keeping a cell in one hand (halves what moves, against spending it
    // later).
    if (c.room < open && extras && c.may_have_one_more) {
      extras--;
      c.may_have_one_more = false;
      c.room++;
    }
    uint32_t take = std::min(open, c.room);
    std::fill_n(out + cell * per_cell + used[cell], take, c.number);
    used[cell] = uint16_t(used[cell] + take);
    c.room -= take;
    taken += take;
  }
  return taken;
}

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
  for (uint32_t d = 0; d < kRingMaxDoublings && slots < uint64_t(backends) * kRingSlotsPerBackend; d++)
    slots *= 2;
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
    claimers[i] = {uint32_t(h) % kRingCells, uint32_t(h >> 32) % (kRingCells - 1) + 1, sorted[i].number,
                   share, true};
  }

  // Each turn every backend that still has room tries its next cell. Everybody with room tries every cell,
  // and the shares and the extras add up to the slots, so the ring is full at the end.
  std::fill(out.begin(), out.end(), 0);
  std::vector<uint16_t> used(per_cell > 1 ? kRingCells : 0, 0);  // slots taken of each cell
  auto& s = shuffle();
  for (uint32_t turn = 0, left = slots; left; turn++) {
    left -= per_cell == 1 ? turn_of_single_slots(claimers, s[turn], out.data())
                          : turn_of_split_cells(claimers, s[turn], per_cell, extras, used, out.data());
    // The first that fill their share get one slot of the remainder each.
    std::erase_if(claimers, [&](auto& c) {
      if (c.room) return false;
      if (!extras || !c.may_have_one_more) return true;
      extras--;
      c.may_have_one_more = false;
      c.room = 1;
      return false;
    });
  }
}

}  // namespace ls
