#pragma once
/// What a registration would give a node: the rules of allocation, without doing anything.
///
/// Thread: any; pure. A node keeps what it has for ever; every enabled overlay it lacks is added; lowest free first. What a node runs
/// already and nobody has is adopted. Per overlay all families or none, and the state says why there is none.
/// Cost: logarithmic an overlay; saying whose a conflicting block is asks `owner`, which may be linear.
/// Source: spec/overlay-modules.md 4 and 6.6, spec/cases/overlay/README.md.
#include <functional>
#include <string>
#include <vector>

#include "overlay/plan_pools.h"

namespace ls::overlay {

/// What a node says it runs, as it wrote it: what is no address or block is answered, not dropped. Empty: nothing.
struct Holding {
  std::string vtep4, vtep6;  ///< "44.128.0.3/20"
  struct Block {
    std::string overlay, v4, v6;
  };
  std::vector<Block> blocks;
};

struct RegisterRequest {
  IpAddress node;
  std::string id;  ///< at most 64 printable characters; empty: known by its address alone
  bool allocate_subnet = true, mesos_bridge = true, docker_bridge = true;
  Holding holding;
};

struct Draft {
  Allocation allocation;
  std::vector<std::string> notes;  ///< what the node said that was not followed
  unsigned adopted = 0;            ///< addresses and blocks taken over from what it holds
};

/// Who has a block: "10.0.0.4".
using OwnerOf = std::function<std::string(const IpNetwork&)>;

/// `known`: what the node has. Refused: vtep-exhausted, vtep6-exhausted.
tl::expected<Draft, Refusal> draft(const PlanPools&, const Allocation* known, const RegisterRequest&, const OwnerOf& owner);

}  // namespace ls::overlay
