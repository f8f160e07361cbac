#pragma once
/// What `loadstar status` says of the cluster's machinery: the hub that is served, the hub that is followed, agents that cannot be reached, the
/// masters that ZooKeeper names; and what is wrong with them, as warnings.
/// Thread: control loop, once a second. Cost: copies of a few dozen values and at most api::kShownAgents addresses.
#include "api/views.h"
#include "app/settings.h"
#include "util/clock.h"

namespace ls {

class Cluster;
class HubFeed;

/// Adds to `view`, whose source is filled already. `cluster` may be null: it is not there yet.
void describe_cluster(api::StatusView& view, const Config& config, const Cluster* cluster, const HubFeed& hub, Instant now);

}  // namespace ls
