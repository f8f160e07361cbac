#pragma once
/// What MesosZone keeps. Private to derive/: mesos_zone.cpp changes it, mesos_enumerate.cpp lists it.
#include <memory>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "derive/mesos_masters.h"
#include "derive/mesos_tasks.h"
#include "util/guarded.h"

namespace ls::mesos {

using AddressList = std::shared_ptr<const std::vector<IpAddress>>;  ///< never null

struct TaskEntry;

/// Where a framework or an agent is, and its addresses as they were published.
struct Place {
  std::string host;  ///< literal or folded name; empty: not known
  uint16_t port = 0;  ///< 0: none
  AddressList addresses;
};
struct AgentEntry {
  std::string id;
  bool present = false;  ///< the state lists it
  Place place;
  std::vector<TaskEntry*> tasks;
};
struct FrameworkEntry {
  std::string id, name;
  bool known = false, bad_pid = false;
  uint64_t order = 0;  ///< of arrival
  Place place;
  FrameworkNames names{"", false};  ///< of `names_of`
  SharedText names_of;
  size_t tasks = 0;
};
struct TaskEntry {
  TaskPtr task;
  AgentEntry* agent = nullptr;
  FrameworkEntry* framework = nullptr;
  uint64_t order = 0;
  size_t in_agent = 0;  ///< own place in its list
};

struct TaskKey {
  std::string_view framework, id;
  uint16_t copy = 0;
  bool operator==(const TaskKey&) const = default;
};
inline TaskKey key_of(const Task& t) { return {t.framework_id.view(), t.id, t.copy}; }
struct TaskHash {
  using is_transparent = void;
  size_t operator()(const TaskKey& k) const {
    return hash_bytes(k.id.data(), k.id.size(), hash_bytes(k.framework.data(), k.framework.size()));
  }
  size_t operator()(const std::unique_ptr<TaskEntry>& e) const { return (*this)(key_of(*e->task)); }
};
struct TaskEqual {
  using is_transparent = void;
  using Entry = std::unique_ptr<TaskEntry>;
  bool operator()(const Entry& a, const Entry& b) const { return key_of(*a->task) == key_of(*b->task); }
  bool operator()(const TaskKey& a, const Entry& b) const { return a == key_of(*b->task); }
  bool operator()(const Entry& a, const TaskKey& b) const { return key_of(*a->task) == b; }
};

/// The cluster as the zone sees it.
struct Roster {
  std::unordered_set<std::unique_ptr<TaskEntry>, TaskHash, TaskEqual> tasks;
  std::unordered_map<std::string, std::unique_ptr<AgentEntry>> agents;
  std::unordered_map<std::string, std::unique_ptr<FrameworkEntry>> frameworks;
  std::set<TaskEntry*> troubled;  ///< tasks of which something was left out
  uint64_t next_order = 0;

  std::optional<MasterAddress> leader;
  std::vector<MasterAddress> masters;
  std::vector<Record> master_records, own_records;

  FrameworkEntry& framework(std::string_view id);
  AgentEntry& agent(std::string_view id);
  TaskEntry* find(const Task& t) const;
  void drop_if_unused(AgentEntry& a);
  void drop_if_unused(FrameworkEntry& f);
};

/// Records of frameworks and agents (8.1, 8.2); none without addresses.
std::vector<Record> framework_records(const FrameworkEntry& f, const MesosZoneOptions& o);
std::vector<Record> agent_records(const AgentEntry& a, const MesosZoneOptions& o);
/// True for names of 8.2 to 8.4, which a framework could take by its own name (B21). `fragment`: DF of its name.
bool reserved(std::string_view fragment, const MesosZoneOptions& o);

}  // namespace ls::mesos

namespace ls {

struct MesosZone::Impl {
  explicit Impl(MesosZoneOptions o) : options(std::move(o)) {}

  const MesosZoneOptions options;
  mutable Guarded<mesos::Roster> roster;

  /// One change at work: the roster, and what it makes.
  struct Work;
};

}  // namespace ls
