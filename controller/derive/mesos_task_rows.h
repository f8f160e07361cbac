#pragma once
/// The records of one task in the Mesos domain, row by row (spec/mesos-dns.md 8.5-8.7), as calls to whoever writes them down: as
/// wire names for DNS (mesos_tasks.cpp) or as text for lists (mesos_enumerate.cpp). Private to derive/. Pure, thread: any.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "derive/mesos_zone.h"

namespace ls::mesos {

/// More ports of one task than this are left out and reported: each makes up to eight records.
inline constexpr size_t kMaxPorts = 4096;

/// Rows 1 to 4: whose address, under which name, with or without the `.slave` infix.
struct AddressRow {
  int row;
  bool canonical, slave;
};
/// Rows 5 to 8. `port_name`: label of row 8, else empty.
struct SrvRow {
  int row;
  std::string_view port_name, protocol;
  bool owner_slave, target_slave;
  uint16_t port;
};

/// Running, known to the master, on an agent it knows. `agent_known` is the zone's own knowledge.
inline bool counts(const Task& t, bool agent_known, const MesosZoneOptions& o) {
  return t.state == MesosState::kRunning && t.framework_known && agent_known &&
         !(o.healthy_only && t.health == Health::kUnhealthy);
}

/// Each value once, in the order of its first place.
std::vector<IpAddress> distinct(const std::vector<IpAddress>& in);
/// The first source that has an address gives them all (8.6).
std::vector<IpAddress> task_addresses(const Task& t, const std::vector<IpAddress>& agent, const MesosZoneOptions& o);
/// Resource ports in order, each once.
struct TaskPorts {
  std::vector<uint16_t> ports;
  bool out_of_range = false, too_many = false;
};
TaskPorts resource_ports(const Task& t);
/// True for what a question can name: printable, lower case, and nothing that is escaped or removed on the way (10.2).
bool askable(std::string_view name);

/// Out has:
///   bool begin(std::string_view n, std::string_view c, bool raw)   the two names of a pass; false: leave the pass out
///   void address(const AddressRow&, const IpAddress&)
///   void srv(const SrvRow&)
///   void problem(field, why)
template <class Out>
void task_rows(const Task& t, const std::vector<IpAddress>& agent_addresses, const MesosZoneOptions& o, Out& out) {
  const TaskSpec& spec = *t.spec;
  const std::string suffix = "-" + task_hash(t.id) + "-" + agent_suffix(t.agent_id.view());
  const std::vector<IpAddress> addresses = task_addresses(t, agent_addresses, o);
  const TaskPorts ports = resource_ports(t);
  if (ports.out_of_range) out.problem("resources.ports", "ports above 65535 are left out");
  if (ports.too_many) out.problem("resources.ports", "more than " + std::to_string(kMaxPorts) + " ports; the rest is left out");

  auto pass = [&](const std::string& n, bool raw) {
    if (!out.begin(n, n + suffix, raw)) return;
    for (auto& a : addresses) {
      out.address({1, false, false}, a);
      out.address({2, true, false}, a);
    }
    for (auto& a : agent_addresses) {
      out.address({3, false, true}, a);
      out.address({4, true, true}, a);
    }
    for (uint16_t p : ports.ports) {
      out.srv({5, {}, "tcp", true, true, p});
      out.srv({5, {}, "udp", true, true, p});
      if (spec.discovered) continue;
      out.srv({6, {}, "tcp", false, true, p});
      out.srv({6, {}, "udp", false, true, p});
    }
    if (!spec.discovered) return;
    size_t made = 0;
    for (auto& d : spec.ports) {
      const std::string field = "discovery.ports[" + std::to_string(d.index) + "]";
      if (d.number < 0 || d.number > UINT16_MAX) {
        if (!raw) out.problem(field, "port " + std::to_string(d.number) + " is not from 0 to 65535");
        continue;
      }
      if (++made > kMaxPorts) {
        if (!raw) out.problem(field, "more than " + std::to_string(kMaxPorts) + " ports; the rest is left out");
        break;
      }
      std::vector<std::string> protocols;
      if (d.protocol == PortProtocol::kTcp) protocols = {"tcp"};
      if (d.protocol == PortProtocol::kUdp) protocols = {"udp"};
      if (d.protocol == PortProtocol::kOther) {
        const std::string_view text = d.protocol_text.view();
        if (std::string label = mesos_label(text, o.rfc952); !label.empty()) protocols = {std::move(label)};
        for (size_t at = 0; o.split_protocols && text.find(',') != text.npos && at <= text.size();) {
          const size_t comma = std::min(text.find(',', at), text.size());
          std::string part = mesos_label(text.substr(at, comma - at), o.rfc952);
          if (!part.empty() && std::find(protocols.begin(), protocols.end(), part) == protocols.end())
            protocols.push_back(std::move(part));
          at = comma + 1;
        }
      }
      if (protocols.empty()) protocols = {"tcp", "udp"};
      const uint16_t number = uint16_t(d.number);
      for (auto& p : protocols) out.srv({7, {}, p, false, false, number});
      if (!d.named) continue;
      const std::string name = mesos_label(d.name, o.rfc952);
      if (name.empty()) continue;
      if (!raw && name.size() >= DnsName::kMaxLabel) out.problem(field, "its name is too long for a label with an underscore");
      for (auto& p : protocols) out.srv({8, name, p, false, false, number});
    }
  };
  const std::string label = mesos_label(spec.name, o.rfc952);
  if (spec.discovered && spec.name != label) pass(spec.name, true);
  pass(label, false);
}

}  // namespace ls::mesos
