// ClusterState: what is kept and what is let go, with a clock that the test turns.
#include "state/cluster_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "state_builders.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using test::agent;
using test::framework;
using test::task;
using test::update;

class ClusterStateTest : public testing::Test {
 protected:
  StateDelta apply(Event e, bool leader_changed = false) {
    return state.apply(std::move(e), clock.now(), {.leader_changed = leader_changed});
  }
  Subscribed snapshot(std::vector<Agent> agents, std::vector<Framework> frameworks, std::vector<Task> tasks,
                      std::vector<Agent> recovered = {}) {
    Subscribed s;
    s.snapshot = {std::move(agents), std::move(recovered), std::move(frameworks), std::move(tasks)};
    return s;
  }
  /// Two agents with one task each, of one framework.
  void start() {
    apply(snapshot({agent("A", "10.0.0.1"), agent("B", "10.0.0.2")}, {framework("F", "marathon")},
                   {task({.id = "a1", .agent = "A"}), task({.id = "b1", .agent = "B"})}));
    ASSERT_EQ(state.task_count(), 2u);
  }
  bool has(const std::string& id) { return state.task("F", id) != nullptr; }
  static std::vector<std::string> removed(const StateDelta& d) {
    std::vector<std::string> out;
    for (auto& c : d.tasks)
      if (c.removed) out.push_back(c.after->id);
    return out;
  }

  FakeClock clock;
  ClusterState state;
};

TEST_F(ClusterStateTest, SameLeaderReplacesEverything) {
  start();
  auto d = apply(snapshot({agent("A", "10.0.0.1")}, {framework("F", "marathon")}, {task({.id = "a2", .agent = "A"})}));
  EXPECT_THAT(removed(d), ElementsAre("a1", "b1"));
  EXPECT_TRUE(has("a2"));
  EXPECT_THAT(state.agents(), SizeIs(1));
  EXPECT_EQ(state.next_deadline(), std::nullopt);
}

TEST_F(ClusterStateTest, AnEqualSnapshotIsNoChange) {
  start();
  auto d = apply(snapshot({agent("B", "10.0.0.2"), agent("A", "10.0.0.1")}, {framework("F", "marathon")},
                          {task({.id = "b1", .agent = "B"}), task({.id = "a1", .agent = "A"})}));
  EXPECT_TRUE(d.empty());
}

TEST_F(ClusterStateTest, NewLeaderWithdrawsNothing) {
  start();
  auto d = apply(snapshot({}, {}, {}), true);
  EXPECT_THAT(d.tasks, IsEmpty());
  EXPECT_TRUE(has("a1") && has("b1"));
  EXPECT_FALSE(state.task("F", "a1")->waiting());
  EXPECT_THAT(state.held_agents(), ElementsAre("A", "B"));
}

TEST_F(ClusterStateTest, AnEmptyAnswerOfTheSameAddressIsANewLeader) {
  start();
  EXPECT_THAT(apply(snapshot({}, {}, {})).tasks, IsEmpty());
  EXPECT_TRUE(has("a1"));
}

TEST_F(ClusterStateTest, RecoveredAgentsAreHeldWithoutTheCallersWord) {
  start();
  auto d = apply(snapshot({agent("A", "10.0.0.1")}, {framework("F", "marathon")}, {}, {agent("B", "10.0.0.2")}));
  EXPECT_THAT(removed(d), ElementsAre("a1")) << "what a registered agent did not bring is gone";
  EXPECT_TRUE(has("b1"));
}

TEST_F(ClusterStateTest, EachAgentByItself) {
  start();
  apply(snapshot({}, {framework("F", "marathon")}, {}), true);
  clock.advance(30s);
  // A comes back with a new task and without its old one; B stays away.
  apply(TaskAdded{task({.id = "a2", .agent = "A"})});
  EXPECT_FALSE(state.task("F", "a2")->waiting()) << "the agent's former address serves until it is announced";
  auto d = apply(AgentAdded{agent("A", "10.0.0.1")});
  EXPECT_THAT(removed(d), ElementsAre("a1"));
  EXPECT_TRUE(has("a2") && has("b1"));
  EXPECT_THAT(state.held_agents(), ElementsAre("B"));
  // Its tasks change as ever, while B is still held.
  EXPECT_THAT(removed(apply(update("F", "a2", MesosState::kFailed))), ElementsAre("a2"));
  EXPECT_TRUE(has("b1"));
  // An update for a held task acts at once too.
  EXPECT_THAT(removed(apply(update("F", "b1", MesosState::kKilled))), ElementsAre("b1"));
}

TEST_F(ClusterStateTest, TimeOverForOneAgent) {
  start();
  apply(snapshot({}, {framework("F", "marathon")}, {}), true);
  apply(TaskAdded{task({.id = "a1", .agent = "A"})});
  apply(AgentAdded{agent("A", "10.0.0.1")});
  ASSERT_EQ(state.next_deadline(), clock.now() + 10min);
  clock.advance(10min - 1ms);
  EXPECT_TRUE(state.expire(clock.now()).empty());
  clock.advance(1ms);
  EXPECT_THAT(removed(state.expire(clock.now())), ElementsAre("b1"));
  EXPECT_TRUE(has("a1"));
  EXPECT_EQ(state.next_deadline(), std::nullopt);
  EXPECT_THAT(state.held_agents(), IsEmpty());
}

TEST_F(ClusterStateTest, HeldAgentRemovedByTheMaster) {
  start();
  apply(snapshot({agent("A", "10.0.0.1")}, {framework("F", "marathon")}, {task({.id = "a1", .agent = "A"})},
                 {agent("B", "10.0.0.2")}));
  EXPECT_THAT(removed(apply(AgentRemoved{SharedText("B")})), ElementsAre("b1"));
  EXPECT_THAT(state.recovered_agents(), IsEmpty());
}

TEST_F(ClusterStateTest, ResubscribingDoesNotRestartTheTime) {
  start();
  apply(snapshot({}, {}, {}, {agent("A", "10.0.0.1"), agent("B", "10.0.0.2")}), true);
  auto deadline = state.next_deadline();
  clock.advance(5min);
  // Same leader: B is not even listed as recovered any more, but its time is not over.
  apply(snapshot({agent("A", "10.0.0.1")}, {framework("F", "marathon")}, {task({.id = "a1", .agent = "A"})}));
  EXPECT_TRUE(has("b1"));
  EXPECT_EQ(state.next_deadline(), deadline);
  // Another leader change starts it again.
  apply(snapshot({agent("A", "10.0.0.1")}, {framework("F", "marathon")}, {task({.id = "a1", .agent = "A"})}), true);
  EXPECT_EQ(state.next_deadline(), clock.now() + 10min);
}

TEST_F(ClusterStateTest, AgentBackBeforeItsFramework) {
  start();
  apply(snapshot({}, {}, {}, {agent("A", "10.0.0.1"), agent("B", "10.0.0.2")}), true);
  // mesos-state.md 9.3: agent, then the framework known only through it, then its tasks.
  EXPECT_THAT(apply(AgentAdded{agent("A", "10.0.0.1")}).tasks, IsEmpty());
  EXPECT_TRUE(has("a1"));
  apply(FrameworkAdded{framework("F", "marathon")});
  apply(TaskAdded{task({.id = "a2", .agent = "A"})});
  EXPECT_TRUE(has("a1"));
  EXPECT_EQ(state.next_deadline(), clock.now() + 10s);
  clock.advance(10s);
  EXPECT_THAT(removed(state.expire(clock.now())), ElementsAre("a1"));
  EXPECT_TRUE(has("a2") && has("b1"));
}

TEST_F(ClusterStateTest, AgentComesBackWithAnotherAddress) {
  start();
  auto d = apply(AgentAdded{agent("A", "10.0.0.9")});
  ASSERT_THAT(d.tasks, SizeIs(1));
  EXPECT_EQ(d.tasks[0].after->agent_address, test::ip("10.0.0.9"));
}

TEST_F(ClusterStateTest, HostnameThenPidThenResolver) {
  struct Names : HostResolver {
    std::optional<IpAddress> resolve(std::string_view name) override {
      return name == "known" ? std::optional(test::ip("10.9.9.9")) : std::nullopt;
    }
  } names;
  ClusterState s({.resolver = &names});
  Subscribed e;
  e.snapshot.agents = {{SharedText("literal"), "fd00::1", "slave(1)@10.0.0.1:5051"},
                       {SharedText("pid"), "host.example", "slave(1)@10.0.0.2:5051"},
                       {SharedText("pid6"), "host.example", "slave(1)@[fd00::2]:5051"},
                       {SharedText("name"), "known", ""},
                       {SharedText("none"), "unknown", "slave(1)@nonsense"}};
  s.apply(e, clock.now());
  auto got = s.agents();
  EXPECT_EQ(got["literal"], test::ip("fd00::1"));
  EXPECT_EQ(got["pid"], test::ip("10.0.0.2"));
  EXPECT_EQ(got["pid6"], test::ip("fd00::2"));
  EXPECT_EQ(got["name"], test::ip("10.9.9.9"));
  EXPECT_TRUE(got["none"].is_zero());
}

TEST_F(ClusterStateTest, TaskAddedReplacesAndFillsNothingIn) {
  start();
  TaskUpdated u = update("F", "a1", MesosState::kRunning);
  u.healthy = false;
  u.addresses = {test::ip("9.0.0.1")};
  apply(std::move(u));
  apply(TaskAdded{task({.id = "a1", .agent = "A"})});
  EXPECT_EQ(state.task("F", "a1")->health, Health::kUnknown);
  EXPECT_THAT(state.task("F", "a1")->addresses, IsEmpty());
}

TEST_F(ClusterStateTest, LostIsNotFinal) {
  start();
  apply(update("F", "a1", MesosState::kLost));
  EXPECT_FALSE(has("a1"));
  apply(TaskAdded{task({.id = "a1", .agent = "A"})});
  EXPECT_TRUE(has("a1"));
}

TEST_F(ClusterStateTest, AFrameworksNewNameIsForTasksHandledAfterIt) {
  start();
  EXPECT_THAT(apply(FrameworkAdded{framework("F", "other")}).tasks, IsEmpty());
  EXPECT_EQ(state.task("F", "a1")->framework_name.view(), "marathon");
  apply(TaskAdded{task({.id = "a2", .agent = "A"})});
  EXPECT_EQ(state.task("F", "a2")->framework_name.view(), "other");
}

TEST_F(ClusterStateTest, NothingIsLeftOfACluster) {
  start();
  apply(update("F", "a1", MesosState::kKilled));
  apply(update("F", "b1", MesosState::kKilled));
  apply(FrameworkRemoved{SharedText("F")});
  apply(AgentRemoved{SharedText("A")});
  apply(AgentRemoved{SharedText("B")});
  apply(AgentRemoved{SharedText("never there")});
  EXPECT_EQ(state.task_count(), 0u);
  EXPECT_THAT(state.agents(), IsEmpty());
  EXPECT_THAT(state.frameworks(), IsEmpty());
}

TEST_F(ClusterStateTest, TaskMovesToAnotherAgent) {
  start();
  apply(TaskAdded{task({.id = "a1", .agent = "B"})});
  EXPECT_EQ(state.task("F", "a1")->agent_address, test::ip("10.0.0.2"));
  apply(AgentAdded{agent("A", "10.0.0.77")});
  EXPECT_EQ(state.task("F", "a1")->agent_address, test::ip("10.0.0.2"));
}

}  // namespace
}  // namespace ls
