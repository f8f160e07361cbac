// The allocator: what the cases of the specification leave open. Identity, hold-down, adoption, damaged records, refused plans.
#include "overlay/allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "overlay/allocation_record.h"
#include "overlay/peers.h"
#include "overlay_support.h"

namespace ls::overlay {
namespace {

using testing::HasSubstr;

class AllocatorTest : public testing::Test {
 protected:
  void start(std::optional<Plan> plan = plan_of(raw_plan()), AllocatorOptions options = {}) {
    options_ = options;
    auto made = Allocator::open(*store_, clock_, std::move(plan), options);
    ASSERT_TRUE(made) << made.error().text();
    a_ = std::move(*made);
    events_.clear();
    a_->observe([this](Allocator::Event e, const Allocation& x) { events_ += std::string(1, "+*-"[size_t(e)]) + x.node.text() + " "; });
  }
  Allocation join(std::string_view node) { return join(request(node)); }
  Allocation join(const RegisterRequest& q) {
    auto got = a_->register_node(q);
    EXPECT_TRUE(got) << got.error().text();
    if (!got) return {};
    notes_ = got->notes;
    return got->allocation;
  }
  std::string refusal(const RegisterRequest& q) {
    auto got = a_->register_node(q);
    return got ? "taken" : got.error().reason;
  }
  void remove(std::initializer_list<std::string_view> nodes) {
    std::vector<IpAddress> list;
    for (auto n : nodes) list.push_back(ip(n));
    auto r = a_->remove_nodes(list);
    ASSERT_TRUE(r) << r.error().text();
  }
  std::string record(std::string_view key) {
    auto r = store_->get(kStoreArea, key);
    return r && *r ? (*r)->value : "";
  }

  std::unique_ptr<Store> store_ = make_memory_store();
  FakeClock clock_;
  AllocatorOptions options_;
  std::unique_ptr<Allocator> a_;
  std::string events_;
  std::vector<std::string> notes_;
};

TEST_F(AllocatorTest, TheIdentityIsThatOfTheRecords) {
  start();
  join("10.0.0.1");
  EXPECT_EQ(a_->id(), "") << "records from before there was one";
  FaultyStore full(*store_);
  full.fail_from = 0;
  auto made = Allocator::open(full, clock_, plan_of(raw_plan()), {.id = "first"});
  ASSERT_TRUE(made) << "no place on the disk is no reason to give nothing out";
  EXPECT_EQ((*made)->id(), "");
  start(plan_of(raw_plan()), {.id = "second"});
  EXPECT_EQ(a_->id(), "second");
  auto more = raw_plan();
  more.overlays[0].enabled = false;
  ASSERT_FALSE(a_->set_plan(plan_of(more)));
  start(plan_of(more), {.id = "third"});
  EXPECT_EQ(a_->id(), "second") << "also under another plan";
  start(std::nullopt);
  EXPECT_EQ(a_->id(), "second");
  EXPECT_EQ(a_->size(), 1u);
  store_ = make_memory_store();
  start(plan_of(raw_plan()), {.id = "fourth"});
  EXPECT_EQ(a_->id(), "fourth");
}

TEST_F(AllocatorTest, ARepetitionWritesAndTellsNothing) {
  start();
  FaultyStore counted(*store_);
  auto made = Allocator::open(counted, clock_, plan_of(raw_plan()));
  ASSERT_TRUE(made);
  auto& a = **made;
  EXPECT_EQ(counted.writes, 0);  // the plan is there already
  ASSERT_TRUE(a.register_node(request("10.0.0.1")));
  EXPECT_EQ(counted.writes, 1);
  ASSERT_TRUE(a.register_node(request("10.0.0.1")));
  EXPECT_EQ(counted.writes, 1);
  EXPECT_LT(record("node/10.0.0.1").size(), 400u);
}

TEST_F(AllocatorTest, ObserversFollowByDelta) {
  start();
  join("10.0.0.1");
  join("10.0.0.1");
  join("10.0.0.2");
  remove({"10.0.0.1", "10.0.0.9"});
  auto raw = raw_plan();
  raw.overlays.push_back(raw.overlays[0]);
  raw.overlays[2].name = "more";
  raw.overlays[2].subnet = "11.0.0.0/8";
  ASSERT_FALSE(a_->set_plan(plan_of(raw)));
  join("10.0.0.2");
  EXPECT_EQ(events_, "+10.0.0.1 +10.0.0.2 -10.0.0.1 *10.0.0.2 ");
  auto* n = a_->find(ip("10.0.0.2"));
  ASSERT_TRUE(n);
  const Allocation* all[] = {&n->allocation};
  EXPECT_EQ(peer_blocks(all, ip("10.0.0.1")).size(), 3u);
  EXPECT_EQ(peer_blocks(all, ip("10.0.0.2")).size(), 0u);
}

TEST_F(AllocatorTest, AddressesThatNoNodeHas) {
  start();
  for (auto* bad : {"0.0.0.0", "224.0.0.1", "255.255.255.255", "fd01::1", "::"}) EXPECT_EQ(refusal(request(bad)), "node-address") << bad;
  auto q = request("10.0.0.1");
  q.id = std::string(65, 'x');
  EXPECT_EQ(refusal(q), "id-invalid");
  q.id = "a b";
  EXPECT_EQ(refusal(q), "id-invalid");
  q.id = "ok";
  q.holding.blocks.resize(kMaxHeldBlocks + 1);
  EXPECT_EQ(refusal(q), "holding-too-long");
  EXPECT_EQ(a_->size(), 0u);
  join("9.1.2.3");
  EXPECT_THAT(notes_, testing::ElementsAre(HasSubstr("lies in the pool 9.0.0.0/8")));
}

TEST_F(AllocatorTest, AnotherMachineWithTheSameAddressWaitsThenInherits) {
  start();
  auto q = request("10.0.0.1");
  q.id = "old";
  auto had = join(q);
  q.id = "new";
  EXPECT_EQ(refusal(q), "identity");
  clock_.advance(Millis(119'000));
  a_->heard(ip("10.0.0.1"), "old");
  clock_.advance(Millis(119'000));
  a_->heard(ip("10.0.0.1"), "somebody");  // not the owner's word
  EXPECT_EQ(refusal(q), "identity");
  clock_.advance(Millis(1'000));
  auto has = join(q);
  EXPECT_EQ(has.shares, had.shares);
  EXPECT_EQ(has.vtep, had.vtep);
  EXPECT_EQ(has.id, "new");
  // A record without an id belongs to whoever comes with the address.
  join("10.0.0.2");
  q.node = ip("10.0.0.2");
  EXPECT_EQ(join(q).id, "new");
  // After a restart nobody knows when the node was heard of last.
  start();
  q.id = "third";
  EXPECT_EQ(refusal(q), "identity");
}

TEST_F(AllocatorTest, HoldDownKeepsWhatARemovedNodeHad) {
  start(plan_of(raw_plan()), {.hold_down = Millis(60'000)});
  auto one = join("10.0.0.1");
  join("10.0.0.2");
  remove({"10.0.0.1"});
  EXPECT_EQ(a_->size(), 1u);
  EXPECT_EQ(a_->find(ip("10.0.0.1")), nullptr);
  EXPECT_EQ(uint64_t(a_->usage()[0].held), 1u);
  EXPECT_EQ(share_of(join("10.0.0.3"), "dcos")->v4->text(), "9.0.2.0/24");
  auto wants = request("10.0.0.4");
  wants.holding.blocks = {{"dcos", "9.0.0.0/24", ""}};
  auto four = join(wants);
  EXPECT_EQ(share_of(four, "dcos")->state, ShareState::kConflict);
  EXPECT_THAT(share_of(four, "dcos")->detail, HasSubstr("kept back after the removal of 10.0.0.1"));

  clock_.advance(Millis(59'000));
  a_->heard(ip("10.0.0.1"), "");  // its containers may still run
  clock_.advance(Millis(59'000));
  a_->release_due();
  EXPECT_EQ(uint64_t(a_->usage()[0].held), 1u);
  // Over a restart it is still held, and the time starts anew.
  start(plan_of(raw_plan()), options_);
  clock_.advance(Millis(59'000));
  a_->release_due();
  EXPECT_EQ(uint64_t(a_->usage()[0].held), 1u);
  EXPECT_NE(record("node/10.0.0.1"), "");
  clock_.advance(Millis(1'000));
  a_->release_due();
  EXPECT_EQ(uint64_t(a_->usage()[0].held), 0u);
  EXPECT_EQ(record("node/10.0.0.1"), "");
  EXPECT_EQ(share_of(join("10.0.0.5"), "dcos")->v4, share_of(one, "dcos")->v4);
  expect_sound(*a_);
}

TEST_F(AllocatorTest, ARemovedNodeThatComesBackGetsItsOwn) {
  start(plan_of(raw_plan()), {.hold_down = Millis(60'000)});
  join("10.0.0.1");
  auto two = join("10.0.0.2");
  remove({"10.0.0.1", "10.0.0.2"});
  EXPECT_EQ(join("10.0.0.2"), two);
  EXPECT_EQ(events_, "+10.0.0.1 +10.0.0.2 -10.0.0.1 -10.0.0.2 +10.0.0.2 ");
  clock_.advance(Millis(61'000));
  a_->release_due();
  EXPECT_EQ(a_->size(), 1u);
  expect_sound(*a_);
  remove({"10.0.0.2"});
  start(plan_of(raw_plan()));  // hold-down switched off
  EXPECT_EQ(uint64_t(a_->usage()[0].used + a_->usage()[0].held), 0u);
  EXPECT_EQ(share_of(join("10.0.0.7"), "dcos")->v4->text(), "9.0.0.0/24");
}

TEST_F(AllocatorTest, AdoptionTakesOnlyWhatFits) {
  auto raw = raw_plan();
  raw.overlays[1].subnet = "10.32.0.0/12";
  raw.overlays[1].prefix = 22;
  start(plan_of(raw));
  auto q = request("10.0.0.1");
  q.holding.vtep4 = "44.128.0.9/20";
  q.holding.vtep6 = "fd01:a::99/64";
  q.holding.blocks = {{"dcos", "9.0.7.0/24", ""}, {"dcos6", "10.32.8.0/22", ""}, {"gone", "1.2.3.0/24", ""}};
  auto a = join(q);
  EXPECT_EQ(a.vtep.v4.text(), "44.128.0.9/20");
  EXPECT_EQ(to_text(a.vtep.mac), "70:b3:d5:80:00:09");
  EXPECT_EQ(a.vtep.v6->text(), "fd01:a::99/64");
  EXPECT_EQ(share_of(a, "dcos")->v4->text(), "9.0.7.0/24");
  EXPECT_EQ(share_of(a, "dcos6")->v4->text(), "10.32.8.0/22");
  EXPECT_EQ(share_of(a, "dcos6")->v6->text(), "fd01:b::/80");  // what is missing is added
  EXPECT_THAT(notes_, testing::ElementsAre("overlay gone is not known"));
  EXPECT_EQ(a_->counters().adopted, 4u);

  // What does not fit is a conflict, and the addresses are fresh ones.
  uint32_t node = 0x0a000010;
  for (auto* bad : {"9.0.7.0/24", "9.0.8.0/25", "10.0.0.0/24", "9.0.8.1/24", "fd01::/24", "x", "9.0.8.0"}) {
    auto other = request("10.0.0.2");
    other.node = IpAddress::from_v4(node++);
    other.holding.vtep4 = "44.128.0.0/20";
    other.holding.vtep6 = "fd01:a::99/64";
    other.holding.blocks = {{"dcos", bad, ""}};
    auto b = join(other);
    EXPECT_EQ(share_of(b, "dcos")->state, ShareState::kConflict) << bad;
    EXPECT_FALSE(share_of(b, "dcos")->v4) << bad;
    EXPECT_EQ(share_of(b, "dcos6")->state, ShareState::kOk);
    EXPECT_EQ(notes_.size(), 2u);
  }
  // What it wrote stands in a record and in JSON, so it is made fit for that.
  auto odd = request("10.0.1.1");
  odd.holding.blocks = {{"dcos", "\xe4\n\x01" + std::string(100, 'x'), ""}, {"\xff", "9.0.30.0/24", ""}};
  auto said = join(odd);
  EXPECT_THAT(share_of(said, "dcos")->detail, testing::StartsWith("???" + std::string(61, 'x') + " is no"));
  EXPECT_THAT(notes_, testing::ElementsAre("overlay ? is not known"));
  EXPECT_EQ(parse_node_record(record("node/10.0.1.1"), a_->plan().oui)->allocation, said);
  // A family that the overlay does not have.
  auto other = request("10.0.0.3");
  other.holding.blocks = {{"dcos", "9.0.20.0/24", "fd01:b:0:0:20::/80"}};
  EXPECT_EQ(share_of(join(other), "dcos")->state, ShareState::kConflict);
  // A node that lets go gets a block of its own.
  auto again = join("10.0.0.3");
  EXPECT_EQ(share_of(again, "dcos")->state, ShareState::kOk);
  EXPECT_EQ(share_of(again, "dcos")->detail, "");
  expect_sound(*a_);
}

TEST_F(AllocatorTest, WhatANodeHasStaysWhateverItSays) {
  start();
  auto had = join("10.0.0.1");
  auto q = request("10.0.0.1");
  q.allocate_subnet = q.mesos_bridge = false;
  q.holding.vtep4 = "44.128.0.77/20";
  q.holding.blocks = {{"dcos", "9.0.77.0/24", ""}};
  EXPECT_EQ(join(q), had);
  EXPECT_EQ(notes_.size(), 2u);
}

TEST_F(AllocatorTest, ADisabledOverlayAdoptsButGivesNothing) {
  auto raw = raw_plan();
  raw.overlays[0].enabled = false;
  start(plan_of(raw));
  EXPECT_EQ(join("10.0.0.1").shares.size(), 1u);
  auto q = request("10.0.0.2");
  q.holding.blocks = {{"dcos", "9.0.5.0/24", ""}};
  EXPECT_EQ(share_of(join(q), "dcos")->v4->text(), "9.0.5.0/24");
}

TEST_F(AllocatorTest, AVtep6PoolAddedLaterReachesKnownNodes) {
  auto raw = raw_plan();
  raw.vtep_subnet6.reset();
  start(plan_of(raw));
  EXPECT_FALSE(join("10.0.0.1").vtep.v6);
  start();
  EXPECT_FALSE(a_->rejected());
  EXPECT_EQ(join("10.0.0.1").vtep.v6->text(), "fd01:a::1/64");
  expect_sound(*a_);
  start();
  EXPECT_EQ(join("10.0.0.2").vtep.v6->text(), "fd01:a::2/64");
}

TEST_F(AllocatorTest, PlansThatMayNotReplace) {
  start();
  join("10.0.0.1");
  auto rejected = [&](auto change) {
    auto raw = raw_plan();
    change(raw);
    auto before = a_->plan();
    auto r = a_->set_plan(plan_of(raw));
    if (r) {
      EXPECT_EQ(a_->plan(), before);
      start(plan_of(raw));
      EXPECT_EQ(a_->rejected(), r);
      EXPECT_EQ(a_->plan(), before);
    }
    expect_sound(*a_);
    return r ? r->reason : "accepted";
  };
  EXPECT_EQ(rejected([](auto& p) { p.overlays[0].prefix = 25; }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.overlays[0].subnet = "8.0.0.0/7"; }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.overlays[0].subnet6 = "fd02::/64", p.overlays[0].prefix6 = 80; }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.overlays[1].prefix6 = 81; }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.vtep_subnet = "44.128.0.0/16"; }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.vtep_subnet6 = "fd01:a::/80"; }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.vtep_subnet6.reset(); }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.vtep_mac_oui = "70:B3:D6:00:00:00"; }), "oui-changed");
  EXPECT_EQ(rejected([](auto& p) { p.overlays.erase(p.overlays.begin()), p.overlays[0].subnet = "9.4.0.0/16", p.overlays[0].prefix = 24; }), "pool-changed");
  EXPECT_EQ(rejected([](auto& p) { p.overlays[0].name = "new"; }), "pool-overlap");  // the old one would stay, retired
  EXPECT_EQ(rejected([](auto& p) { p.vtep_mtu = 1450; }), "accepted");
  EXPECT_EQ(rejected([](auto& p) { std::swap(p.overlays[0], p.overlays[1]); }), "accepted");
  remove({"10.0.0.1"});
  EXPECT_EQ(rejected([](auto& p) { p.overlays[0].prefix = 25, p.vtep_subnet = "44.128.0.0/16"; }), "accepted");
  EXPECT_EQ(share_of(join("10.0.0.1"), "dcos")->v4->text(), "9.0.0.0/25");
}

TEST_F(AllocatorTest, ARetiredOverlayLivesAsLongAsItsHolders) {
  start();
  join("10.0.0.1");
  auto raw = raw_plan();
  raw.overlays.pop_back();
  start(plan_of(raw));
  ASSERT_FALSE(a_->rejected());
  ASSERT_EQ(a_->plan().overlays.size(), 2u);
  EXPECT_FALSE(a_->plan().overlays[1].enabled);
  EXPECT_EQ(join("10.0.0.2").shares.size(), 1u);
  EXPECT_EQ(join("10.0.0.1").shares.size(), 2u);
  // It comes back as it was, and gives again.
  start();
  EXPECT_TRUE(a_->plan().overlays[1].enabled);
  EXPECT_EQ(share_of(join("10.0.0.2"), "dcos6")->v6->text(), "fd01:b:0:0:1::/80");
  // Without holders it is gone.
  start(plan_of(raw));
  remove({"10.0.0.1", "10.0.0.2"});
  EXPECT_EQ(a_->plan().overlays.size(), 1u);
  start(plan_of(raw));
  EXPECT_EQ(a_->plan(), plan_of(raw));
}

TEST_F(AllocatorTest, SharesWithoutBlocksGoWithTheirOverlay) {
  start();
  auto q = request("10.0.0.1");
  q.allocate_subnet = false;
  EXPECT_EQ(join(q).shares.size(), 2u);
  auto raw = raw_plan();
  raw.overlays.pop_back();
  ASSERT_FALSE(a_->set_plan(plan_of(raw)));
  EXPECT_EQ(a_->find(ip("10.0.0.1"))->allocation.shares.size(), 1u);
  start(plan_of(raw));
  EXPECT_EQ(a_->find(ip("10.0.0.1"))->allocation.shares.size(), 1u);
}

TEST_F(AllocatorTest, Reports) {
  start();
  join("10.0.0.1");
  EXPECT_EQ(a_->report(ip("10.0.0.2"), {})->reason, "node-unknown");
  EXPECT_EQ(a_->report(ip("10.0.0.1"), {{"dcos", ReportStatus::kOk, ""}, {"other", ReportStatus::kOk, ""}})->reason, "overlay-unknown");
  EXPECT_TRUE(a_->find(ip("10.0.0.1"))->reports.empty());
  EXPECT_FALSE(a_->report(ip("10.0.0.1"), {{"dcos", ReportStatus::kFailed, std::string(5000, 'x')}}));
  EXPECT_EQ(a_->find(ip("10.0.0.1"))->reports[0].error.size(), kMaxReportError);
  EXPECT_FALSE(a_->report(ip("10.0.0.1"), {{"dcos", ReportStatus::kOk, ""}, {"dcos6", ReportStatus::kConfiguring, ""}}));
  EXPECT_EQ(a_->find(ip("10.0.0.1"))->reports, (std::vector<OverlayReport>{{"dcos", ReportStatus::kOk, ""}, {"dcos6", ReportStatus::kConfiguring, ""}}));
}

TEST_F(AllocatorTest, AFailedWriteChangesNothing) {
  FaultyStore store(*store_);
  auto made = Allocator::open(store, clock_, plan_of(raw_plan()));
  ASSERT_TRUE(made);
  auto& a = **made;
  ASSERT_TRUE(a.register_node(request("10.0.0.1")));
  store.fail_from = store.writes;
  auto refused = a.register_node(request("10.0.0.2"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "store-failed");
  EXPECT_THAT(refused.error().detail, HasSubstr("No space left"));
  EXPECT_EQ(a.size(), 1u);
  IpAddress one[] = {ip("10.0.0.1")};
  auto removed = a.remove_nodes(one);
  ASSERT_FALSE(removed);
  EXPECT_THAT(removed.error().text(), HasSubstr("10.0.0.1"));
  EXPECT_EQ(a.size(), 1u);
  auto raw = raw_plan();
  raw.vtep_mtu = 1450;
  EXPECT_EQ(a.set_plan(plan_of(raw))->reason, "store-failed");
  EXPECT_FALSE(a.plan().vtep_mtu);
  expect_sound(a);
  store.fail_from = -1;
  auto two = a.register_node(request("10.0.0.2"));
  ASSERT_TRUE(two);
  EXPECT_EQ(two->allocation.vtep.v4.text(), "44.128.0.2/20");
  EXPECT_EQ(a.counters().store_failures, 3u);
}

TEST_F(AllocatorTest, DamagedRecordsAreNamed) {
  start();
  join("10.0.0.1");
  join("10.0.0.2");
  auto plan = record("plan"), one = record("node/10.0.0.1"), two = record("node/10.0.0.2");
  auto fault = [&](std::string_view key, std::string value) {
    auto old = record(key);
    EXPECT_TRUE(store_->put(kStoreArea, key, value));
    auto made = Allocator::open(*store_, clock_, std::nullopt);
    if (old.empty()) {
      EXPECT_TRUE(store_->erase(kStoreArea, key));
    } else {
      EXPECT_TRUE(store_->put(kStoreArea, key, old));
    }
    return made ? "opened" : made.error().text();
  };
  auto replaced = [](std::string text, std::string_view what, std::string_view with) {
    auto at = text.find(what);
    EXPECT_NE(at, text.npos) << what;
    return text.replace(at, what.size(), with);
  };
  for (auto* bad : {"", "{", "[]", "{\"format\": 1}", "{\"format\": \"1\"}", "{\"format\": 1, \"node\": 5}"}) {
    EXPECT_THAT(fault("node/10.0.0.1", bad), HasSubstr("'node/10.0.0.1'")) << bad;
    EXPECT_THAT(fault("plan", bad), HasSubstr("'plan'")) << bad;
  }
  EXPECT_THAT(fault("node/10.0.0.1", "{\"format\": 2}"), HasSubstr("Protocol error"));
  EXPECT_THAT(fault("node/10.0.0.3", one), HasSubstr("it is that of 10.0.0.1"));
  EXPECT_THAT(fault("node/10.0.0.2", replaced(two, "44.128.0.2/20", "44.128.0.1/20")), HasSubstr("see record 'node/10.0.0.1'"));
  EXPECT_THAT(fault("node/10.0.0.2", replaced(two, "9.0.1.0/24", "9.0.0.0/24")), HasSubstr("9.0.0.0/24 is taken already, see record 'node/10.0.0.1'"));
  EXPECT_THAT(fault("node/10.0.0.2", replaced(two, "9.0.1.0/24", "9.0.1.0/25")), HasSubstr("belongs to no pool"));
  EXPECT_THAT(fault("node/10.0.0.2", replaced(two, "9.0.1.0/24", "10.0.1.0/24")), HasSubstr("belongs to no pool"));
  EXPECT_THAT(fault("node/10.0.0.2", replaced(two, "\"ok\"", "\"odd\"")), HasSubstr("state 'odd'"));
  EXPECT_THAT(fault("something", "x"), HasSubstr("'something'"));
  EXPECT_THAT(fault("plan", replaced(plan, "9.0.0.0/8", "9.0.0.1/8")), HasSubstr("pool-host-bits"));
  EXPECT_EQ(fault("plan", plan), "opened");
}

TEST_F(AllocatorTest, NeitherPlanIsAnError) {
  EXPECT_EQ(Allocator::open(*store_, clock_, std::nullopt).error().code, std::errc::no_such_file_or_directory);
  start();
  EXPECT_TRUE(Allocator::open(*store_, clock_, std::nullopt));
}

}  // namespace
}  // namespace ls::overlay
