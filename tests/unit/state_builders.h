#pragma once
/// Short ways to write tasks, agents and events in tests. Everything is raw, as a decoder would hand it over.
#include <string>
#include <vector>

#include "state/cluster_state.h"

namespace ls::test {

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

inline Agent agent(const std::string& id, const std::string& address) { return {SharedText(id), address, ""}; }
inline Framework framework(const std::string& id, const std::string& name) { return {SharedText(id), SharedText(name), {}, {}}; }

struct PortSpec {
  int64_t number = 0;
  std::vector<std::string> vips = {};  ///< values of VIP_0, VIP_1, ...
  PortProtocol protocol = PortProtocol::kTcp;
  PortScope scope = PortScope::kNone;
};

struct TaskText {
  std::string framework = "F", id = "t", agent = "A";
  MesosState state = MesosState::kRunning;
  std::vector<std::string> addresses = {};
  std::vector<PortSpec> ports = {};
  std::vector<PortMapping> mappings = {};
  std::vector<PortRange> resources = {};
  std::vector<VipLabel> labels = {};
  Runtime runtime = Runtime::kMesos;
  Health health = Health::kUnknown;
};

inline Task task(const TaskText& text) {
  Task t;
  auto spec = std::make_shared<TaskSpec>();
  spec->name = text.id;
  spec->runtime = text.runtime;
  spec->mappings = text.mappings;
  spec->port_resources = text.resources;
  spec->vip_labels = text.labels;
  uint16_t index = 0;
  for (auto& p : text.ports) {
    DiscoveryPort d{.number = p.number, .index = index++, .protocol = p.protocol, .scope = p.scope, .name = "p", .vips = {}};
    for (auto& v : p.vips) d.vips.push_back({"VIP_" + std::to_string(d.vips.size()), v});
    spec->ports.push_back(std::move(d));
  }
  t.spec = std::move(spec);
  t.framework_id = SharedText(text.framework);
  t.agent_id = SharedText(text.agent);
  t.id = text.id;
  t.state = text.state;
  t.health = text.health;
  for (auto& a : text.addresses) t.addresses.push_back(ip(a));
  return t;
}

/// A task that ClusterState has already placed.
inline Task placed(const TaskText& text, std::string_view agent_address, std::string_view framework_name = "marathon") {
  Task t = task(text);
  t.agent_address = ip(agent_address);
  t.framework_known = true;
  t.framework_name = SharedText(framework_name);
  return t;
}

inline TaskUpdated update(const std::string& framework_id, const std::string& id, MesosState state) {
  TaskUpdated u;
  u.framework_id = SharedText(framework_id);
  u.task_id = id;
  u.state = state;
  return u;
}

}  // namespace ls::test
