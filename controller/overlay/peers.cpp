#include "overlay/peers.h"

#include <algorithm>

namespace ls::overlay {

void append_blocks(const Allocation& a, std::vector<PeerBlock>& out) {
  for (auto& s : a.shares) {
    for (auto* block : {&s.v4, &s.v6}) {
      if (*block) out.push_back({**block, a.node, a.vtep.mac, kVni});
    }
  }
}

std::vector<PeerBlock> peer_blocks(std::span<const Allocation* const> all, const IpAddress& local) {
  std::vector<PeerBlock> out;
  for (auto* a : all) {
    if (a->node != local) append_blocks(*a, out);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace ls::overlay
