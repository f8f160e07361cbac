#include "api/router_overlay_node.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "api/overlay_node_views.h"
#include "api/params.h"
#include "api/routes.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kNodes = "/v1/overlay/nodes";
constexpr std::string_view kNoPart = "this node takes no part in the overlay";

struct Call {
  Provider& provider;
  OverlayCheckTurn& turn;
  Params& params;
};

/// Null: this node takes no part.
OverlayNodeSource* taking_part(Provider& provider) {
  auto* source = provider.overlay_node();
  auto view = source ? source->view() : nullptr;
  return view && view->enabled ? source : nullptr;
}

Reply node(const Call& c) {
  auto* source = taking_part(c.provider);
  if (!source) return error_reply(404, kNoPart);
  return json_reply(overlay_node_json(*source->view()));
}

/// A parameter that is the address of a node, in the one form that the views have.
std::optional<std::string> address_of(Params& params, const char* name) {
  auto* text = params.find(name);
  if (!text || text->empty()) return std::nullopt;
  auto address = IpAddress::parse(*text);
  if (address) return address->text();
  params.bad(name, "is the address of a node, not '" + *text + "'");
  return std::nullopt;
}

/// The address below one, so that a list after it begins with that one.
std::string before(const std::string& address) {
  auto a = IpAddress::parse(address);
  return a && a->is_v4() && a->v4() > 0 ? IpAddress::from_v4(a->v4() - 1).text() : "";
}

using NodesAfter = std::function<std::vector<OverlayPeerView>(const std::string& after, size_t most)>;

/// Whoever knows the nodes: this node's own copy, else the allocator.
NodesAfter who_lists(Provider& provider) {
  if (auto* source = taking_part(provider)) return [source](auto& after, size_t most) { return source->nodes(after, most); };
  if (auto* source = provider.overlay(); source && source->allocates()) return [source](auto& after, size_t most) { return source->nodes(after, most); };
  return {};
}

Reply nodes(const Call& c) {
  OverlayPeerFilter filter;
  if (auto* text = c.params.find("overlay"); text && !text->empty()) filter.overlay = *text;
  if (auto* text = c.params.find("state"); text && !text->empty()) {
    filter.state = *text;
    if (!is_overlay_share_state(*text)) c.params.bad("state", "is ok, exhausted or conflict, not '" + *text + "'");
  }
  auto only = address_of(c.params, "node");
  auto after = only ? before(*only) : address_of(c.params, "after").value_or("");
  size_t left = c.params.find("limit") ? c.params.limit() : SIZE_MAX;
  if (auto bad = c.params.refused()) return *bad;
  auto list = who_lists(c.provider);
  if (!list) return error_reply(404, std::string(kNoPart) + " and gives no addresses out");
  struct State {
    NodesAfter list;
    OverlayPeerFilter filter;
    std::optional<std::string> only;
    std::string after;
    size_t left;
    bool ended = false;
  };
  auto s = std::make_shared<State>(State{std::move(list), std::move(filter), std::move(only), std::move(after), left});
  Reply r;
  r.parts = list_of("[\n", [s]() -> std::optional<std::vector<Json>> {
    if (s->ended || s->left == 0) return std::nullopt;
    const size_t most = s->only ? 1 : kNodesAPiece;
    auto page = s->list(s->after, most);
    s->ended = s->only || page.size() < most;
    std::vector<Json> out;
    for (auto& p : page) {
      // The page's last is where the next one begins, matched or not. An order that does not rise would never end.
      if (p.node == s->after) s->ended = true;
      s->after = p.node;
      if (s->left == 0 || (s->only && p.node != *s->only) || !s->filter.matches(p)) continue;
      out.push_back(overlay_peer_json(p));
      s->left--;
    }
    return out;
  }, "]\n");
  return r;
}

Reply trace(const Call& c) {
  auto* text = c.params.find("address");
  if (!text || text->empty()) c.params.bad("address", "is missing");
  if (auto bad = c.params.refused()) return *bad;
  auto* source = taking_part(c.provider);
  if (!source) return error_reply(404, kNoPart);
  auto found = source->trace(*text);
  if (found) return json_reply(overlay_trace_json(*found));
  bool wrong = found.error().code == std::errc::invalid_argument;
  return wrong ? error_reply(400, found.error().text(), "address") : error_reply(500, found.error().text());
}

/// Counts first, then the pairs, made while they are sent.
Reply check_reply(OverlayCheckView view) {
  auto head = text_of(overlay_check_json(view));
  head.back() = ',';
  struct State {
    OverlayCheckView view;
    size_t at = 0;
  };
  auto s = std::make_shared<State>(State{std::move(view)});
  Reply r;
  r.parts = list_of(head + "\"results\":[\n", [s]() -> std::optional<std::vector<Json>> {
    auto& all = s->view.results;
    if (s->at == all.size()) return std::nullopt;
    std::vector<Json> out;
    while (s->at < all.size() && out.size() < kNodesAPiece) out.push_back(overlay_check_result_json(all[s->at++]));
    return out;
  }, "]}\n");
  return r;
}

Reply check(const Call& c) {
  auto node = address_of(c.params, "node");
  if (auto bad = c.params.refused()) return *bad;
  auto* source = taking_part(c.provider);
  if (!source) return error_reply(404, kNoPart);
  auto number = c.turn.begin(std::chrono::steady_clock::now());
  if (!number) return error_reply(409, "another check is running; it ends within a minute");
  Reply r;
  r.patience = kOverlayCheckTime;
  r.later = [source, node = node.value_or(""), end = c.turn.ender(number)](Reply::Finish finish) {
    source->check(node, [end, finish = std::move(finish)](OverlayCheckView view) {
      end();
      finish([view = std::move(view)]() mutable { return check_reply(std::move(view)); });
    });
  };
  return r;
}

const std::vector<Route<Call>>& routes() {
  static const std::vector<Route<Call>> kRoutes{
      {"/v1/overlay/node", node, {}, "/v1/overlay/node"},
      {kNodes, nodes, {"node", "overlay", "state", "after", "limit"}, "/v1/overlay/nodes?node=&overlay=&state=&after=&limit="},
      {"/v1/overlay/trace", trace, {"address"}, "/v1/overlay/trace?address="},
      {"/v1/overlay/check", check, {"node"}, "POST /v1/overlay/check?node=", true},
  };
  return kRoutes;
}

}  // namespace

std::vector<std::string_view> overlay_node_route_list() { return shown_paths(routes()); }

std::optional<Reply> overlay_node_route(Provider& provider, OverlayCheckTurn& turn, const Request& q) {
  auto* route = route_of(routes(), path_of(q));
  if (!route) return std::nullopt;
  if (route->path == kNodes && !reads(q)) return std::nullopt;  // a registration
  if (auto wrong = wrong_method(*route, q)) return wrong;
  if (!q.caller.on_socket) return error_reply(403, "this is served on the unix socket only");
  if (route->post && !q.caller.may_change) return error_reply(q.caller.refusal_status, q.caller.refusal);
  Params params(query_of(q));
  params.only(route->params);
  if (auto bad = params.refused()) return bad;
  return route->handle({provider, turn, params});
}

}  // namespace ls::api
