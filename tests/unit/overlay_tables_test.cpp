// Whose an overlay address is: what OverlayTables writes, in which order, and what it finds after a restart.
#include <gmock/gmock.h>

#include "overlay_world.h"

namespace ls::test {
namespace {

using datapath::OverlayTables;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class OverlayTablesTest : public testing::Test {
 protected:
  void SetUp() override { LS_NEED_BPF(); }
  void TearDown() override { set_map_write_hook_for_tests({}); }
};

TEST_F(OverlayTablesTest, EveryAddressHasItsNode) {
  OverlayWorld w;
  auto t = w.tables();
  std::vector<overlay::Allocation> all{nth_node(1), nth_node(2), nth_node(3)};
  auto done = t.sync(all);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(done->changed, 3u);
  EXPECT_TRUE(done->problems.empty());
  for (auto text : {"10.0.0.1", "44.128.0.1", "fd01:a::1", "9.0.0.0", "9.0.0.255", "fd01:b::", "fd01:b::ffff:ffff:ffff"})
    EXPECT_EQ(owner_of(t, text), "self") << text;
  for (auto text : {"10.0.0.2", "44.128.0.2", "fd01:a::2", "9.0.1.0", "9.0.1.255", "fd01:b:0:0:1::", "fd01:b:0:0:1:ffff:ffff:ffff"})
    EXPECT_EQ(owner_of(t, text), "10.0.0.2") << text;
  for (auto text : {"10.0.0.4", "44.128.0.4", "44.128.255.255", "fd01:a::4", "9.0.3.0", "9.255.255.255", "8.255.255.255", "10.0.0.0",
                    "fd01:b:0:0:3::", "fd01:b:0:1::", "fd01:c::1", "0.0.0.0"})
    EXPECT_EQ(owner_of(t, text), "nobody") << text;
  EXPECT_EQ(t.view().peers, 2u);
  EXPECT_EQ(t.view().entries, 15u);
  EXPECT_EQ(t.view().conflicts, 0u);
  auto again = t.sync(all);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->changed + again->removed, 0u);
}

TEST_F(OverlayTablesTest, NothingIsWrittenForWhatIsThere) {
  OverlayWorld w;
  auto t = w.tables();
  std::vector<overlay::Allocation> all{nth_node(1), nth_node(2)};
  ASSERT_TRUE(t.sync(all));
  int writes = 0;
  set_map_write_hook_for_tests([&](const std::string&) { return writes++, 0; });
  ASSERT_TRUE(t.sync(all));
  EXPECT_EQ(writes, 0);
  auto changed = nth_node(2);
  changed.vtep.mac[5] = 77;
  ASSERT_TRUE(t.put(changed));
  EXPECT_EQ(writes, 5) << "one for each of its addresses and shares";
  EXPECT_EQ((*t.find(addr("9.0.1.1")))->mac[5], 77);
}

TEST_F(OverlayTablesTest, RemovedNodeLeavesNothing) {
  OverlayWorld w;
  auto t = w.tables();
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), nth_node(2)}));
  ASSERT_TRUE(t.remove(nth_node(2).node));
  for (auto text : {"10.0.0.2", "44.128.0.2", "fd01:a::2", "9.0.1.1", "fd01:b:0:0:1::1"}) EXPECT_EQ(owner_of(t, text), "nobody") << text;
  EXPECT_EQ(t.view().entries, 5u);
  ASSERT_TRUE(t.remove(nth_node(2).node)) << "absent is success";
  EXPECT_EQ(*t.check(), 0u);
}

TEST_F(OverlayTablesTest, MacWithoutTheOuiIsRefusedAloneAndOthersStay) {
  OverlayWorld w;
  auto t = w.tables();
  auto odd = nth_node(2);
  odd.vtep.mac[0] = 0x02;
  auto r = t.put(odd);
  ASSERT_FALSE(r);
  EXPECT_THAT(r.error().text(), HasSubstr("10.0.0.2"));
  auto done = t.sync(std::vector{nth_node(1), odd, nth_node(3)});
  ASSERT_TRUE(done);
  EXPECT_EQ(done->problems.size(), 1u);
  EXPECT_EQ(owner_of(t, "9.0.2.1"), "10.0.0.3");
  auto plan = small_plan();
  plan.oui[2] = 0xd6;  // another OUI: all entries begin anew
  ASSERT_TRUE(*t.configure(OverlayWorld::self(), plan));
  EXPECT_EQ(owner_of(t, "9.0.2.1"), "nobody");
  auto three = nth_node(3);
  three.vtep.mac[2] = 0xd6;
  ASSERT_TRUE(t.put(three));
  EXPECT_EQ((*t.find(addr("9.0.2.1")))->mac, three.vtep.mac);
}

TEST_F(OverlayTablesTest, ChangedSharesMove) {
  OverlayWorld w;
  auto t = w.tables();
  ASSERT_TRUE(t.put(nth_node(2)));
  auto moved = nth_node(2);
  moved.shares[0].v4 = net("9.7.7.0/24");
  moved.vtep.v6.reset();
  ASSERT_TRUE(t.put(moved));
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "nobody");
  EXPECT_EQ(owner_of(t, "9.7.7.1"), "10.0.0.2");
  EXPECT_EQ(owner_of(t, "fd01:a::2"), "nobody");
  moved.shares[1].state = overlay::ShareState::kConflict;
  ASSERT_TRUE(t.put(moved));
  EXPECT_EQ(owner_of(t, "fd01:b:0:0:1::1"), "nobody");
}

TEST_F(OverlayTablesTest, BlockThatWasGivenToAnotherStaysWithIt) {
  OverlayWorld w;
  auto t = w.tables();
  ASSERT_TRUE(t.put(nth_node(2)));
  auto heir = nth_node(3);
  heir.shares[0].v4 = nth_node(2).shares[0].v4;
  ASSERT_TRUE(t.put(heir));
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.3");
  EXPECT_EQ(t.view().conflicts, 1u);
  EXPECT_EQ(*t.check(), 0u);
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.3");
  ASSERT_TRUE(t.remove(nth_node(2).node));
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.3");
}

TEST_F(OverlayTablesTest, ChangeCutShortIsFinishedByTheNext) {
  OverlayWorld w;
  auto two = nth_node(2);
  {
    auto t = w.tables();
    ASSERT_TRUE(t.put(two));
    two.vtep.mac[5] = 77;
    set_map_write_hook_for_tests([&](const std::string& map) { return map == "ls_ovl_hash" ? EIO : 0; });
    EXPECT_FALSE(t.put(two));
    set_map_write_hook_for_tests({});
    EXPECT_EQ((*t.find(addr("9.0.1.1")))->mac[5], 77);
    EXPECT_EQ((*t.find(two.node))->mac[5], 2);
  }
  auto t = w.adopt();
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.2") << "nothing is withdrawn";
  EXPECT_EQ(owner_of(t, "10.0.0.2"), "10.0.0.2");
  EXPECT_EQ(*t.check(), 0u);
  ASSERT_TRUE(t.put(two));
  EXPECT_EQ((*t.find(two.node))->mac[5], 77);
}

TEST_F(OverlayTablesTest, RestartFindsEverything) {
  OverlayWorld w;
  std::vector<overlay::Allocation> all;
  for (uint32_t n = 1; n <= 20; n++) all.push_back(nth_node(n));
  all[4].shares[0].v4 = net("9.4.0.0/22");  // of another length than its pool's
  {
    auto t = w.tables();
    ASSERT_TRUE(t.sync(all));
    ASSERT_TRUE(t.remove(all.back().node));
  }
  all.pop_back();
  auto t = w.adopt();
  EXPECT_EQ(t.view().peers, 18u);
  EXPECT_EQ(owner_of(t, "9.0.7.1"), "10.0.0.8");
  EXPECT_EQ(owner_of(t, "9.4.3.255"), "10.0.0.5");
  EXPECT_EQ(owner_of(t, "9.0.0.1"), "self");
  int writes = 0;
  set_map_write_hook_for_tests([&](const std::string& map) { return writes += map != "ls_ovl_conf", 0; });
  EXPECT_FALSE(*t.configure(OverlayWorld::self(), small_plan()));
  auto done = t.sync(all);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->changed + done->removed, 0u);
  EXPECT_EQ(writes, 0);
  all.erase(all.begin() + 7);
  done = t.sync(all);
  EXPECT_EQ(done->removed, 1u);
  EXPECT_EQ(owner_of(t, "9.0.7.1"), "nobody");
}

TEST_F(OverlayTablesTest, EntriesOfNobodyGoAtTheStart) {
  OverlayWorld w;
  { ASSERT_TRUE(w.tables().put(nth_node(2))); }
  auto maps = w.maps();
  maps.blocks.publish(65541, &ls_ovl_owner::word, 40);                                         // nobody has it
  maps.blocks.publish(65542, &ls_ovl_owner::word, LS_OVL_OWNER(0x0a000002, 2, LS_OVL_OWNED | LS_OVL_SELF));  // not this node's
  maps.blocks.publish(65543, &ls_ovl_owner::word, LS_OVL_OWNER(0x0a000001, 1, LS_OVL_OWNED));  // this node's, as another's
  ls_ovl_key key{};
  key.prefix = 128;
  key.addr_be[3] = 1;
  ASSERT_TRUE(maps.hash.put(key, ls_ovl_owner{7}));
  auto t = w.adopt();
  for (uint32_t i : {65541, 65542, 65543}) EXPECT_EQ(maps.blocks[i].word, 0u) << i;
  EXPECT_FALSE(*maps.hash.get(key));
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.2");
}

TEST_F(OverlayTablesTest, WhatSomebodyChangedIsPutRight) {
  OverlayWorld w;
  auto t = w.tables();
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), nth_node(2), nth_node(3)}));
  EXPECT_EQ(*t.check(), 0u);
  auto maps = w.maps();
  for (uint32_t i = 0; i < maps.blocks.size(); i++) {
    if (maps.blocks[i].word) maps.blocks.publish(i, &ls_ovl_owner::word, 0);
  }
  maps.blocks.publish(9, &ls_ovl_owner::word, LS_OVL_OWNER(0x0a000002, 2, LS_OVL_OWNED));
  ls_ovl_key key{};
  ASSERT_TRUE(maps.hash.put(key, ls_ovl_owner{1}));
  EXPECT_EQ(*t.check(), 9u + 1 + 1);
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.2");
  EXPECT_EQ(owner_of(t, "9.0.2.1"), "10.0.0.3");
  EXPECT_EQ(*t.check(), 0u);
}

TEST_F(OverlayTablesTest, PoolsComeAndGo) {
  static int waited;
  waited = 0;
  OverlayWorld w;
  auto t = w.adopt(+[] { waited++; });
  auto plan = small_plan();
  ASSERT_TRUE(*t.configure(OverlayWorld::self(), plan));
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), nth_node(2)}));
  EXPECT_EQ(waited, 0);

  plan.overlays.push_back({"blue", overlay::Pool{net("10.128.0.0/16"), 26}, std::nullopt, true});
  ASSERT_TRUE(*t.configure(OverlayWorld::self(), plan));
  EXPECT_EQ(waited, 0) << "a new pool needs no pause";
  auto two = nth_node(2);
  overlay::Share blue;
  blue.overlay = "blue";
  blue.v4 = net("10.128.0.64/26");
  two.shares.push_back(blue);
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), two}));
  EXPECT_EQ(owner_of(t, "10.128.0.127"), "10.0.0.2");
  EXPECT_EQ(owner_of(t, "10.128.0.128"), "nobody");

  plan.overlays.erase(plan.overlays.begin());  // dcos
  ASSERT_TRUE(*t.configure(OverlayWorld::self(), plan));
  EXPECT_EQ(waited, 1);
  auto done = t.sync(std::vector{nth_node(1), two});
  ASSERT_TRUE(done);
  EXPECT_THAT(done->problems, ElementsAre(HasSubstr("9.0.0.0/24"), HasSubstr("9.0.1.0/24")));
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "nobody");
  EXPECT_EQ(owner_of(t, "10.128.0.127"), "10.0.0.2");

  // The place of the pool that went is used again.
  plan.overlays.push_back({"dcos", overlay::Pool{net("9.0.0.0/8"), 24}, std::nullopt, true});
  ASSERT_TRUE(*t.configure(OverlayWorld::self(), plan));
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), two}));
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.2");
}

TEST_F(OverlayTablesTest, PoolWithoutRoomInTheArrayIsKeptInTheHash) {
  OverlayWorld w({.blocks = 65536});
  auto plan = small_plan();  // 65,536 VTEP addresses fill the array
  auto t = w.tables(plan);
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), nth_node(2)}));
  EXPECT_EQ(owner_of(t, "9.0.1.200"), "10.0.0.2");
  EXPECT_EQ(owner_of(t, "9.0.2.200"), "nobody");
  EXPECT_EQ(owner_of(t, "fd01:b:0:0:1::1"), "10.0.0.2");
  EXPECT_EQ(owner_of(t, "fd01:b:0:0:2::1"), "nobody");
  EXPECT_EQ(w.maps().conf[0].pool4[1].flags & LS_OVL_POOL_ARRAY, 0u);
  EXPECT_EQ(w.maps().conf[0].pool4[0].flags & LS_OVL_POOL_ARRAY, unsigned(LS_OVL_POOL_ARRAY));
}

TEST_F(OverlayTablesTest, AnotherOwnAddressIsAnotherNode) {
  OverlayWorld w;
  auto t = w.tables();
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), nth_node(2)}));
  ASSERT_TRUE(*t.configure(OverlayWorld::self(2), small_plan()));
  ASSERT_TRUE(t.sync(std::vector{nth_node(1), nth_node(2)}));
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "self");
  EXPECT_EQ(owner_of(t, "9.0.0.1"), "10.0.0.1");
}

TEST_F(OverlayTablesTest, RefusesWhatCannotBe) {
  OverlayWorld w;
  auto t = w.adopt();
  auto plan = small_plan();
  plan.overlays[0].v4->share = 4;
  auto r = t.configure(OverlayWorld::self(), plan);
  ASSERT_FALSE(r);
  EXPECT_THAT(r.error().text(), HasSubstr("9.0.0.0/8"));
  plan = small_plan();
  for (int i = 0; i < 20; i++)
    plan.overlays.push_back({"x" + std::to_string(i), overlay::Pool{net("10." + std::to_string(i) + ".0.0/16"), 24}, std::nullopt, true});
  EXPECT_FALSE(t.configure(OverlayWorld::self(), plan));
  auto bad = nth_node(2);
  bad.node = addr("fd00::1");
  EXPECT_FALSE(t.put(bad));
}

TEST_F(OverlayTablesTest, FullTableIsAnErrorAndALaterPutGoesOn) {
  OverlayWorld w;
  auto t = w.tables();
  set_map_write_hook_for_tests([&](const std::string& map) { return map == "ls_ovl_hash" ? E2BIG : 0; });
  auto r = t.put(nth_node(2));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code.value(), E2BIG);
  EXPECT_EQ(owner_of(t, "9.0.1.1"), "10.0.0.2") << "what fitted is there";
  set_map_write_hook_for_tests({});
  ASSERT_TRUE(t.put(nth_node(2)));
  EXPECT_EQ(owner_of(t, "fd01:b:0:0:1::1"), "10.0.0.2");
  EXPECT_EQ(*t.check(), 0u);
}

TEST_F(OverlayTablesTest, SixtyFiveThousandNodesFit) {
  OverlayWorld w({.hash = 65536 * 2});
  auto t = w.tables();
  std::vector<overlay::Allocation> all;
  for (uint32_t n = 1; n <= 65536; n++) all.push_back(nth_node(n));
  all.back().vtep.v4.address = addr("44.128.0.0");  // the pool has 65,534 addresses; here only the number counts
  auto done = t.sync(all);
  ASSERT_TRUE(done) << done.error().text();
  EXPECT_EQ(t.view().peers, 65535u);
  EXPECT_EQ(owner_of(t, "9.255.255.255"), all.back().node.text());
  EXPECT_EQ(owner_of(t, "9.127.1.1"), IpAddress::from_v4(0x0a000000 + 0x7f02).text());
  EXPECT_EQ(owner_of(t, "fd01:b:0:0:ffff::1"), all.back().node.text());
}

}  // namespace
}  // namespace ls::test
