#pragma once
/// The cluster a stand-in master speaks of: agents, frameworks, tasks, and their JSON in the shapes of the v1
/// operator API (spec/mesos-state.md sections 4 to 9; field order as in spec/captures). Plain values, one thread.
/// JSON is appended to one string by hand: a state of 100,000 tasks is 150 MB, which a document tree would multiply.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ls::standin {

/// Appends `text` as a JSON string.
void quote(std::string& out, std::string_view text);

using Labels = std::vector<std::pair<std::string, std::string>>;

struct Agent {
  std::string id, hostname, ip;
  uint16_t port = 5051;
  std::string ip6;             ///< second address, with which host-network tasks report too
  std::string region, zone;
  std::map<std::string, std::string> attributes;
  bool reregistered = false;
  enum class State { kRegistered, kRecovered, kAway } state = State::kRegistered;  ///< kAway: unreachable, gone
};

struct Framework {
  std::string id, name;
  bool connected = true, recovered = false;
  bool known = true;  ///< by the current leader
};

struct Port {
  uint32_t number = 0;
  std::string name, protocol = "tcp";
  Labels labels;
  std::optional<uint32_t> host_port, container_port;  ///< a mapping when container_port is there
};

struct Status {
  std::string state, source = "SOURCE_EXECUTOR", reason;
  double timestamp_s = 0;
  std::optional<bool> healthy;
  bool with_address = false;
  std::vector<std::string> ips;
};

struct Task {
  std::string id, framework, agent, name;
  std::string state = "TASK_STAGING";
  std::vector<Port> ports;
  Labels labels;
  std::vector<std::string> ips;  ///< empty: the agent's
  std::string network;           ///< name of the container network
  std::string container;         ///< "", "MESOS" or "DOCKER"
  std::string docker_network;    ///< HOST, BRIDGE, USER
  bool health_check = false;
  std::optional<bool> healthy;
  std::vector<Status> statuses;
  bool discovery = true;

  bool terminal() const;
};

using TaskKey = std::pair<std::string, std::string>;  // framework, task

struct Cluster {
  std::map<std::string, Agent> agents;
  std::map<std::string, Framework> frameworks;
  std::map<TaskKey, Task> tasks;  ///< of agents of any state
  std::vector<Task> completed;    ///< the newest 1000

  /// Appends a status; one with the state of the last replaces it, as a master does.
  void add_status(Task& t, Status s);
  bool listed(const Task& t) const;  ///< in `tasks` of a snapshot: its agent is registered
};

// Each appends to `out`.
void write_task(std::string& out, const Cluster& c, const Task& t);
void write_status(std::string& out, const Cluster& c, const Task& t, const Status& s);
void write_agent(std::string& out, const Agent& a);
void write_agent_info(std::string& out, const Agent& a);
void write_framework(std::string& out, const Framework& f);
void write_get_state(std::string& out, const Cluster& c);

// Whole events.
std::string event_subscribed(const Cluster& c, double heartbeat_s);
std::string event_task_added(const Cluster& c, const Task& t);
std::string event_task_updated(const Cluster& c, const Task& t, const Status& s);
std::string event_agent_added(const Agent& a);
std::string event_agent_removed(const std::string& id);
std::string event_framework(const Framework& f, bool added);
std::string event_framework_removed(const Framework& f);

}  // namespace ls::standin
