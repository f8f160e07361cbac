#include <nlohmann/json.hpp>

#include "api/router.h"

namespace ls::api {

Reply error_reply(unsigned status, std::string_view text, std::string_view parameter) {
  nlohmann::json j{{"error", text}};
  if (!parameter.empty()) j["parameter"] = parameter;
  Reply r{.status = status};
  r.body = j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  return r;
}

}  // namespace ls::api
