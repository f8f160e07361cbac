#pragma once
/// The reference's read endpoints (spec/spartan-dns.md 9): nodes, version, config, hosts, services, records, metrics by registry,
/// the public half of the cluster's key. Thread: the admin thread. Cost: /v1/records is O(records); the rest is small.
#include <optional>
#include <string_view>
#include <vector>

#include "api/router.h"

namespace ls::api {

/// The reply when `request` is one of these; nullopt: somebody else's path.
std::optional<Reply> record_route(Provider& provider, Metrics& metrics, const Request& request, const std::vector<LoopView>& own_loops);

/// For the list of routes in a 404.
std::vector<std::string_view> record_route_list();

}  // namespace ls::api
