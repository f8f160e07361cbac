#pragma once
/// ClusterState: what is known of the cluster, and the typed deltas every derivation works from.
///
/// Threading: one thread (the control loop). Time comes in as an argument; nothing here reads a clock.
/// Cost: an event costs O(what it changes); a snapshot costs O(cluster).
///
/// Last known good beats empty:
///   * Losing the source changes nothing here; there is no call for it.
///   * A snapshot replaces everything, except what belongs to agents the master does not know *yet*. An agent is held
///     when the snapshot lists it as recovered, when the leader is new, or when it was held before and its time is not
///     over. A held agent's tasks stay as they were until it registers again, is removed, or its time is over; each agent by itself.
///   * When a held agent registers, the tasks it did not bring go at once, except those of frameworks the leader has not
///     named yet: an agent is announced before such a framework and its tasks (spec/mesos-state.md 9.3), so they get
///     StateOptions::settle more.
///   * A snapshot without any agent, where there were some, counts as a new leader: a leader answers so while it recovers.
/// Placed events (events.h) come from another ClusterState, over a hub: tasks are stored as they are, agents have the address that comes
/// with them, and what that state holds is told as registered. A placed snapshot holds only the agents that it says are
/// waited for, whoever leads: what the other state has not been told of them yet, this one may have from before.
/// A framework's new name is used for tasks handled after it and at the next snapshot (operator-stream 5.5), so a rename does not cut
/// the clients of running tasks.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "state/events.h"
#include "state/model.h"
#include "util/clock.h"

namespace ls {

/// Names of agents to addresses, for agents whose hostname is no literal and whose pid has no address.
class HostResolver {
 public:
  virtual ~HostResolver() = default;
  /// Called on the control loop: must answer from memory.
  virtual std::optional<IpAddress> resolve(std::string_view hostname) = 0;
};

struct StateOptions {
  Millis reregister_timeout = std::chrono::minutes(10);  ///< Mesos' own default of agent_reregister_timeout
  Millis settle = std::chrono::seconds(10);              ///< the "await tasks" time of operator-stream 7
  HostResolver* resolver = nullptr;                      ///< not owned; may be null
};

struct SnapshotContext {
  bool leader_changed = false;  ///< this snapshot came from another leader than the one before, or it is not known
};

/// One task that is new, changed or gone. `after` is always its newest record, also when it is gone.
struct TaskChange {
  TaskPtr before;  ///< null: was not there
  TaskPtr after;
  bool removed = false;
};
/// An agent that is new, has other addresses or names, or is gone. Held agents are not gone.
struct AgentChange {
  Agent agent;
  IpAddress address;  ///< zero: could not be resolved
  bool removed = false;
};
struct FrameworkChange {
  Framework framework;
  bool removed = false;
};

/// The leader waits for an agent that it knows from its registry, or no longer.
struct RecoveredChange {
  SharedText id;
  bool waited_for = true;
};

struct StateDelta {
  std::vector<AgentChange> agents;
  std::vector<FrameworkChange> frameworks;
  std::vector<TaskChange> tasks;  ///< in the order in which they happened
  std::vector<RecoveredChange> recovered;
  bool empty() const { return agents.empty() && frameworks.empty() && tasks.empty() && recovered.empty(); }
};

class ClusterState {
 public:
  explicit ClusterState(StateOptions options = {});
  ~ClusterState();
  ClusterState(const ClusterState&) = delete;
  ClusterState& operator=(const ClusterState&) = delete;

  /// `context` matters for Subscribed only.
  StateDelta apply(Event&& event, Instant now, SnapshotContext context = {});
  /// Gives up what waited too long. Call at next_deadline() or later.
  StateDelta expire(Instant now);
  std::optional<Instant> next_deadline() const;

  bool synced() const { return epoch_ > 0; }  ///< a first snapshot has been applied
  TaskPtr task(std::string_view framework_id, std::string_view task_id) const;  ///< null: not there
  size_t task_count() const { return tasks_.size(); }
  void for_each_task(const std::function<void(const TaskPtr&)>& visit) const;  ///< no order

  /// All there is, as the change that makes it from nothing: what another ClusterState needs to be equal. Cost: O(cluster), pointers of
  /// tasks and copies of the rest.
  StateDelta everything() const;
  /// Tasks whose agent or framework is not known. Cost: O(tasks).
  std::vector<TaskPtr> waiting() const;
  std::map<std::string, IpAddress> agents() const;  ///< registered ones by id
  std::set<std::string> recovered_agents() const;
  std::set<std::string> held_agents() const;  ///< whose tasks are kept from before a leader change
  std::map<std::string, std::string> frameworks() const;  ///< id -> name

 private:
  struct AgentEntry;
  struct FrameworkEntry;
  struct TaskEntry {
    TaskPtr task;
    uint32_t epoch = 0;  ///< snapshot in or after which the master last spoke of it
    AgentEntry* agent = nullptr;
    FrameworkEntry* framework = nullptr;
    size_t in_agent = 0, in_framework = 0;  ///< own place in the lists of these
  };
  using EntryPtr = std::unique_ptr<TaskEntry>;
  struct TaskKey {
    std::string_view framework, id;
    uint16_t copy = 0;
    bool operator==(const TaskKey&) const = default;
  };
  /// Hash and equality by (framework id, task id), read from the record itself so that ids are stored once.
  struct TaskHash {
    using is_transparent = void;
    size_t operator()(const TaskKey& k) const {
      return hash_bytes(k.id.data(), k.id.size(), hash_bytes(k.framework.data(), k.framework.size()));
    }
    size_t operator()(const EntryPtr& e) const { return (*this)(key_of(*e->task)); }
  };
  struct TaskEqual {
    using is_transparent = void;
    bool operator()(const EntryPtr& a, const EntryPtr& b) const { return key_of(*a->task) == key_of(*b->task); }
    bool operator()(const TaskKey& a, const EntryPtr& b) const { return a == key_of(*b->task); }
    bool operator()(const EntryPtr& a, const TaskKey& b) const { return key_of(*a->task) == b; }
  };
  static TaskKey key_of(const Task& t) { return {t.framework_id.view(), t.id, t.copy}; }
  struct AgentEntry {
    Agent agent;
    IpAddress address;  ///< last known
    bool registered = false, recovered = false;
    bool told = false;  ///< the newest AgentChange of it says that it is there; true for registered and for held ones
    std::optional<Instant> held_until;     ///< not back after a leader change
    std::optional<Instant> settles_until;  ///< back, some of its tasks not announced yet
    std::vector<TaskEntry*> tasks;
  };
  struct FrameworkEntry {
    Framework framework;
    bool known = false;
    uint32_t epoch = 0;
    std::vector<TaskEntry*> tasks;
  };

  void replace(Snapshot snapshot, Instant now, SnapshotContext context, StateDelta& out);
  void put_task(Task&& task, bool placed, StateDelta& out);
  void task_removed(const TaskRemoved& removed, StateDelta& out);
  void update_task(TaskUpdated&& update, StateDelta& out);
  void agent_added(AgentAdded&& added, Instant now, StateDelta& out);
  void agent_recovered(const AgentRecovered& recovered, StateDelta& out);
  void set_recovered(AgentEntry& agent, bool waited_for, StateDelta& out);
  void agent_removed(std::string_view id, StateDelta& out);
  void tell_gone(AgentEntry& agent, StateDelta& out);
  void framework_added(Framework&& framework, bool placed, StateDelta& out);
  void framework_removed(std::string_view id, StateDelta& out);

  TaskEntry* find(std::string_view framework_id, std::string_view task_id, uint16_t copy = 0) const;
  /// Fills in what depends on agent and framework; `before` is the record that `task` replaces, or null.
  static void resolve(Task& task, const AgentEntry& agent, const FrameworkEntry& framework, const Task* before);
  /// The same for a task that another state has placed.
  static void adopt(Task& task, const AgentEntry& agent, const FrameworkEntry& framework, const Task* before);
  void handle(Task&& task, bool placed, TaskEntry* entry, StateDelta& out);
  void store(Task&& task, TaskEntry& entry, StateDelta& out);
  /// Drops the framework with its last task; the agent is left to the caller, who may still be at work on it.
  void remove(TaskEntry& entry, TaskPtr last, StateDelta& out);
  /// Removes the tasks of `agent` the master has not spoken of since the last snapshot, if `which` agrees.
  void sweep(AgentEntry& agent, StateDelta& out, const std::function<bool(const TaskEntry&)>& which);
  void refresh_tasks(const std::vector<TaskEntry*>& tasks, StateDelta& out);
  static void link(TaskEntry& entry, AgentEntry& agent, FrameworkEntry& framework);
  static void unlink(TaskEntry& entry);

  AgentEntry& agent_entry(const SharedText& id);
  FrameworkEntry& framework_entry(const SharedText& id);
  AgentEntry* find_agent(std::string_view id) const;
  void drop_if_unused(AgentEntry& agent);
  void drop_if_unused(FrameworkEntry& framework);
  void set_timer(AgentEntry& agent, std::optional<Instant> AgentEntry::*which, std::optional<Instant> at);
  IpAddress address_of(const Agent& agent) const;

  StateOptions options_;
  uint32_t epoch_ = 0;
  bool placed_ = false;  ///< of the newest snapshot
  std::unordered_set<EntryPtr, TaskHash, TaskEqual> tasks_;
  /// Keys are views into the entries' own ids, which never change.
  std::unordered_map<std::string_view, std::unique_ptr<AgentEntry>> agents_;
  std::unordered_map<std::string_view, std::unique_ptr<FrameworkEntry>> frameworks_;
  std::set<std::pair<Instant, AgentEntry*>> timers_;
};

}  // namespace ls
