// Pools against a plain model: lowest first, exact counts, nothing outside, nothing twice.
#include "overlay/pool.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "overlay_support.h"

namespace ls::overlay {
namespace {

TEST(OverlayPool, BlocksAreExactInBothFamilies) {
  BlockPool four({net("9.0.0.0/8"), 24});
  EXPECT_EQ(to_text(four.size()), "65536");
  EXPECT_EQ(four.block(0), net("9.0.0.0/24"));
  EXPECT_EQ(four.block(65535), net("9.255.255.0/24"));
  EXPECT_EQ(four.place(net("9.1.0.0/24")), Number(256));
  EXPECT_FALSE(four.place(net("10.0.0.0/24")));
  EXPECT_FALSE(four.place(net("9.0.0.0/25")));
  EXPECT_FALSE(four.place(net("9.0.0.0/8")));
  EXPECT_FALSE(four.place(net("fd01::/24")));

  BlockPool six({net("fd01:b::/64"), 80});
  EXPECT_EQ(to_text(six.size()), "65536");
  EXPECT_EQ(six.block(256), net("fd01:b:0:0:100::/80"));
  EXPECT_EQ(six.block(65535).text(), "fd01:b:0:0:ffff::/80");
  EXPECT_FALSE(six.place(net("fd01:b:0:1::/80")));

  BlockPool wide({net("2000::/3"), 125});
  EXPECT_EQ(to_text(wide.size()), "5316911983139663491615228241121378304");  // 2^122
  auto last = wide.block(wide.size() - 1);
  EXPECT_EQ(last.text(), "3fff:ffff:ffff:ffff:ffff:ffff:ffff:fff8/125");
  EXPECT_TRUE(wide.place(last) == std::optional(wide.size() - 1));

  BlockPool one({net("9.0.0.0/8"), 8});
  EXPECT_EQ(to_text(one.size()), "1");
  EXPECT_EQ(one.block(0), net("9.0.0.0/8"));
}

TEST(OverlayPool, AddressesLeaveOutTheFirstAndTheLast) {
  AddressPool four(net("44.128.0.0/20"));
  EXPECT_EQ(to_text(four.size()), "4094");
  EXPECT_EQ(four.address(0).text(), "44.128.0.1/20");
  EXPECT_EQ(four.address(4093).text(), "44.128.15.254/20");
  EXPECT_FALSE(four.place({ip("44.128.0.0"), 20}));
  EXPECT_FALSE(four.place({ip("44.128.15.255"), 20}));
  EXPECT_FALSE(four.place({ip("44.128.0.1"), 24}));
  EXPECT_FALSE(four.place({ip("44.128.16.1"), 20}));
  EXPECT_EQ(four.place({ip("44.128.1.0"), 20}), Number(255));

  AddressPool six(net("fd01:a::/64"));
  EXPECT_EQ(to_text(six.size()), "18446744073709551614");
  EXPECT_EQ(six.address(255).text(), "fd01:a::100/64");
  EXPECT_FALSE(six.place({ip("fd01:a::"), 64}));
  EXPECT_FALSE(six.place({ip("fd01:a::ffff:ffff:ffff:ffff"), 64}));
  EXPECT_EQ(to_text(AddressPool(net("44.128.0.0/31")).size()), "0");
  EXPECT_EQ(to_text(AddressPool(net("fd01::/127")).size()), "0");
}

TEST(OverlayPool, StepsThatDoNotFitChangeNothing) {
  PlacePool p(4);
  EXPECT_FALSE(p.take(4));
  EXPECT_FALSE(p.release(0));
  EXPECT_FALSE(p.hold(0));
  EXPECT_FALSE(p.resume(0));
  EXPECT_TRUE(p.take(0));
  EXPECT_FALSE(p.take(0));
  EXPECT_TRUE(p.hold(0));
  EXPECT_FALSE(p.hold(0));
  EXPECT_FALSE(p.take(0));
  EXPECT_EQ(p.lowest_free(), Number(1));
  EXPECT_TRUE(p.resume(0));
  EXPECT_TRUE(p.hold(0));
  EXPECT_TRUE(p.release(0));
  EXPECT_EQ(p.lowest_free(), Number(0));
  EXPECT_EQ(uint64_t(p.used() + p.held()), 0u);
}

/// A model that keeps every place by itself. Sizes small enough to run full, and one of 2^48.
class PoolHistory : public testing::TestWithParam<std::pair<uint64_t, uint32_t>> {};

TEST_P(PoolHistory, EqualsASet) {
  auto [size, seed] = GetParam();
  std::mt19937 rng(seed);
  PlacePool pool(size);
  std::set<uint64_t> used, held;
  auto free_place = [&](uint64_t n) { return n < size && !used.contains(n) && !held.contains(n); };
  auto lowest = [&]() -> std::optional<uint64_t> {
    for (uint64_t n = 0; n < size; n++) {
      if (free_place(n)) return n;
    }
    return std::nullopt;
  };
  auto some = [&](const std::set<uint64_t>& of) { return of.empty() ? uint64_t(rng()) % size : *std::next(of.begin(), long(rng() % of.size())); };
  for (int step = 0; step < 20'000; step++) {
    bool grow = step / 1000 % 2 == 0;
    uint32_t roll = rng() % 100;
    if (roll < (grow ? 55u : 20u)) {
      auto got = pool.lowest_free();
      auto want = lowest();
      ASSERT_EQ(got.has_value(), want.has_value());
      if (got) {
        ASSERT_EQ(uint64_t(*got), *want);
        ASSERT_TRUE(pool.take(*got));
        used.insert(*want);
      }
    } else if (roll < 65) {
      uint64_t place = rng() % 4 == 0 ? some(used) : ((uint64_t(rng()) << 32 | rng()) % (size + 2)) % (rng() % 2 ? 1000 : UINT64_MAX);
      ASSERT_EQ(pool.take(place), free_place(place));
      if (free_place(place)) used.insert(place);
    } else if (roll < 85) {
      uint64_t place = rng() % 8 == 0 ? rng() % size : some(rng() % 3 ? used : held);
      bool there = used.contains(place) || held.contains(place);
      ASSERT_EQ(pool.release(place), there);
      used.erase(place);
      held.erase(place);
    } else if (roll < 93) {
      uint64_t place = some(used);
      ASSERT_EQ(pool.hold(place), used.contains(place));
      if (used.erase(place)) held.insert(place);
    } else {
      uint64_t place = some(held);
      ASSERT_EQ(pool.resume(place), held.contains(place));
      if (held.erase(place)) used.insert(place);
    }
    ASSERT_EQ(uint64_t(pool.used()), used.size());
    ASSERT_EQ(uint64_t(pool.held()), held.size());
    ASSERT_EQ(uint64_t(pool.free()), size - used.size() - held.size());
  }
  while (!used.empty()) {
    ASSERT_TRUE(pool.release(*used.begin()));
    used.erase(used.begin());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, PoolHistory,
                         testing::Values(std::pair(1ull, 1u), std::pair(2ull, 2u), std::pair(64ull, 3u), std::pair(500ull, 4u), std::pair(65536ull, 5u),
                                         std::pair(1ull << 48, 6u)));

TEST(OverlayPool, EveryBlockOnceAndInside) {
  for (auto [text, share] : {std::pair("10.0.0.0/20", 29), std::pair("fd01:b::/64", 74), std::pair("172.16.4.0/22", 22)}) {
    BlockPool pool({net(text), uint8_t(share)});
    std::set<IpNetwork> seen;
    IpNetwork before{};
    while (auto place = pool.lowest_free()) {
      auto block = pool.block(*place);
      ASSERT_TRUE(seen.insert(block).second);
      ASSERT_TRUE(pool.pool().network.contains(block.address));
      ASSERT_TRUE(pool.place(block) == place);
      ASSERT_TRUE(seen.size() == 1 || before < block);
      before = block;
      ASSERT_TRUE(pool.take(*place));
    }
    EXPECT_EQ(Number(seen.size()), pool.size());
  }
}

}  // namespace
}  // namespace ls::overlay
