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
  /// Somebody's ClusterState made it (hub/record.h): tasks hold the address and the name they are to have.
  bool placed = false;
  std::vector<IpAddress> addresses = {};  ///< of `agents`, in their order; only of a placed one
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
/// `placed` here and below: as in Snapshot.
struct TaskAdded {
  Task task;
  bool placed = false;
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
/// Ends a task without a word about how. Mesos has no such event; a hub does.
struct TaskRemoved {
  SharedText framework_id;
  std::string task_id;
  uint16_t copy = 0;
};
struct AgentAdded {
  Agent agent;
  std::optional<IpAddress> address = {};  ///< set: placed, by this address
};
/// The leader knows the agent from its registry and waits for it, or does so no longer. From a hub; Mesos tells it in snapshots only.
struct AgentRecovered {
  SharedText id;
  bool waited_for = true;
};
struct AgentRemoved {
  SharedText id;
};
/// FRAMEWORK_ADDED and FRAMEWORK_UPDATED, which are handled alike.
struct FrameworkAdded {
  Framework framework;
  bool placed = false;
};
struct FrameworkRemoved {
  SharedText id;
};
struct Heartbeat {};
/// A type this version does not know, or an event whose identity could not be read. Skipped by ClusterState.
struct UnknownEvent {
  std::string type;
};

using Event = std::variant<Subscribed, TaskAdded, TaskUpdated, TaskRemoved, AgentAdded, AgentRemoved, AgentRecovered, FrameworkAdded,
                           FrameworkRemoved, Heartbeat, UnknownEvent>;

}  // namespace ls
