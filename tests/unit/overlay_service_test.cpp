// The allocator in the daemon: settings and store in, bodies, view and plain problems out.
#include "app/overlay_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "app/config.h"
#include "overlay_support.h"
#include "store_support.h"

namespace ls {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using Kind = api::OverlayFailure::Kind;

class OverlayServiceTest : public testing::Test {
 protected:
  Config config(std::string more = "[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24\n", std::string role = "master") {
    ConfigText text{"x.toml", "[node]\nroles = [\"" + role + "\"]\naddress = \"10.0.0.1\"\n[mesos]\nmasters = [\"m:5050\"]\n[store]\npath = \"" +
                                  (dir_.path() / "store.db").native() + "\"\n" + more};
    auto loaded = parse_config({&text, 1});
    EXPECT_TRUE(loaded.good()) << report(loaded);
    return loaded.config;
  }
  StoreDir dir_;
  FakeClock clock_;
};

TEST_F(OverlayServiceTest, GivesOutKeepsAndForgets) {
  auto c = config();
  {
    OverlayService s(c, clock_);
    s.start();
    ASSERT_TRUE(s.allocator());
    for (auto* n : {"10.0.0.1", "10.0.0.2"}) ASSERT_TRUE(s.allocator()->register_node(overlay::request(n)));
    EXPECT_EQ(Json::parse(*s.master_state())["agents"].size(), 2u);
  }
  std::string id;
  {
    OverlayService s(c, clock_);
    s.start();
    id = s.allocator()->id();
    EXPECT_EQ(id.size(), 16u);
  }
  OverlayService s(c, clock_);
  s.start();
  ASSERT_TRUE(s.allocator());
  EXPECT_EQ(s.allocator()->id(), id) << "of the store, not of the run";
  auto left = s.delete_agents(R"({"agents": ["10.0.0.1"]})", "test");
  ASSERT_TRUE(left);
  EXPECT_EQ(Json::parse(*left)["agents"][0]["ip"], "10.0.0.2");
  EXPECT_EQ(s.delete_agents("{}", "test").error().kind, Kind::kInvalid);
  auto v = s.master_view();
  EXPECT_EQ(v.nodes, 1u);
  EXPECT_EQ(v.removed, 1u);
  EXPECT_EQ(v.pools[1].used, 1);
  EXPECT_EQ(Json::parse(*s.capacity())["pools"][1]["used"], 1);
  EXPECT_EQ(s.agent_overlay().error().kind, Kind::kAbsent);
  s.set_agent([] { return api::OverlayBody("{}"); });
  EXPECT_EQ(*s.agent_overlay(), "{}");
}

TEST_F(OverlayServiceTest, NodesAPageAtATime) {
  auto c = config();
  OverlayService s(c, clock_);
  EXPECT_TRUE(s.nodes("", 10).empty()) << "before it began";
  s.start(make_memory_store());
  ASSERT_TRUE(s.allocator());
  for (auto* n : {"10.0.0.9", "10.0.0.10", "9.255.0.1"}) ASSERT_TRUE(s.allocator()->register_node(overlay::request(n)));
  auto two = s.nodes("", 2);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].node, "9.255.0.1") << "as numbers, not as texts";
  EXPECT_EQ(two[1].node, "10.0.0.9");
  EXPECT_EQ(two[1].vtep4, "44.128.0.1/16");
  ASSERT_EQ(two[1].shares.size(), 1u);
  EXPECT_EQ(two[1].shares[0].v4, "9.0.0.0/24");
  EXPECT_EQ(two[1].shares[0].state, "ok");
  EXPECT_TRUE(two[1].shares[0].mesos);
  auto rest = s.nodes(two[1].node, 2);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].node, "10.0.0.10");
  EXPECT_TRUE(s.nodes("10.0.0.10", 2).empty());
}

TEST_F(OverlayServiceTest, RegistrationOverTheWireAndFollowers) {
  auto c = config();
  OverlayService s(c, clock_);
  s.start();
  auto everything = overlay::parse_feed(**s.feed("", 0));
  ASSERT_TRUE(everything) << everything.error().text();
  EXPECT_TRUE(everything->full);
  EXPECT_TRUE(everything->nodes.empty());
  auto reg = [&](std::string_view node, std::vector<overlay::OverlayReport> reports = {}) {
    return s.register_node(overlay::registration_text({overlay::request(node), std::move(reports)}), "test", std::nullopt);
  };
  auto got = reg("10.0.0.1");
  ASSERT_TRUE(got) << got.error().why;
  auto answer = overlay::parse_answer(*got);
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->allocation, s.allocator()->find(overlay::ip("10.0.0.1"))->allocation);
  EXPECT_EQ(answer->plan, s.allocator()->plan());
  EXPECT_EQ(answer->allocator, everything->at.allocator);
  ASSERT_TRUE(reg("10.0.0.2"));
  auto next = overlay::parse_feed(**s.feed(everything->at.run, everything->at.version));
  EXPECT_FALSE(next->full);
  EXPECT_EQ(next->nodes.size(), 2u);
  EXPECT_EQ(next->at, (overlay::FeedPosition{everything->at.run, 2, s.allocator()->id()}));
  EXPECT_EQ(s.feed(next->at.run, 1)->get(), s.feed(next->at.run, 1)->get()) << "one text for all";
  ASSERT_TRUE(s.delete_agents(R"({"agents": ["10.0.0.1"]})", "test"));
  auto last = overlay::parse_feed(**s.feed(next->at.run, next->at.version));
  EXPECT_EQ(last->removed, std::vector{overlay::ip("10.0.0.1")});
  EXPECT_TRUE(last->nodes.empty());
  EXPECT_TRUE(overlay::parse_feed(**s.feed("other", 2))->full);
  EXPECT_TRUE(overlay::parse_feed(**s.feed(next->at.run, 99))->full);
  // Reports come with a registration; an overlay that nobody has is answered, not fatal.
  auto said = overlay::parse_answer(*reg("10.0.0.2", {{"dcos", overlay::ReportStatus::kOk, ""}}));
  EXPECT_TRUE(said->notes.empty());
  EXPECT_EQ(Json::parse(*s.master_state())["agents"][0]["overlays"][0]["state"]["status"], "STATUS_OK");
  said = overlay::parse_answer(*reg("10.0.0.2", {{"gone", overlay::ReportStatus::kFailed, "x"}}));
  EXPECT_THAT(said->notes, testing::ElementsAre(HasSubstr("no overlay 'gone'")));
  EXPECT_EQ(s.register_node("{}", "test", std::nullopt).error().kind, Kind::kInvalid);
  auto refused = reg("224.0.0.1");
  EXPECT_EQ(refused.error().kind, Kind::kRefused);
  EXPECT_EQ(refused.error().reason, "node-address");
}

TEST_F(OverlayServiceTest, AnOldClusterIsAdopted) {
  auto c = config();
  OverlayService s(c, clock_);
  s.start();
  auto body = s.adopt(R"({"agents": [
    {"ip": "10.0.0.5", "overlays": [{"info": {"name": "dcos"}, "subnet": "9.0.7.0/24", "backend": {"vxlan": {"vtep_ip": "44.128.0.9/16"}}}]},
    {"ip": "10.0.0.6", "overlays": [{"info": {"name": "dcos"}, "subnet": "9.0.7.0/24", "backend": {"vxlan": {"vtep_ip": "44.128.0.9/16"}}}]}]})", "test");
  ASSERT_TRUE(body) << body.error().why;
  auto said = Json::parse(*body);
  EXPECT_EQ(said["adopted"], 2);
  ASSERT_EQ(said["problems"].size(), 2u) << "the second claims what the first has";
  EXPECT_EQ(said["problems"][0]["node"], "10.0.0.6");
  auto* n = s.allocator()->find(*IpAddress::parse("10.0.0.5"));
  ASSERT_TRUE(n);
  EXPECT_EQ(n->allocation.vtep.v4.text(), "44.128.0.9/16");
  EXPECT_EQ(n->allocation.shares[0].v4->text(), "9.0.7.0/24");
  auto again = Json::parse(*s.adopt(R"({"agents": [{"ip": "10.0.0.5"}]})", "test"));
  EXPECT_EQ(again["there_already"], 1);
  EXPECT_EQ(s.adopt("[]", "test").error().kind, Kind::kInvalid);
  EXPECT_THAT(s.adopt(R"({"agents": [{"ip": "x"}]})", "test").error().why, HasSubstr("agents[0].ip: 'x'"));
}

TEST_F(OverlayServiceTest, ANodeSpeaksForItselfOnly) {
  const std::string network = "[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24\n";
  for (bool check : {true, false}) {
    auto c = config((check ? "" : "[overlay]\ncheck_address = false\n") + network);
    OverlayService s(c, clock_);
    s.start();
    auto from = [&](std::optional<IpAddress> address) { return s.register_node(overlay::registration_text({overlay::request("10.0.0.1"), {}}), "test", address); };
    for (auto* other : {"10.0.0.2", "fd01::1"}) {
      auto got = from(overlay::ip(other));
      ASSERT_EQ(got.has_value(), !check) << other;
      if (got) continue;
      EXPECT_EQ(got.error().kind, Kind::kRefused);
      EXPECT_EQ(got.error().reason, "address");
      EXPECT_FALSE(s.allocator()->find(overlay::ip("10.0.0.1")));
    }
    EXPECT_TRUE(from(overlay::ip("10.0.0.1")));
    EXPECT_TRUE(from(std::nullopt)) << "the unix socket";
  }
}

TEST_F(OverlayServiceTest, ARefusedNodeIsHeardOf) {
  auto c = config("[overlay]\ntakeover = \"100s\"\n[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24\n");
  OverlayService s(c, clock_);
  s.start();
  auto q = overlay::request("10.0.0.1");
  q.id = "one";
  auto too_long = q, other = q;
  too_long.holding.blocks.resize(overlay::kMaxHeldBlocks + 1);
  other.id = "two";
  auto reason = [&](const overlay::RegisterRequest& asks) {
    auto got = s.register_here({asks, {}}, "test");
    return got ? "" : got.error().reason;
  };
  EXPECT_EQ(reason(q), "");
  clock_.advance(Millis(60'000));
  EXPECT_EQ(reason(too_long), "holding-too-long");
  EXPECT_EQ(reason(other), "identity");
  clock_.advance(Millis(60'000));
  EXPECT_EQ(reason(other), "identity") << "the first was heard of 60 s ago, though it was refused";
  clock_.advance(Millis(60'000));
  EXPECT_EQ(reason(other), "") << "the stranger's own words did not keep the first alive";
}

TEST_F(OverlayServiceTest, OthersGiveNothingOut) {
  for (auto& c : {config(""), config("[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24\n", "agent")}) {
    OverlayService s(c, clock_);
    s.start();
    EXPECT_FALSE(s.allocates());
    EXPECT_EQ(s.master_state().error().kind, Kind::kAbsent);
    EXPECT_EQ(s.delete_agents("{}", "test").error().kind, Kind::kAbsent);
    s.tick();
  }
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "overlay.db"));
}

TEST_F(OverlayServiceTest, ADamagedStoreIsNamedAndTakesNothingElseDown) {
  write_file(dir_.path() / "overlay.db", std::string(5000, 'x'));
  auto c = config();
  OverlayService s(c, clock_);
  s.start();
  EXPECT_TRUE(s.allocates());
  EXPECT_FALSE(s.allocator());
  EXPECT_EQ(s.master_state().error().kind, Kind::kUnavailable);
  EXPECT_THAT(s.master_view().problem, HasSubstr("overlay.db"));
  EXPECT_EQ(read_file(dir_.path() / "overlay.db").size(), 5000u);
}

TEST_F(OverlayServiceTest, ARefusedPlanIsSaid) {
  auto c = config();
  {
    OverlayService s(c, clock_);
    s.start();
    ASSERT_TRUE(s.allocator()->register_node(overlay::request("10.0.0.1")));
  }
  auto other = config("[[overlay.network]]\nname = \"dcos\"\nsubnet = \"10.0.0.0/8\"\nprefix = 24\n");
  OverlayService s(other, clock_);
  s.start();
  EXPECT_THAT(s.master_view().rejected, HasSubstr("pool-changed: overlay dcos is 9.0.0.0/8 in /24"));
  EXPECT_EQ(Json::parse(*s.master_state())["network"]["overlays"][0]["subnet"], "9.0.0.0/8");
}

}  // namespace
}  // namespace ls
