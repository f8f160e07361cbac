#pragma once
/// The text of `loadstar status`, made from the JSON of GET /v1/status. Thread: pure.
#include <nlohmann/json_fwd.hpp>
#include <cstdint>
#include <string>

namespace ls::cli {

/// `wide` adds what is well: every probe, attachment, map and loop. Throws nlohmann's errors on a shape that is not ours.
/// `watchdog`: watchdog_text(), empty where there is none.
std::string status_text(const nlohmann::json& status, bool wide, const std::string& watchdog = {});
/// From the state file of loadstar-watchdog(8). Throws as status_text.
std::string watchdog_text(const nlohmann::json& state, int64_t now_unix_ms);

/// The line about DNS answers in the kernel, from `dns.kernel` of the status or GET /v1/dns/kernel; a second one when there is a problem.
std::string kernel_text(const nlohmann::json& kernel);
/// How this node's overlay stands, from `overlay_node` of the status or GET /v1/overlay/node; further lines when there is trouble.
std::string overlay_node_text(const nlohmann::json& node);

}  // namespace ls::cli
