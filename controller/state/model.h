#pragma once
/// What loadstar keeps of a Mesos cluster: tasks, agents, frameworks. Plain values, no thread rules.
/// Ports in host order. Source: spec/minuteman-vips.md 1.1-1.4, spec/mesos-operator-stream.md 5.2-5.5.
/// A Task holds raw facts only; ports, VIPs and names are made from it in derive/.
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "state/text.h"
#include "util/address.h"
#include "util/host_port.h"

namespace ls {

/// The states of the Mesos API; kOther is any text this version does not know.
enum class MesosState : uint8_t {
  kStaging, kStarting, kRunning, kKilling, kFinished, kFailed, kKilled, kError, kLost, kDropped, kUnreachable,
  kGone, kGoneByOperator, kUnknown, kOther
};
/// "TASK_RUNNING" -> kRunning; kOther for anything else.
MesosState parse_mesos_state(std::string_view text);

/// What a state means here (spec/minuteman-vips.md 1.4). Lost and unreachable may come back by TASK_ADDED.
enum class TaskPhase : uint8_t { kPreparing, kRunning, kKilling, kTerminal };
TaskPhase phase_of(MesosState state);
std::string_view to_text(TaskPhase phase);  ///< "preparing", "running", "killing", "terminal"

enum class Runtime : uint8_t { kUnknown, kMesos, kDocker };
std::string_view to_text(Runtime runtime);

/// kUnhealthy also stands for "a check is defined and has no result yet".
enum class Health : uint8_t { kUnknown, kHealthy, kUnhealthy };

/// A label that may ask for a VIP: `key` begins with VIP/vip (discovery port) or vip_port (task).
struct VipLabel {
  std::string key;
  std::string value;
  bool operator==(const VipLabel&) const = default;
};

enum class PortProtocol : uint8_t { kTcp, kUdp, kMissing, kOther };
/// Label `network-scope` of a discovery port; kInvalid: another value, or given twice.
enum class PortScope : uint8_t { kNone, kContainer, kHost, kInvalid };

/// One entry of discovery.ports.ports as it came; the number may be any integer.
struct DiscoveryPort {
  int64_t number = 0;
  uint16_t index = 0;  ///< position in the list, for messages
  PortProtocol protocol = PortProtocol::kMissing;
  PortScope scope = PortScope::kNone;
  bool named = false;        ///< it came with a name, which may be empty
  SharedText protocol_text = {};  ///< as it came, of kOther only
  std::string name;          ///< "default" when it has none
  std::vector<VipLabel> vips;
  bool operator==(const DiscoveryPort&) const = default;
};

struct PortMapping {
  Protocol protocol = Protocol::kTcp;
  uint16_t container_port = 0;  ///< 0: not given
  uint16_t host_port = 0;       ///< 0: not given
  auto operator<=>(const PortMapping&) const = default;
};

/// Inclusive range of the task's `ports` resource; begin <= end.
struct PortRange {
  uint64_t begin = 0, end = 0;
  bool operator==(const PortRange&) const = default;
};

/// What a task was described with; never changes after TASK_ADDED, so versions of a task share it.
struct TaskSpec {
  std::string name;       ///< discovery.name, else name
  std::string task_name;  ///< the task's own name; only when `name` is discovery.name and they differ
  bool discovered = false;  ///< `name` is discovery.name, which is not empty
  bool renamed = false;     ///< `task_name` is set, even if to nothing
  std::vector<DiscoveryPort> ports;
  std::vector<PortMapping> mappings;  ///< of the container object, by the runtime's own place
  std::vector<PortRange> port_resources;
  std::vector<VipLabel> vip_labels;  ///< task labels of the form vip_port<n>
  Runtime runtime = Runtime::kUnknown;
  bool health_check = false;
  bool mappings_from_status = true;  ///< no container.network_infos: pod members have theirs in the status
  const std::string& own_name() const { return renamed ? task_name : name; }
  bool operator==(const TaskSpec&) const = default;
};

/// The addresses that the newest running status of a task names, by where it names them (spec/mesos-dns.md 8.6). Each list in its
/// order, what is no literal left out.
struct RunningAddresses {
  std::vector<IpAddress> netinfo;
  std::vector<IpAddress> docker;  ///< labels Docker.NetworkSettings.IPAddress
  std::vector<IpAddress> mesos;   ///< labels MesosContainerizer.NetworkSettings.IPAddress
  bool operator==(const RunningAddresses&) const = default;
};

/// One task, immutable once it is in ClusterState (a change makes a new one).
struct Task {
  SharedText framework_id;
  SharedText agent_id;
  std::string id;  ///< unique within the framework only
  uint16_t copy = 0;  ///< tells tasks apart that one document lists under one id; Mesos itself makes none
  std::shared_ptr<const TaskSpec> spec;  ///< never null
  std::vector<IpAddress> addresses;      ///< of the newest status that has any
  std::vector<PortMapping> status_mappings;
  MesosState state = MesosState::kStaging;
  Health health = Health::kUnknown;
  /// Of the newest status with TASK_RUNNING and a time above -1; no such status: -1. In seconds, by the agent's clock. The
  /// earliest listed wins a tie.
  double running_at = -1;
  /// Null: that status names exactly `addresses` in its network infos, and nothing in labels; so most tasks need no object.
  std::shared_ptr<const RunningAddresses> running;

  /// Filled in by ClusterState: zero / false while the agent or framework is not known ("waiting").
  IpAddress agent_address;
  SharedText framework_name;
  bool framework_known = false;

  Task();
  TaskPhase phase() const { return phase_of(state); }
  bool waiting() const { return agent_address.is_zero() || !framework_known; }
  const std::vector<PortMapping>& mappings() const {
    return spec->mappings_from_status && spec->mappings.empty() ? status_mappings : spec->mappings;
  }
  const std::vector<IpAddress>& running_netinfo() const;
  const std::vector<IpAddress>& running_docker() const;
  const std::vector<IpAddress>& running_mesos() const;
  /// Takes over what a running status names; `addresses` must have its final value.
  void set_running(double at, RunningAddresses&& found);
  /// By meaning: states of one phase are equal, and so are two specs with the same content.
  bool operator==(const Task& other) const;
};
using TaskPtr = std::shared_ptr<const Task>;

struct Agent {
  SharedText id;
  std::string hostname;
  std::string pid;  ///< "slave(1)@10.0.0.1:5051"
  bool operator==(const Agent&) const = default;
};

struct Framework {
  SharedText id;
  SharedText name;
  std::string hostname = {};
  std::string pid = {};  ///< "scheduler-ab12@10.0.0.1:15101"; empty for schedulers of the HTTP API
  bool operator==(const Framework&) const = default;
};

/// The part of a pid behind its only '@': a literal without brackets or a name, and a port from 1 to 65535.
std::optional<HostPort> host_of_pid(std::string_view pid);
/// "10.0.0.1:5050", "[fd01::1]:5050", "name:5050".
std::optional<HostPort> split_host_port(std::string_view text);

/// The address in "slave(1)@10.0.0.1:5051"; nullopt when there is none.
std::optional<IpAddress> address_of_pid(std::string_view pid);

/// Heap and inline bytes of one task with its description, for the memory report of tests and benchmarks.
size_t memory_bytes(const Task& task);

}  // namespace ls
