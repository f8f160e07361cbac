#include "api/router_hub.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/params.h"
#include "api/routes.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using Followers = std::vector<HubFollowerView>;

constexpr size_t kAPiece = 500;  // 80 kB; then other requests have a turn

struct Call {
  Provider& provider;
};

Reply list_reply(Followers all) {
  Reply r;
  r.parts = list_of("[\n", [all = std::make_shared<Followers>(std::move(all)), at = size_t(0)]() mutable -> std::optional<std::vector<Json>> {
    if (at == all->size()) return std::nullopt;
    std::vector<Json> out;
    for (size_t end = std::min(all->size(), at + kAPiece); at < end; at++) out.push_back((*all)[at]);
    return out;
  }, "]\n");
  return r;
}

Reply followers(const Call& c) {
  Reply r;
  r.patience = kHubPatience;
  r.later = [&provider = c.provider](Reply::Finish done) {
    auto shared = std::make_shared<Reply::Finish>(std::move(done));
    bool asked = provider.hub_followers([shared](Followers all) { (*shared)([all = std::move(all)]() mutable { return list_reply(std::move(all)); }); });
    if (!asked) (*shared)([] { return error_reply(404, "this node serves no hub"); });
  };
  return r;
}

const std::vector<Route<Call>>& routes() {
  static const std::vector<Route<Call>> kRoutes{{"/v1/hub/followers", followers, {}, "/v1/hub/followers"}};
  return kRoutes;
}

}  // namespace

std::vector<std::string_view> hub_route_list() { return shown_paths(routes()); }

std::optional<Reply> hub_route(Provider& provider, const Request& q) {
  auto* route = route_of(routes(), path_of(q));
  if (!route) return std::nullopt;
  if (auto wrong = wrong_method(*route, q)) return wrong;
  Params params(query_of(q));
  params.only(route->params);
  if (auto bad = params.refused()) return bad;
  return route->handle({provider});
}

}  // namespace ls::api
