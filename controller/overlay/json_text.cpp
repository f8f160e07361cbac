#include "overlay/json_text.h"

#include <nlohmann/json.hpp>

namespace ls::overlay {

using Json = nlohmann::json;

namespace {

/// Whether more objects and lists than kMaxJsonDepth are open at one place. Of a text that is no JSON the answer does not matter. The
/// parser's own callback would look at all elements of a list again after each of them.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (c == '"') quoted = !quoted;
    else if (quoted) i += c == '\\';
    else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth) return true;
    } else if (c == '}' || c == ']') depth--;
  }
  return false;
}

}  // namespace

std::optional<Json> parse_json(std::string_view text) {
  if (too_deep(text)) return std::nullopt;
  auto json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

std::string json_text(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace ls::overlay
