// Random histories of a cluster, over the wire: who followed each change, who began anew in the middle, and who missed some and got a
// snapshot all hold what the hub's own ClusterState holds, and derive the same VIPs and the same DNS records from it.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "derive/mesos_zone.h"
#include "derive/vips.h"
#include "hub/history.h"
#include "hub/image.h"
#include "state_builders.h"

namespace ls::hub {
namespace {

constexpr int kAgents = 4, kFrameworks = 3, kTasks = 10;

template <class T>
T round(const T& value) {
  std::string text = encode(value);
  const size_t size = text.size();
  text.append(64, '\0');
  auto back = decode({text.data(), size}, text.size());
  RC_ASSERT(back.has_value());
  return std::get<T>(**back);
}

/// One node that follows.
class Node {
 public:
  Node() : zone({}) {}
  void take(std::vector<Event>&& events, Instant now) {
    // What a node is told of a change of leaders must not matter.
    for (auto& e : events) derive(state.apply(std::move(e), now, {.leader_changed = true}));
  }
  void derive(const StateDelta& d) {
    vips.apply(d);
    zone.apply(d);
  }
  ClusterState state;
  VipDeriver vips;
  MesosZone zone;
};

std::vector<Task> tasks_of(const ClusterState& s) {
  std::vector<Task> out;
  s.for_each_task([&](const TaskPtr& t) { out.push_back(*t); });
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return std::tie(a.framework_id, a.id, a.copy) < std::tie(b.framework_id, b.id, b.copy); });
  return out;
}

class World {
 public:
  void step(uint8_t what, uint8_t which, uint16_t how) {
    const int a = which % kAgents, f = which % kFrameworks;
    switch (what % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
        return say(TaskAdded{task(which % kTasks, how)});
      case 4:
      case 5: {
        static constexpr MesosState kStates[] = {MesosState::kRunning, MesosState::kKilling, MesosState::kFailed, MesosState::kStaging, MesosState::kUnreachable};
        auto u = test::update(framework_id(how % kFrameworks), "t" + std::to_string(which % kTasks), kStates[how % 5]);
        if (how % 3 == 0) u.agent_id = SharedText(agent_id(how / 5 % kAgents));
        if (how % 4 == 0) u.addresses = {IpAddress::from_v4(0x09000100u + how % 3)};
        if (how % 5 == 0) u.healthy = how % 2;
        if (how % 7 == 0) {
          u.running_at = how % 90;
          u.running.mesos = {IpAddress::from_v4(0x09000200u)};
        }
        return say(std::move(u));
      }
      case 6:
      case 7:
        return say(AgentAdded{agent(a, how)});
      case 8:
        return say(AgentRemoved{SharedText(agent_id(a))});
      case 9:
      case 10:
        return say(FrameworkAdded{framework(f, how)});
      case 11:
        return say(FrameworkRemoved{SharedText(framework_id(f))});
      case 12: {
        Subscribed s;
        for (int i = 0; i < kAgents; i++) {
          if (how >> i & 1) s.snapshot.agents.push_back(agent(i, how));
          else if (which >> i & 1) s.snapshot.recovered_agents.push_back(agent(i, how));
        }
        for (int i = 0; i < kFrameworks; i++)
          if (how >> (4 + i) & 1) s.snapshot.frameworks.push_back(framework(i, how));
        for (int i = 0; i < kTasks; i++) {
          if ((how >> 3 ^ i * 7) % 3) continue;
          s.snapshot.tasks.push_back(task(i, uint16_t(how + i * 31)));
          if (i % 4 == 0) {  // listed twice under one id
            s.snapshot.tasks.push_back(s.snapshot.tasks.back());
            s.snapshot.tasks.back().copy = 1;
          }
        }
        return say(std::move(s), which % 2);
      }
      case 13:
        clock.advance(std::chrono::seconds(how % 700));
        change(hub.expire(clock.now()));
        for (auto* n : {&follower, &late}) n->derive(n->state.expire(clock.now()));
        return;
      case 14:  // away for a while
        away_ = true;
        return;
      case 15:
        away_ = false;
        return snapshot(late);
    }
  }

  /// All holds are over.
  void settle() {
    say(Subscribed{});
    say(Subscribed{});
    clock.advance(std::chrono::hours(1));
    change(hub.expire(clock.now()));
    for (auto* n : {&follower, &late}) n->derive(n->state.expire(clock.now()));
    step(15, 0, 0);
    clock.advance(std::chrono::hours(1));
    late.derive(late.state.expire(clock.now()));
    RC_ASSERT(!late.state.next_deadline());
    check();
  }

  void check() {
    RC_LOG() << "who followed" << std::endl;
    equal(follower);
    RC_LOG() << "who was away" << std::endl;
    // It may hold more of agents that the hub itself still waits for, and has not heard of; and of tasks whose agent or framework was not named
    // to the hub yet it may know the names of before.
    if (!away_ && !late.state.next_deadline() && hub.waiting().empty()) equal(late);
    RC_LOG() << "who is new" << std::endl;
    Node fresh;
    snapshot(fresh);
    equal(fresh);
  }

 private:
  static std::string agent_id(int a) { return "A" + std::to_string(a); }
  static std::string framework_id(int f) { return "F" + std::to_string(f); }
  static Agent agent(int a, int how) {
    return {SharedText(agent_id(a)), how % 11 ? "10.0.0." + std::to_string(a + 1 + how % 3) : "unknown-host", how % 3 ? "slave(1)@10.0.9.1:5051" : ""};
  }
  static Framework framework(int f, int how) {
    static const char* kNames[] = {"marathon", "kafka/prod", "m\xff\xc3", "\xef\xa3\xbf"};
    return {SharedText(framework_id(f)), SharedText(kNames[how % 4]), how % 5 ? "" : "10.3.0.1", how % 3 ? "" : "s@10.3.0.2:77"};
  }
  static Task task(int i, uint16_t how) {
    test::TaskText text{.framework = framework_id(how % kFrameworks), .id = "t" + std::to_string(i), .agent = agent_id(how / 3 % kAgents)};
    text.state = how % 17 ? MesosState::kRunning : MesosState::kFinished;
    text.addresses = {"9.0.0." + std::to_string(i % 3 + 1)};
    if (how % 7 == 0) text.addresses.push_back("fd01:b::1");
    text.resources = {{31000, uint64_t(31000 + how % 3)}};
    static const char* kLabels[] = {"/a:80", "b:80", "11.0.0.2:80", "bad"};
    text.ports = {{8080, {kLabels[how % 4]}}, {how % 5 ? 53 : 70000, {kLabels[how / 4 % 4]}}};
    if (how % 3 == 1) text.mappings = {{Protocol::kTcp, 8080, 31000}};
    Task t = test::task(text);
    t.set_running(how % 4 ? double(how % 100) : -1, {.netinfo = t.addresses, .docker = {}, .mesos = {}});
    return t;
  }

  void say(Event e, bool leader_changed = false) { change(hub.apply(std::move(e), clock.now(), {.leader_changed = leader_changed})); }

  void change(const StateDelta& d) {
    own.apply(d);
    own_vips.apply(d);
    if (d.empty()) return;
    Changes c;
    c.first = seq_ + 1;
    seq_ += image.apply(d);
    c.last = seq_;
    c.agents = d.agents;
    c.frameworks = d.frameworks;
    c.tasks = d.tasks;
    c.recovered = d.recovered;
    follower.take(events_of(round(c)), clock.now());
    if (!away_) late.take(events_of(round(c)), clock.now());
  }
  void snapshot(Node& to) { to.take(events_of(round(image.copy(seq_)), kDefaultHeartbeat), clock.now()); }

  void equal(Node& n) {
    RC_ASSERT(tasks_of(n.state) == tasks_of(hub));
    RC_ASSERT(n.state.frameworks() == hub.frameworks());
    RC_ASSERT(n.state.recovered_agents() == hub.recovered_agents());
    std::map<std::string, IpAddress> told;
    for (auto& a : image.copy(0).agents) told.emplace(a.agent.id.str(), a.address);
    RC_ASSERT(n.state.agents() == told);
    RC_ASSERT(n.vips.full() == own_vips.full());
    RC_ASSERT(n.vips.full() == derive_all(hub));
    RC_ASSERT(sorted(n.zone.full()) == sorted(own.full()));
  }
  static std::vector<ls::Record> sorted(std::vector<ls::Record> in) {
    std::sort(in.begin(), in.end());
    return in;
  }

  FakeClock clock;
  ClusterState hub;
  MesosZone own{{}};
  VipDeriver own_vips;
  LiveImage image;
  uint64_t seq_ = 0;
  Node follower, late;
  bool away_ = false;
};

using Step = std::tuple<uint8_t, uint8_t, uint16_t>;

RC_GTEST_PROP(HubHistory, FollowersEqualTheHub, (const std::vector<Step>& steps)) {
  World w;
  for (auto& [what, which, how] : steps) {
    w.step(what, which, how);
    w.check();
  }
}

/// Histories that were once found to differ.
TEST(HubHistory, FoundBefore) {
  const std::vector<std::vector<Step>> all{
      {{44, 2, 0}, {15, 0, 0}, {13, 0, 2000}},  // a follower gave up a hold that its hub never had
      {{28, 0, 3183}, {60, 7, 0}, {28, 31, 0}},  // an agent is no longer held, but still waited for
      {{25, 0, 0}, {0, 0, 3786}, {78, 0, 0}, {28, 4, 0}, {47, 0, 0}, {76, 0, 0}},  // a framework whose last held task went
      {{9, 0, 0}, {44, 0, 0}, {62, 0, 0}, {12, 0, 11}, {12, 24, 161}, {0, 53, 1197}, {63, 0, 0}, {6, 27, 0}},  // it knows a name that its hub does not
      {{102, 27, 0}, {0, 4, 28233}, {12, 8, 21638}, {60, 8, 0}},
  };
  for (auto& steps : all) {
    EXPECT_TRUE(rc::check("a history found before", [&] {
      World w;
      for (auto& [what, which, how] : steps) {
        w.step(what, which, how);
        RC_LOG() << "step " << int(what) << " " << int(which) << " " << how << std::endl;
        w.check();
      }
      RC_LOG() << "settles" << std::endl;
      w.settle();
    }));
  }
}

TEST(HubHistory, LongHistories) {
  EXPECT_TRUE(rc::check("long histories", [] {
    auto steps = *rc::gen::container<std::vector<Step>>(120, rc::gen::arbitrary<Step>());
    World w;
    for (auto& [what, which, how] : steps) w.step(what, which, how);
    w.check();
    w.settle();
  }));
}

TEST(HubHistory, WhoIsBehindGetsSeveralRecordsAtOnce) {
  History h(1 << 20);
  std::string all;
  for (uint64_t n = 1; n <= 60; n++) {
    auto text = framed(std::string(n == 30 ? 3 * History::kRun : 1000, char('a' + n % 26)));
    all += text->head + text->body;
    h.add(2 * n - 1, 2 * n, text);
  }
  std::string got;
  size_t texts = 0;
  uint64_t at = 0, last = 0;
  for (; auto text = h.run_after(at, last); at = last, texts++) {
    ASSERT_GT(last, at);
    EXPECT_TRUE(h.holds(last));
    EXPECT_EQ(h.run_after(at, last), text);  // shared
    got += text->head + text->body;
    EXPECT_TRUE(text->size() <= History::kRun || at == 58) << at;
  }
  EXPECT_EQ(got, all);
  EXPECT_EQ(at, 120u);
  EXPECT_LT(texts, 8u);
  EXPECT_EQ(h.run_after(1, last), nullptr);  // inside a record
  h.restart(500);
  EXPECT_EQ(h.run_after(0, last), nullptr);
  h.add(501, 501, framed("x"));
  EXPECT_EQ(h.run_after(500, last)->body, "1\nx");
}

}  // namespace
}  // namespace ls::hub
