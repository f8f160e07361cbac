// Which machines a master takes for lost, and which not.
#include "app/agent_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ls {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

IpAddress ip(int n) { return IpAddress::from_v4(0x0a000000 + uint32_t(n)); }

class AgentWatchTest : public testing::Test {
 protected:
  void add(int n) { change(n, false); }
  void remove(int n) { change(n, true); }
  void change(int n, bool removed) {
    StateDelta d;
    Agent a;
    a.id = SharedText("S" + std::to_string(n));
    a.hostname = ip(n).text();
    a.pid = "slave(1)@" + ip(n).text() + ":5051";
    d.agents.push_back({a, ip(n), removed});
    watch.apply(d);
  }
  /// Lets time go by; machines of `dead` do not answer.
  void pass(int seconds) {
    for (int i = 0; i < seconds; i++) {
      clock.advance(std::chrono::seconds(1));
      watch.tick();
      auto open = std::move(asked);
      asked.clear();
      for (auto& [where, answer] : open) {
        questions[where.address]++;
        ports.insert(where.port);
        answer(!dead.contains(where.address));
      }
    }
  }

  FakeClock clock;
  std::vector<std::pair<Endpoint, std::function<void(bool)>>> asked;
  std::map<IpAddress, int> questions;
  std::set<uint16_t> ports;
  std::set<IpAddress> dead;
  std::vector<std::string> told;
  AgentWatch watch{clock, {},
                   [this](const Endpoint& where, std::function<void(bool)> answer) { asked.emplace_back(where, std::move(answer)); },
                   [this](const IpAddress& a, bool reachable) { told.push_back((reachable ? "+" : "-") + a.text()); }};
};

TEST_F(AgentWatchTest, OneThatStopsToAnswerIsLostAndComesBack) {
  for (int n = 1; n <= 4; n++) add(n);
  pass(12);
  EXPECT_THAT(ports, ElementsAre(5051));
  EXPECT_EQ(questions.size(), 4u);
  dead = {ip(2)};
  pass(9);
  EXPECT_THAT(told, IsEmpty()) << "three questions are not over yet";
  pass(9);
  EXPECT_THAT(told, ElementsAre("-10.0.0.2"));
  pass(60);
  EXPECT_THAT(told, ElementsAre("-10.0.0.2")) << "told once";
  dead.clear();
  pass(11);
  EXPECT_THAT(told, ElementsAre("-10.0.0.2", "+10.0.0.2"));
  EXPECT_THAT(watch.unreachable(), IsEmpty());
}

TEST_F(AgentWatchTest, AFollowerIsNotAskedAndItsEndIsLookedAtAtOnce) {
  for (int n = 1; n <= 4; n++) add(n);
  for (int n = 1; n <= 4; n++) watch.follower(ip(n), true);
  pass(60);
  EXPECT_THAT(questions, IsEmpty());
  dead = {ip(3), ip(4)};
  watch.follower(ip(3), false);
  watch.follower(ip(1), false);  // only its loadstard stopped
  pass(1);
  EXPECT_EQ(questions[ip(3)], 1);
  pass(6);
  EXPECT_THAT(told, ElementsAre("-10.0.0.3")) << "4 has its stream, 1 answers";
  watch.follower(ip(3), true);
  EXPECT_THAT(told, ElementsAre("-10.0.0.3", "+10.0.0.3")) << "at once";
}

TEST_F(AgentWatchTest, TwoStreamsOfOneMachine) {
  add(1), add(2), add(3);
  watch.follower(ip(1), true);
  watch.follower(ip(1), true);
  dead = {ip(1)};
  watch.follower(ip(1), false);
  pass(30);
  EXPECT_THAT(told, IsEmpty());
  watch.follower(ip(1), false);
  pass(10);
  EXPECT_THAT(told, ElementsAre("-10.0.0.1"));
}

TEST_F(AgentWatchTest, WhoNeverAnsweredIsNotJudged) {
  dead = {ip(1)};
  for (int n = 1; n <= 4; n++) add(n);
  pass(120);
  EXPECT_THAT(told, IsEmpty()) << "a firewall, perhaps: the master cannot tell";
}

TEST_F(AgentWatchTest, WhenMostAreSilentTheMasterItselfIsCutOff) {
  for (int n = 1; n <= 5; n++) add(n);
  pass(12);
  for (int n = 1; n <= 5; n++) dead.insert(ip(n));
  pass(120);
  EXPECT_TRUE(watch.isolated());
  EXPECT_THAT(watch.unreachable(), IsEmpty()) << "those that were told before the rest was silent are taken back";
  dead = {ip(5)};
  told.clear();
  pass(42);
  EXPECT_FALSE(watch.isolated());
  EXPECT_THAT(told, ElementsAre("-10.0.0.5")) << "that the others were silent then says nothing now";
}

TEST_F(AgentWatchTest, OneThatIsRemovedIsForgotten) {
  for (int n = 1; n <= 4; n++) add(n);
  pass(12);
  dead = {ip(2)};
  pass(30);
  EXPECT_THAT(told, ElementsAre("-10.0.0.2"));
  remove(2);
  EXPECT_THAT(told, ElementsAre("-10.0.0.2", "+10.0.0.2"));
  EXPECT_EQ(watch.watched(), 3u);
  dead.clear();
  add(2);
  pass(30);
  EXPECT_THAT(watch.unreachable(), IsEmpty());
}

TEST_F(AgentWatchTest, AnswersAfterTheEndAreHarmless) {
  auto other = std::make_unique<AgentWatch>(
      clock, AgentWatchOptions{}, [this](const Endpoint& where, std::function<void(bool)> answer) { asked.emplace_back(where, std::move(answer)); },
      [](const IpAddress&, bool) { FAIL(); });
  StateDelta d;
  Agent a;
  a.id = SharedText("S1");
  a.pid = "slave(1)@10.0.0.1:5051";
  d.agents.push_back({a, ip(1), false});
  other->apply(d);
  clock.advance(std::chrono::seconds(11));
  other->tick();
  ASSERT_EQ(asked.size(), 1u);
  other.reset();
  asked.front().second(false);
}

}  // namespace
}  // namespace ls
