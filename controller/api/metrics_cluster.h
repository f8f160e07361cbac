#pragma once
/// The metrics of the cluster's machinery: hub, follower, agents, ZooKeeper, turns. Thread: the admin thread. No labels but the role of a
/// connection, so a master has the same number of series with 2 followers and with 12,000.
#include "api/metrics_family.h"
#include "api/views.h"

namespace ls::api {

/// What this node takes part in; nothing for the rest.
void cluster_families(Families& out, const StatusView& status);

}  // namespace ls::api
