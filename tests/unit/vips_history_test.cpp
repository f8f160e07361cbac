// Random histories of a cluster against a fresh start: after every event the table kept by deltas is the table derived from
// scratch, and once a leader change has settled both are what a new process would make of a snapshot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "derive/vips.h"
#include "state_builders.h"

namespace ls {
namespace {

using namespace std::chrono_literals;

constexpr int kAgents = 4, kFrameworks = 3, kTasks = 12;

VipOptions options() {
  VipOptions o;
  o.named_max = IpAddress::from_v4(0x0b000005);  // six addresses: collisions and exhaustion all the time
  o.named_max6 = *IpAddress::parse("fd01:c::3");
  o.own_addresses = {test::ip("10.0.0.1")};
  return o;
}

/// The cluster as it really is, and what its master says about it. Keeps to the order of events that a master keeps
/// (spec/mesos-state.md 9.3).
class World {
 public:
  World() : vips(options()) { resubscribe(false); }

  ClusterState state;
  VipDeriver vips;
  FakeClock clock;

  // -- what can happen --
  void launch(int i, int how) {
    auto& t = tasks_[i % kTasks];
    int agent = how % kAgents, framework = how / 4 % kFrameworks;
    if (t || !agents_[agent].registered || !frameworks_[framework]) return;
    t = describe(i % kTasks, agent, framework, how);
    t->state = MesosState::kStaging;
    say(TaskAdded{*t});
  }
  void change(int i, int how) {
    auto& t = tasks_[i % kTasks];
    if (!t || !visible(*t)) return;
    TaskUpdated u = test::update(t->framework_id.str(), t->id, MesosState::kRunning);
    u.agent_id = t->agent_id;
    switch (how % 6) {
      case 0:
        u.state = MesosState::kKilling;
        break;
      case 1:
        u.healthy = false;
        break;
      case 2:
        u.healthy = true;
        break;
      case 3:
        u.addresses = {test::ip(how % 2 ? "9.0.0.8" : "9.0.0.9")};
        break;
      case 4:
        u.addresses = {test::ip("9.0.0.8"), test::ip("fd01:b::8")};
        break;
    }
    if (u.healthy) t->health = *u.healthy ? Health::kHealthy : Health::kUnhealthy;
    if (!u.addresses.empty()) t->addresses = u.addresses;
    t->state = *u.state;
    say(std::move(u));
  }
  void end(int i) {
    auto& t = tasks_[i % kTasks];
    if (!t) return;
    auto gone = std::exchange(t, std::nullopt);
    if (visible(*gone)) say_ended(*gone, MesosState::kFailed);
  }
  void agent_unreachable(int a) {
    auto& agent = agents_[a % kAgents];
    if (!agent.registered) return;
    for_tasks_of(a % kAgents, [&](Task& t) { say(test::update(t.framework_id.str(), t.id, MesosState::kUnreachable)); });
    agent.registered = false;
  }
  void agent_removed(int a) {
    auto& agent = agents_[a % kAgents];
    if (!agent.registered) return;
    for (auto& t : tasks_)
      if (t && on(*t, a % kAgents)) say_ended(*std::exchange(t, std::nullopt), MesosState::kLost);
    agent.registered = false;
    say(AgentRemoved{SharedText(agent_id(a % kAgents))});
  }
  /// Comes back, from whatever kept it away, with the tasks it still has.
  void agent_back(int a) {
    a %= kAgents;
    if (agents_[a].registered) return;
    agents_[a].registered = true;
    agents_[a].recovered = false;
    for_tasks_of(a, [&](Task& t) {
      if (frameworks_[framework_of(t)]) say(TaskAdded{t});
    });
    say(AgentAdded{agent(a)});
    for (int f = 0; f < kFrameworks; f++) {
      bool brings = false;
      for_tasks_of(a, [&](Task& t) { brings = brings || framework_of(t) == f; });
      if (frameworks_[f] || !brings) continue;
      frameworks_[f] = true;
      say(FrameworkAdded{framework(f)});
      for_tasks_of(a, [&](Task& t) {
        if (framework_of(t) == f) say(TaskAdded{t});
      });
    }
  }
  void framework_added(int f) {
    frameworks_[f % kFrameworks] = true;
    say(FrameworkAdded{framework(f % kFrameworks)});
  }
  void framework_removed(int f) {
    f %= kFrameworks;
    // A master that does not know all agents yet cannot end what they run.
    for (auto& a : agents_)
      if (a.recovered) return;
    if (!frameworks_[f]) return;
    for (auto& t : tasks_) {
      if (!t || framework_of(*t) != f) continue;
      auto gone = std::exchange(t, std::nullopt);
      if (visible(*gone)) say_ended(*gone, MesosState::kKilled);
    }
    frameworks_[f] = false;
    say(FrameworkRemoved{SharedText(framework_id(f))});
  }
  void resubscribe(bool leader_changed) {
    Subscribed s;
    s.snapshot = snapshot();
    say(std::move(s), leader_changed);
  }
  /// A new leader; `back` says which agents it knows already. Nothing that runs on the others may go.
  void leader_changes(unsigned back) {
    for (int a = 0; a < kAgents; a++) {
      if (!agents_[a].registered || (back >> a & 1)) continue;
      agents_[a].registered = false;
      agents_[a].recovered = true;
    }
    for (int f = 0; f < kFrameworks; f++) {
      frameworks_[f] = false;
      for (auto& t : tasks_)
        if (t && framework_of(*t) == f && visible(*t)) frameworks_[f] = true;
    }
    auto held = held_records();
    auto serving = standing(true);
    resubscribe(true);
    RC_ASSERT(held_records() == held);
    // Whoever served goes on serving: under another task's name when two tasks share the endpoint, and under another address
    // when a name that stood in the way is gone.
    auto still = standing(false);
    RC_ASSERT(std::includes(still.begin(), still.end(), serving.begin(), serving.end()));
  }
  void time_passes(int seconds) {
    clock.advance(std::chrono::seconds(seconds));
    take(state.expire(clock.now()));
  }
  /// Everybody is back or given up, and every hold is over.
  void settle() {
    for (auto& a : agents_) a.recovered = false;
    for (int a = 0; a < kAgents; a++) {
      if (agents_[a].registered) continue;
      for (auto& t : tasks_)
        if (t && on(*t, a)) t.reset();
    }
    time_passes(3600);
    RC_ASSERT(!state.next_deadline());
  }

  void check_incremental() { RC_ASSERT(vips.full() == derive_all(state, options())); }
  void check_fresh() {
    ClusterState other;
    Subscribed s;
    s.snapshot = snapshot();
    other.apply(std::move(s), clock.now());
    RC_ASSERT(vips.full() == derive_all(other, options()));
  }

 private:
  struct AgentState {
    bool registered = true, recovered = false;
  };
  static std::string agent_id(int a) { return "A" + std::to_string(a); }
  static std::string framework_id(int f) { return "F" + std::to_string(f); }
  static Agent agent(int a) { return test::agent(agent_id(a), "10.0.0." + std::to_string(a + 1)); }
  static Framework framework(int f) { return test::framework(framework_id(f), f == 2 ? "kafka/prod" : "m" + std::to_string(f)); }
  static bool on(const Task& t, int a) { return t.agent_id.view() == agent_id(a); }
  static int framework_of(const Task& t) { return t.framework_id.view()[1] - '0'; }
  /// Does the present leader know the task?
  bool visible(const Task& t) const { return agents_[t.agent_id.view()[1] - '0'].registered; }

  static Task describe(int i, int agent, int framework, int how) {
    static const char* kLabels[] = {"/a:80", "a:80",  "/b:80",  "c:81",           "d:80",         "e:80",       "f:80",  "/g:80",
                                    "h:80",  "i:80",  "bad",    "/x:70000",       "11.0.0.2:80",  "1.2.3.4:80", "/:80",  "[fd01:c::1]:80",
                                    "A:80",  "kk:80", "kkk:80", "198.51.100.9:1", "fd01:b::7:80", "a:81",       "a.b:5", "e_:80"};
    constexpr int kCount = sizeof kLabels / sizeof *kLabels;
    test::TaskText t{.framework = framework_id(framework), .id = "t" + std::to_string(i), .agent = agent_id(agent)};
    t.addresses = {how % 3 == 0 ? "10.0.0." + std::to_string(agent + 1) : "9.0.0." + std::to_string(i % 5)};
    if (how % 7 == 0) t.addresses.push_back("fd01:b::" + std::to_string(i));
    t.ports = {{31000 + i % 4, {kLabels[how % kCount], kLabels[how / 3 % kCount]},
                how % 5 ? PortProtocol::kTcp : PortProtocol::kUdp,
                how % 2 ? PortScope::kHost : PortScope::kContainer},
               {8080, {kLabels[how / 7 % kCount]}}};
    if (how % 4 == 1) t.mappings = {{Protocol::kTcp, 8080, uint16_t(31000 + how % 3)}};
    return test::task(t);
  }

  template <class F>
  void for_tasks_of(int a, F&& f) {
    for (auto& t : tasks_)
      if (t && on(*t, a)) f(*t);
  }

  Snapshot snapshot() const {
    Snapshot s;
    for (int a = 0; a < kAgents; a++) {
      if (agents_[a].registered) s.agents.push_back(agent(a));
      if (agents_[a].recovered) s.recovered_agents.push_back(agent(a));
    }
    for (int f = 0; f < kFrameworks; f++)
      if (frameworks_[f]) s.frameworks.push_back(framework(f));
    for (auto& t : tasks_)
      if (t && visible(*t)) s.tasks.push_back(*t);
    return s;
  }

  /// Tasks of agents that are away, by framework and id. An id alone may also be that of another framework's task, which the
  /// state still holds after it ended unseen.
  using TaskName = std::pair<std::string, std::string>;
  /// What the state holds of them.
  std::map<TaskName, Task> held_records() const {
    std::map<TaskName, Task> out;
    for (auto& t : tasks_) {
      if (!t || visible(*t)) continue;
      if (auto held = state.task(t->framework_id.view(), t->id)) out.emplace(TaskName(t->framework_id.str(), t->id), *held);
    }
    return out;
  }
  /// What stands in the services, as "name or address, port, protocol, family, endpoint"; `only_held`: of tasks of agents that are away.
  std::set<std::string> standing(bool only_held) const {
    std::set<TaskName> away;
    for (auto& t : tasks_)
      if (t && !visible(*t)) away.emplace(framework(framework_of(*t)).name.str(), t->id);
    std::set<std::string> out;
    for (auto& s : vips.full().services) {
      auto service = (s.name.empty() ? s.key.address.text() : s.name) + " " + std::to_string(s.key.port) + " " +
                     std::string(to_text(s.key.protocol)) + (s.key.address.is_v4() ? " 4 " : " 6 ");
      for (auto& b : s.backends)
        if (!only_held || away.contains({b.framework, b.task})) out.insert(service + b.endpoint().text());
    }
    return out;
  }

  void say_ended(const Task& t, MesosState state_now) { say(test::update(t.framework_id.str(), t.id, state_now)); }
  void say(Event e, bool leader_changed = false) { take(state.apply(std::move(e), clock.now(), {.leader_changed = leader_changed})); }
  void take(StateDelta d) {
    VipDelta delta = vips.apply(d);
    for (auto& s : delta.upsert) table_[s.key] = s;
    for (auto& k : delta.remove) {
      RC_ASSERT(table_.contains(k));
      table_.erase(k);
    }
    // Whoever follows the deltas holds the table.
    VipTable full = vips.full();
    RC_ASSERT(table_.size() == full.services.size());
    for (auto& s : full.services) RC_ASSERT(table_.at(s.key) == s);
  }

  AgentState agents_[kAgents];
  bool frameworks_[kFrameworks] = {true, true, true};
  std::optional<Task> tasks_[kTasks];
  std::map<ServiceKey, Service> table_;
};

using Step = std::tuple<uint8_t, uint8_t, uint16_t>;

void run(World& w, const Step& step) {
  auto [what, which, how] = step;
  switch (what % 20) {
    default:
      return w.launch(which, how);
    case 8:
    case 9:
    case 10:
    case 11:
      return w.change(which, how);
    case 12:
      return w.end(which);
    case 13:
      return w.agent_unreachable(which);
    case 14:
      return w.agent_removed(which);
    case 15:
    case 16:
      return w.agent_back(which);
    case 17:
      return how % 2 ? w.framework_added(which) : w.framework_removed(which);
    case 18:
      return how % 2 ? w.leader_changes(which) : w.resubscribe(false);
    case 19:
      return w.time_passes(how % 20);
  }
}

RC_GTEST_PROP(VipHistory, DeltasEqualFreshDerivation, (const std::vector<Step>& steps)) {
  World w;
  for (auto& s : steps) {
    run(w, s);
    w.check_incremental();
  }
  w.settle();
  w.check_incremental();
  w.check_fresh();
}

/// Two tasks of one id: t10 of F1 ends unseen while its agent A1 is away, t10 of F0 starts on A0, and A1 comes back without tasks.
/// F1's t10 may stay for StateOptions::settle, since its framework may still be named; the next leader, who knows A1 and not
/// A0, ends it at once and keeps F0's.
TEST(VipHistory, OneIdInTwoFrameworks) {
  bool ok = rc::check("one id in two frameworks", [] {
    World w;
    for (auto& s : std::vector<Step>{{0, 0, 0},      // t0 of F0 on A0
                                     {0, 142, 5},    // t10 of F1 on A1
                                     {208, 142, 0},  // it is being killed: still a backend, of weight 0
                                     {238, 0, 3},    // a leader who knows no agent
                                     {212, 82, 0},   // F1's t10 ends on its agent
                                     {135, 0, 0},    // A0 is back
                                     {0, 82, 0},     // t10 of F0 on A0
                                     {8, 82, 2},     // it runs
                                     {235, 21, 0}}) {  // A1 is back
      run(w, s);
      w.check_incremental();
    }
    auto is_there = [&](const char* framework) { return w.state.task(framework, "t10") != nullptr; };
    RC_ASSERT(is_there("F0") && is_there("F1"));
    run(w, {218, 190, 3});  // a leader who knows all agents but A0
    w.check_incremental();
    RC_ASSERT(is_there("F0") && !is_there("F1"));
    auto services = w.vips.full().services;
    RC_ASSERT(std::any_of(services.begin(), services.end(), [](auto& s) { return s.backends.front().task == "t10"; }));
    w.settle();
    w.check_fresh();
  });
  EXPECT_TRUE(ok);
}

/// Long histories find what short ones cannot.
TEST(VipHistory, LongHistories) {
  bool ok = rc::check("long histories", [] {
    auto steps = *rc::gen::container<std::vector<Step>>(400, rc::gen::arbitrary<Step>());
    World w;
    for (auto& s : steps) {
      run(w, s);
      w.check_incremental();
    }
    w.settle();
    w.check_fresh();
  });
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace ls
