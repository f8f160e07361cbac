#pragma once
/// The route of the hub that a master serves: who follows. Thread: the admin thread, which does not wait for the hub's: the reply comes when that one
/// has answered, and is 504 when it does not within kHubPatience.
#include <optional>
#include <string_view>
#include <vector>

#include "api/router.h"

namespace ls::api {

inline constexpr Millis kHubPatience{5'000};

/// The reply when `request` is one of these; nullopt: somebody else's path.
std::optional<Reply> hub_route(Provider& provider, const Request& request);

/// For the list of routes in a 404.
std::vector<std::string_view> hub_route_list();

}  // namespace ls::api
