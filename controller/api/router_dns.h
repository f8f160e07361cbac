#pragma once
/// The routes of the API about DNS: /v1/dns and below. Thread: the admin thread; replies that wait for a DNS worker are deferred.
#include <optional>
#include <string_view>
#include <vector>

#include "api/router.h"

namespace ls::api {

/// The reply when `request` is below /v1/dns; nullopt: somebody else's path. 404 when this node serves no DNS.
/// POST changes something, so `may_change` must be the caller's judgement of who asks.
std::optional<Reply> dns_route(Provider& provider, const Request& request, bool may_change);

/// For the list of routes in a 404.
std::vector<std::string_view> dns_route_list();

}  // namespace ls::api
