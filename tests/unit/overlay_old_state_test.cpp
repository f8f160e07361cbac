// A cluster that moves over: what the original's state document says is taken over, node for node.
#include "overlay/old_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "overlay_support.h"

namespace ls::overlay {
namespace {

using testing::HasSubstr;

std::string state_of(Allocator& a) {
  return master_state_json(a.plan(), a.nodes());
}

TEST(OldState, EveryNodeGetsWhatItHad) {
  FakeClock clock;
  auto store = make_memory_store(), fresh = make_memory_store();
  auto before = *Allocator::open(*store, clock, plan_of(raw_plan()));
  for (int i = 1; i <= 60; i++) {
    auto q = request("10.0.0." + std::to_string(i));
    q.mesos_bridge = q.docker_bridge = i > 3;  // masters of the original have a block and no bridge
    ASSERT_TRUE(before->register_node(q));
  }
  auto nodes = parse_old_state(state_of(*before));
  ASSERT_TRUE(nodes) << nodes.error().text();
  ASSERT_EQ(nodes->size(), 60u);
  std::shuffle(nodes->begin(), nodes->end(), std::mt19937(3));
  auto after = *Allocator::open(*fresh, clock, plan_of(raw_plan()));
  for (auto& n : *nodes) {
    auto got = after->register_node(n);
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_TRUE(got->notes.empty()) << got->notes[0];
  }
  EXPECT_EQ(state_of(*after), state_of(*before));

  // A node of it registers itself, with its own id: it keeps what it has.
  auto q = request("10.0.0.40");
  q.id = "machine-40";
  auto own = after->register_node(q);
  ASSERT_TRUE(own);
  auto expected = before->find(ip("10.0.0.40"))->allocation;
  expected.id = "machine-40";
  EXPECT_EQ(own->allocation, expected);
}

TEST(OldState, WhatIsWrongIsNamed) {
  auto error = [](std::string_view text) {
    auto r = parse_old_state(text);
    return r ? std::string("taken") : r.error().text();
  };
  EXPECT_THAT(error("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(error("{}"), HasSubstr("neither network nor agents"));
  EXPECT_EQ(error(R"({"network": {}})"), "taken") << "no agents yet";
  EXPECT_THAT(error(R"({"agents": {}})"), HasSubstr("agents is no list"));
  EXPECT_THAT(error(R"({"agents": [1]})"), HasSubstr("agents[0] is no object"));
  EXPECT_THAT(error(R"({"agents": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]})"), HasSubstr("agents[1].ip: 'fd00::1'"));
  EXPECT_THAT(error(R"({"agents": [{"ip": "10.0.0.1", "overlays": 1}]})"), HasSubstr("agents[0].overlays is no list"));
  EXPECT_THAT(error(R"({"agents": [{"ip": "10.0.0.1", "overlays": [{}]}]})"), HasSubstr("overlays[0].info is no object"));
  EXPECT_THAT(error(R"({"agents": [{"ip": "10.0.0.1", "overlays": [{"info": {"name": "a"}, "subnet": 9}]}]})"), HasSubstr("overlays[0].subnet is no text"));
  EXPECT_THAT(error(R"({"agents": [{"ip": "10.0.0.1", "overlays": [{"info": {}}]}]})"), HasSubstr("info.name is missing"));
}

TEST(OldState, AMasterThatBecomesAnAgentGetsABlock) {
  FakeClock clock;
  auto store = make_memory_store();
  auto a = *Allocator::open(*store, clock, plan_of(raw_plan()));
  auto q = request("10.0.0.1");
  q.allocate_subnet = false;
  auto none = a->register_node(q);
  ASSERT_TRUE(none);
  for (auto& s : none->allocation.shares) EXPECT_FALSE(s.v4 || s.v6);
  q.allocate_subnet = true;
  auto some = a->register_node(q);
  ASSERT_TRUE(some);
  ASSERT_FALSE(some->allocation.shares.empty());
  for (auto& s : some->allocation.shares) EXPECT_TRUE(s.v4 || s.v6) << s.overlay;
  EXPECT_EQ(some->allocation.vtep, none->allocation.vtep);
}

}  // namespace
}  // namespace ls::overlay
