#include "derive/ports.h"

#include <algorithm>

#include "derive/labels.h"

namespace ls {
namespace {

/// `host_port` on the host network is the port itself: there is no container side.
void fold_host(TaskPort& p) {
  if (p.host_port == 0) return;
  p.port = p.host_port;
  p.host_port = 0;
}

bool contradict(uint16_t a, uint16_t b) { return a != 0 && b != 0 && a != b; }

void add(std::vector<TaskPort>& out, TaskPort p) {
  for (auto& q : out) {
    bool match = q.protocol == p.protocol &&
                 ((p.port != 0 && q.port == p.port) || (p.host_port != 0 && q.host_port == p.host_port));
    // Two mappings of one container port stay two ports.
    if (!match || contradict(p.port, q.port) || contradict(p.host_port, q.host_port)) continue;
    if (q.port == 0) q.port = p.port;
    if (q.host_port == 0) q.host_port = p.host_port;
    if (q.name.empty()) q.name = std::move(p.name);
    std::move(p.vips.begin(), p.vips.end(), std::back_inserter(q.vips));
    return;
  }
  out.push_back(std::move(p));
}

/// The n-th port of the ranges laid end to end.
std::optional<uint64_t> nth_port(const std::vector<PortRange>& ranges, uint64_t n) {
  for (auto& r : ranges) {
    uint64_t more = r.end - r.begin;  // one less than the range holds
    if (n <= more) return r.begin + n;
    n -= more + 1;
  }
  return std::nullopt;
}

class Collector {
 public:
  Collector(const Task& task, std::vector<VipProblem>* problems) : task_(task), problems_(problems) {
    host_network_ = task.addresses.size() == 1 && task.addresses[0] == task.agent_address;
  }

  std::vector<TaskPort> run() {
    for (auto& m : task_.mappings()) take({m.protocol, m.container_port, m.host_port, "", {}});
    for (auto& l : task_.spec->vip_labels) resource(l);
    for (auto& d : task_.spec->ports) discovery(d);
    for (auto& p : out_) {
      std::stable_sort(p.vips.begin(), p.vips.end(), [](auto& a, auto& b) { return a.value < b.value; });
      p.vips.erase(std::unique(p.vips.begin(), p.vips.end(), [](auto& a, auto& b) { return a.value == b.value; }),
                   p.vips.end());
    }
    return std::move(out_);
  }

 private:
  void take(TaskPort p) {
    if (host_network_) fold_host(p);
    add(out_, std::move(p));
  }
  void problem(std::string field, std::string why) {
    if (problems_) problems_->push_back({task_title(task_), std::move(field), std::move(why)});
  }

  void resource(const VipLabel& l) {
    auto label = parse_task_label(l.key, l.value);
    if (!label) return;
    std::string field = "labels[" + l.key + "]";
    auto number = nth_port(task_.spec->port_resources, label->index);
    if (!number) return problem(field, "the task has no port with index " + std::to_string(label->index));
    if (*number == 0 || *number > UINT16_MAX)
      return problem(field, "port " + std::to_string(*number) + " of the resources cannot be used");
    take({label->protocol, 0, uint16_t(*number), "", {{std::string(label->value), field}}});
  }

  void discovery(const DiscoveryPort& d) {
    std::string field = "discovery.ports[" + std::to_string(d.index) + "]";
    auto refuse = [&](const char* part, std::string why) {
      if (!d.vips.empty()) problem(field + part, std::move(why));
    };
    if (d.protocol == PortProtocol::kMissing) return refuse(".protocol", "is missing");
    if (d.protocol == PortProtocol::kOther) return refuse(".protocol", "is neither tcp nor udp");
    if (d.scope == PortScope::kInvalid)
      return refuse(".labels[network-scope]", "must be there once and be container or host");
    if (d.number <= 0) return refuse(".number", "port " + std::to_string(d.number) + " cannot be used");
    if (d.number > UINT16_MAX) return refuse(".number", "port " + std::to_string(d.number) + " is above 65535");
    TaskPort p;
    p.protocol = d.protocol == PortProtocol::kTcp ? Protocol::kTcp : Protocol::kUdp;
    (d.scope == PortScope::kHost ? p.host_port : p.port) = uint16_t(d.number);
    p.name = d.name;
    for (auto& v : d.vips)
      if (is_vip_key(v.key)) p.vips.push_back({v.value, field + ".labels[" + v.key + "]"});
    take(std::move(p));
  }

  const Task& task_;
  std::vector<VipProblem>* problems_;
  bool host_network_ = false;
  std::vector<TaskPort> out_;
};

}  // namespace

std::string task_identity(const Task& task) {
  std::string out = task.framework_id.str() + '\0' + task.id;
  if (task.copy) out += '\0' + std::to_string(task.copy);
  return out;
}

std::string task_title(const Task& task) {
  return (task.framework_known ? task.framework_name.str() : task.framework_id.str()) + "/" + task.id;
}

std::vector<TaskPort> task_ports(const Task& task, std::vector<VipProblem>* problems) {
  return Collector(task, problems).run();
}

std::vector<Endpoint> port_endpoints(const Task& task, const TaskPort& port) {
  std::vector<Endpoint> out;
  if (port.host_port != 0) {
    out.push_back({task.agent_address, port.host_port});
  } else if (port.port != 0) {
    for (auto& a : task.addresses) out.push_back({a, port.port});
  }
  return out;
}

std::vector<LocalPort> local_ports(const Task& task, const std::vector<TaskPort>& ports, bool docker) {
  std::vector<LocalPort> out;
  if (task.phase() != TaskPhase::kRunning && task.phase() != TaskPhase::kKilling) return out;
  if (task.spec->runtime == Runtime::kDocker && !docker) return out;
  auto address = std::find_if(task.addresses.begin(), task.addresses.end(), [&](auto& a) {
    return a.is_v4() == task.agent_address.is_v4() || task.agent_address.is_zero();
  });
  if (address == task.addresses.end()) return out;
  for (auto& p : ports)
    if (p.host_port != 0 && p.port != 0) out.push_back({p.protocol, p.host_port, {*address, p.port}});
  return out;
}

}  // namespace ls
