// Random histories of a cluster: the sum of the zone's deltas is always what it holds, and what a new zone makes of a snapshot.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "derive/dcos_zone.h"
#include "derive/mesos_zone.h"
#include "state_builders.h"

namespace ls {
namespace {

constexpr int kAgents = 4, kFrameworks = 3, kTasks = 10;

using Hosts = std::map<std::string, std::vector<IpAddress>, std::less<>>;

MesosZoneOptions options(const Hosts& hosts) {
  MesosZoneOptions o;
  o.healthy_only = true;
  o.split_protocols = true;
  o.lookup = [&hosts](std::string_view host) {
    auto it = hosts.find(host);
    return it == hosts.end() ? std::vector<IpAddress>{} : it->second;
  };
  return o;
}

class World {
 public:
  World() : zone(options(hosts)) { resubscribe(); }

  void step(uint8_t what, uint8_t which, uint16_t how) {
    auto& t = tasks_[which % kTasks];
    const int agent = which % kAgents, framework = which % kFrameworks;
    switch (what % 12) {
      case 0:
      case 1:
      case 2:
        if (t || !agents_[how % kAgents] || !frameworks_[how / 4 % kFrameworks]) return;
        t = describe(which % kTasks, how);
        return say(TaskAdded{*t});
      case 3:
      case 4:
        return change(t, how);
      case 5:
        if (!t) return;
        say(test::update(t->framework_id.str(), t->id, MesosState::kFinished));
        t.reset();
        return;
      case 6: {  // an agent goes with what it runs, or comes back empty
        if (!agents_[agent]) {
          agents_[agent] = true;
          return say(AgentAdded{agent_of(agent)});
        }
        for (auto& one : tasks_)
          if (one && one->agent_id.view() == agent_id(agent)) {
            say(test::update(one->framework_id.str(), one->id, MesosState::kLost));
            one.reset();
          }
        agents_[agent] = false;
        return say(AgentRemoved{SharedText(agent_id(agent))});
      }
      case 7:  // an agent comes with another address, port or name
        agent_version_[agent] = how % 5;
        if (agents_[agent]) say(AgentAdded{agent_of(agent)});
        return;
      case 8:
        framework_version_[framework] = how % 4;
        if (frameworks_[framework]) say(FrameworkAdded{framework_of(framework)});
        return resubscribe();  // the tasks take the new name
      case 9:
        if (frameworks_[framework]) {
          for (auto& one : tasks_)
            if (one && one->framework_id.view() == framework_id(framework)) return;
          frameworks_[framework] = false;
          return say(FrameworkRemoved{SharedText(framework_id(framework))});
        }
        frameworks_[framework] = true;
        return say(FrameworkAdded{framework_of(framework)});
      case 10: {
        const std::string host = "h" + std::to_string(which % 2);
        if (how % 3) {
          hosts[host] = {IpAddress::from_v4(0x0a020000u + how % 4)};
          if (how % 2) hosts[host].push_back(*IpAddress::parse("fd01::" + std::to_string(how % 4 + 1)));
        } else {
          hosts.erase(host);
        }
        return take(zone.host_changed(host));
      }
      case 11:
        leader_ = MasterAddress{how % 2 ? "h0" : "10.0.0.1", 5050};
        list_ = {{"10.0.0.1", 5050}, {"h1", 5050}, {"10.0.0." + std::to_string(how % 3 + 1), uint16_t(5050 + how % 2)}};
        return take(zone.set_masters(leader_, list_));
    }
  }

  /// The sum of the deltas is the zone, and both are what a new process would make of the present state.
  void check() {
    RC_ASSERT(sorted(zone.full()) == sorted({table_.begin(), table_.end()}));
    MesosZone fresh(options(hosts));
    ClusterState other;
    Subscribed s;
    s.snapshot = snapshot();
    std::multiset<Record> dcos;
    StateDelta delta = other.apply(std::move(s), clock.now());
    fresh.apply(delta);
    if (leader_) fresh.set_masters(leader_, list_);
    RC_ASSERT(sorted(fresh.full()) == sorted({table_.begin(), table_.end()}));
    for (auto& r : dcos_records(delta).add) dcos.insert(r);
    RC_ASSERT(dcos == dcos_);
    // What the list says is what is served, task by task.
    std::set<std::string> listed;
    for (auto& f : zone.enumerate("mesos", false))
      for (auto& t : f.tasks)
        for (auto& r : t.records) listed.insert(r.name);
    std::set<std::string> served;
    for (auto& r : table_) served.insert(relative_text(r.owner) + ".mesos.");
    for (auto& name : listed) RC_ASSERT(served.contains(name));
  }

 private:
  static std::vector<Record> sorted(std::vector<Record> in) {
    std::sort(in.begin(), in.end());
    return in;
  }
  static std::string agent_id(int a) { return "X-S" + std::to_string(a); }
  static std::string framework_id(int f) { return "F" + std::to_string(f); }
  Agent agent_of(int a) const {
    const int v = agent_version_[a];
    const std::string host = v == 4 ? "h" + std::to_string(a % 2) : "10.0.1." + std::to_string(v < 2 ? a : a * 4 + v);
    return {SharedText(agent_id(a)), "10.0.9." + std::to_string(a + 1), "slave(1)@" + host + ":" + std::to_string(5051 + v % 2)};
  }
  Framework framework_of(int f) const {
    const int v = framework_version_[f];
    static const char* kNames[] = {"marathon", "Team.A/b_1", "leader", "日本"};
    return {SharedText(framework_id(f)), SharedText(kNames[(f + v) % 4]), v == 2 ? "h1" : "10.3.0.1",
            v == 1 ? "s@10.3.0.2:77" : v == 3 ? "s@h0:9" : ""};
  }
  static Task describe(int i, int how) {
    test::TaskText text{.framework = framework_id(how / 4 % kFrameworks), .id = "t" + std::to_string(i), .agent = agent_id(how % kAgents)};
    static const char* kNames[] = {"web", "api.web", "Svc.X", "日本", "a..b", "web"};
    text.addresses = {"9.0.0." + std::to_string(i % 3 + 1)};
    text.resources = {{31000, uint64_t(31000 + how % 3)}};
    text.ports = {{how % 7 ? 8080 : 70000}, {53}};
    Task t = test::task(text);
    auto spec = std::make_shared<TaskSpec>(*t.spec);
    spec->name = kNames[how % 6];
    spec->discovered = how % 2;
    spec->ports[0].named = how % 3;
    if (how % 5 == 0) {
      spec->ports[1].protocol = PortProtocol::kOther;
      spec->ports[1].protocol_text = SharedText("udp,tcp");
    }
    t.spec = std::move(spec);
    t.set_running(how % 4 ? double(how % 100) : -1, {.netinfo = t.addresses, .docker = {}, .mesos = {}});
    return t;
  }
  void change(std::optional<Task>& t, uint16_t how) {
    if (!t) return;
    TaskUpdated u = test::update(t->framework_id.str(), t->id, MesosState::kRunning);
    switch (how % 5) {
      case 0:
        u.state = MesosState::kKilling;
        break;
      case 1:
        u.healthy = false;
        break;
      case 2:
        u.healthy = true;
        break;
      default:
        u.addresses = {IpAddress::from_v4(0x09000100u + how % 3)};
        if (how % 2) {
          u.running_at = how % 120;
          u.running.netinfo = u.addresses;
          if (how % 7 == 0) u.running.mesos = {IpAddress::from_v4(0x09000200u)};
        }
    }
    // What the master's own record of the task becomes.
    t->state = *u.state;
    if (u.healthy) t->health = *u.healthy ? Health::kHealthy : Health::kUnhealthy;
    RunningAddresses kept{t->running_netinfo(), t->running_docker(), t->running_mesos()};
    const bool newer = u.running_at > -1 && u.running_at >= t->running_at;
    if (!u.addresses.empty()) t->addresses = u.addresses;
    t->set_running(newer ? u.running_at : t->running_at, newer ? RunningAddresses(u.running) : std::move(kept));
    say(std::move(u));
  }
  Snapshot snapshot() const {
    Snapshot s;
    for (int a = 0; a < kAgents; a++)
      if (agents_[a]) s.agents.push_back(agent_of(a));
    for (int f = 0; f < kFrameworks; f++)
      if (frameworks_[f]) s.frameworks.push_back(framework_of(f));
    for (auto& t : tasks_)
      if (t) s.tasks.push_back(*t);
    return s;
  }
  void resubscribe() {
    Subscribed s;
    s.snapshot = snapshot();
    say(std::move(s));
  }
  void say(Event e) {
    StateDelta delta = state.apply(std::move(e), clock.now());
    if (delta.tasks.size() % 2) {
      take(zone.apply(delta));
    } else {
      zone.apply(delta, [&](RecordDelta&& piece) { take(piece); });
    }
    RecordDelta d = dcos_records(delta);
    for (auto& r : d.add) dcos_.insert(r);
    for (auto& r : d.remove) {
      RC_ASSERT(dcos_.contains(r));
      dcos_.erase(dcos_.find(r));
    }
  }
  void take(const RecordDelta& d) {
    for (auto& r : d.add) table_.insert(r);
    for (auto& r : d.remove) {
      RC_ASSERT(table_.contains(r));
      table_.erase(table_.find(r));
    }
  }

  Hosts hosts;
  FakeClock clock;
  ClusterState state;
  MesosZone zone;
  std::multiset<Record> table_, dcos_;
  bool agents_[kAgents] = {true, true, true, false}, frameworks_[kFrameworks] = {true, true, false};
  int agent_version_[kAgents] = {}, framework_version_[kFrameworks] = {};
  std::optional<Task> tasks_[kTasks];
  std::optional<MasterAddress> leader_;
  std::vector<MasterAddress> list_;
};

using Step = std::tuple<uint8_t, uint8_t, uint16_t>;

RC_GTEST_PROP(MesosZoneHistory, DeltasEqualFreshZone, (const std::vector<Step>& steps)) {
  World w;
  for (auto& [what, which, how] : steps) {
    w.step(what, which, how);
    w.check();
  }
}

TEST(MesosZoneHistory, LongHistories) {
  EXPECT_TRUE(rc::check("long histories", [] {
    auto steps = *rc::gen::container<std::vector<Step>>(300, rc::gen::arbitrary<Step>());
    World w;
    for (size_t i = 0; i < steps.size(); i++) {
      auto [what, which, how] = steps[i];
      w.step(what, which, how);
      if (i % 10 == 9) w.check();
    }
  }));
}

}  // namespace
}  // namespace ls
