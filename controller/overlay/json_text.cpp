#include "overlay/json_text.h"

#include <nlohmann/json.hpp>

namespace ls::overlay {

using Json = nlohmann::json;

std::optional<Json> parse_json(std::string_view text) {
  bool deep = false;
  auto limit = [&](int depth, Json::parse_event_t, Json&) {
    deep = deep || depth > kMaxJsonDepth;
    return !deep;
  };
  auto json = Json::parse(text.begin(), text.end(), limit, false);
  if (deep || json.is_discarded()) return std::nullopt;
  return json;
}

std::string json_text(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace ls::overlay
