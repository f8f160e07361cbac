#pragma once
/// What a source tells ClusterState: the events of the Mesos operator stream, decoded. Plain values.
/// Source: spec/mesos-operator-stream.md 5. Whoever decodes makes tasks raw: ClusterState fills in the rest.
#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "state/model.h"
#include "util/clock.h"

namespace ls {

/// The whole cluster as one answer lists it.
struct Snapshot {
  std::vector<Agent> agents;
  std::vector<Agent> recovered_agents;  ///< known from the registry, not back yet; pid is empty
  std::vector<Framework> frameworks;
  std::vector<Task> tasks;
};

/// Server default (spec 4); used until SUBSCRIBED tells another, and when it tells none.
inline constexpr Millis kDefaultHeartbeat{15000};
/// How long a stream may be silent: three intervals (spec 4).
constexpr Millis liveness_timeout(Millis heartbeat) { return 3 * heartbeat; }

struct Subscribed {
  Snapshot snapshot;
  Millis heartbeat = kDefaultHeartbeat;
  std::string leader;  ///< "master@10.0.0.1:5050"; only a /master/state document names it
};
struct TaskAdded {
  Task task;
};
/// Everything absent or empty keeps its former value.
struct TaskUpdated {
  SharedText framework_id;
  std::string task_id;
  SharedText agent_id;
  std::optional<MesosState> state;  ///< of the event, else of the status
  std::optional<bool> healthy;
  std::vector<IpAddress> addresses;
  std::vector<PortMapping> mappings;
  /// Set when the status itself is a running one with a time above -1.
  double running_at = -1;
  RunningAddresses running;
};
struct AgentAdded {
  Agent agent;
};
struct AgentRemoved {
  SharedText id;
};
/// FRAMEWORK_ADDED and FRAMEWORK_UPDATED, which are handled alike.
struct FrameworkAdded {
  Framework framework;
};
struct FrameworkRemoved {
  SharedText id;
};
struct Heartbeat {};
/// A type this version does not know, or an event whose identity could not be read. Skipped by ClusterState.
struct UnknownEvent {
  std::string type;
};

using Event = std::variant<Subscribed, TaskAdded, TaskUpdated, AgentAdded, AgentRemoved, FrameworkAdded,
                           FrameworkRemoved, Heartbeat, UnknownEvent>;

}  // namespace ls
