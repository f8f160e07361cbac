// The follower of a hub against scripted hubs on loopback, all on the test's own io_context.
#include "sources/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "hub_fake.h"
#include "util/log.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using test::FakeHub;
using test::framed;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using std::chrono::steady_clock;

const std::string kRun = "00000000000000a1", kOtherRun = "00000000000000b2";

hub::SourceHealth fed(const std::string& leader = {}) {
  hub::SourceHealth h;
  h.connected = h.synced = true;
  h.leader = leader;
  if (!leader.empty()) h.masters = {leader};
  return h;
}

hub::SourceHealth lost_for(int64_t ms) {
  auto h = fed();
  h.connected = false;
  h.lost_ms = ms;
  return h;
}

std::string hello(const std::string& run, uint64_t seq, bool snapshot, int64_t heartbeat_ms = 5000, hub::SourceHealth health = fed()) {
  hub::Hello h;
  h.at = {run, seq};
  h.snapshot = snapshot;
  h.heartbeat_ms = heartbeat_ms;
  h.version = "1";
  h.source = std::move(health);
  return hub::encode(h);
}

hub::Image image_of(uint64_t seq, int tasks = 1) {
  hub::Image image;
  image.seq = seq;
  for (int i = 0; i < tasks; ++i) image.tasks.push_back(std::make_shared<const Task>(test::placed({.id = fmt::format("t{}", i)}, "10.0.0.1")));
  return image;
}

std::string changes(uint64_t first, uint64_t last, int64_t received_us = 0) {
  hub::Changes c;
  c.first = first;
  c.last = last;
  c.received_us = received_us;
  c.tasks.push_back({.before = nullptr, .after = std::make_shared<const Task>(test::placed({.id = fmt::format("c{}", last)}, "10.0.0.1"))});
  return hub::encode(c);
}

std::string beat(uint64_t seq, hub::SourceHealth health = fed()) {
  hub::Beat b;
  b.seq = seq;
  b.source = std::move(health);
  return hub::encode(b);
}

/// Notes everything, and applies everything as the daemon does.
struct Sink : HubSink {
  HubSource* source = nullptr;
  std::vector<SourceInfo> connected;
  std::vector<std::string> lost, records;  // records: "snapshot 7", "changes 8-9"
  std::vector<hub::SourceHealth> healths;
  std::function<void()> on_call;

  void called() {
    if (on_call) on_call();
  }
  void on_connected(const SourceInfo& info) override {
    EXPECT_EQ(connected.size(), lost.size()) << "connected twice";
    connected.push_back(info);
    called();
  }
  void on_snapshot(hub::Image image) override {
    EXPECT_EQ(connected.size(), lost.size() + 1) << "a record without a stream";
    records.push_back(fmt::format("snapshot {}", image.seq));
    source->applied({source->run(), image.seq});
    called();
  }
  void on_changes(hub::Changes c) override {
    EXPECT_EQ(connected.size(), lost.size() + 1) << "a record without a stream";
    records.push_back(fmt::format("changes {}-{}", c.first, c.last));
    source->applied({source->run(), c.last});
    called();
  }
  void on_health(const hub::SourceHealth& h) override {
    healths.push_back(h);
    called();
  }
  void on_disconnected(const Error& why) override {
    lost.push_back(why.text());
    called();
  }
  bool has(const std::string& record) const { return std::find(records.begin(), records.end(), record) != records.end(); }
};

class HubSourceTest : public testing::Test {
 protected:
  HubSourceTest() {
    log::set_level(log::Level::kError);
    config.node = "node-1";
    config.connect_timeout = 2s;
    config.response_timeout = 2s;
    config.backoff_min = 5ms;
    config.backoff_max = 40ms;
  }
  ~HubSourceTest() override { source.reset(); }

  /// `n` hubs; hubs[0] is the one that this node prefers.
  void make_hubs(size_t n) {
    std::vector<std::unique_ptr<FakeHub>> made;
    std::vector<MasterAddress> masters;
    for (size_t i = 0; i < n; ++i) {
      made.push_back(std::make_unique<FakeHub>(io));
      masters.push_back(*parse_master_address(made.back()->address()));
      config.masters.push_back(made.back()->address());
    }
    for (size_t i : hub_order(config.node, masters)) hubs.push_back(std::move(made[i]));
    for (size_t i = 0; i < n; ++i) serve(i, fmt::format("{:016x}", 0xa1 + i));
  }
  /// Each new stream begins with a snapshot as of 7, or goes on where it was asked to.
  void serve(size_t which, const std::string& run, int64_t heartbeat_ms = 5000, hub::SourceHealth health = fed()) {
    hubs[which]->on_stream = [=](FakeHub::Stream& s) {
      auto at = s.target.find("&run=" + run + "&after=");
      if (at != s.target.npos) {
        uint64_t after = std::stoull(s.target.substr(at + 12 + run.size()));
        return s.send(hello(run, after, false, heartbeat_ms, health));
      }
      s.send(hello(run, 7, true, heartbeat_ms, health));
      s.send(hub::encode(image_of(7)));
    };
  }
  void start() {
    auto made = make_hub_source(io, config, sink);
    ASSERT_TRUE(made) << made.error().text();
    source = std::move(*made);
    sink.source = source.get();
    source->start();
  }
  bool run_until(const std::function<bool()>& done, Millis limit = 10s) {
    auto end = steady_clock::now() + limit;
    while (!done()) {
      if (steady_clock::now() > end) return false;
      io.restart();
      io.run_one_for(20ms);
    }
    return true;
  }
  /// Everything that is ready now, and what that makes ready.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      io.restart();
      io.poll();
      std::this_thread::sleep_for(1ms);
    }
  }
  bool streamed(size_t streams) {
    return run_until([&] { return sink.connected.size() == streams && sink.lost.size() == streams - 1 && !sink.records.empty(); });
  }
  FakeHub::Stream& stream(size_t hub = 0) { return *hubs[hub]->streams.back(); }
  std::string error() const { return source->status().last_error; }

  asio::io_context io;
  HubConfig config;
  Sink sink;
  std::vector<std::unique_ptr<FakeHub>> hubs;
  std::unique_ptr<HubSource> source;
};

// --- one stream ------------------------------------------------------------------------------------------------------------

TEST_F(HubSourceTest, SnapshotChangesHealth) {
  make_hubs(1);
  start();
  ASSERT_TRUE(streamed(1));
  EXPECT_EQ(stream().target, "/v1/hub?node=node%2D1");
  EXPECT_EQ(sink.connected[0].leader, LeaderChange::kFirst);
  EXPECT_EQ(sink.connected[0].endpoint, hubs[0]->address());
  stream().send(changes(8, 8));
  stream().raw(framed(changes(9, 12)) + framed(R"({"t":"later","x":[{}]})") + framed(changes(13, 13)));
  auto other = fed("10.0.0.1:5050");
  stream().send(beat(13, other));
  stream().send(beat(12, other));
  stream().send(changes(14, 14));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 14-14"); }));
  EXPECT_THAT(sink.records, ElementsAre("snapshot 7", "changes 8-8", "changes 9-12", "changes 13-13", "changes 14-14"));
  ASSERT_EQ(sink.healths.size(), 2u) << "told once for each difference";
  EXPECT_EQ(sink.healths[1].leader, "10.0.0.1:5050");
  EXPECT_EQ(source->status().leader_id, "10.0.0.1:5050");
  EXPECT_TRUE(source->hub_status().preferred);
  EXPECT_EQ(error(), "");
}

TEST_F(HubSourceTest, ResumesAfterACutInTheMiddleOfARecord) {
  make_hubs(1);
  start();
  ASSERT_TRUE(streamed(1));
  stream().send(changes(8, 9));
  auto half = framed(changes(10, 10));
  stream().raw(half.substr(0, half.size() / 2));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 8-9"); }));
  stream().close();
  ASSERT_TRUE(streamed(2));
  EXPECT_THAT(stream().target, HasSubstr("&run=00000000000000a1&after=9"));
  EXPECT_EQ(sink.connected[1].leader, LeaderChange::kSame);
  stream().send(changes(10, 10));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 10-10"); }));
  EXPECT_THAT(sink.records, ElementsAre("snapshot 7", "changes 8-9", "changes 10-10"));
  EXPECT_EQ(source->hub_status().resumed, 1u);
  EXPECT_EQ(source->hub_status().faults, 0u);
}

TEST_F(HubSourceTest, WhatIsNotTheNextRecordEndsTheStream) {
  struct Case {
    std::string name, bytes, error;
  };
  auto damaged = framed(changes(8, 8));
  damaged.replace(damaged.size() - 10, 4, "\"\"\"\"");
  const std::vector<Case> cases{
      {"twice", framed(changes(7, 7)), "changes 7 to 7 came after change 7"},
      {"gap", framed(changes(9, 9)), "changes 9 to 9 came after change 7"},
      {"backwards", framed(changes(8, 6)), ""},
      {"overlap", framed(changes(6, 9)), "changes 6 to 9 came after change 7"},
      {"changes left out", framed(beat(8)) + framed(beat(8)), "it is at change 8, but sent none after 7"},
      {"no length", "abc\n", ""},
      {"no record", framed("[1,2]"), ""},
      {"damaged record", damaged, ""},
      {"empty record", framed(""), ""},
      {"another run", framed(hello(kOtherRun, 7, true)), "a second hello"},
  };
  make_hubs(1);
  start();
  size_t streams = 1;
  for (auto& c : cases) {
    SCOPED_TRACE(c.name);
    ASSERT_TRUE(streamed(streams));
    sink.records.clear();
    stream().raw(c.bytes);
    ASSERT_TRUE(run_until([&] { return sink.lost.size() == streams; }));
    EXPECT_THAT(sink.records, testing::IsEmpty()) << "nothing of it was handed over";
    EXPECT_THAT(sink.lost.back(), HasSubstr(c.error));
    EXPECT_EQ(source->hub_status().faults, streams);
    ASSERT_TRUE(run_until([&] { return hubs[0]->streams.size() == ++streams || (--streams, false); }));
    EXPECT_THAT(stream().target, Not(HasSubstr("run="))) << "it begins anew";
  }
}

TEST_F(HubSourceTest, ChangesBeforeTheSnapshotAreAFault) {
  make_hubs(1);
  hubs[0]->on_stream = [](FakeHub::Stream& s) {
    s.send(hello(kRun, 7, true));
    s.send(changes(8, 8));
  };
  start();
  ASSERT_TRUE(run_until([&] { return !sink.lost.empty(); }));
  EXPECT_THAT(sink.lost[0], HasSubstr("changes came before the snapshot"));
  EXPECT_TRUE(sink.records.empty());
}

TEST_F(HubSourceTest, AHelloThatGoesOnElsewhereIsAFault) {
  make_hubs(1);
  hubs[0]->on_stream = [](FakeHub::Stream& s) { s.send(hello(kRun, 3, false)); };
  start();
  ASSERT_TRUE(run_until([&] { return !error().empty(); }));
  EXPECT_THAT(error(), HasSubstr("it goes on at 3"));
  EXPECT_TRUE(sink.connected.empty());
}

TEST_F(HubSourceTest, ANewSnapshotWithinAStreamReplaces) {
  make_hubs(1);
  start();
  ASSERT_TRUE(streamed(1));
  stream().send(hello(kRun, 50, true));
  stream().send(hub::encode(image_of(50)));
  stream().send(changes(51, 51));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 51-51"); }));
  EXPECT_THAT(sink.records, ElementsAre("snapshot 7", "snapshot 50", "changes 51-51"));
}

TEST_F(HubSourceTest, SilenceEndsTheStream) {
  make_hubs(2);
  serve(0, kRun, 60);
  start();
  ASSERT_TRUE(streamed(1));
  ASSERT_TRUE(run_until([&] { return !sink.lost.empty(); }));
  EXPECT_THAT(sink.lost[0], HasSubstr("silent for 180 ms"));
  // Whoever was silent is asked last.
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(sink.connected[1].endpoint, hubs[1]->address());
}

TEST_F(HubSourceTest, BeatsKeepTheStream) {
  make_hubs(1);
  serve(0, kRun, 60);
  start();
  ASSERT_TRUE(streamed(1));
  for (int i = 0; i < 20; ++i) {
    stream().send(beat(7));
    auto end = steady_clock::now() + 20ms;
    run_until([&] { return steady_clock::now() > end; });
  }
  EXPECT_TRUE(sink.lost.empty()) << sink.lost[0];
}

TEST_F(HubSourceTest, AHubThatWasRestartedSendsASnapshot) {
  make_hubs(1);
  start();
  ASSERT_TRUE(streamed(1));
  hubs[0]->down();
  ASSERT_TRUE(run_until([&] { return sink.lost.size() == 1 && !error().empty(); }));
  serve(0, kOtherRun);
  hubs[0]->up();
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(sink.connected[1].leader, LeaderChange::kChanged);
  ASSERT_TRUE(run_until([&] { return sink.records.size() == 2; }));
  stream().send(changes(8, 8));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 8-8"); }));
}

TEST_F(HubSourceTest, ARecordAboveTheLimitIsRefused) {
  config.record_limit = 64 << 10;
  make_hubs(1);
  start();
  ASSERT_TRUE(streamed(1));
  stream().raw("104857600\n{\"t\":");
  ASSERT_TRUE(run_until([&] { return !sink.lost.empty(); }));
  EXPECT_THAT(sink.lost[0], HasSubstr("104857600"));
}

// --- refusals --------------------------------------------------------------------------------------------------------------

TEST_F(HubSourceTest, RefusalsGoToTheNextMaster) {
  for (std::string answer : {"503 Service Unavailable\r\nRetry-After: 1", "401 Unauthorized", "404 Not Found",
                             "307 Temporary Redirect\r\nLocation: //127.0.0.1:1/v1/hub"}) {
    SCOPED_TRACE(answer);
    source.reset();
    hubs.clear();
    sink = {};
    config.masters.clear();
    make_hubs(2);
    hubs[0]->refuse = answer;
    start();
    ASSERT_TRUE(streamed(1));
    EXPECT_EQ(sink.connected[0].endpoint, hubs[1]->address());
    EXPECT_EQ(source->hub_status().place, 1u);
  }
}

TEST_F(HubSourceTest, WhatIsRefusedIsToldWithoutTheToken) {
  auto file = std::filesystem::temp_directory_path() / fmt::format("ls-hub-token-{}", ::getpid());
  std::ofstream(file) << "s3cr3t-token\n";
  config.token_file = file;
  make_hubs(1);
  hubs[0]->refuse = "401 Unauthorized";
  hubs[0]->refusal_text = "not s3cr3t-token\n";
  start();
  ASSERT_TRUE(run_until([&] { return !error().empty(); }));
  EXPECT_THAT(error(), HasSubstr("answered 401 \"not ***"));
  EXPECT_THAT(error(), HasSubstr(hubs[0]->address()));
  hubs[0]->refuse.clear();
  ASSERT_TRUE(streamed(1));
  EXPECT_THAT(stream().head, HasSubstr("Authorization: Bearer s3cr3t-token\r\n"));
  std::filesystem::remove(file);
}

TEST_F(HubSourceTest, OtherContentIsRefused) {
  make_hubs(1);
  hubs[0]->content_type = "text/html";
  start();
  ASSERT_TRUE(run_until([&] { return !error().empty(); }));
  EXPECT_THAT(error(), HasSubstr("content type \"text/html\" instead of application/recordio"));
}

TEST_F(HubSourceTest, AskedForPatienceItWaits) {
  config.backoff_max = 400ms;
  make_hubs(1);
  hubs[0]->refuse = "503 Service Unavailable\r\nRetry-After: 600";
  start();
  ASSERT_TRUE(run_until([&] { return hubs[0]->requests == 1 && !error().empty(); }));
  auto asked = steady_clock::now();
  ASSERT_TRUE(run_until([&] { return hubs[0]->requests == 2; }));
  EXPECT_GE(steady_clock::now() - asked, 350ms) << "no longer than the largest pause, and no shorter";
}

TEST_F(HubSourceTest, AMuteHubIsGivenUp) {
  config.response_timeout = 100ms;
  make_hubs(2);
  hubs[0]->mute = true;
  start();
  ASSERT_TRUE(streamed(1));
  EXPECT_EQ(sink.connected[0].endpoint, hubs[1]->address());
}

TEST_F(HubSourceTest, AllDownThenBack) {
  make_hubs(3);
  for (auto& h : hubs) h->down();
  start();
  ASSERT_TRUE(run_until([&] { return !error().empty(); }));
  for (auto& h : hubs) EXPECT_THAT(error(), HasSubstr(h->address()));
  hubs[2]->up();
  ASSERT_TRUE(streamed(1));
  EXPECT_EQ(sink.connected[0].endpoint, hubs[2]->address());
}

// --- which master ----------------------------------------------------------------------------------------------------------

TEST_F(HubSourceTest, FailsOverAndReturns) {
  config.rebalance = 300ms;
  make_hubs(2);
  start();
  ASSERT_TRUE(streamed(1));
  EXPECT_EQ(sink.connected[0].endpoint, hubs[0]->address());
  hubs[0]->down();
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(sink.connected[1].endpoint, hubs[1]->address());
  EXPECT_FALSE(source->hub_status().preferred);
  hubs[0]->up();
  ASSERT_TRUE(streamed(3));
  EXPECT_EQ(sink.connected[2].endpoint, hubs[0]->address());
  EXPECT_EQ(sink.connected[2].leader, LeaderChange::kChanged);
  EXPECT_THAT(sink.lost[1], HasSubstr("it comes earlier in this node's order"));
  EXPECT_EQ(source->hub_status().moves, 1u);
  ASSERT_TRUE(run_until([&] { return sink.records.size() == 3; }));
  // There it stays.
  stream().send(changes(8, 8));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 8-8"); }));
  EXPECT_EQ(sink.connected.size(), 3u);
}

TEST_F(HubSourceTest, DoesNotReturnToOneWhoseSourceIsLost) {
  config.rebalance = 20ms;
  make_hubs(2);
  hubs[0]->down();
  start();
  ASSERT_TRUE(streamed(1));
  serve(0, kRun, 5000, lost_for(60'000));
  hubs[0]->up();
  ASSERT_TRUE(run_until([&] { return hubs[0]->requests >= 3; })) << "it looks";
  EXPECT_EQ(sink.connected.size(), 1u);
  EXPECT_TRUE(sink.lost.empty());
}

TEST_F(HubSourceTest, LeavesOneWhoseSourceIsLost) {
  config.stale = 50ms;
  make_hubs(2);
  start();
  ASSERT_TRUE(streamed(1));
  stream().send(beat(7, lost_for(10)));
  stream().send(changes(8, 8));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 8-8"); }));
  stream().send(beat(8, lost_for(60)));
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(sink.connected[1].endpoint, hubs[1]->address());
  EXPECT_THAT(sink.lost[0], HasSubstr("its own source is lost"));
}

TEST_F(HubSourceTest, StaysWhenAllHaveLostTheirSource) {
  config.stale = 20ms;
  make_hubs(3);
  for (size_t i = 0; i < 3; ++i) serve(i, fmt::format("{:016x}", 0xa1 + i), 5000, lost_for(60'000));
  start();
  ASSERT_TRUE(streamed(1)) << "better than none";
  EXPECT_EQ(sink.connected[0].endpoint, hubs[0]->address());
  size_t before = hubs[1]->requests;
  ASSERT_TRUE(run_until([&] { return hubs[1]->requests >= before + 2; })) << "it looks at the others";
  EXPECT_EQ(sink.connected.size(), 1u);
  serve(2, fmt::format("{:016x}", 0xa3));
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(sink.connected[1].endpoint, hubs[2]->address());
}

TEST_F(HubSourceTest, WhatIsOlderThanWhatIsHeldIsNotTaken) {
  make_hubs(2);
  serve(1, kOtherRun, 5000, lost_for(3'600'000));
  start();
  ASSERT_TRUE(streamed(1));
  stream().send(changes(8, 8));
  ASSERT_TRUE(run_until([&] { return sink.has("changes 8-8"); }));
  hubs[0]->down();
  ASSERT_TRUE(run_until([&] { return hubs[1]->requests >= 4; })) << "it asks again and again";
  settle();
  EXPECT_EQ(sink.connected.size(), 1u);
  EXPECT_THAT(sink.records, ElementsAre("snapshot 7", "changes 8-8"));
  EXPECT_THAT(error(), HasSubstr("what is held here is newer"));
  // Its source is lost still, but was there after the other hub went.
  serve(1, kOtherRun, 5000, lost_for(0));
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(sink.connected[1].endpoint, hubs[1]->address());
}

TEST_F(HubSourceTest, AHubGoesOnWithItsOwnRunHoweverOldItIs) {
  make_hubs(1);
  serve(0, kRun, 5000, lost_for(3'600'000));
  start();
  ASSERT_TRUE(streamed(1)) << "without anything, anything is taken";
  stream().close();
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(source->hub_status().resumed, 1u);
  stream().raw("no record\n");  // what it has of this run is dropped: a snapshot of the same run is no older
  ASSERT_TRUE(streamed(3));
  ASSERT_TRUE(run_until([&] { return source->hub_status().snapshots == 2; }));
}

TEST_F(HubSourceTest, WhatIsOfTheDiskHasAnAgeToo) {
  make_hubs(1);
  serve(0, kRun, 5000, lost_for(60'000));
  auto made = make_hub_source(io, config, sink);
  ASSERT_TRUE(made) << made.error().text();
  source = std::move(*made);
  sink.source = source.get();
  source->holds(5s);
  source->start();
  ASSERT_TRUE(run_until([&] { return hubs[0]->requests >= 3; }));
  EXPECT_TRUE(sink.connected.empty());
  serve(0, kRun, 5000, lost_for(100));
  ASSERT_TRUE(streamed(1));
}

TEST_F(HubSourceTest, MovesToNoHubWithoutItsSource) {
  config.rebalance = 20ms;
  make_hubs(2);
  hubs[0]->down();
  start();
  ASSERT_TRUE(streamed(1));
  serve(0, kRun, 5000, lost_for(1'000));  // too short to be left for it, but what it has is older
  hubs[0]->up();
  size_t before = hubs[0]->requests;
  ASSERT_TRUE(run_until([&] { return hubs[0]->requests >= before + 3; })) << "it looks";
  EXPECT_EQ(sink.connected.size(), 1u);
  serve(0, kRun);
  ASSERT_TRUE(streamed(2));
  EXPECT_EQ(sink.connected[1].endpoint, hubs[0]->address());
}

TEST_F(HubSourceTest, PausesAreSpread) {
  config.backoff_min = config.backoff_max = 100ms;
  make_hubs(1);
  start();
  ASSERT_TRUE(streamed(1));
  // One stream after the other is cut: the pauses are not one value, and none is longer than the setting by much.
  std::vector<double> pauses;
  for (size_t i = 0; i < 6; ++i) {
    auto cut = steady_clock::now();
    stream().close();
    ASSERT_TRUE(streamed(i + 2));
    pauses.push_back(std::chrono::duration<double>(steady_clock::now() - cut).count());
  }
  EXPECT_GT(*std::max_element(pauses.begin(), pauses.end()) - *std::min_element(pauses.begin(), pauses.end()), 0.01);
}

// --- clocks ----------------------------------------------------------------------------------------------------------------

TEST_F(HubSourceTest, AgesAreByTheHubsClock) {
  make_hubs(1);
  hubs[0]->clock_shift_us = 3'600'000'000ll * 24;
  start();
  ASSERT_TRUE(streamed(1));
  EXPECT_FALSE(source->age_of(0)) << "not compared yet";
  ASSERT_TRUE(run_until([&] { return source->age_of(0).has_value(); }));
  EXPECT_EQ(hubs[0]->time_requests, 5u);
  auto now = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now().time_since_epoch()).count() + hubs[0]->clock_shift_us;
  auto age = *source->age_of(now - 5'000'000);
  auto error = source->clock_error();
  EXPECT_GE(age, 5s - error);
  EXPECT_LT(age, 5s + error + 2s) << "the test may have been stopped between";
  EXPECT_LT(error, 2s);
  // Of another run the clock is another one.
  hubs[0]->down();
  ASSERT_TRUE(run_until([&] { return sink.lost.size() == 1; }));
  serve(0, kOtherRun);
  hubs[0]->tells_time = false;
  hubs[0]->up();
  ASSERT_TRUE(streamed(2));
  EXPECT_FALSE(source->age_of(0));
  ASSERT_TRUE(run_until([&] { return hubs[0]->time_requests > 5; }));
  settle();
  EXPECT_FALSE(source->age_of(0));
  EXPECT_EQ(sink.lost.size(), 1u) << "the stream goes on without";
}

// --- the end ---------------------------------------------------------------------------------------------------------------

TEST_F(HubSourceTest, StopFromInsideEachCall) {
  for (int call = 1; call <= 7; ++call) {
    SCOPED_TRACE(call);
    source.reset();
    hubs.clear();
    sink = {};
    config.masters.clear();
    make_hubs(2);
    int calls = 0;
    sink.on_call = [&] {
      EXPECT_LT(calls, call) << "called after stop";
      if (++calls == call) source->stop();
    };
    hubs[0]->on_stream = [](FakeHub::Stream& s) {
      s.send(hello(kRun, 7, true));
      s.send(hub::encode(image_of(7)));
      s.raw(framed(changes(8, 8)) + framed(beat(8, fed("10.0.0.1:5050"))) + framed(changes(9, 9)));
      s.raw("garbage\n");
    };
    start();
    ASSERT_TRUE(run_until([&] { return calls == call; }));
    settle();
  }
}

TEST_F(HubSourceTest, StopAtAnyMoment) {
  config.rebalance = config.stale = 1ms;
  for (int steps = 0; steps < 60; ++steps) {
    source.reset();
    hubs.clear();
    sink = {};
    config.masters.clear();
    make_hubs(2);
    serve(steps % 2, kRun, 5000, lost_for(100));
    start();
    for (int i = 0; i < steps; ++i) {
      io.restart();
      io.run_one_for(2ms);
    }
    source.reset();
    auto calls = sink.connected.size() + sink.records.size() + sink.lost.size() + sink.healths.size();
    settle();
    EXPECT_EQ(calls, sink.connected.size() + sink.records.size() + sink.lost.size() + sink.healths.size()) << "called after the end";
  }
}

TEST_F(HubSourceTest, BadConfigurationsAreErrors) {
  auto problem = [&](const std::function<void(HubConfig&)>& change) {
    HubConfig c = config;
    c.masters = {"10.0.0.1"};
    change(c);
    auto made = make_hub_source(io, c, sink);
    return made ? std::string() : made.error().text();
  };
  EXPECT_EQ(problem([](auto&) {}), "");
  EXPECT_THAT(problem([](auto& c) { c.masters.clear(); }), HasSubstr("no master"));
  EXPECT_THAT(problem([](auto& c) { c.masters = {"10.0.0.1:x"}; }), HasSubstr("10.0.0.1:x"));
  EXPECT_THAT(problem([](auto& c) { c.cert_file = "x"; }), HasSubstr("go together"));
  EXPECT_THAT(problem([](auto& c) { c.token_file = "/does/not/exist"; }), HasSubstr("/does/not/exist"));
  EXPECT_THAT(problem([](auto& c) { c.backoff_max = 1ms; }), HasSubstr("backoff"));
  EXPECT_THAT(problem([](auto& c) { c.rebalance = 0ms; }), HasSubstr("above 0"));
  EXPECT_THAT(problem([](auto& c) { c.tls = true, c.ca_file = "/does/not/exist"; }), HasSubstr("/does/not/exist"));
}

}  // namespace
}  // namespace ls
