#pragma once
/// The routes of the overlay in the shapes of the original (spec/overlay-modules.md section 10), and the capacity report.
/// Thread: the admin thread; a delete waits for the disk.
#include <optional>
#include <string_view>
#include <vector>

#include "api/router.h"

namespace ls::api {

/// The reply when `request` is one of these; nullopt: somebody else's path.
std::optional<Reply> overlay_route(Provider& provider, const Request& request);

/// For the list of routes in a 404.
std::vector<std::string_view> overlay_route_list();

}  // namespace ls::api
