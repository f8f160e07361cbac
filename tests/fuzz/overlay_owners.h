#pragma once
/// The allocator's first promise, for the targets of the overlay, and the plan that they use.
#include <set>

#include "fuzz_input.h"
#include "overlay/allocator.h"

namespace ls::fuzz {

inline void one_owner(const overlay::Allocator& a) {
  std::set<IpAddress> vteps;
  std::set<IpNetwork> blocks;
  for (auto* n : a.nodes()) {
    auto& v = n->allocation.vtep;
    require(vteps.insert(v.v4.address).second, "one owner of a VTEP address");
    require(!v.v6 || vteps.insert(v.v6->address).second, "one owner of an IPv6 VTEP address");
    for (auto& s : n->allocation.shares) {
      require(!s.v4 || blocks.insert(*s.v4).second, "one owner of a block");
      require(!s.v6 || blocks.insert(*s.v6).second, "one owner of an IPv6 block");
      require(s.state == overlay::ShareState::kOk || (!s.v4 && !s.v6), "no block without its state");
    }
  }
}

/// Small pools, so that they are soon used up.
inline const overlay::Plan& base_plan() {
  static const overlay::Plan plan =
      overlay::read_plan(R"({"vtep_subnet": "44.128.0.0/28", "vtep_subnet6": "fd01:a::/120", "vtep_mac_oui": "70:B3:D5:00:00:00", "overlays": [
  {"name": "a", "subnet": "9.0.0.0/22", "prefix": 25}, {"name": "b", "subnet": "11.0.0.0/22", "prefix": 24, "subnet6": "fd01:b::/64", "prefix6": 67}]})")
          ->plan;
  return plan;
}

}  // namespace ls::fuzz
