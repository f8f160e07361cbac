#pragma once
/// What a cluster of the original's overlay modules has given away, read from its /overlay-master/state (spec/overlay-modules.md 10.1), for a
/// cluster that moves over node by node: every node of it is registered with what it holds, so that nobody else gets that, and nodes
/// that have moved already know those that have not. Each is known by its address alone until it registers itself.
///
/// Thread: any; pure. Errors name the place ("agents[3].overlays[0].subnet"). Keys that are not needed are passed over.
#include <string_view>
#include <vector>

#include "overlay/allocation_draft.h"
#include "util/result.h"

namespace ls::overlay {

inline constexpr size_t kMaxOldState = 64 << 20;  ///< 65,536 agents with two overlays

Result<std::vector<RegisterRequest>> parse_old_state(std::string_view text);

}  // namespace ls::overlay
