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

Reply not_leading_reply(const std::string& leader) {
  auto why = leader.empty() ? std::string("this master does not lead, and no other one is known to: try again") : "this master does not lead; send this to " + leader;
  nlohmann::json j{{"error", why}, {"leader", leader}};
  Reply r{.status = 503};
  r.body = j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (!leader.empty()) r.headers.push_back({"X-Loadstar-Leader", leader});
  return r;
}

}  // namespace ls::api
