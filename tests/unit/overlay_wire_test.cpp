// What nodes and the allocator say to each other: both directions of each text, hostile ones, and a follower that keeps up.
#include "overlay/node_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "overlay/feed_source.h"
#include "overlay_support.h"

namespace ls::overlay {
namespace {

using testing::HasSubstr;

TEST(OverlayWire, RegistrationsReadBack) {
  NodeRegistration n{request("10.0.0.1"), {{"dcos", ReportStatus::kFailed, "docker said no"}, {"dcos6", ReportStatus::kConfiguring, ""}}};
  n.request.id = "node-1";
  n.request.docker_bridge = false;
  n.request.holding.vtep4 = "44.128.0.3/20";
  n.request.holding.vtep6 = "fd01:a::3/64";
  n.request.holding.blocks = {{"dcos", "9.0.2.0/24", ""}, {"dcos6", "", "fd01:b:0:0:2::/80"}};
  auto again = parse_registration(registration_text(n));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(registration_text(*again), registration_text(n));
  EXPECT_EQ(again->reports, n.reports);
  EXPECT_EQ(again->request.holding.blocks[1].v6, "fd01:b:0:0:2::/80");
  EXPECT_FALSE(again->request.docker_bridge);
  EXPECT_TRUE(again->request.mesos_bridge);
  EXPECT_TRUE(parse_registration(R"({"format": 1, "node": "10.0.0.1", "later": [1]})")) << "what a later format adds is passed over";
}

TEST(OverlayWire, BadRegistrationsNameTheField) {
  auto error = [](std::string_view text) {
    auto r = parse_registration(text);
    return r ? std::string("taken") : r.error().text();
  };
  EXPECT_THAT(error(""), HasSubstr("no JSON object"));
  EXPECT_THAT(error("{}"), HasSubstr("format is missing"));
  EXPECT_THAT(error(R"({"format": 2})"), HasSubstr("its format is 2"));
  EXPECT_THAT(error(R"({"format": 1})"), HasSubstr("node is no address"));
  EXPECT_THAT(error(R"({"format": 1, "node": 5})"), HasSubstr("node is not a text"));
  EXPECT_THAT(error(R"({"format": 1, "node": "10.0.0.1", "mesos_bridge": "true"})"), HasSubstr("mesos_bridge is not true or false"));
  EXPECT_THAT(error(R"({"format": 1, "node": "10.0.0.1", "holding": []})"), HasSubstr("holding is not an object"));
  EXPECT_THAT(error(R"({"format": 1, "node": "10.0.0.1", "holding": {"vtep": {"ip": 1}}})"), HasSubstr("holding: ip is not a text"));
  EXPECT_THAT(error(R"({"format": 1, "node": "10.0.0.1", "holding": {"overlays": {"a": 1}}})"), HasSubstr("an entry is no object"));
  EXPECT_THAT(error(R"({"format": 1, "node": "10.0.0.1", "reports": [{"overlay": "a", "status": "GOOD"}]})"), HasSubstr("status of overlay a"));
  EXPECT_THAT(error(std::string(kMaxRegistrationText + 1, ' ')), HasSubstr("octets"));
}

TEST(OverlayWire, DepthIsBounded) {
  auto nested = [](size_t lists, std::string inside) {
    return parse_registration(R"({"format": 1, "node": "10.0.0.1", "later": )" + std::string(lists, '[') + inside + std::string(lists, ']') + "}").has_value();
  };
  EXPECT_TRUE(nested(31, "1"));
  EXPECT_FALSE(nested(32, "1"));
  EXPECT_TRUE(nested(31, R"("[[[[ \\\" {{{{ \\\\")")) << "texts do not count";
  EXPECT_TRUE(nested(0, "[" + std::string(R"({"a": [1]},)") + R"({"a": [2]})" + "]")) << "only what is open at one place";
}

TEST(OverlayWire, AnswersReadBack) {
  RegistrationAnswer a;
  a.plan = plan_of(raw_plan());
  a.allocation.node = ip("10.0.0.1");
  a.allocation.vtep = {{ip("44.128.0.1"), 20}, InterfaceAddress{ip("fd01:a::1"), 64}, *parse_mac("70:b3:d5:80:00:01")};
  Share s;
  s.overlay = "dcos";
  s.state = ShareState::kConflict;
  s.detail = "9.0.0.0/24 belongs to 10.0.0.4";
  a.allocation.shares = {s};
  a.notes = {"something"};
  auto again = parse_answer(answer_text(a));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->allocation, a.allocation);
  EXPECT_EQ(again->plan, a.plan);
  EXPECT_EQ(again->notes, a.notes);
  for (auto* bad : {"{}", R"({"format": 1})", R"({"format": 1, "network": {}})"}) EXPECT_FALSE(parse_answer(bad)) << bad;
}

// A follower that asks now and then, sometimes for a while not at all, has what the allocator has.
TEST(OverlayWire, AFollowerKeepsUp) {
  auto store = make_memory_store();
  FakeClock clock;
  auto a = std::move(*Allocator::open(*store, clock, plan_of(raw_plan())));
  FeedSource source(*a, "run-1");
  std::mt19937 rng(7);
  FeedPosition at;
  std::map<IpAddress, Allocation> copy;
  size_t full = 0;
  for (int step = 0; step < 40'000; step++) {
    auto node = IpAddress::from_v4(0x0a000001 + rng() % 60);
    if (rng() % 3) {
      RegisterRequest q;
      q.node = node;
      ASSERT_TRUE(a->register_node(q));
    } else {
      ASSERT_TRUE(a->remove_nodes({&node, 1}));
    }
    // Once in the history the follower sleeps over more removals than are remembered.
    if ((step > 10'000 && step < 38'000) || rng() % 20 != 0) continue;
    auto feed = parse_feed(feed_text(source.since(at)));
    ASSERT_TRUE(feed) << feed.error().text();
    if (feed->full) {
      copy.clear();
      full++;
    }
    for (auto& n : feed->nodes) copy[n.node] = n;
    for (auto& n : feed->removed) copy.erase(n);
    at = feed->at;
    ASSERT_EQ(copy.size(), a->size());
    for (auto* n : a->nodes()) ASSERT_EQ(copy[n->allocation.node], n->allocation);
  }
  EXPECT_EQ(full, 2u);
  auto nothing = source.since(source.position());
  EXPECT_TRUE(!nothing.full && nothing.nodes.empty());
}

}  // namespace
}  // namespace ls::overlay
