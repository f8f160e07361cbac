#include "api/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "api/decode.h"
#include "api/dns_kernel_views.h"
#include "api/dns_views.h"
#include "api/labels.h"
#include "api/overlay_node_views.h"
#include "api/params.h"
#include "api/router_dns.h"
#include "api/router_hub.h"
#include "api/router_overlay.h"
#include "api/router_overlay_node.h"
#include "api/router_records.h"
#include "api/router_registrations.h"
#include "api/routes.h"
#include "loadstar/abi/event.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

constexpr double kBeatLimitS = 10;  // WatchdogSec of the unit: what systemd would call dead, /livez calls dead

struct Call {
  Provider& provider;
  Metrics& metrics;
  const std::vector<LoopView>& own_loops;
  const Request& request;
  Params& params;
  const std::vector<std::string>& own_warnings;
  std::string_view rest;  ///< what follows a route that ends in "/"
};

/// The reply with an ETag of its content, or 304 when the client has that content already.
Reply with_etag(const Call& c, Reply r) {
  // Content and not a counter: equal after a restart of the daemon when nothing changed, different when something did.
  auto etag = fmt::format("\"{:016x}\"", hash_bytes(r.body.data(), r.body.size()));
  auto& had = c.request.if_none_match;
  if (had == "*" || had.find(etag) != had.npos) r = {.status = 304, .type = {}};
  r.headers.push_back({"ETag", etag});
  return r;
}

Reply failed(const Error& e) { return error_reply(500, e.text()); }

Reply livez(const Call& c) {
  Reply r{.type = "text/plain"};
  for (auto& l : c.provider.status().loops) {
    if (l.beat_age_s <= kBeatLimitS) continue;
    r.status = 503;
    r.body += fmt::format("loop {} stands still for {}\n", l.name, duration_text(l.beat_age_s));
  }
  if (r.body.empty()) r.body = "ok\n";
  return r;
}

Reply readyz(const Call& c) {
  bool verbose = c.params.flag("verbose");
  if (auto bad = c.params.refused()) return *bad;
  auto status = c.provider.status();
  Reply r{.status = status.ready ? 200u : 503u, .type = "text/plain"};
  if (verbose) {
    for (auto& s : status.startup) {
      r.body += fmt::format("[{}] {}", s.reached ? '+' : '-', s.name);
      if (s.reached) r.body += ", " + duration_text(s.age_s) + " ago";
      r.body += '\n';
    }
  }
  r.body += headline(status) + "\n";
  return r;
}

Reply metrics(const Call& c) {
  return {.type = "text/plain; version=0.0.4", .body = c.metrics.text(c.own_loops)};
}

Reply status(const Call& c) {
  auto s = c.provider.status();
  s.loops.insert(s.loops.end(), c.own_loops.begin(), c.own_loops.end());
  s.warnings.insert(s.warnings.end(), c.own_warnings.begin(), c.own_warnings.end());
  if (auto* source = c.provider.dns()) {
    s.dns = dns_status(*source);
    if (s.dns->kernel) {
      for (auto& w : kernel_warnings(*s.dns->kernel)) s.warnings.push_back(w);
    }
  }
  if (auto* source = c.provider.overlay(); source && source->allocates()) {
    s.overlay = source->master_view();
    if (!s.overlay->problem.empty()) s.warnings.push_back("no node gets addresses of the overlay: " + s.overlay->problem);
    if (!s.overlay->rejected.empty()) s.warnings.push_back("[overlay] is not in force, an older plan is: " + s.overlay->rejected);
  }
  if (auto* source = c.provider.overlay_node()) {
    if (auto view = source->view(); view && view->enabled) s.overlay_node = std::move(view);
    if (s.overlay_node) {
      for (auto& w : overlay_node_warnings(*s.overlay_node)) s.warnings.push_back(w);
    }
  }
  return json_reply(s);
}

Reply vips(const Call& c) { return with_etag(c, json_reply(spec_vips(c.provider.vips()))); }

/// The services that `vip` selects, all without it.
std::vector<VipView> selected(const Call& c) {
  auto wanted = c.params.selector<VipSelector>("vip");
  auto all = c.provider.vips();
  if (wanted) std::erase_if(all, [&](auto& v) { return !wanted->matches(v.key, v.name); });
  return all;
}

Reply services(const Call& c) {
  auto list = selected(c);
  if (auto bad = c.params.refused()) return *bad;
  Json out = Json::array();
  for (auto& v : list) out.push_back(v);
  return with_etag(c, json_reply(out));
}

Reply backends(const Call& c) {
  auto list = selected(c);
  if (auto bad = c.params.refused()) return *bad;
  return json_reply(backend_list(list));
}

Reply flows(const Call& c) {
  FlowFilter filter{.vip = c.params.selector<VipSelector>("vip"),
                    .backend = c.params.selector<BackendSelector>("backend"),
                    .state = std::nullopt};
  if (auto* text = c.params.find("state")) {
    filter.state = parse_flow_state(*text);
    if (!filter.state) {
      std::string known;
      for (auto s : kFlowStates) known += (known.empty() ? "" : ", ") + std::string(to_text(s));
      c.params.bad("state", "is one of " + known + ", not '" + *text + "'");
    }
  }
  auto limit = c.params.limit();
  if (auto bad = c.params.refused()) return *bad;
  auto list = c.provider.flows(filter, limit);
  if (!list) return failed(list.error());
  Json out{{"truncated", list->truncated}, {"flows", Json::array()}};
  for (auto& f : list->flows) out["flows"].push_back(f);
  return json_reply(out);
}

template <class T>
Reply list_reply(const Result<std::vector<T>>& list) {
  if (!list) return failed(list.error());
  return json_reply(Json(*list));
}

Reply maps(const Call& c) { return list_reply(c.provider.maps()); }
Reply drops(const Call& c) { return list_reply(c.provider.drops()); }
Reply stats(const Call& c) { return list_reply(c.provider.stats()); }

Reply map_dump(const Call& c) {
  auto limit = c.params.limit();
  bool all = c.params.flag("all");
  if (auto bad = c.params.refused()) return *bad;
  auto name = percent_decoded(c.rest);
  if (!name || name->empty()) return error_reply(404, "no map is named '" + std::string(c.rest) + "'");
  Reply r{.type = "application/x-ndjson"};
  size_t left = limit;
  bool truncated = false;
  auto done = c.provider.map_dump(*name, [&](const RawEntry& e) {
    if (!all && is_empty(e)) return true;
    if (left == 0) {
      truncated = true;
      return false;
    }
    left--;
    r.body += text_of(decode_entry(*name, e)) + "\n";
    return true;
  });
  if (!done) {
    if (done.error().code == std::errc::no_such_file_or_directory) return error_reply(404, "no map is named '" + *name + "'");
    if (done.error().code == std::errc::not_supported) return error_reply(409, done.error().text());
    return failed(done.error());
  }
  // In a header, so that every line of the body is an entry.
  r.headers.push_back({"X-Loadstar-Truncated", truncated ? "1" : "0"});
  return r;
}

/// "drop,new"
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    auto end = text.find(',');
    words.push_back(text.substr(0, end));
    if (end == text.npos) return words;
    text.remove_prefix(end + 1);
  }
}

/// What selects questions. Without `type` it asks for them.
void dns_filter(const Call& c, EventFilter& filter) {
  auto* name = c.params.find("name");
  auto* results = c.params.find("result");
  if (!name && !results) return;
  const char* given = name ? "name" : "result";
  if (!c.params.find("type")) filter.types = 1u << LS_EVENT_DNS;
  else if (!(filter.types >> LS_EVENT_DNS & 1)) c.params.bad(given, "selects DNS questions, so 'type' must have dns");
  if (name) {
    auto parsed = DnsName::parse(*name);
    if (parsed) filter.name = parsed->folded();
    else c.params.bad("name", ": " + parsed.error().text());
  }
  if (!results) return;
  filter.results = 0;
  for (auto word : words_of(*results)) {
    if (auto result = parse_dns_result(word)) *filter.results |= 1u << *result;
    else c.params.bad("result", fmt::format("is a list of {}, not '{}'", all_dns_results(), word));
  }
}

Reply monitor(const Call& c) {
  EventFilter filter;
  if (auto* text = c.params.find("type")) {
    filter.types = 0;
    for (auto word : words_of(*text)) {
      if (auto type = parse_event(word)) filter.types |= 1u << *type;
      else c.params.bad("type", fmt::format("is a list of {}, not '{}'", all_events(), word));
    }
  } else {
    filter.types = kDefaultEvents;
  }
  if (auto* text = c.params.find("hook")) {
    filter.hook = parse_hook(*text);
    filter.dns_hook = parse_dns_hook(*text);
    if (!filter.hook && !filter.dns_hook) {
      c.params.bad("hook", fmt::format("is one of {}, and of DNS {}, not '{}'", all_hooks(), all_dns_hooks(), *text));
    }
  }
  dns_filter(c, filter);
  filter.vip = c.params.selector<VipSelector>("vip");
  filter.backend = c.params.selector<BackendSelector>("backend");
  if (auto bad = c.params.refused()) return *bad;
  return {.type = "application/x-ndjson", .monitor = std::move(filter)};
}

const std::vector<Route<Call>>& routes() {
  static const std::vector<Route<Call>> kRoutes{
      {"/livez", livez, {}, "/livez"},
      {"/readyz", readyz, {"verbose"}, "/readyz?verbose"},
      {"/metrics", metrics, {}, "/metrics"},
      {"/v1/status", status, {}, "/v1/status"},
      {"/v1/vips", vips, {}, "/v1/vips"},
      {"/v1/services", services, {"vip"}, "/v1/services?vip="},
      {"/v1/backends", backends, {"vip"}, "/v1/backends?vip="},
      {"/v1/flows", flows, {"limit", "vip", "backend", "state"}, "/v1/flows?limit=&vip=&backend=&state="},
      {"/v1/maps", maps, {}, "/v1/maps"},
      {"/v1/maps/", map_dump, {"limit", "all"}, "/v1/maps/{name}?limit=&all="},
      {"/v1/drops", drops, {}, "/v1/drops"},
      {"/v1/stats", stats, {}, "/v1/stats"},
      {"/v1/monitor", monitor, {"type", "vip", "backend", "hook", "name", "result"}, "/v1/monitor?type=&vip=&backend=&hook=&name=&result="},
  };
  return kRoutes;
}

/// What TCP shows: what the reference showed there, what scrapers and followers need. Flows, maps and events of tenants stay on the
/// socket, whose group is the access control.
bool over_tcp(std::string_view path) {
  constexpr std::array kPaths{"/livez", "/readyz", "/metrics", "/v1/vips", "/v1/nodes", "/v1/version", "/v1/records", "/v1/metrics",
                              "/v1/zones", "/v1/registrations", "/lashup/key", "/overlay-master/state", "/overlay-master/agents/delete",
                              "/overlay-agent/overlay", "/v1/overlay/nodes", "/v1/overlay/allocations"};
  constexpr std::array kBelow{"/v1/hosts/", "/v1/services/", "/v1/metrics/", "/v1/zones/"};
  return std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end() ||
         std::any_of(kBelow.begin(), kBelow.end(), [&](auto* below) { return path.starts_with(below); });
}

Reply not_found(std::string_view path) {
  Json list = Json::array();
  for (auto shown : shown_paths(routes())) list.push_back(shown);
  for (auto shown : dns_route_list()) list.push_back(shown);
  for (auto shown : registration_route_list()) list.push_back(shown);
  for (auto shown : record_route_list()) list.push_back(shown);
  for (auto shown : overlay_node_route_list()) list.push_back(shown);
  for (auto shown : overlay_route_list()) list.push_back(shown);
  for (auto shown : hub_route_list()) list.push_back(shown);
  Reply r{.status = 404};
  r.body = text_of({{"error", "there is no path '" + std::string(path) + "'"}, {"routes", list}}) + "\n";
  return r;
}

}  // namespace

Reply Router::handle(const Request& request, const std::vector<LoopView>& own_loops) {
  auto path = path_of(request);
  if (!request.caller.on_socket && !over_tcp(path)) return error_reply(403, "this path is served on the unix socket only");
  if (auto reply = registration_route(provider_, feeds_, request)) return std::move(*reply);
  if (auto reply = record_route(provider_, metrics_, request, own_loops)) return std::move(*reply);
  if (auto reply = overlay_node_route(provider_, check_turn_, request)) return std::move(*reply);
  if (auto reply = overlay_route(provider_, request)) return std::move(*reply);
  if (auto reply = hub_route(provider_, request)) return std::move(*reply);
  if (auto reply = dns_route(provider_, request, request.caller.may_change)) return std::move(*reply);
  auto* route = route_of(routes(), path);
  if (!route) return not_found(path);
  if (auto wrong = wrong_method(*route, request)) return std::move(*wrong);
  Params params(query_of(request));
  params.only(route->params);
  if (auto bad = params.refused()) return *bad;
  return route->handle({provider_, metrics_, own_loops, request, params, warnings, path.substr(route->path.size())});
}

void Router::tick() {
  if (auto* registry = provider_.registry()) registry->expire(dns::RegistryTime::now());
  if (auto* overlay = provider_.overlay()) overlay->tick();
}

RouterPosition Router::position() const {
  RouterPosition out;
  if (auto* registry = provider_.registry()) {
    out.registrations = registry->position();
  } else if (auto followed = provider_.followed()) {
    out.registrations = followed->at;
  }
  if (auto* overlay = provider_.overlay()) out.overlay = overlay->feed_position();
  out.other_leads = provider_.other_leads();
  return out;
}

}  // namespace ls::api
