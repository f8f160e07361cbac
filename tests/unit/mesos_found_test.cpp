// Masters that somebody else finds: what a new list does to a stream, a pause and an attempt.
#include "mesos_source_support.h"

namespace mesos_source_test {
namespace {

/// Masters that somebody else finds. The pause after a failure is so long that nothing here can be its end.
class FoundMasters : public MesosSource {
 protected:
  FoundMasters() {
    config.found = true;
    config.backoff_min = config.backoff_max = 60s;
    config.response_timeout = 60s;
  }
  void start_source_with(std::vector<std::string> configured) {
    config.masters = std::move(configured);
    auto s = ls::make_mesos_source(io, config, sink);
    ASSERT_TRUE(s) << s.error().text();
    source = std::move(*s);
    source->start();
  }
  void found(std::vector<std::string> addresses) {
    std::vector<ls::MasterAddress> list;
    for (auto& a : addresses) list.push_back(*ls::parse_master_address(a));
    source->set_masters(list);
  }
  bool failed(const std::string& part) {
    return run_until([&] { return error().find(part) != std::string::npos; });
  }
};

TEST_F(FoundMasters, NobodyIsKnownAtFirst) {
  start_standin(2);
  start_source_with({});
  EXPECT_TRUE(failed("no master is known yet"));
  found({});
  EXPECT_TRUE(failed("no master is known yet"));
  found({standin->address(2), standin->address(1)});
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(sink.connected[0].endpoint, standin->address(1)) << "who leads the masters say, not the list";
}

TEST_F(FoundMasters, BeforeTheStart) {
  start_standin();
  auto s = ls::make_mesos_source(io, config, sink);
  ASSERT_TRUE(s);
  source = std::move(*s);
  found({standin->address()});
  source->start();
  EXPECT_TRUE(subscribed());
}

TEST_F(FoundMasters, AStreamThatStandsGoesOn) {
  start_standin(3);
  start_source_with({standin->address(1)});
  ASSERT_TRUE(subscribed());
  found({standin->address(2), standin->address(1)});  // the first list: old, or its leader has another name
  found({standin->address(2), standin->address(1), standin->address(3)});
  found({standin->address(1), standin->address(2)});
  found({standin->address(1)});
  run_for(100ms);
  EXPECT_EQ(source->status().connects, 1u);
  EXPECT_TRUE(sink.lost.empty());
}

TEST_F(FoundMasters, AnotherLeaderEndsAStreamThatIsStillOpen) {
  start_standin();
  auto other = ls::MesosStandin::listen(io, options);  // of its own: the first one does not know that it leads no more
  ASSERT_TRUE(other);
  start_source_with({});
  found({standin->address()});
  ASSERT_TRUE(subscribed());
  found({(*other)->address(), standin->address()});
  ASSERT_TRUE(subscribed(2));
  EXPECT_EQ(sink.connected[1].endpoint, (*other)->address());
  EXPECT_THAT(sink.lost[0], HasSubstr("another master is named as leader"));
  found({(*other)->address()});
  run_for(50ms);
  EXPECT_EQ(source->status().connects, 2u);
}

TEST_F(FoundMasters, APauseEndsWithTheNextList) {
  start_standin(2);
  say("leader none");
  start_source_with({});
  found({standin->address(1)});
  EXPECT_TRUE(failed("No leader elected"));
  say("leader 1");
  found({standin->address(1)});  // the same one, elected anew
  ASSERT_TRUE(subscribed());
  say("leader none");
  ASSERT_TRUE(run_until([&] { return sink.lost.size() == 1; }));
  say("leader 2");
  found({standin->address(2)});
  ASSERT_TRUE(subscribed(2));
}

TEST_F(FoundMasters, AnAttemptAtADeadMasterEndsWithTheNextList) {
  start_standin(2);
  say("answer 1 hang");
  say("leader 2");
  start_source_with({});
  found({standin->address(1), standin->address(2)});
  run_for(100ms);  // it waits for an answer
  EXPECT_TRUE(sink.connected.empty());
  found({standin->address(2), standin->address(1)});
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(sink.connected[0].endpoint, standin->address(2));
}

TEST_F(FoundMasters, TheConfiguredOnesAreTheLastResort) {
  start_standin(2);
  say("down 2");
  start_source_with({standin->address(1)});
  found({standin->address(2)});
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(sink.connected[0].endpoint, standin->address(1));
}

TEST_F(FoundMasters, NothingAfterTheEnd) {
  start_standin();
  start_source_with({});
  EXPECT_TRUE(failed("no master is known yet"));
  source->stop();
  found({standin->address()});
  run_for(50ms);
  EXPECT_EQ(standin->subscribers(), 0u);
}

}  // namespace
}  // namespace mesos_source_test
