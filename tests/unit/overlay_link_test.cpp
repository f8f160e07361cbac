// A node and real masters: registrations, what is followed, restarts, and which master is believed.
#include <gmock/gmock.h>

#include "overlay_link_world.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST_F(LinkTest, RegistersAndFollowsEveryChange) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.9");
  follow(options({master.address()}));
  ASSERT_NO_FATAL_FAILURE(come_beside_another());
  EXPECT_EQ(copy_.own->plan.overlays.at(0).name, "dcos");
  EXPECT_TRUE(copy_.last.plan == copy_.own->plan);
  ASSERT_NO_FATAL_FAILURE(follow_one_that_comes_and_one_that_goes(master));
  auto s = link_->status();
  EXPECT_EQ(s.endpoint, master.address());
  EXPECT_EQ(s.failures, 0u);
  EXPECT_EQ(s.at.allocator.size(), 16u);
  EXPECT_GT(s.heard, Instant{});
}

TEST_F(LinkTest, RegistersAgainWithoutAChangeAndAtOnceWithOne) {
  AllocatingMaster master;
  master.start();
  auto o = options({master.address()});
  follow(o);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.answers >= 3; })) << "the allocator must hear of it";
  EXPECT_EQ(link_->status().at.version, 1u) << "and nothing changed";
  o.reregister = 3600s;
  follow(o);
  say("10.0.0.1");
  auto before = copy_.answers;
  ASSERT_TRUE(eventually([&] { return copy_.answers == before + 1; }));
  say("10.0.0.1");
  pass(100ms);
  EXPECT_EQ(copy_.answers, before + 1) << "the same again";
  auto q = overlay::request("10.0.0.1");
  link_->say({q, {{"dcos", overlay::ReportStatus::kFailed, "docker said no"}}});
  ASSERT_TRUE(eventually([&] { return copy_.answers == before + 2; }));
  EXPECT_THAT(master.state(), HasSubstr("docker said no"));
}

TEST_F(LinkTest, ARegistrationDoesNotWaitForTheQuestionThatIsHeld) {
  AllocatingMaster master;
  master.start();
  auto o = options({master.address()});
  o.times.wait = 30s;
  follow(o);
  ASSERT_TRUE(eventually([&] { return copy_.fulls == 1; }));
  pass(50ms);
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
  EXPECT_EQ(link_->status().failures, 0u);
}

TEST_F(LinkTest, NothingIsForgottenWithoutAMaster) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.9");
  follow(options({master.address()}));
  ASSERT_NO_FATAL_FAILURE(come_beside_another());
  master.stop();
  ASSERT_TRUE(eventually([&] { return link_->status().failures > 3 && !link_->status().registered; }));
  auto s = link_->status();
  EXPECT_FALSE(s.connected);
  EXPECT_THAT(s.last_error, HasSubstr(master.address()));
  EXPECT_EQ(copy_.nodes.size(), 2u);
  auto fulls = copy_.fulls, answers = copy_.answers;
  master.start();
  ASSERT_TRUE(eventually([&] { return copy_.fulls > fulls && copy_.answers > answers; })) << "another run of the same allocator";
  EXPECT_TRUE(copy_.last.full);
  EXPECT_EQ(copy_.nodes.size(), 2u);
  EXPECT_EQ(link_->status().last_error, "");
}

TEST_F(LinkTest, AMasterThatLostItsStoreLearnsFromTheNodesAndTakesNobodyAway) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.7");
  auto share = master.add("10.0.0.9");
  follow(options({master.address()}));
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own && copy_.nodes.size() == 3; }));
  auto mine = copy_.own->allocation;
  auto q = overlay::request("10.0.0.1");
  q.holding.vtep4 = mine.vtep.v4.text();
  q.holding.blocks = {{"dcos", mine.shares[0].v4->text(), ""}};
  link_->say({q, {}});
  auto allocator = link_->status().at.allocator;
  master.stop();
  master.lose_store();
  master.start();
  ASSERT_TRUE(eventually([&] { return link_->status().at.allocator != allocator && link_->status().registered; }));
  EXPECT_EQ(copy_.own->allocation, mine) << "adopted";
  EXPECT_EQ(copy_.nodes.size(), 3u);
  EXPECT_EQ(copy_.last.at.run, "") << "not a position to begin from";
  auto fulls = copy_.fulls;
  master.add("10.0.0.9", share);
  ASSERT_TRUE(eventually([&] { return copy_.fulls > fulls; }));
  EXPECT_EQ(copy_.nodes.size(), 2u) << "10.0.0.7 never came back";
  EXPECT_EQ(copy_.share("10.0.0.9"), share);
  EXPECT_NE(copy_.last.at.run, "");
}

TEST_F(LinkTest, AnotherAllocatorFurtherDownTheListIsNotBelieved) {
  AllocatingMaster first, second;
  first.start();
  second.start();
  second.add("10.0.0.66");
  first.add("10.0.0.9");
  follow(options({first.address(), second.address()}));
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own && copy_.nodes.size() == 2; }));
  auto own = copy_.own->allocation;
  first.stop();
  ASSERT_TRUE(eventually([&] { return link_->status().failures > 6; }));
  EXPECT_THAT(second.state(), testing::Not(HasSubstr("10.0.0.1\""))) << "nothing was asked for there";
  EXPECT_EQ(copy_.nodes.size(), 2u);
  EXPECT_EQ(copy_.own->allocation, own);
  first.start();
  ASSERT_TRUE(eventually([&] { return link_->status().registered; }));
  EXPECT_EQ(link_->status().endpoint, first.address());
}

TEST_F(LinkTest, WithoutAnythingALaterMasterServesAndTheFirstIsGoneBackTo) {
  AllocatingMaster first, second;
  second.start();
  second.add("10.0.0.9");
  follow(options({first.address(), second.address()}));
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own && copy_.nodes.size() == 2; }));
  EXPECT_EQ(link_->status().endpoint, second.address());
  first.start();
  ASSERT_TRUE(eventually([&] { return link_->status().endpoint == first.address() && link_->status().registered; }));
  EXPECT_THAT(first.state(), HasSubstr("10.0.0.1\""));
  EXPECT_EQ(copy_.nodes.size(), 2u) << "for a while nobody is removed";
  ASSERT_TRUE(eventually([&] { return copy_.nodes.size() == 1; }));
}

TEST_F(LinkTest, BeginsWhereTheLastKnownCopyStands) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.8");
  follow(options({master.address()}));
  ASSERT_TRUE(eventually([&] { return copy_.nodes.size() == 1; }));
  end();
  master.add("10.0.0.9");
  auto o = options({master.address()});
  o.held = OverlayHeld{copy_.last.at, copy_.last.plan};
  follow(o);
  ASSERT_TRUE(eventually([&] { return copy_.nodes.size() == 2; }));
  EXPECT_EQ(copy_.fulls, 1);
}

TEST_F(LinkTest, ARefusalIsToldAndChangesNothing) {
  AllocatingMaster master("[overlay]\nvtep_subnet = \"44.128.0.0/30\"\n" + std::string(kOneNetwork));
  master.start();
  master.add("10.0.0.8");
  master.add("10.0.0.9");
  follow(options({master.address()}));
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.refusals.size() > 1; })) << "tried again";
  EXPECT_EQ(copy_.refusals[0], "vtep-exhausted");
  auto s = link_->status();
  EXPECT_FALSE(s.registered);
  EXPECT_TRUE(s.connected);
  EXPECT_THAT(s.refused, HasSubstr("vtep-exhausted: "));
  EXPECT_EQ(copy_.nodes.size(), 2u);
  master.remove("10.0.0.9");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
  EXPECT_EQ(link_->status().refused, "");
}

TEST_F(LinkTest, AnAddressThatIsNotTheNodesIsRefused) {
  AllocatingMaster master;
  master.check_address = true;
  master.start();
  follow(options({master.address()}));
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return !copy_.refusals.empty(); }));
  EXPECT_EQ(copy_.refusals[0], "address");
  EXPECT_THAT(link_->status().refused, HasSubstr("node 10.0.0.1 registers from 127.0.0.1"));
  say("127.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
}

TEST_F(LinkTest, TheTokenIsReadForEachRegistration) {
  AllocatingMaster master;
  master.start();
  master.add("10.0.0.9");
  write_file(token_, "wrong\n");
  follow(options({master.address()}));
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return link_->status().failures > 1; }));
  EXPECT_THAT(link_->status().last_error, HasSubstr("it answered 401"));
  EXPECT_TRUE(link_->status().connected) << "what is followed needs none";
  EXPECT_EQ(copy_.nodes.size(), 1u);
  std::filesystem::remove(token_);
  ASSERT_TRUE(eventually([&] { return link_->status().last_error.find("read secret file") != std::string::npos; }));
  write_file(token_, "secret\n");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
  EXPECT_EQ(link_->status().last_error, "");
}

TEST_F(LinkTest, NothingComesAfterStopAndOptionsAreChecked) {
  AllocatingMaster master;
  master.start();
  follow(options({master.address()}));
  say("10.0.0.1");
  ASSERT_TRUE(eventually([&] { return copy_.own.has_value(); }));
  link_->stop();
  link_->stop();
  auto feeds = copy_.feeds, answers = copy_.answers;
  master.add("10.0.0.9");
  pass(300ms);
  EXPECT_EQ(copy_.feeds, feeds);
  EXPECT_EQ(copy_.answers, answers);
  EXPECT_FALSE(make_overlay_link(io_, clock_, {}, {}));
  EXPECT_FALSE(make_overlay_link(io_, clock_, options({"10.0.0.1:x"}), {}));
}

}  // namespace
}  // namespace ls
