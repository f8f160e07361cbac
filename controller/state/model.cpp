#include "state/model.h"

#include <array>
#include <charconv>
#include <utility>

namespace ls {
namespace {

constexpr std::array<std::pair<std::string_view, MesosState>, 14> kStates{{
    {"TASK_STAGING", MesosState::kStaging},
    {"TASK_STARTING", MesosState::kStarting},
    {"TASK_RUNNING", MesosState::kRunning},
    {"TASK_KILLING", MesosState::kKilling},
    {"TASK_FINISHED", MesosState::kFinished},
    {"TASK_FAILED", MesosState::kFailed},
    {"TASK_KILLED", MesosState::kKilled},
    {"TASK_ERROR", MesosState::kError},
    {"TASK_LOST", MesosState::kLost},
    {"TASK_DROPPED", MesosState::kDropped},
    {"TASK_UNREACHABLE", MesosState::kUnreachable},
    {"TASK_GONE", MesosState::kGone},
    {"TASK_GONE_BY_OPERATOR", MesosState::kGoneByOperator},
    {"TASK_UNKNOWN", MesosState::kUnknown},
}};

/// One description for all tasks that came without any (an update for a task never added).
const std::shared_ptr<const TaskSpec>& empty_spec() {
  static const auto spec = std::make_shared<const TaskSpec>();
  return spec;
}

const std::vector<IpAddress> kNoAddresses;

size_t heap_bytes(const std::string& s) { return s.capacity() > 15 ? s.capacity() + 1 : 0; }
size_t heap_bytes(const VipLabel& l) { return heap_bytes(l.key) + heap_bytes(l.value); }
size_t heap_bytes(const DiscoveryPort& p) {
  size_t sum = heap_bytes(p.name) + p.vips.capacity() * sizeof(VipLabel);
  for (auto& v : p.vips) sum += heap_bytes(v);
  return sum;
}

}  // namespace

MesosState parse_mesos_state(std::string_view text) {
  for (auto& [name, state] : kStates)
    if (name == text) return state;
  return MesosState::kOther;
}

TaskPhase phase_of(MesosState state) {
  switch (state) {
    case MesosState::kRunning:
      return TaskPhase::kRunning;
    case MesosState::kKilling:
      return TaskPhase::kKilling;
    case MesosState::kFinished:
    case MesosState::kFailed:
    case MesosState::kKilled:
    case MesosState::kError:
    case MesosState::kLost:
    case MesosState::kDropped:
    case MesosState::kGone:
    case MesosState::kGoneByOperator:
      return TaskPhase::kTerminal;
    case MesosState::kStaging:
    case MesosState::kStarting:
    case MesosState::kUnreachable:
    case MesosState::kUnknown:
    case MesosState::kOther:
      break;
  }
  return TaskPhase::kPreparing;
}

std::string_view to_text(TaskPhase phase) {
  switch (phase) {
    case TaskPhase::kRunning:
      return "running";
    case TaskPhase::kKilling:
      return "killing";
    case TaskPhase::kTerminal:
      return "terminal";
    case TaskPhase::kPreparing:
      break;
  }
  return "preparing";
}

std::string_view to_text(Runtime runtime) {
  return runtime == Runtime::kMesos ? "mesos" : runtime == Runtime::kDocker ? "docker" : "unknown";
}

Task::Task() : spec(empty_spec()) {}

bool Task::operator==(const Task& o) const {
  return id == o.id && copy == o.copy && framework_id == o.framework_id && agent_id == o.agent_id && phase() == o.phase() &&
         health == o.health && agent_address == o.agent_address && framework_known == o.framework_known &&
         framework_name == o.framework_name && addresses == o.addresses &&
         running_netinfo() == o.running_netinfo() &&
         running_docker() == o.running_docker() && running_mesos() == o.running_mesos() &&
         status_mappings == o.status_mappings && (spec == o.spec || *spec == *o.spec);
}

const std::vector<IpAddress>& Task::running_netinfo() const {
  return running_at <= -1 ? kNoAddresses : running ? running->netinfo : addresses;
}
const std::vector<IpAddress>& Task::running_docker() const { return running ? running->docker : kNoAddresses; }
const std::vector<IpAddress>& Task::running_mesos() const { return running ? running->mesos : kNoAddresses; }

void Task::set_running(double at, RunningAddresses&& found) {
  running_at = at;
  running = nullptr;
  if (at <= -1 || (found.docker.empty() && found.mesos.empty() && found.netinfo == addresses)) return;
  static const auto nothing = std::make_shared<const RunningAddresses>();
  running = found == *nothing ? nothing : std::make_shared<const RunningAddresses>(std::move(found));
}

std::optional<HostPort> host_of_pid(std::string_view pid) {
  auto at = pid.find('@');
  if (at == pid.npos || pid.find('@', at + 1) != pid.npos) return std::nullopt;
  return split_host_port(pid.substr(at + 1));
}

std::optional<HostPort> split_host_port(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  std::string_view host = text.substr(0, colon), number = text.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != host.npos) {
    return std::nullopt;  // an IPv6 address without brackets: which colon is the port's?
  }
  uint16_t port = 0;
  auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), port);
  if (host.empty() || error != std::errc{} || end != number.data() + number.size() || port == 0) return std::nullopt;
  return HostPort{std::string(host), port};
}

std::optional<IpAddress> address_of_pid(std::string_view pid) {
  auto at = pid.rfind('@');
  if (at == pid.npos) return std::nullopt;
  auto endpoint = Endpoint::parse(pid.substr(at + 1));
  if (!endpoint) return std::nullopt;
  return endpoint->address;
}

size_t memory_bytes(const Task& t) {
  const TaskSpec& s = *t.spec;
  size_t sum = sizeof(Task) + sizeof(TaskSpec) + heap_bytes(t.id) + heap_bytes(s.name) +
               t.addresses.capacity() * sizeof(IpAddress) +
               (t.status_mappings.capacity() + s.mappings.capacity()) * sizeof(PortMapping) +
               s.port_resources.capacity() * sizeof(PortRange) + s.ports.capacity() * sizeof(DiscoveryPort) +
               s.vip_labels.capacity() * sizeof(VipLabel);
  sum += heap_bytes(s.task_name);
  if (t.running)
    sum += sizeof(RunningAddresses) +
           (t.running->netinfo.capacity() + t.running->docker.capacity() + t.running->mesos.capacity()) * sizeof(IpAddress);
  for (auto& p : s.ports) sum += heap_bytes(p);
  for (auto& l : s.vip_labels) sum += heap_bytes(l);
  return sum;
}

}  // namespace ls
