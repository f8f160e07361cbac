#pragma once
/// The rings of the packet path: which backend a flow hash goes to. Pure functions, any thread.
///
/// A Maglev ring (a permutation of the places per backend, claimed in turn) changed in three ways, because
/// the plain one needs 16,381 places for 100 backends to keep a removal below 1.5 % of the other flows
/// (faults.md P4), and because a service that crosses from one size of ring to the next must not reshuffle
/// everything:
///   * In a turn a backend tries ONE place, taken or not, until it has its equal share. (Plain Maglev
///   searches on until it
///     succeeds, so that one removal shifts every later turn.) This alone halves what moves.
///   * A permutation is offset + skip * S[j] with one fixed shuffle S. Plain multiples of a skip resonate:
///   two backends
///     whose skips have a small ratio compete for the same places (worst removal of 7: 2.7 % instead of 1.3
///     %).
///   * Claims are made on kRingCells cells whatever the number of backends; a bigger ring only splits each
///   cell into 2, 4, 8,
///     ... equal slots, for equal shares. So a flow meets the same cell in a ring of any size, and the
///     change of size costs nothing.
///
/// Contract with the programs (bpf/lib/service.h): slot = (u64)hash32 * slots >> 32, as in ring_index(). With
/// `hash % slots` the spread stays equal but a change of size would move nearly every flow.
///
/// Simulated as tests/unit/maglev_test does (it prints its own table): share of the flows of the OTHER
/// backends that move when one is removed, every removal of 60 random sets (10 sets above 24 backends, 3 above
/// 128, 1 above 300):
///
///   backends        2     3     5    10    24    48    64   109   110   128   200   300   512  1000
///   slots        7001  7001  7001  7001  7001  7001  7001  7001 14002 14002 14002 28004 56008 112016
///   average %     0.0   0.3   0.5   0.7   0.8   0.9   0.9   1.0   1.1   1.0   1.2   0.9   0.7   0.5
///   worst %       0.0   1.1   1.0   1.2   1.2   1.2   1.2   1.4   1.3   1.3   1.5   1.1   0.8   0.7
///
/// (With 5,101 cells a few removals in a thousand came to 1.5-1.6 %, with 6,007 to 1.58 %.) Letting shares differ by
/// 1 or 2 % was tried and gains nothing. Shares differ by one slot at most (1.6 % at the worst number of
/// backends). Memory: 28,032 bytes a service with 2 to 109 backends, 64 bytes with one; 5,000 services of 10
/// backends take 140 MB, so ls_ring wants 36 million slots for them. Cost of a build: about 5 steps a cell.
#include <cstdint>
#include <span>

#include "util/address.h"

namespace ls {

inline constexpr uint32_t kRingCells =
    7001;  ///< prime, so that every skip visits every cell; 438 blocks of ls_ring
inline constexpr uint32_t kRingMaxDoublings = 5;      ///< 224,032 slots
inline constexpr uint32_t kRingSlotsPerBackend = 64;  ///< at least so many: shares within 1/64

/// What a backend's places depend on: its address and port, nothing else, so that all nodes agree.
uint64_t ring_hash(const Endpoint& endpoint);

/// Slots of a ring for so many backends: 0 for none, 1 for one, else kRingCells times a power of two.
uint32_t ring_slots(uint32_t backends);

/// Where a flow hash falls.
constexpr uint32_t ring_index(uint32_t hash, uint32_t slots) {
  return uint32_t(uint64_t(hash) * slots >> 32);
}

struct RingMember {
  uint64_t hash = 0;    ///< ring_hash()
  uint32_t number = 0;  ///< what is written into its slots; no influence on which slots those are
};

/// Fills `out` with the numbers of `members` (at least one). out.size() is 1 or kRingCells times a power of
/// two; a ring of another size is an error of the caller and ends the process. The order of `members` does
/// not matter. With more members than slots the last ones by hash get none.
void build_ring(std::span<const RingMember> members, std::span<uint32_t> out);

}  // namespace ls
