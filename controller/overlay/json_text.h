#pragma once
/// JSON in and out, inside this folder's .cpp files only: the forward declarations keep the heavy header out of here.
/// Thread: any; pure. parse_json: nullopt for what is no JSON or is nested deeper than kMaxJsonDepth.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace ls::overlay {

inline constexpr int kMaxJsonDepth = 32;  ///< a state document has six

std::optional<nlohmann::json> parse_json(std::string_view text);
/// One line; octets that are no UTF-8 become the replacement character.
std::string json_text(const nlohmann::json&);

}  // namespace ls::overlay
