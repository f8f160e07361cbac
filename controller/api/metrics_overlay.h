#pragma once
/// The metrics of the overlay's allocator. Thread: the admin thread. Labels are names and pools of the configuration, at most 512.
#include "api/metrics_family.h"
#include "api/overlay_source.h"

namespace ls::api {

void overlay_families(Families& out, OverlaySource& source);

}  // namespace ls::api
