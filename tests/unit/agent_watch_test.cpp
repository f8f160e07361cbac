// Which machines a master takes for lost, and which not.
#include "app/agent_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

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
        answer(dead.contains(where.address) ? Heard::kSilence : Heard::kAnswer);
      }
    }
  }

  FakeClock clock;
  std::vector<std::pair<Endpoint, std::function<void(Heard)>>> asked;
  std::map<IpAddress, int> questions;
  std::set<uint16_t> ports;
  std::set<IpAddress> dead;
  std::vector<std::string> told;
  AgentWatch watch{clock, {},
                   [this](const Endpoint& where, std::function<void(Heard)> answer) { asked.emplace_back(where, std::move(answer)); },
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
  EXPECT_THAT(watch.unreachable(), IsEmpty());
  EXPECT_THAT(told, IsEmpty()) << "nobody was declared lost on the way there";
  dead = {ip(5)};
  told.clear();
  pass(42);
  EXPECT_FALSE(watch.isolated());
  EXPECT_THAT(told, ElementsAre("-10.0.0.5")) << "that the others were silent then says nothing now";
}

/// The questions of dead machines stay open until their time is over, and the lowest addresses were never heard of.
TEST_F(AgentWatchTest, EveryOneOfTwoThousandHasItsTurn) {
  constexpr int kMachines = 2000, kNever = 600;
  AgentWatchOptions options;
  std::deque<std::pair<Instant, std::function<void(Heard)>>> waiting;
  std::map<IpAddress, int> times;
  std::vector<std::string> lost;
  size_t open = 0, most = 0;
  AgentWatch big(clock, options,
                 [&](const Endpoint& where, std::function<void(Heard)> answer) {
                   times[where.address]++;
                   most = std::max(most, ++open);
                   if (dead.contains(where.address)) {
                     waiting.emplace_back(clock.now() + options.again, std::move(answer));
                   } else {
                     asked.emplace_back(where, std::move(answer));
                   }
                 },
                 [&](const IpAddress& a, bool reachable) { lost.push_back((reachable ? "+" : "-") + a.text()); });
  auto run = [&](int seconds) {
    for (int i = 0; i < seconds; i++) {
      clock.advance(std::chrono::seconds(1));
      while (!waiting.empty() && waiting.front().first <= clock.now()) {
        auto answer = std::move(waiting.front().second);
        waiting.pop_front();
        open--;
        answer(Heard::kSilence);
      }
      big.tick();
      auto open_now = std::move(asked);
      asked.clear();
      for (auto& [where, answer] : open_now) {
        open--;
        answer(Heard::kAnswer);
      }
    }
  };
  StateDelta d;
  for (int n = 1; n <= kMachines; n++) {
    Agent a;
    a.id = SharedText("S" + std::to_string(n));
    a.pid = "slave(1)@" + ip(n).text() + ":5051";
    d.agents.push_back({a, ip(n), false});
    if (n <= kNever) dead.insert(ip(n));
  }
  big.apply(d);
  run(25);
  EXPECT_EQ(times.size(), size_t(kMachines)) << "within `every` and a little, after the first one is due";
  EXPECT_LE(most, big.at_once());
  EXPECT_EQ(big.at_once(), 600u);
  times.clear();
  run(120);
  for (int n = 1; n <= kMachines; n++) ASSERT_GE(times[ip(n)], n <= kNever ? 8 : 10) << n;
  EXPECT_THAT(lost, IsEmpty());
  dead.insert(ip(kMachines));
  run(20);
  EXPECT_THAT(lost, ElementsAre("-" + ip(kMachines).text()));
  for (int n = kNever; n <= kMachines; n++) dead.insert(ip(n));
  run(40);
  EXPECT_TRUE(big.isolated()) << "those that were never heard of are no part of the half";
  EXPECT_THAT(lost, ElementsAre("-" + ip(kMachines).text(), "+" + ip(kMachines).text()));
}

TEST_F(AgentWatchTest, WhatMesosGaveUpIsNoReasonToPanic) {
  for (int n = 1; n <= 10; n++) add(n);
  pass(12);
  // One after the other, over hours: they are never removed.
  for (int n = 1; n <= 8; n++) {
    dead.insert(ip(n));
    pass(400);
    ASSERT_EQ(watch.unreachable().size(), size_t(n));
    ASSERT_FALSE(watch.isolated()) << n;
  }
  questions.clear();
  pass(600);
  EXPECT_LE(questions[ip(1)], 11) << "asked rarely";
  EXPECT_GE(questions[ip(1)], 8);
  told.clear();
  dead.erase(ip(3));
  pass(61);
  EXPECT_THAT(told, ElementsAre("+10.0.0.3"));
  dead.insert({ip(3), ip(9), ip(10)});
  pass(60);
  EXPECT_TRUE(watch.isolated());
  EXPECT_EQ(watch.unreachable().size(), 7u) << "who was given up stays out";
}

TEST_F(AgentWatchTest, MostDieAtOnceForGood) {
  for (int n = 1; n <= 10; n++) add(n);
  pass(12);
  for (int n = 1; n <= 6; n++) dead.insert(ip(n));
  pass(60);
  EXPECT_TRUE(watch.isolated());
  pass(300);
  EXPECT_FALSE(watch.isolated()) << "the others have answered all the time";
  EXPECT_THAT(told, IsEmpty());
  dead.insert(ip(7));
  pass(20);
  EXPECT_THAT(told, ElementsAre("-10.0.0.7"));
}

TEST_F(AgentWatchTest, AMasterThatIsCutOffForLongJudgesNobody) {
  for (int n = 1; n <= 10; n++) add(n);
  pass(12);
  for (int n = 1; n <= 10; n++) dead.insert(ip(n));
  pass(3600);
  EXPECT_TRUE(watch.isolated());
  dead.erase(ip(4));  // they come back one by one
  pass(60);
  EXPECT_TRUE(watch.isolated());
  dead.clear();
  pass(12);
  EXPECT_FALSE(watch.isolated());
  dead.insert(ip(2));
  pass(20);
  EXPECT_THAT(told, ElementsAre("-10.0.0.2")) << "each is judged anew";
}

TEST_F(AgentWatchTest, QuestionsThatCouldNotBeAskedSayNothing) {
  for (int n = 1; n <= 4; n++) add(n);
  pass(12);
  for (int i = 0; i < 60; i++) {
    clock.advance(std::chrono::seconds(1));
    watch.tick();
    for (auto& [where, answer] : std::exchange(asked, {})) answer(where.address == ip(1) ? Heard::kNothing : Heard::kAnswer);
  }
  EXPECT_THAT(told, IsEmpty());
  using std::errc;
  for (auto e : {errc::connection_refused, errc::connection_reset}) EXPECT_EQ(heard_of(std::make_error_code(e)), Heard::kAnswer);
  EXPECT_EQ(heard_of({}), Heard::kAnswer);
  for (auto e : {errc::operation_canceled, errc::timed_out, errc::host_unreachable, errc::network_unreachable})
    EXPECT_EQ(heard_of(std::make_error_code(e)), Heard::kSilence);
  for (auto e : {errc::too_many_files_open, errc::no_buffer_space, errc::address_not_available, errc::permission_denied, errc::not_enough_memory})
    EXPECT_EQ(heard_of(std::make_error_code(e)), Heard::kNothing);
}

TEST(AskTcp, WhatIsHeardOverRealSockets) {
  namespace asio = boost::asio;
  asio::io_context io;
  asio::ip::tcp::acceptor busy(io, {asio::ip::address_v4::loopback(), 0});
  auto at = [&] { return Endpoint{IpAddress::from_v4(0x7f000001), busy.local_endpoint().port()}; };
  auto ask = [&](Millis limit) {
    std::optional<Heard> heard;
    ask_tcp(io, at(), limit, [&](Heard h) { heard = h; });
    io.restart();
    io.run();
    return heard;
  };
  EXPECT_EQ(ask(Millis(10'000)), Heard::kAnswer);
  auto where = at();
  // Its queue is full: the kernel drops what comes, as a network that loses everything does.
  busy.close();
  busy.open(asio::ip::tcp::v4());
  busy.bind({asio::ip::address_v4::loopback(), 0});
  busy.listen(0);
  std::vector<asio::ip::tcp::socket> waiting;
  for (int i = 0; i < 3; i++) {
    auto& s = waiting.emplace_back(io, asio::ip::tcp::v4());
    s.native_non_blocking(true);
    auto full = busy.local_endpoint();
    (void)::connect(s.native_handle(), full.data(), socklen_t(full.size()));
  }
  EXPECT_EQ(ask(Millis(50)), Heard::kSilence);
  std::optional<Heard> refused;
  ask_tcp(io, where, Millis(10'000), [&](Heard h) { refused = h; });
  io.restart();
  io.run();
  EXPECT_EQ(refused, Heard::kAnswer);
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
      clock, AgentWatchOptions{}, [this](const Endpoint& where, std::function<void(Heard)> answer) { asked.emplace_back(where, std::move(answer)); },
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
  asked.front().second(Heard::kSilence);
}

}  // namespace
}  // namespace ls
