#pragma once
/// What a node has to know of the others: for each block of another node, to whom it goes (spec/cases/overlay, `map_mode`).
/// Thread: any; pure. Cost: linear in the allocations; changes come one by one from Allocator::observe.
#include <span>
#include <vector>

#include "overlay/model.h"

namespace ls::overlay {

struct PeerBlock {
  IpNetwork prefix;
  IpAddress agent;  ///< outer destination
  Mac mac{};        ///< of its VTEP
  uint32_t vni = kVni;
  auto operator<=>(const PeerBlock&) const = default;
};

/// The blocks of one allocation.
void append_blocks(const Allocation&, std::vector<PeerBlock>&);
/// Those of all nodes but `local`, sorted by prefix.
std::vector<PeerBlock> peer_blocks(std::span<const Allocation* const>, const IpAddress& local);

}  // namespace ls::overlay
