#include <fmt/format.h>

#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "api/dns_event.h"
#include "api/dns_kernel_views.h"
#include "api/labels.h"
#include "api/overlay_node_views.h"
#include "api/views.h"
#include "derive/records.h"
#include "dns/query.h"
#include "dns/server.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

template <class T>
Json optional(const std::optional<T>& v) {
  return v ? Json(*v) : Json(nullptr);
}

/// RFC 3339 with microseconds, UTC.
std::string time_text(int64_t unix_ns) {
  time_t s = unix_ns / 1'000'000'000;
  std::tm tm{};
  gmtime_r(&s, &tm);
  char buf[32];
  strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%S", &tm);
  return fmt::format("{}.{:06}Z", buf, unix_ns % 1'000'000'000 / 1000);
}

std::string protocol_text(uint8_t number) {
  if (number == uint8_t(Protocol::kTcp) || number == uint8_t(Protocol::kUdp)) {
    return std::string(to_text(Protocol(number)));
  }
  return number == 1 || number == 58 ? "icmp" : std::to_string(number);  // IANA protocol numbers
}

Json source_json(const SourceView& s) {
  Json events = Json::object();
  for (auto& e : s.events) events[e.kind] = e.count;
  Json out{{"kind", s.kind},   {"endpoint", s.endpoint},     {"connected", s.connected}, {"since_s", s.since_s},
           {"age_s", s.age_s}, {"last_error", s.last_error}, {"events", events}};
  if (s.kept_s) out["kept_s"] = *s.kept_s;
  if (s.hub) out["hub"] = *s.hub;
  if (s.zookeeper) out["zookeeper"] = *s.zookeeper;
  return out;
}

Json backend_json(const BackendView& b) {
  return {{"ip", b.endpoint.address.text()},
          {"port", b.endpoint.port},
          {"agent", b.agent.is_zero() ? "" : b.agent.text()},
          {"weight", b.weight},
          {"state", to_text(b.state)},
          {"number", b.number},
          {"flows_tc", b.flows_tc},
          {"flows_sock", b.flows_sock},
          {"task", b.task},
          {"framework", b.framework}};
}

}  // namespace

void to_json(Json& j, const MapView& m) {
  j = {{"name", m.name},         {"type", m.type},         {"entries", optional(m.entries)}, {"capacity", m.capacity},
       {"key_size", m.key_size}, {"value_size", m.value_size}, {"bytes", m.bytes}};
}

void to_json(Json& j, const StatusView& s) {
  j = {{"headline", headline(s)},
       {"version", s.version},
       {"uptime_s", s.uptime_s},
       {"addresses", s.addresses},
       {"roles", s.roles},
       {"ready", s.ready},
       {"source", source_json(s.source)},
       {"warnings", s.warnings},
       {"problem_count", s.problem_count},
       {"tables",
        {{"vips", s.tables.vips},
         {"backends", {{"active", s.tables.active}, {"draining", s.tables.draining}, {"dead", s.tables.dead}}}}},
       {"maps", s.maps}};
  if (s.turns) j["turns"] = *s.turns;
  if (s.hub) j["hub"] = *s.hub;
  if (s.agents) j["agents"] = *s.agents;
  for (auto* list : {"startup", "probes", "attachments", "problems", "reconcile", "loops"}) j[list] = Json::array();
  for (auto& st : s.startup) j["startup"].push_back({{"name", st.name}, {"reached", st.reached}, {"age_s", st.age_s}});
  for (auto& p : s.probes) j["probes"].push_back({{"name", p.name}, {"ok", p.ok}, {"detail", p.detail}});
  for (auto& a : s.attachments) {
    j["attachments"].push_back({{"device", a.device},
                                {"hook", a.hook},
                                {"method", a.method},
                                {"program_id", a.program_id},
                                {"state", to_text(a.state)},
                                {"error", a.error},
                                {"note", a.note}});
  }
  for (auto& p : s.problems) j["problems"].push_back({{"task", p.task}, {"field", p.field}, {"why", p.why}});
  for (auto& r : s.reconcile) {
    j["reconcile"].push_back({{"driver", r.driver},
                              {"runs", r.runs},
                              {"errors", r.errors},
                              {"drift_repaired", r.drift_repaired},
                              {"last_ms", r.last_ms},
                              {"last_full_age_s", optional(r.last_full_age_s)},
                              {"last_error", r.last_error}});
  }
  for (auto& l : s.loops) j["loops"].push_back({{"name", l.name}, {"lag_s", l.lag_s}, {"beat_age_s", l.beat_age_s}});
  if (s.overlay) {
    auto& o = j["overlay"] = {{"problem", s.overlay->problem}, {"rejected", s.overlay->rejected}, {"nodes", s.overlay->nodes}, {"pools", Json::array()}};
    for (auto& p : s.overlay->pools) o["pools"].push_back({{"overlay", p.overlay}, {"pool", p.pool}, {"size", p.size}, {"used", p.used}, {"held", p.held}});
  }
  if (s.overlay_node) j["overlay_node"] = overlay_node_summary_json(*s.overlay_node);
  if (!s.dns) return;
  j["dns"] = {{"listeners", s.dns->listeners}, {"zones", s.dns->zones},           {"upstreams", s.dns->upstreams},
              {"unbound", s.dns->unbound},     {"not_loaded", s.dns->not_loaded}, {"aside", s.dns->aside}};
  if (s.dns->kernel) j["dns"]["kernel"] = kernel_summary_json(*s.dns->kernel);
}

void to_json(Json& j, const VipView& v) {
  j = {{"key", v.key.text()},
       {"address", v.key.address.text()},
       {"port", v.key.port},
       {"protocol", to_text(v.key.protocol)},
       {"name", v.name},
       {"dns_name", v.dns_name},
       {"label", v.label},
       {"framework", v.framework},
       {"number", v.number},
       {"ring_slots", v.ring_slots},
       {"backends", Json::array()}};
  for (auto& b : v.backends) j["backends"].push_back(backend_json(b));
}

void to_json(Json& j, const FlowView& f) {
  j = {{"client", f.client.text()},   {"service", f.service.text()},       {"vip", f.vip_name},
       {"backend", f.backend.text()}, {"backend_number", f.backend_number}, {"state", to_text(f.state)},
       {"hairpin", f.hairpin},        {"idle_s", f.idle_s}};
}

void to_json(Json& j, const DropView& d) {
  j = {{"hook", hook_label(d.hook)},
       {"reason", reason_label(d.reason)},
       {"text", reason_text(d.reason)},
       {"count", d.count}};
}

void to_json(Json& j, const StatView& s) {
  j = {{"hook", hook_label(s.hook)}, {"verdict", verdict_label(s.verdict)}, {"packets", s.packets}, {"bytes", s.bytes}};
}

namespace {

Json dns_event_json(const EventView& e) {
  auto& d = *e.dns;
  bool answered = dns_result_is_final(d.result) && d.result != LS_DNS_RATE_DROP;
  return {{"time", time_text(e.unix_ns)},
          {"type", event_label(e.type)},
          {"hook", dns_hook_label(e.hook)},
          {"device", e.device},
          {"client", e.src.text()},
          {"server", e.dst.text()},
          {"service", d.service < dns::kServices ? dns::to_text(dns::ServiceKind(d.service)) : "unknown"},
          {"name", name_text(d)},
          {"name_whole", d.name.has_value()},
          {"qtype", d.qtype ? Json(to_text(RrType(d.qtype))) : Json(nullptr)},
          {"result", dns_result_label(d.result)},
          {"text", dns_result_text(d.result)},
          {"rcode", answered ? Json(dns::to_text(dns::Rcode(d.rcode))) : Json(nullptr)}};
}

}  // namespace

void to_json(Json& j, const EventView& e) {
  if (e.dns) {
    j = dns_event_json(e);
    return;
  }
  j = {{"time", time_text(e.unix_ns)},
       {"type", event_label(e.type)},
       {"hook", hook_label(e.hook)},
       {"protocol", protocol_text(e.proto)},
       {"device", e.device},
       {"src", e.src.text()},
       {"dst", e.dst.text()},
       {"service", e.service ? Json(e.service->text()) : Json(nullptr)},
       {"vip", e.vip_name},
       {"backend", e.backend ? Json(e.backend->text()) : Json(nullptr)},
       {"backend_number", e.backend_number}};
  if (e.reason) {  // reason 0 is "not dropped"
    j["reason"] = reason_label(e.reason);
    j["text"] = reason_text(e.reason);
  }
}

Json spec_vips(const std::vector<VipView>& vips) {
  // Keyed by what a client of the reference would tell entries apart by.
  std::map<std::pair<std::string, Protocol>, std::set<Endpoint>> merged;
  for (auto& v : vips) {
    // Not Endpoint::text: the reference writes IPv6 addresses without brackets here.
    auto host = v.dns_name.empty() ? v.key.address.text() : v.dns_name;
    auto& backends = merged[{host + ":" + std::to_string(v.key.port), v.key.protocol}];
    for (auto& b : v.backends) backends.insert(b.endpoint);
  }
  Json out = Json::array();
  for (auto& [key, backends] : merged) {
    Json list = Json::array();
    for (auto& b : backends) list.push_back({{"ip", b.address.text()}, {"port", b.port}});
    out.push_back({{"vip", key.first}, {"protocol", to_text(key.second)}, {"backend", std::move(list)}});
  }
  return out;
}

Json backend_list(const std::vector<VipView>& vips) {
  Json out = Json::array();
  for (auto& v : vips) {
    for (auto& b : v.backends) {
      auto j = backend_json(b);
      j["service"] = v.key.text();
      j["vip"] = v.name;
      out.push_back(std::move(j));
    }
  }
  return out;
}

}  // namespace ls::api
