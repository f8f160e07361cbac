#pragma once
/// The routes that show the overlay as a node has it: /v1/overlay/node, nodes, trace and check. All on the unix socket only.
/// Thread: the admin thread. The list of nodes is made in pieces while it is sent, kNodesAPiece at a time.
#include <optional>
#include <string_view>
#include <vector>

#include "api/router.h"

namespace ls::api {

inline constexpr size_t kNodesAPiece = 256;  ///< about 100 kB of text, under 2 ms to make

/// The reply when `request` is one of these; nullopt: somebody else's path, or another method of /v1/overlay/nodes.
std::optional<Reply> overlay_node_route(Provider& provider, OverlayCheckTurn& turn, const Request& request);

/// For the list of routes in a 404.
std::vector<std::string_view> overlay_node_route_list();

}  // namespace ls::api
