#pragma once
/// A task's ports: port mappings, port resources with task labels and discovery ports merged (spec/minuteman-vips.md
/// 1.2), and the endpoints that stand behind one of them (1.5). Pure, thread: any. Ports in host order.
#include <string>
#include <vector>

#include "derive/vip_table.h"
#include "state/model.h"

namespace ls {

/// A VIP label on a port: its text, and where it was written.
struct PortVip {
  std::string value;  ///< "/web:80", as written
  std::string field;  ///< "discovery.ports[0].labels[VIP_0]"
};

struct TaskPort {
  Protocol protocol = Protocol::kTcp;
  uint16_t port = 0;       ///< container side, or the port itself on the host network; 0: not known
  uint16_t host_port = 0;  ///< on the agent; 0: none
  std::string name;        ///< of the discovery port, empty when there is none
  std::vector<PortVip> vips;  ///< sorted by value, each value once
};

/// A port that cannot be used is left out alone; if it carried VIP labels, `problems` (may be null) says why.
std::vector<TaskPort> task_ports(const Task& task, std::vector<VipProblem>* problems);

/// "marathon/web.1": how problems and people call a task.
std::string task_title(const Task& task);

/// Equal for records of one task only, and never shown.
std::string task_identity(const Task& task);

/// Where packets for `port` go: the agent for a host port, else every address of the task. Never port 0.
std::vector<Endpoint> port_endpoints(const Task& task, const TaskPort& port);

/// A host port of a container on its own agent, and the container's side of it (1.6).
struct LocalPort {
  Protocol protocol = Protocol::kTcp;
  uint16_t host_port = 0;
  Endpoint container;
  auto operator<=>(const LocalPort&) const = default;
};

/// Of a running or killing task; nothing for Docker tasks unless `docker`. The container address is the first of the agent's family.
std::vector<LocalPort> local_ports(const Task& task, const std::vector<TaskPort>& ports, bool docker = false);

}  // namespace ls
