// Random histories of the allocator with a crash at every write: never two owners, nothing lost that was confirmed.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "overlay/allocation_record.h"
#include "overlay/allocator.h"
#include "overlay_support.h"

namespace ls::overlay {
namespace {

Plan small_plan(unsigned variant) {
  RawPlan p;
  p.vtep_subnet = "44.128.0.0/27";
  if (variant & 1) p.vtep_subnet6 = "fd01:a::/123";
  p.vtep_mac_oui = "70:B3:D5:00:00:00";
  RawOverlay a, b, c;
  a.name = "a";
  a.subnet = "9.0.0.0/20";
  a.prefix = 24;
  b.name = "b";
  b.subnet = "11.0.0.0/21";
  b.prefix = 24;
  b.subnet6 = "fd01:b::/64";
  b.prefix6 = 67;
  b.enabled = (variant & 2) == 0;
  c.name = "c";
  c.subnet6 = "fd01:c::/64";
  c.prefix6 = 70;
  p.overlays = {a, b};
  if (variant & 4) p.overlays.push_back(c);
  return plan_of(p);
}

/// What was confirmed: a node's allocation as it was last answered. What a crash or a failed write left open is not in here.
struct Confirmed {
  std::map<IpAddress, Allocation> nodes;
};

/// `now` has everything that `before` had.
void expect_kept(const Allocation& before, const Allocation* now) {
  ASSERT_TRUE(now) << before.node.text() << " is lost";
  EXPECT_EQ(now->vtep.v4, before.vtep.v4);
  if (before.vtep.v6) {
    EXPECT_EQ(now->vtep.v6, before.vtep.v6);
  }
  for (auto& s : before.shares) {
    if (!s.v4 && !s.v6) continue;
    auto* t = share_of(*now, s.overlay);
    ASSERT_TRUE(t) << before.node.text() << " lost " << s.overlay;
    EXPECT_EQ(*t, s);
  }
}

class Play {
 public:
  Play(uint32_t seed, Millis hold_down) : rng_(seed), store_(make_memory_store()), hold_down_(hold_down) { open(); }

  void step() {
    uint32_t roll = rng_() % 100;
    if (roll < 55) {
      join();
    } else if (roll < 75) {
      remove();
    } else if (roll < 85) {
      clock_.advance(Millis(rng_() % 20'000));
      guarded([&] { a_->release_due(); });
    } else if (roll < 93) {
      open();
    } else {
      variant_ = rng_() % 8;
      guarded([&] {
        auto refused = a_->set_plan(small_plan(variant_));
        // Only the IPv6 VTEP pool can be in the way: it is never given up.
        EXPECT_TRUE(!refused || refused->reason == "store-failed" || refused->reason == "pool-changed") << refused->text();
      });
    }
    check();
  }

  int crashes = 0, failures = 0;

 private:
  IpAddress some_node() { return IpAddress::from_v4(0x0a000001 + rng_() % 40); }

  void arm() {
    store_faults_->fail_from = store_faults_->kill_before = store_faults_->kill_after = -1;
    int at = store_faults_->writes + int(rng_() % 3);
    switch (rng_() % 6) {
      case 0: store_faults_->kill_before = at; break;
      case 1: store_faults_->kill_after = at; break;
      case 2: store_faults_->fail_from = at; break;
      default: break;
    }
  }

  template <class F>
  void guarded(F f) {
    arm();
    try {
      f();
    } catch (FaultyStore::Killed&) {
      crashes++;
      open();
    }
    store_faults_->fail_from = -1;
  }

  void open() {
    a_.reset();
    store_faults_ = std::make_unique<FaultyStore>(*store_);
    arm();
    for (;;) {
      try {
        auto made = Allocator::open(*store_faults_, clock_, small_plan(variant_), {.hold_down = hold_down_, .takeover = Millis(0)});
        if (made) {
          a_ = std::move(*made);
          break;
        }
        ASSERT_NE(made.error().text().find("No space left"), std::string::npos) << made.error().text();
        failures++;
      } catch (FaultyStore::Killed&) {
        crashes++;
      }
      store_faults_ = std::make_unique<FaultyStore>(*store_);
    }
    store_faults_->fail_from = store_faults_->kill_before = store_faults_->kill_after = -1;
  }

  void join() {
    RegisterRequest q;
    q.node = some_node();
    q.allocate_subnet = rng_() % 8 != 0;
    q.mesos_bridge = rng_() % 4 != 0;
    if (rng_() % 4 == 0) {
      q.holding.vtep4 = IpAddress::from_v4(0x2c800000 + rng_() % 34).text() + "/27";
      q.holding.blocks.push_back({"a", IpAddress::from_v4(0x09000000 + (rng_() % 18) * 256).text() + "/24", ""});
    }
    guarded([&] {
      bool known = confirmed_.nodes.contains(q.node);
      auto got = a_->register_node(q);
      if (got) {
        if (known) expect_kept(confirmed_.nodes[q.node], &got->allocation);
        confirmed_.nodes[q.node] = got->allocation;
      } else {
        failures += got.error().reason == "store-failed";
      }
    });
  }

  void remove() {
    std::vector<IpAddress> list;
    for (unsigned n = rng_() % 3 + 1; n; n--) list.push_back(some_node());
    // Whatever happens now, those of the list are in doubt; the others are not.
    for (auto& n : list) confirmed_.nodes.erase(n);
    guarded([&] {
      auto r = a_->remove_nodes(list);
      failures += !r;
      if (r) {
        for (auto& n : list) EXPECT_EQ(a_->find(n), nullptr);
      }
    });
    for (auto& n : list) {
      if (auto* still = a_->find(n)) confirmed_.nodes[n] = still->allocation;
    }
  }

  void check() {
    expect_sound(*a_);
    for (auto& [node, had] : confirmed_.nodes) {
      auto* n = a_->find(node);
      expect_kept(had, n ? &n->allocation : nullptr);
    }
  }

  std::mt19937 rng_;
  std::unique_ptr<Store> store_;
  Millis hold_down_;
  FakeClock clock_;
  unsigned variant_ = 0;
  std::unique_ptr<FaultyStore> store_faults_;
  std::unique_ptr<Allocator> a_;
  Confirmed confirmed_;
};

class AllocatorHistory : public testing::TestWithParam<std::pair<uint32_t, int>> {};

TEST_P(AllocatorHistory, NeverTwoOwnersNothingLost) {
  auto [seed, hold_down_ms] = GetParam();
  Play play(seed, Millis(hold_down_ms));
  for (int i = 0; i < 3000 && !testing::Test::HasFailure(); i++) play.step();
  EXPECT_GT(play.crashes, 100);
  EXPECT_GT(play.failures, 50);
}

INSTANTIATE_TEST_SUITE_P(Seeds, AllocatorHistory, testing::Values(std::pair(1u, 0), std::pair(2u, 0), std::pair(3u, 30'000), std::pair(4u, 30'000)));

// One history, killed once before and once after each of its writes.
TEST(AllocatorCrash, AtEveryWriteOfAHistory) {
  auto run = [](FaultyStore& store, const Clock& clock, std::map<IpAddress, Allocation>& confirmed) {
    auto made = Allocator::open(store, clock, small_plan(1), {.hold_down = Millis(1000)});
    ASSERT_TRUE(made) << made.error().text();
    auto& a = **made;
    auto join = [&](std::string_view node) {
      if (auto got = a.register_node(request(node))) confirmed[ip(node)] = got->allocation;
    };
    for (auto* n : {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}) join(n);
    IpAddress gone[] = {ip("10.0.0.2"), ip("10.0.0.3")};
    for (auto& g : gone) confirmed.erase(g);
    ASSERT_TRUE(a.remove_nodes(gone));
    ASSERT_FALSE(a.set_plan(small_plan(5)));
    for (auto* n : {"10.0.0.1", "10.0.0.5", "10.0.0.2"}) join(n);
  };
  FakeClock clock;
  auto all = make_memory_store();
  FaultyStore counted(*all);
  std::map<IpAddress, Allocation> want;
  run(counted, clock, want);
  ASSERT_EQ(counted.writes, 11);
  for (int n = 0; n < 2 * counted.writes; n++) {
    auto under = make_memory_store();
    FaultyStore store(*under);
    (n % 2 ? store.kill_after : store.kill_before) = n / 2;
    std::map<IpAddress, Allocation> confirmed;
    EXPECT_THROW(run(store, clock, confirmed), FaultyStore::Killed);
    auto again = Allocator::open(*under, clock, small_plan(1), {.hold_down = Millis(1000)});
    ASSERT_TRUE(again) << again.error().text();
    expect_sound(**again);
    for (auto& [node, had] : confirmed) {
      auto* now = (*again)->find(node);
      expect_kept(had, now ? &now->allocation : nullptr);
    }
    // From there the history ends where it ends without a crash.
    FaultyStore whole(*under);
    std::map<IpAddress, Allocation> later;
    again->reset();
    run(whole, clock, later);
    EXPECT_EQ(later.size(), want.size());
  }
}

}  // namespace
}  // namespace ls::overlay
