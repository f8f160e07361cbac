#pragma once
/// The metrics of a node of the overlay; metrics_overlay.h has the allocator's. Thread: the admin thread. Labels are names of the plan
/// (at most 256) and the hooks and results of abi/overlay.h.
#include "api/metrics_family.h"
#include "api/overlay_node.h"

namespace ls::api {

/// Nothing for a node that takes no part.
void overlay_node_families(Families& out, OverlayNodeSource& source);

}  // namespace ls::api
