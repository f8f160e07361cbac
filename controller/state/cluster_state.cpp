#include "state/cluster_state.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace ls {

ClusterState::ClusterState(StateOptions options) : options_(options) {}
ClusterState::~ClusterState() = default;

// ---- entries ----

ClusterState::AgentEntry* ClusterState::find_agent(std::string_view id) const {
  auto it = agents_.find(id);
  return it == agents_.end() ? nullptr : it->second.get();
}

ClusterState::AgentEntry& ClusterState::agent_entry(const SharedText& id) {
  if (auto* found = find_agent(id.view())) return *found;
  auto entry = std::make_unique<AgentEntry>();
  entry->agent.id = id;
  auto& ref = *entry;
  agents_.emplace(ref.agent.id.view(), std::move(entry));
  return ref;
}

ClusterState::FrameworkEntry& ClusterState::framework_entry(const SharedText& id) {
  auto it = frameworks_.find(id.view());
  if (it != frameworks_.end()) return *it->second;
  auto entry = std::make_unique<FrameworkEntry>();
  entry->framework.id = id;
  auto& ref = *entry;
  frameworks_.emplace(ref.framework.id.view(), std::move(entry));
  return ref;
}

void ClusterState::drop_if_unused(AgentEntry& a) {
  if (a.registered || a.recovered || a.told || !a.tasks.empty()) return;
  set_timer(a, &AgentEntry::held_until, std::nullopt);
  set_timer(a, &AgentEntry::settles_until, std::nullopt);
  SharedText id = a.agent.id;  // the map's key is a view into the entry that goes
  agents_.erase(id.view());
}

void ClusterState::drop_if_unused(FrameworkEntry& f) {
  if (f.known || !f.tasks.empty()) return;
  SharedText id = f.framework.id;
  frameworks_.erase(id.view());
}

void ClusterState::set_timer(AgentEntry& a, std::optional<Instant> AgentEntry::*which,
                             std::optional<Instant> at) {
  // One agent may have both timers at the same instant; then they share an element, which is put back below.
  if (a.*which) timers_.erase({*(a.*which), &a});
  a.*which = at;
  if (a.held_until) timers_.emplace(*a.held_until, &a);
  if (a.settles_until) timers_.emplace(*a.settles_until, &a);
}

IpAddress ClusterState::address_of(const Agent& agent) const {
  if (auto literal = IpAddress::parse(agent.hostname)) return *literal;
  if (auto from_pid = address_of_pid(agent.pid)) return *from_pid;
  if (options_.resolver)
    if (auto resolved = options_.resolver->resolve(agent.hostname)) return *resolved;
  return {};
}

ClusterState::TaskEntry* ClusterState::find(std::string_view framework_id, std::string_view task_id, uint16_t copy) const {
  auto it = tasks_.find(TaskKey{framework_id, task_id, copy});
  return it == tasks_.end() ? nullptr : it->get();
}

void ClusterState::link(TaskEntry& e, AgentEntry& agent, FrameworkEntry& framework) {
  e.agent = &agent;
  e.framework = &framework;
  e.in_agent = agent.tasks.size();
  agent.tasks.push_back(&e);
  e.in_framework = framework.tasks.size();
  framework.tasks.push_back(&e);
}

void ClusterState::unlink(TaskEntry& e) {
  auto* last = e.agent->tasks.back();
  e.agent->tasks[e.in_agent] = last;
  last->in_agent = e.in_agent;
  e.agent->tasks.pop_back();
  last = e.framework->tasks.back();
  e.framework->tasks[e.in_framework] = last;
  last->in_framework = e.in_framework;
  e.framework->tasks.pop_back();
}

// ---- tasks ----

void ClusterState::resolve(Task& t, const AgentEntry& agent, const FrameworkEntry& framework, const Task* before) {
  bool ends = t.phase() == TaskPhase::kTerminal;
  bool same_agent = before && before->agent_id == t.agent_id;
  t.agent_id = agent.agent.id;
  t.framework_id = framework.framework.id;
  if (agent.registered || agent.held_until) {
    t.agent_address = agent.address;
  } else {
    // The agent went without its tasks: while they live they keep the address they had.
    t.agent_address = same_agent && !ends ? before->agent_address : IpAddress();
  }
  if (framework.known) {
    t.framework_known = true;
    t.framework_name = framework.framework.name;
  } else if (before && !ends) {
    t.framework_known = before->framework_known;
    t.framework_name = before->framework_name;
  } else {
    t.framework_known = false;
    t.framework_name = {};
  }
}

void ClusterState::adopt(Task& t, const AgentEntry& agent, const FrameworkEntry& framework, const Task* before) {
  t.agent_id = agent.agent.id;
  t.framework_id = framework.framework.id;
  // A task of an agent that only we still hold comes back before its agent does: nothing of it is lost meanwhile.
  if (!before || !agent.held_until || before->agent_id != t.agent_id) return;
  if (t.agent_address.is_zero()) t.agent_address = before->agent_address;
  if (!t.framework_known) {
    t.framework_known = before->framework_known;
    t.framework_name = before->framework_name;
  }
}

void ClusterState::store(Task&& t, TaskEntry& entry, StateDelta& out) {
  if (*entry.task == t) {
    // Staging to starting and the like: kept for people, told to nobody.
    if (entry.task->state != t.state || entry.task->running_at != t.running_at) entry.task = std::make_shared<const Task>(std::move(t));
    return;
  }
  TaskChange change{.before = entry.task, .after = std::make_shared<const Task>(std::move(t))};
  entry.task = change.after;
  out.tasks.push_back(std::move(change));
}

void ClusterState::remove(TaskEntry& entry, TaskPtr last, StateDelta& out) {
  FrameworkEntry& framework = *entry.framework;
  unlink(entry);
  auto node = tasks_.extract(tasks_.find(key_of(*entry.task)));
  out.tasks.push_back({.before = entry.task, .after = std::move(last), .removed = true});
  // One that no leader since the last snapshot named was there for its tasks only.
  if (framework.known && framework.epoch != epoch_ && framework.tasks.empty()) return framework_removed(framework.framework.id.str(), out);
  drop_if_unused(framework);
}

void ClusterState::handle(Task&& t, bool placed, TaskEntry* entry, StateDelta& out) {
  AgentEntry& agent = agent_entry(t.agent_id);
  FrameworkEntry& framework = framework_entry(t.framework_id);
  const Task* before = entry ? entry->task.get() : nullptr;
  if (placed) adopt(t, agent, framework, before);
  else resolve(t, agent, framework, before);
  if (t.phase() == TaskPhase::kTerminal) {
    auto last = std::make_shared<const Task>(std::move(t));
    if (entry) {
      AgentEntry& former = *entry->agent;
      remove(*entry, std::move(last), out);
      if (&former != &agent) drop_if_unused(former);
    } else {
      out.tasks.push_back({.before = nullptr, .after = std::move(last), .removed = true});
      drop_if_unused(framework);
    }
    drop_if_unused(agent);
    return;
  }
  if (!entry) {
    auto fresh = std::make_unique<TaskEntry>();
    fresh->task = std::make_shared<const Task>(std::move(t));
    fresh->epoch = epoch_;
    link(*fresh, agent, framework);
    out.tasks.push_back({.before = nullptr, .after = fresh->task});
    tasks_.insert(std::move(fresh));
    return;
  }
  entry->epoch = epoch_;
  if (entry->agent != &agent) {
    AgentEntry& former = *entry->agent;
    unlink(*entry);
    link(*entry, agent, framework);
    drop_if_unused(former);
  }
  store(std::move(t), *entry, out);
}

void ClusterState::put_task(Task&& t, bool placed, StateDelta& out) {
  TaskEntry* entry = find(t.framework_id.view(), t.id, t.copy);
  handle(std::move(t), placed, entry, out);
}

void ClusterState::task_removed(const TaskRemoved& r, StateDelta& out) {
  TaskEntry* entry = find(r.framework_id.view(), r.task_id, r.copy);
  if (!entry) return;
  AgentEntry& agent = *entry->agent;
  remove(*entry, entry->task, out);
  drop_if_unused(agent);
}

void ClusterState::update_task(TaskUpdated&& u, StateDelta& out) {
  TaskEntry* entry = find(u.framework_id.view(), u.task_id);
  Task t;
  if (entry) {
    t = *entry->task;
  } else {
    if (u.agent_id.empty()) return;  // nothing could ever be made of it
    t.framework_id = u.framework_id;
    t.id = std::move(u.task_id);
  }
  if (!u.agent_id.empty()) t.agent_id = u.agent_id;
  if (u.state) t.state = *u.state;
  if (u.healthy) t.health = *u.healthy ? Health::kHealthy : Health::kUnhealthy;
  // What the newest running status named must not follow `addresses` when another status changes these.
  bool newer = u.running_at > -1 && u.running_at >= t.running_at;
  RunningAddresses running = newer ? std::move(u.running)
                                   : RunningAddresses{t.running_netinfo(), t.running_docker(), t.running_mesos()};
  if (!u.addresses.empty()) t.addresses = std::move(u.addresses);
  t.set_running(newer ? u.running_at : t.running_at, std::move(running));
  if (!u.mappings.empty()) t.status_mappings = std::move(u.mappings);
  handle(std::move(t), false, entry, out);
}

void ClusterState::refresh_tasks(const std::vector<TaskEntry*>& tasks, StateDelta& out) {
  for (TaskEntry* e : tasks) {
    bool moved = e->agent->registered && e->task->agent_address != e->agent->address;
    bool named = !e->task->framework_known && e->framework->known;
    if (!moved && !named) continue;
    Task t = *e->task;
    if (moved) t.agent_address = e->agent->address;
    if (named) {
      t.framework_known = true;
      t.framework_name = e->framework->framework.name;
    }
    store(std::move(t), *e, out);
  }
}

void ClusterState::sweep(AgentEntry& agent, StateDelta& out, const std::function<bool(const TaskEntry&)>& which) {
  std::vector<TaskEntry*> gone;
  for (TaskEntry* e : agent.tasks)
    if (e->epoch != epoch_ && which(*e)) gone.push_back(e);
  std::sort(gone.begin(), gone.end(), [](TaskEntry* a, TaskEntry* b) {
    auto key = [](TaskEntry* e) { return std::tie(e->task->framework_id, e->task->id, e->task->copy); };
    return key(a) < key(b);
  });
  for (TaskEntry* e : gone) remove(*e, e->task, out);
}

// ---- agents and frameworks ----

void ClusterState::agent_added(AgentAdded&& added, Instant now, StateDelta& out) {
  Agent& agent = added.agent;
  AgentEntry& a = agent_entry(agent.id);
  IpAddress address = added.address ? *added.address : address_of(agent);
  // An agent whose name no longer resolves keeps the address it had.
  if (address.is_zero() && !added.address) address = a.address;
  bool changed = !a.told || !a.registered || a.address != address || a.agent.hostname != agent.hostname || a.agent.pid != agent.pid;
  a.agent.hostname = std::move(agent.hostname);
  a.agent.pid = std::move(agent.pid);
  a.address = address;
  a.registered = true;
  set_recovered(a, false, out);
  if (changed) out.agents.push_back({a.agent, a.address, false});
  a.told = true;
  if (a.held_until) {
    set_timer(a, &AgentEntry::held_until, std::nullopt);
    sweep(a, out, [&](const TaskEntry& e) { return e.framework->epoch == epoch_; });
    bool more = std::any_of(a.tasks.begin(), a.tasks.end(), [&](auto* e) { return e->epoch != epoch_; });
    if (more) set_timer(a, &AgentEntry::settles_until, now + options_.settle);
  }
  if (!added.address) refresh_tasks(a.tasks, out);
}

void ClusterState::set_recovered(AgentEntry& a, bool waited_for, StateDelta& out) {
  if (a.recovered == waited_for) return;
  a.recovered = waited_for;
  out.recovered.push_back({a.agent.id, waited_for});
}

void ClusterState::agent_recovered(const AgentRecovered& r, StateDelta& out) {
  if (r.waited_for) return set_recovered(agent_entry(r.id), true, out);
  AgentEntry* a = find_agent(r.id.view());
  if (!a) return;
  if (!a->registered) return agent_removed(r.id.view(), out);
  set_recovered(*a, false, out);
}

void ClusterState::tell_gone(AgentEntry& a, StateDelta& out) {
  if (std::exchange(a.told, false)) out.agents.push_back({a.agent, a.address, true});
}

void ClusterState::agent_removed(std::string_view id, StateDelta& out) {
  AgentEntry* a = find_agent(id);
  if (!a) return;
  bool held = a->held_until || a->settles_until;
  set_timer(*a, &AgentEntry::held_until, std::nullopt);
  set_timer(*a, &AgentEntry::settles_until, std::nullopt);
  // Tasks end by their own updates; only those that nobody will ever speak of again go with the agent.
  if (held) sweep(*a, out, [](const TaskEntry&) { return true; });
  a->registered = false;
  tell_gone(*a, out);
  set_recovered(*a, false, out);
  drop_if_unused(*a);
}

void ClusterState::framework_added(Framework&& framework, bool placed, StateDelta& out) {
  FrameworkEntry& f = framework_entry(framework.id);
  bool changed = !f.known || f.framework != framework;
  framework.id = f.framework.id;  // the map's key is a view into it
  f.framework = std::move(framework);
  f.known = true;
  f.epoch = epoch_;
  if (changed) out.frameworks.push_back({f.framework, false});
  if (!placed) refresh_tasks(f.tasks, out);
}

void ClusterState::framework_removed(std::string_view id, StateDelta& out) {
  auto it = frameworks_.find(id);
  if (it == frameworks_.end()) return;
  FrameworkEntry& f = *it->second;
  if (std::exchange(f.known, false)) out.frameworks.push_back({f.framework, true});
  drop_if_unused(f);
}

// ---- snapshot, time ----

void ClusterState::replace(Snapshot s, Instant now, SnapshotContext context, StateDelta& out) {
  bool had_agents = std::any_of(agents_.begin(), agents_.end(), [](auto& a) { return a.second->registered; });
  bool leader_changed = context.leader_changed && !s.placed;
  bool fresh = leader_changed || (had_agents && s.agents.empty());
  epoch_++;

  for (auto& f : s.frameworks) framework_added(std::move(f), s.placed, out);

  placed_ = s.placed;
  std::unordered_set<AgentEntry*> listed, recovered;
  for (size_t i = 0; i < s.agents.size(); i++) {
    auto& a = s.agents[i];
    AgentEntry& entry = agent_entry(a.id);
    listed.insert(&entry);
    // What the snapshot lists for a registered agent is all it has: no hold, the sweep below is exact.
    set_timer(entry, &AgentEntry::held_until, std::nullopt);
    set_timer(entry, &AgentEntry::settles_until, std::nullopt);
    std::optional<IpAddress> address;
    if (s.placed) address = i < s.addresses.size() ? s.addresses[i] : IpAddress();
    agent_added({std::move(a), address}, now, out);
  }
  for (auto& a : s.recovered_agents) {
    AgentEntry& entry = agent_entry(a.id);
    // Of a placed snapshot an agent may be both: its state holds it, so it is there for us, and waits for it.
    if (s.placed || !listed.contains(&entry)) recovered.insert(&entry);
  }
  for (auto& [id, entry] : agents_) {
    AgentEntry& a = *entry;
    set_recovered(a, recovered.contains(&a), out);
    if (listed.contains(&a)) continue;
    set_timer(a, &AgentEntry::settles_until, std::nullopt);
    bool hold = !a.tasks.empty() && (a.recovered || fresh || a.held_until);
    if (hold && (!a.held_until || leader_changed))
      set_timer(a, &AgentEntry::held_until, now + options_.reregister_timeout);
    if (!hold) set_timer(a, &AgentEntry::held_until, std::nullopt);
    a.registered = false;
    if (!hold) tell_gone(a, out);
  }

  for (auto& t : s.tasks) put_task(std::move(t), s.placed, out);

  std::vector<AgentEntry*> order;
  for (auto& [id, a] : agents_) order.push_back(a.get());
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->agent.id < b->agent.id; });
  for (AgentEntry* a : order)
    if (!a->held_until) sweep(*a, out, [](const TaskEntry&) { return true; });
  for (AgentEntry* a : order) drop_if_unused(*a);

  std::vector<FrameworkEntry*> unnamed;
  auto held = [&](const TaskEntry* e) { return !s.placed || e->epoch != epoch_; };
  for (auto& [id, f] : frameworks_)
    if (f->known && f->epoch != epoch_ && std::none_of(f->tasks.begin(), f->tasks.end(), held)) unnamed.push_back(f.get());
  for (auto* f : unnamed) framework_removed(f->framework.id.str(), out);
}

StateDelta ClusterState::apply(Event&& event, Instant now, SnapshotContext context) {
  StateDelta out;
  if (auto* e = std::get_if<Subscribed>(&event)) {
    replace(std::move(e->snapshot), now, context, out);
  } else if (auto* added = std::get_if<TaskAdded>(&event)) {
    put_task(std::move(added->task), added->placed, out);
  } else if (auto* updated = std::get_if<TaskUpdated>(&event)) {
    update_task(std::move(*updated), out);
  } else if (auto* task_gone = std::get_if<TaskRemoved>(&event)) {
    task_removed(*task_gone, out);
  } else if (auto* agent = std::get_if<AgentAdded>(&event)) {
    agent_added(std::move(*agent), now, out);
  } else if (auto* recovered = std::get_if<AgentRecovered>(&event)) {
    agent_recovered(*recovered, out);
  } else if (auto* agent_gone = std::get_if<AgentRemoved>(&event)) {
    agent_removed(agent_gone->id.view(), out);
  } else if (auto* framework = std::get_if<FrameworkAdded>(&event)) {
    framework_added(std::move(framework->framework), framework->placed, out);
  } else if (auto* framework_gone = std::get_if<FrameworkRemoved>(&event)) {
    framework_removed(framework_gone->id.view(), out);
  }
  return out;
}

StateDelta ClusterState::expire(Instant now) {
  StateDelta out;
  while (!timers_.empty() && timers_.begin()->first <= now) {
    AgentEntry& a = *timers_.begin()->second;
    if (a.held_until && *a.held_until <= now) {
      set_timer(a, &AgentEntry::held_until, std::nullopt);
      // The master marks it unreachable now, and says nothing about it; a hub tells when it no longer waits, and may have begun later.
      if (!placed_) set_recovered(a, false, out);
      tell_gone(a, out);
    }
    if (a.settles_until && *a.settles_until <= now) set_timer(a, &AgentEntry::settles_until, std::nullopt);
    if (!a.held_until && !a.settles_until) sweep(a, out, [](const TaskEntry&) { return true; });
    drop_if_unused(a);
  }
  return out;
}

std::optional<Instant> ClusterState::next_deadline() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.begin()->first;
}

// ---- views ----

TaskPtr ClusterState::task(std::string_view framework_id, std::string_view task_id) const {
  TaskEntry* e = find(framework_id, task_id);
  return e ? e->task : nullptr;
}

void ClusterState::for_each_task(const std::function<void(const TaskPtr&)>& visit) const {
  for (auto& e : tasks_) visit(e->task);
}

StateDelta ClusterState::everything() const {
  StateDelta out;
  for (auto& [id, a] : agents_)
    if (a->told) out.agents.push_back({a->agent, a->address, false});
  for (auto& [id, a] : agents_)
    if (a->recovered) out.recovered.push_back({a->agent.id, true});
  for (auto& [id, f] : frameworks_)
    if (f->known) out.frameworks.push_back({f->framework, false});
  out.tasks.reserve(tasks_.size());
  for (auto& e : tasks_) out.tasks.push_back({.before = nullptr, .after = e->task});
  return out;
}

std::vector<TaskPtr> ClusterState::waiting() const {
  std::vector<TaskPtr> out;
  for (auto& e : tasks_)
    if (e->task->waiting()) out.push_back(e->task);
  return out;
}

std::map<std::string, IpAddress> ClusterState::agents() const {
  std::map<std::string, IpAddress> out;
  for (auto& [id, a] : agents_)
    if (a->registered) out.emplace(id, a->address);
  return out;
}

std::set<std::string> ClusterState::recovered_agents() const {
  std::set<std::string> out;
  for (auto& [id, a] : agents_)
    if (a->recovered) out.emplace(id);
  return out;
}

std::set<std::string> ClusterState::held_agents() const {
  std::set<std::string> out;
  for (auto& [id, a] : agents_)
    if (a->held_until) out.emplace(id);
  return out;
}

std::map<std::string, std::string> ClusterState::frameworks() const {
  std::map<std::string, std::string> out;
  for (auto& [id, f] : frameworks_)
    if (f->known) out.emplace(id, f->framework.name.view());
  return out;
}

}  // namespace ls
