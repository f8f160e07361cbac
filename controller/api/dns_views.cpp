#include "api/dns_views.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace ls::api {
namespace {

using Json = nlohmann::json;
constexpr dns::ServiceKind kKinds[] = {dns::ServiceKind::kAuthority, dns::ServiceKind::kResolver};

Json counters_json(dns::ServiceKind kind, const dns::ServiceCounters& c) {
  Json responses = Json::object();
  for (size_t p = 0; p < dns::kPaths; p++) {
    Json by_rcode = Json::object();
    for (size_t r = 0; r < c.responses[p].size(); r++) {
      if (c.responses[p][r]) by_rcode[std::string(dns::to_text(dns::Rcode(r)))] = c.responses[p][r];
    }
    if (!by_rcode.empty()) responses[std::string(dns::to_text(dns::Path(p)))] = std::move(by_rcode);
  }
  return {{"service", dns::to_text(kind)},
          {"udp_queries", c.udp_queries},
          {"tcp_queries", c.tcp_queries},
          {"responses", std::move(responses)},
          {"ignored", c.ignored},
          {"denied", c.denied},
          {"rate_slipped", c.slipped},
          {"rate_dropped", c.rate_dropped},
          {"truncated", c.truncated},
          {"transfers", c.transfers},
          {"tcp", {{"open", c.tcp_open}, {"accepted", c.tcp_accepted}, {"refused", c.tcp_refused}, {"timeouts", c.tcp_timeouts}}}};
}

Json upstream_json(const dns::UpstreamView& u) {
  Json events = Json::object();
  for (auto& [name, count] : u.events) events[name] = count;
  return {{"upstream", u.endpoint.text()},
          {"rtt_ms", u.rtt_ms},
          {"p95_ms", u.p95_ms},
          {"failure_share", u.failure_share},
          {"aside", u.aside},
          {"loop", u.loop},
          {"reason", u.reason},
          {"queries", u.queries},
          {"good", u.good},
          {"in_flight", u.in_flight},
          {"events", std::move(events)}};
}

std::string bound_text(const dns::ListenerView& l) { return l.udp && l.tcp ? "udp, tcp" : l.udp ? "udp" : l.tcp ? "tcp" : "none"; }

}  // namespace

std::optional<dns::ServiceKind> parse_service(std::string_view text) {
  for (auto kind : kKinds) {
    if (dns::to_text(kind) == text) return kind;
  }
  return std::nullopt;
}

std::vector<ZoneStatus> list_zones(DnsSource& source) {
  std::vector<ZoneStatus> out;
  for (auto kind : kKinds) {
    auto routes = source.routes(kind);
    if (!routes) continue;
    auto begin = out.size();
    std::map<const dns::ZoneTable*, size_t> first;
    for (auto& view : routes->views()) {
      if (view.is_alias) continue;
      first.try_emplace(view.table.get(), out.size());
      out.push_back({kind, &view, routes, {}});
    }
    for (auto& view : routes->views()) {
      auto own = first.find(view.table.get());
      if (view.is_alias && own != first.end()) out[own->second].aliases.push_back(view.apex.text());
    }
    for (auto i = begin; i < out.size(); i++) std::sort(out[i].aliases.begin(), out[i].aliases.end());
    std::sort(out.begin() + ptrdiff_t(begin), out.end(), [](auto& a, auto& b) { return a.view->apex.text() < b.view->apex.text(); });
  }
  return out;
}

std::optional<ZoneStatus> find_zone(DnsSource& source, const DnsName& apex, std::optional<dns::ServiceKind> service) {
  auto wanted = apex.folded();
  for (auto kind : {dns::ServiceKind::kResolver, dns::ServiceKind::kAuthority}) {
    if (service && *service != kind) continue;
    auto routes = source.routes(kind);
    if (!routes) continue;
    for (auto& view : routes->views()) {
      if (view.apex.folded() == wanted) return ZoneStatus{kind, &view, routes, {}};
    }
  }
  return std::nullopt;
}

DnsStatus dns_status(DnsSource& source) {
  DnsStatus out;
  auto view = source.view();
  for (auto& l : view.listeners) {
    out.listeners++;
    if (l.udp && l.tcp) continue;
    auto text = std::string(dns::to_text(l.service)) + " " + l.endpoint.text() + ": bound: " + bound_text(l);
    if (!l.error.empty()) text += ", " + l.error;
    out.unbound.push_back(std::move(text));
  }
  for (auto& l : source.http_listeners()) {
    out.listeners++;
    if (!l.bound) out.unbound.push_back("mesos-dns " + l.endpoint.text() + ": bound: none" + (l.error.empty() ? "" : ", " + l.error));
  }
  for (auto& z : list_zones(source)) {
    out.zones++;
    if (!z.view->table->loaded()) out.not_loaded.push_back(std::string(dns::to_text(z.service)) + " " + z.view->apex.text());
  }
  out.kernel = source.kernel();
  for (auto& u : view.upstreams) {
    out.upstreams++;
    if (u.aside || u.loop) out.aside.push_back(u.endpoint.text() + (u.reason.empty() ? "" : " (" + u.reason + ")"));
  }
  return out;
}

Json zone_json(const ZoneStatus& z) {
  auto& table = *z.view->table;
  return {{"zone", z.view->apex.text()}, {"service", dns::to_text(z.service)}, {"aliases", z.aliases},
          {"loaded", table.loaded()},    {"serial", table.serial()},           {"names", table.names()},
          {"records", table.records()},  {"bytes", table.bytes()},             {"ttl", z.view->ttl},
          {"faults", table.faults()},    {"transferable", z.view->transferable}};
}

Json zones_json(DnsSource& source) {
  Json out = Json::array();
  for (auto& z : list_zones(source)) out.push_back(zone_json(z));
  return out;
}

Json dns_json(DnsSource& source) {
  auto view = source.view();
  Json listeners = Json::array(), services = Json::array(), upstreams = Json::array(), forwards = Json::array();
  for (auto& l : view.listeners) {
    listeners.push_back({{"service", dns::to_text(l.service)}, {"endpoint", l.endpoint.text()}, {"udp", l.udp}, {"tcp", l.tcp},
                         {"error", l.error}});
  }
  for (auto& l : source.http_listeners()) {
    listeners.push_back({{"service", "mesos-dns"}, {"endpoint", l.endpoint.text()}, {"udp", nullptr}, {"tcp", l.bound}, {"error", l.error}});
  }
  for (auto kind : kKinds) {
    auto routes = source.routes(kind);
    if (!routes) continue;
    services.push_back(counters_json(kind, view.services[size_t(kind)]));
    for (auto& g : routes->groups()) {
      Json servers = Json::array();
      for (auto& u : g.upstreams) servers.push_back(u.text());
      forwards.push_back({{"service", dns::to_text(kind)}, {"zone", g.zone.text()}, {"upstreams", std::move(servers)}});
    }
  }
  for (auto& u : view.upstreams) upstreams.push_back(upstream_json(u));
  auto& c = view.cache;
  auto& f = view.forwarder;
  return {{"listeners", std::move(listeners)},
          {"services", std::move(services)},
          {"zones", zones_json(source)},
          {"forwards", std::move(forwards)},
          {"upstreams", std::move(upstreams)},
          {"cache",
           {{"entries", c.entries}, {"bytes", c.bytes}, {"hits", c.hits}, {"misses", c.misses}, {"stale", c.stale},
            {"prefetches", c.prefetches}, {"evictions", c.evictions}}},
          {"forwarder",
           {{"in_flight", f.in_flight}, {"questions", f.questions}, {"shared", f.shared}, {"answered", f.answered},
            {"servfail", f.servfail}, {"stale", f.stale}, {"overflow", f.overflow}, {"mismatches", f.mismatches},
            {"tcp_fallbacks", f.tcp_fallbacks}, {"retries", f.retries}, {"loops", f.loops}}},
          {"workers", view.workers},
          {"worker_lag_s", view.worker_lag_s}};
}

}  // namespace ls::api
