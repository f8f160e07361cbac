#include "cluster.h"

#include "derive/ports.h"

namespace ls::conformance {

std::optional<IpAddress> LoopbackResolver::resolve(std::string_view hostname) {
  if (hostname != "localhost") return std::nullopt;
  return IpAddress::from_v4(0x7f000001);
}

Cluster::Cluster(VipOptions vip_options)
    : options(vip_options), state(StateOptions{.resolver = &resolver_}), vips(vip_options) {}

std::string Cluster::feed(std::string record, SnapshotContext context) {
  auto decoded = decoder_.decode(record);
  if (!decoded) return decoded.error().text();
  std::string wrong;
  for (auto& p : decoded->problems) wrong += p.item + ": " + p.field + " " + p.why + "\n";
  delta = state.apply(std::move(decoded->event), clock_.now(), context);
  vips.apply(delta);
  return wrong;
}

std::string Cluster::check() const {
  VipTable kept = vips.full(), fresh = derive_all(state, options);
  if (kept == fresh) return "";
  return "the table kept by deltas differs from a fresh one: " + std::to_string(kept.services.size()) + " services, " +
         std::to_string(fresh.services.size()) + " expected\n";
}

Json ports_json(const Task& task) {
  Json out = Json::array();
  for (auto& p : task_ports(task, nullptr)) {
    Json j{{"protocol", to_text(p.protocol)}};
    if (p.port) j["port"] = p.port;
    if (p.host_port) j["host_port"] = p.host_port;
    if (!p.name.empty()) j["name"] = p.name;
    for (auto& v : p.vips) j["vip"].push_back(v.value);
    out.push_back(std::move(j));
  }
  return out;
}

Json task_json(const Task& t) {
  Json j{{"state", to_text(t.phase())}, {"runtime", to_text(t.spec->runtime)}};
  j["agent_ip"] = t.agent_address.is_zero() ? Json{{"id", t.agent_id.str()}} : Json(t.agent_address.text());
  j["framework"] = t.framework_known ? Json(t.framework_name.str()) : Json{{"id", t.framework_id.str()}};
  if (!t.spec->name.empty()) j["name"] = t.spec->name;
  if (t.health != Health::kUnknown) j["healthy"] = t.health == Health::kHealthy;
  for (auto& a : t.addresses) j["task_ip"].push_back(a.text());
  if (Json ports = ports_json(t); !ports.empty()) j["ports"] = std::move(ports);
  return {{"framework_id", t.framework_id.str()}, {"task_id", t.id}, {"task", std::move(j)}};
}

Json backend_json(const Backend& b) {
  return {{"agent_ip", b.agent.text()}, {"ip", b.address.text()}, {"port", b.port}, {"weight", b.weight}};
}

Json vip_json(const VipView& v) {
  Json j{{"port", v.key.port}, {"protocol", to_text(v.key.protocol)}, {"backends", Json::array()}};
  for (auto& b : v.backends) j["backends"].push_back(backend_json(b));
  if (v.key.name.empty()) {
    j["kind"] = "ip";
    j["address"] = v.key.address.text();
  } else {
    Service named;
    named.name = v.key.name;
    j["kind"] = "named";
    j["label"] = v.label;
    j["framework"] = v.framework;
    j["dns_name"] = named.dns_name();
  }
  return j;
}

Json vips_json(const std::vector<VipView>& vips) {
  Json out = Json::array();
  for (auto& v : vips) out.push_back(vip_json(v));
  return out;
}

Json without_slashes(Json expected) {
  for (auto& v : expected) {
    if (!v.contains("label")) continue;
    std::string label = v["label"];
    v["label"] = label.substr(std::min(label.find_first_not_of('/'), label.size()));
  }
  return expected;
}

Protocol protocol_of(const Json& j) { return j.at("protocol") == "udp" ? Protocol::kUdp : Protocol::kTcp; }

IpAddress address_of(const Json& j) { return IpAddress::parse(j.get<std::string>()).value_or(IpAddress()); }

Backend parse_backend(const Json& j) {
  Backend b;
  if (j.contains("agent_ip")) b.agent = address_of(j["agent_ip"]);
  b.address = address_of(j.at("ip"));
  b.port = j.at("port");
  b.weight = j.value("weight", uint8_t(1));
  return b;
}

Service parse_service(const Json& j) {
  Service s;
  s.key = {address_of(j.at("address")), j.at("port"), protocol_of(j)};
  for (auto& b : j.at("backends")) s.backends.push_back(parse_backend(b));
  return s;
}

}  // namespace ls::conformance
