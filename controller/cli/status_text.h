#pragma once
/// The text of `loadstar status`, made from the JSON of GET /v1/status. Thread: pure.
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace ls::cli {

/// `wide` adds what is well: every probe, attachment, map and loop. Throws nlohmann's errors on a shape that is not ours.
std::string status_text(const nlohmann::json& status, bool wide);

}  // namespace ls::cli
