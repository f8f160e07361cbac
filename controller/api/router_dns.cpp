#include "api/router_dns.h"

#include <nlohmann/json.hpp>
#include <random>

#include "api/dns_kernel_views.h"
#include "api/dns_message.h"
#include "api/dns_views.h"
#include "api/params.h"
#include "api/routes.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

struct Call {
  DnsSource& dns;
  Params& params;
  std::string_view rest;
};

Reply overview(const Call& c) { return json_reply(dns_json(c.dns)); }
Reply zones(const Call& c) { return json_reply(zones_json(c.dns)); }

std::optional<dns::ServiceKind> wanted_service(const Call& c) {
  auto* text = c.params.find("service");
  if (!text) return std::nullopt;
  auto kind = parse_service(*text);
  if (!kind) c.params.bad("service", "is authority or resolver, not '" + *text + "'");
  else if (!c.dns.routes(*kind)) c.params.bad("service", "'" + *text + "' is not served by this node");
  return kind;
}

Reply zone(const Call& c) {
  auto service = wanted_service(c);
  if (auto bad = c.params.refused()) return *bad;
  auto text = percent_decoded(c.rest);
  auto apex = text ? DnsName::parse(*text) : fail("it has a '%' without two hexadecimal digits");
  if (!apex) return error_reply(404, "no zone is named '" + std::string(c.rest) + "': " + apex.error().text());
  auto found = find_zone(c.dns, *apex, service);
  if (!found) return error_reply(404, "no zone of this node is named '" + apex->text() + "'");
  return {.type = "text/dns", .body = zone_text(*found, c.dns.epoch())};
}

/// What was asked for, checked.
struct Asked {
  DnsName name;
  RrType type = RrType::kA;
  dns::ServiceKind service = dns::ServiceKind::kResolver;
};

std::optional<Asked> asked(const Call& c) {
  Asked a;
  if (auto* text = c.params.find("name")) {
    auto name = DnsName::parse(*text);
    if (name) a.name = *name;
    else c.params.bad("name", ": " + name.error().text());
  } else {
    c.params.bad("name", "is missing");
  }
  if (auto* text = c.params.find("type"); text && !text->empty()) {
    auto type = parse_rr_type(*text);
    if (!type) c.params.bad("type", "'" + *text + "' is no type of DNS records");
    else if (*type == RrType::kAxfr || *type == RrType::kIxfr) c.params.bad("type", "is a transfer; /v1/dns/zones/{zone} gives a zone's text");
    else if (*type == RrType::kOpt || *type == RrType::kTsig) c.params.bad("type", "'" + *text + "' cannot be asked for");
    else a.type = *type;
  }
  if (auto service = wanted_service(c)) a.service = *service;
  else if (!c.dns.routes(dns::ServiceKind::kResolver)) a.service = dns::ServiceKind::kAuthority;
  if (c.params.refused()) return std::nullopt;
  return a;
}

uint16_t random_id() {
  static thread_local std::random_device device;
  return uint16_t(device());
}

Json result_json(const Asked& a, const dns::Explained& e) {
  Json j = {{"name", a.name.text()},
            {"type", to_text(a.type)},
            {"service", dns::to_text(a.service)},
            {"path", dns::to_text(e.path)},
            {"took_ms", e.took_ms}};
  if (auto shown = show_message(e.answer)) j.update(*shown);
  else j["error"] = shown.error().text();
  return j;
}

/// What of our own data stands behind the answer.
Json zone_part(DnsSource& source, const Asked& a) {
  auto routes = source.routes(a.service);
  if (!routes) return nullptr;
  auto folded = a.name.folded();
  auto route = routes->find(folded.wire());
  if (!route.zone) return nullptr;
  auto j = zone_json({a.service, route.zone, routes, {}});
  j["alias"] = route.zone->is_alias;
  j["origins"] = source.origins(route.zone->apex, folded.relative_to(route.zone->apex));
  return j;
}

Json trace_json(const dns::Forwarder::Trace& t) {
  Json list = Json::array();
  for (auto& one : t.asked) {
    list.push_back({{"upstream", one.upstream.text()}, {"tcp", one.tcp}, {"at_ms", one.at_ms}, {"took_ms", one.took_ms},
                    {"outcome", one.outcome}});
  }
  return {{"group", t.group}, {"source", t.source}, {"asked", std::move(list)}};
}

Reply ask_server(const Call& c, const Asked& a, std::vector<uint8_t> question, std::function<Json(const Asked&, const dns::Explained&)> show) {
  Reply r;
  r.later = [&dns = c.dns, a, question = std::move(question), show = std::move(show)](Reply::Finish finish) {
    dns.explain(a.service, question, [a, show, finish = std::move(finish)](dns::Explained e) {
      finish([a, show, e = std::move(e)] { return json_reply(show(a, e)); });
    });
  };
  return r;
}

Reply lookup(const Call& c) {
  auto a = asked(c);
  if (!a) return *c.params.refused();
  return ask_server(c, *a, make_question(a->name, a->type, random_id()), result_json);
}

Reply explain(const Call& c) {
  auto a = asked(c);
  if (!a) return *c.params.refused();
  auto question = make_question(a->name, a->type, random_id());
  // Taken now: by the time the answer comes the daemon may be ending. The kernel first, so that it is seen as a client would find it
  // and not with an answer that this very question brought into the cache.
  auto kernel = c.dns.kernel_try(a->service, question);
  return ask_server(c, *a, std::move(question), [zone = zone_part(c.dns, *a), kernel = std::move(kernel)](const Asked& same, const dns::Explained& e) {
    auto j = result_json(same, e);
    j["rule"] = e.rule;
    j["zone"] = zone;
    j["forward"] = trace_json(e.trace);
    j["kernel"] = kernel ? kernel_try_json(*kernel, e.answer) : Json(nullptr);
    j["cache_left_s"] = e.cache_left_s ? Json(*e.cache_left_s) : Json(nullptr);
    return j;
  });
}

Reply kernel(const Call& c) {
  bool zeros = c.params.flag("all");
  if (auto bad = c.params.refused()) return *bad;
  auto view = c.dns.kernel();
  if (!view) return error_reply(404, "no DNS programs are in the kernel");
  return json_reply(kernel_json(*view, zeros));
}

Reply flush(const Call& c) {
  DnsName suffix;
  if (auto* text = c.params.find("name"); text && !text->empty()) {
    auto name = DnsName::parse(*text);
    if (name) suffix = *name;
    else c.params.bad("name", ": " + name.error().text());
  }
  if (auto bad = c.params.refused()) return *bad;
  return json_reply({{"name", suffix.text()}, {"flushed", c.dns.flush(suffix)}});
}

const std::vector<Route<Call>>& routes() {
  static const std::vector<Route<Call>> kRoutes{
      {"/v1/dns", overview, {}, "/v1/dns"},
      {"/v1/dns/zones", zones, {}, "/v1/dns/zones"},
      {"/v1/dns/zones/", zone, {"service"}, "/v1/dns/zones/{zone}?service="},
      {"/v1/dns/lookup", lookup, {"name", "type", "service"}, "/v1/dns/lookup?name=&type=&service="},
      {"/v1/dns/explain", explain, {"name", "type", "service"}, "/v1/dns/explain?name=&type=&service="},
      {"/v1/dns/kernel", kernel, {"all"}, "/v1/dns/kernel?all="},
      {"/v1/dns/flush", flush, {"name"}, "POST /v1/dns/flush?name=", true},
  };
  return kRoutes;
}

}  // namespace

std::vector<std::string_view> dns_route_list() { return shown_paths(routes()); }

std::optional<Reply> dns_route(Provider& provider, const Request& request, bool may_change) {
  auto path = path_of(request);
  auto* route = route_of(routes(), path);
  if (!route) return std::nullopt;
  if (auto wrong = wrong_method(*route, request)) return wrong;
  if (route->post && !may_change) return error_reply(403, "nothing can be changed through this listener");
  auto* source = provider.dns();
  if (!source) return error_reply(404, "this node serves no DNS");
  Params params(query_of(request));
  params.only(route->params);
  if (auto bad = params.refused()) return bad;
  return route->handle({*source, params, path.substr(route->path.size())});
}

}  // namespace ls::api
