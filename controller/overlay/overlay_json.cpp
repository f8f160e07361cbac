#include "overlay/overlay_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "overlay/json_text.h"

namespace ls::overlay {
namespace {

using Json = nlohmann::json;

Json info_of(const OverlayPlan& o) {
  Json out{{"name", o.name}, {"enabled", o.enabled}};
  if (o.v4) {
    out["subnet"] = o.v4->network.text();
    out["prefix"] = o.v4->share;
  }
  if (o.v6) {
    out["subnet6"] = o.v6->network.text();
    out["prefix6"] = o.v6->share;
  }
  return out;
}

Json network_of(const Plan& plan) {
  Json out{{"vtep_subnet", plan.vtep4.text()}, {"vtep_mac_oui", plan.oui_text.empty() ? to_text(plan.oui) : plan.oui_text}, {"overlays", Json::array()}};
  if (plan.vtep6) out["vtep_subnet6"] = plan.vtep6->text();
  if (plan.vtep_mtu) out["vtep_mtu"] = *plan.vtep_mtu;
  for (auto& o : plan.overlays) out["overlays"].push_back(info_of(o));
  return out;
}

Json bridge_of(const Share& s, bool docker) {
  Json out{{"name", (docker ? "d-" : "m-") + s.overlay}};
  if (s.v4) out["ip"] = half_of(*s.v4, docker).text();
  if (s.v6) out["ip6"] = half_of(*s.v6, docker).text();
  return out;
}

Json backend_of(const Plan& plan, const Vtep& v) {
  Json vxlan{{"vni", kVni}, {"vtep_name", kVtepName}, {"vtep_ip", v.v4.text()}, {"vtep_mac", to_text(v.mac)}};
  if (v.v6) vxlan["vtep_ip6"] = v.v6->text();
  if (plan.vtep_mtu) vxlan["vtep_mtu"] = *plan.vtep_mtu;
  return {{"vxlan", std::move(vxlan)}};
}

/// null: nobody knows.
Json state_of(const Share& s, const std::vector<OverlayReport>& reports) {
  if (s.state != ShareState::kOk) {
    return {{"status", to_text(ReportStatus::kFailed)}, {"error", fmt::format("{}: {}", s.state == ShareState::kExhausted ? "exhausted" : "conflict", s.detail)}};
  }
  auto it = std::find_if(reports.begin(), reports.end(), [&](auto& r) { return r.overlay == s.overlay; });
  if (it == reports.end()) return nullptr;
  Json out{{"status", to_text(it->status)}};
  if (!it->error.empty()) out["error"] = it->error;
  return out;
}

Json entry_of(const Plan& plan, const Vtep& vtep, const Share& s, const std::vector<OverlayReport>& reports) {
  Json out{{"info", {{"name", s.overlay}}}, {"backend", backend_of(plan, vtep)}};
  auto o = std::find_if(plan.overlays.begin(), plan.overlays.end(), [&](auto& p) { return p.name == s.overlay; });
  if (o != plan.overlays.end()) out["info"] = info_of(*o);
  if (s.v4) out["subnet"] = s.v4->text();
  if (s.v6) out["subnet6"] = s.v6->text();
  if (s.mesos_bridge) out["mesos_bridge"] = bridge_of(s, false);
  if (s.docker_bridge) out["docker_bridge"] = bridge_of(s, true);
  if (auto state = state_of(s, reports); !state.is_null()) out["state"] = std::move(state);
  return out;
}

Json overlays_of(const Plan& plan, const NodeState& n) {
  Json out = Json::array();
  for (auto& s : n.allocation.shares) out.push_back(entry_of(plan, n.allocation.vtep, s, n.reports));
  return out;
}

/// As a number where every reader of JSON has it exactly, else as text of its digits.
Json count(Number n) {
  if (n < (Number(1) << 53)) return uint64_t(n);
  return to_text(n);
}

}  // namespace

std::string_view to_text(ReportStatus s) {
  switch (s) {
    case ReportStatus::kFailed: return "STATUS_FAILED";
    case ReportStatus::kConfiguring: return "STATUS_CONFIGURING";
    case ReportStatus::kOk: break;
  }
  return "STATUS_OK";
}

std::string plan_json(const Plan& plan) { return json_text(network_of(plan)); }

std::string master_state_json(const Plan& plan, std::span<const NodeState* const> nodes) {
  Json out{{"network", network_of(plan)}};
  for (auto* n : nodes) out["agents"].push_back({{"ip", n->allocation.node.text()}, {"overlays", overlays_of(plan, *n)}});
  return json_text(out) + "\n";
}

std::string agent_overlay_json(const Plan& plan, const NodeState& n, uint32_t attempts) {
  return json_text({{"ip", n.allocation.node.text()}, {"overlays", overlays_of(plan, n)}, {"configuration_attempts", attempts}}) + "\n";
}

Result<std::vector<IpAddress>> parse_delete_body(std::string_view body) {
  auto json = parse_json(body);
  if (!json || !json->is_object()) return fail("the body is no JSON object such as {\"agents\": [\"10.0.0.1\"]}");
  auto it = json->find("agents");
  if (it == json->end()) return fail("agents is missing");
  if (!it->is_array()) return fail("agents is not an array");
  std::vector<IpAddress> out;
  for (auto& a : *it) {
    auto address = a.is_string() ? IpAddress::parse(a.get_ref<const std::string&>()) : std::nullopt;
    if (!address || !address->is_v4() || a.get_ref<const std::string&>().find(':') != std::string::npos) {
      return fail(fmt::format("agents[{}]: {} is no IPv4 address in quotes", out.size(), json_text(a).substr(0, 64)));
    }
    out.push_back(*address);
  }
  return out;
}

std::string capacity_json(const Plan& plan, std::span<const PoolUsage> usage) {
  Json out{{"nodes_by_vtep", count(nodes_by_vtep(plan))}, {"overlays", Json::array()}, {"pools", Json::array()}};
  for (auto& o : plan.overlays) {
    auto c = capacity_of(o);
    out["overlays"].push_back({{"name", o.name},
                               {"enabled", o.enabled},
                               {"agent_subnets", count(c.agent_subnets)},
                               {"first", c.first.text()},
                               {"last", c.last.text()},
                               {"containers_per_half", count(c.containers_per_half)}});
  }
  for (auto& u : usage) {
    Json pool{{"pool", u.pool.text()}, {"size", count(u.size)}, {"used", count(u.used)}, {"held", count(u.held)}, {"free", count(u.free)}};
    if (u.overlay.empty()) {
      pool["vtep"] = true;
    } else {
      pool["overlay"] = u.overlay;
      pool["prefix"] = u.share;
    }
    out["pools"].push_back(std::move(pool));
  }
  return json_text(out) + "\n";
}

std::optional<CniFile> cni_file(const Share& s, uint32_t mtu, std::string_view data_dir) {
  if (s.state != ShareState::kOk || !s.mesos_bridge || !s.v4) return std::nullopt;
  std::string bridge = "m-" + s.overlay, chain = bridge;
  std::transform(chain.begin(), chain.end(), chain.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
  Json ipam{{"type", "host-local"}, {"subnet", half_of(*s.v4, false).text()}, {"routes", Json::array({{{"dst", "0.0.0.0/0"}}})}};
  if (!data_dir.empty()) ipam["dataDir"] = data_dir;
  Json file{{"name", s.overlay},
            {"type", "mesos-cni-port-mapper"},
            {"excludeDevices", Json::array({bridge})},
            {"chain", chain},
            {"delegate", {{"type", "bridge"}, {"bridge", bridge}, {"isGateway", true}, {"ipMasq", false}, {"hairpinMode", true}, {"mtu", mtu}, {"ipam", std::move(ipam)}}}};
  return CniFile{s.overlay + ".conf", file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

std::optional<CniFile> own_cni_file(const Share& s, const OwnCniOptions& o) {
  if (s.state != ShareState::kOk || !s.mesos_bridge) return std::nullopt;
  Json ipam{{"overlay", s.overlay}};
  if (!o.data_dir.empty()) ipam["dataDir"] = o.data_dir;
  Json file{{"name", s.overlay}, {"type", "loadstar-cni"}, {"mode", "direct"}, {"ipam", std::move(ipam)}};
  if (o.mtu) file["mtu"] = o.mtu;
  if (!o.state_file.empty()) file["overlayState"] = o.state_file;
  if (!o.pin.empty()) file["pin"] = o.pin;
  return CniFile{s.overlay + ".conf", file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

}  // namespace ls::overlay
