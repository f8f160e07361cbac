#pragma once
/// The routes of registered names: /v1/zones and below, /v1/registrations (docs/operate/registration.md).
/// Thread: the admin thread; a change waits for the disk.
#include <optional>
#include <string_view>
#include <vector>

#include "api/router.h"

namespace ls::api {

/// The reply when `request` is about registrations; nullopt: somebody else's path.
std::optional<Reply> registration_route(Provider& provider, FeedTexts& feeds, const Request& request);

/// For the list of routes in a 404.
std::vector<std::string_view> registration_route_list();

}  // namespace ls::api
