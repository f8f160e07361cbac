// A node whose own process allocates: the same link, across two threads.
#include "app/overlay_local_link.h"

#include <gmock/gmock.h>

#include "overlay_link_world.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class LocalLinkTest : public LinkTest {
 protected:
  void begin(AllocatingMaster& master, std::function<void(OverlayLinkOptions&)> change = {}) {
    end();
    auto o = options({});
    if (change) change(o);
    link_ = make_local_overlay_link(io_, clock_, *master.service, master.node.server->poster(), std::move(o), copy_.events());
    link_->start();
  }
};

TEST_F(LocalLinkTest, RegistersAndFollowsEveryChange) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.9");
  begin(master, [](auto& o) { o.reregister = 3600s; });
  ASSERT_NO_FATAL_FAILURE(come_beside_another());
  ASSERT_NO_FATAL_FAILURE(follow_one_that_comes_and_one_that_goes(master));
  say("10.0.0.1");
  pass(50ms);
  EXPECT_EQ(copy_.answers, 1) << "the same again";
  link_->say({overlay::request("10.0.0.1"), {{"dcos", overlay::ReportStatus::kFailed, "docker said no"}}});
  ASSERT_TRUE(eventually([&] { return copy_.answers == 2; }));
  EXPECT_THAT(master.state(), HasSubstr("docker said no"));
  auto s = link_->status();
  EXPECT_TRUE(s.connected && s.registered);
  EXPECT_EQ(s.endpoint, "this node");
  EXPECT_EQ(s.last_error, "");
}

TEST_F(LocalLinkTest, SaysItAgainWithoutAChange) {
  AllocatingMaster master;
  master.start();
  begin(master, [](auto& o) { o.reregister = 20ms; });
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.answers > 3; }));
  EXPECT_EQ(link_->status().at.version, 1u);
}

TEST_F(LocalLinkTest, OthersAreToldOfItAtOnce) {
  AllocatingMaster master;
  master.start();
  LinkCopy other;
  auto o = options({master.address()});
  o.times.wait = 30s;
  auto remote = std::move(*make_overlay_link(io_, clock_, o, other.events()));
  remote->start();
  ASSERT_TRUE(eventually([&] { return other.fulls == 1; }));
  pass(20ms);
  auto begun = clock_.now();
  begin(master);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return other.nodes.size() == 1; }));
  EXPECT_LT(clock_.now() - begun, 10s) << "not when the question's time was over";
  remote->stop();
}

TEST_F(LocalLinkTest, ARefusalIsToldAndChangesNothing) {
  AllocatingMaster master("[overlay]\nvtep_subnet = \"44.128.0.0/30\"\n" + std::string(kOneNetwork));
  master.start();
  master.add("10.0.0.8");
  master.add("10.0.0.9");
  begin(master);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return !copy_.refusals.empty(); }));
  EXPECT_EQ(copy_.refusals[0], "vtep-exhausted");
  EXPECT_EQ(copy_.nodes.size(), 2u);
  master.remove("10.0.0.9");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
}

TEST_F(LocalLinkTest, AnAllocatorThatCouldNotBeginIsSaid) {
  AllocatingMaster master;
  write_file(master.dir_.path() / "overlay.db", std::string(5000, 'x'));
  master.start();
  begin(master);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return link_->status().failures > 1; }));
  EXPECT_THAT(link_->status().last_error, HasSubstr("overlay.db"));
  EXPECT_FALSE(link_->status().connected);
  EXPECT_EQ(copy_.feeds, 0);
}

TEST_F(LocalLinkTest, ALostStoreTakesNobodyAwayAtOnce) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.9");
  begin(master);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own && copy_.nodes.size() == 2; }));
  end();
  master.stop();
  master.lose_store();
  master.start();
  begin(master, [&](auto& o) { o.held = OverlayHeld{copy_.last.at, copy_.last.plan}; });
  copy_.own.reset();
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
  EXPECT_EQ(copy_.nodes.size(), 2u);
  ASSERT_TRUE(eventually([&] { return copy_.nodes.size() == 1; })) << "it never came back";
  EXPECT_TRUE(copy_.last.full);
}

TEST_F(LocalLinkTest, EitherSideMayEndFirst) {
  for (bool link_first : {true, false}) {
    AllocatingMaster master;
    master.start();
    copy_ = {};
    begin(master, [](auto& o) { o.reregister = 2ms; });
    say("10.0.0.1");
    ASSERT_TRUE(eventually([&] { return copy_.answers > 1; }));
    for (int i = 2; i < 20; i++) say("10.0.0." + std::to_string(i));
    if (link_first) {
      link_->stop();
      auto feeds = copy_.feeds, answers = copy_.answers;
      master.add("10.0.0.99");
      pass(30ms);
      EXPECT_EQ(copy_.feeds, feeds);
      EXPECT_EQ(copy_.answers, answers);
      master.stop();
    } else {
      master.stop();
      say("10.0.0.77");
      pass(30ms);
      EXPECT_FALSE(copy_.nodes.contains("10.0.0.77"));
    }
    end();
  }
}

}  // namespace
}  // namespace ls
