#pragma once
/// The overlay of a node as JSON, and what of it the status says. Thread: the admin thread; plain values.
/// Names, details and errors come from other nodes and from files: they are shown as they are, and nothing here depends on them.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/overlay_node.h"
#include "util/address.h"

namespace ls::api {

/// The whole of GET /v1/overlay/node.
nlohmann::json overlay_node_json(const OverlayNodeView&);
/// What GET /v1/status has of it.
nlohmann::json overlay_node_summary_json(const OverlayNodeView&);
/// Beside the daemon's own warnings.
std::vector<std::string> overlay_node_warnings(const OverlayNodeView&);

nlohmann::json overlay_peer_json(const OverlayPeerView&);
nlohmann::json overlay_trace_json(const OverlayTraceView&);
/// `results` is not in it.
nlohmann::json overlay_check_json(const OverlayCheckView&);
nlohmann::json overlay_check_result_json(const OverlayCheckResult&);

/// What of the nodes is asked for; nullopt: whatever it is. A node is shown when one of its shares is of this overlay and in this state.
struct OverlayPeerFilter {
  std::optional<std::string> overlay, state;
  bool matches(const OverlayPeerView&) const;
};
bool is_overlay_share_state(std::string_view text);  ///< "ok", "exhausted", "conflict"

/// The half of a share that Mesos (top host bit 0) or Docker (1) containers get: "9.0.0.128/25". Empty: no network, or one of single addresses.
std::string overlay_half(const std::string& share, bool docker);

}  // namespace ls::api
