#include "datapath/svc_alloc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace ls {
namespace {

TEST(NumberPool, NeverGivesZeroOrWhatIsTaken) {
  std::vector<bool> taken(5, false);
  taken[2] = true;
  NumberPool p(taken);
  EXPECT_EQ(p.left(), 3u);
  EXPECT_EQ(*p.take(), 1u);
  EXPECT_EQ(*p.take(), 3u);
  p.give(1);
  EXPECT_EQ(*p.take(), 4u);
  EXPECT_EQ(*p.take(), 1u);
  EXPECT_FALSE(p.take());
}

TEST(BlockPool, RetiredRunsAreTakenOnlyAfterSettling) {
  BlockPool p(10);
  EXPECT_EQ(*p.take(10), 0u);
  p.retire(0, 4);
  p.retire(4, 6);
  EXPECT_EQ(p.retired(), 10u);
  EXPECT_FALSE(p.take(1));
  p.settle();
  EXPECT_EQ(*p.take(10), 0u) << "neighbours join";
}

TEST(BlockPool, SmallOnesFillTheGaps) {
  BlockPool p(100);
  auto a = *p.take(3), b = *p.take(1), c = *p.take(90);
  EXPECT_EQ(a, 0u);
  EXPECT_EQ(c, 4u);
  p.retire(b, 1);
  p.settle();
  EXPECT_EQ(*p.take(1), b);
}

TEST(BlockPool, ReserveRefusesOverlap) {
  BlockPool p(20);
  EXPECT_TRUE(p.reserve(5, 5));
  EXPECT_FALSE(p.reserve(9, 2));
  EXPECT_FALSE(p.reserve(0, 6));
  EXPECT_FALSE(p.reserve(19, 2));
  EXPECT_FALSE(p.reserve(0xffffffff, 2));
  EXPECT_FALSE(p.reserve(3, 0));
  EXPECT_TRUE(p.reserve(10, 10));
  EXPECT_TRUE(p.reserve(0, 5));
  EXPECT_EQ(p.left(), 0u);
}

/// Random takes and gives against a plain array of owners.
TEST(BlockPool, NoRunIsEverGivenTwice) {
  std::mt19937 rng(1);
  BlockPool p(1000);
  std::vector<int> owner(1000, 0);
  std::vector<std::pair<uint32_t, uint32_t>> held;
  uint32_t resting = 0;
  for (int step = 0; step < 20000; step++) {
    uint32_t what = rng() % 10;
    if (what < 5) {
      uint32_t n = rng() % 3 ? 1 + rng() % 40 : 1;
      auto at = what < 4 ? p.take(n) : p.take_below(n, rng() % 1000);
      if (!at) continue;
      for (uint32_t i = *at; i < *at + n; i++) {
        ASSERT_EQ(owner.at(i), 0);
        owner[i] = 1;
      }
      held.emplace_back(*at, n);
    } else if (what < 9 && !held.empty()) {
      std::swap(held[rng() % held.size()], held.back());
      auto [at, n] = held.back();
      held.pop_back();
      p.retire(at, n);
      resting += n;
      for (uint32_t i = at; i < at + n; i++) owner[i] = 2;
    } else if (what == 9) {
      p.settle();
      resting = 0;
      for (auto& o : owner) o = o == 2 ? 0 : o;
    }
    ASSERT_EQ(p.retired(), resting);
    ASSERT_EQ(p.left(), uint32_t(std::count(owner.begin(), owner.end(), 0)));
  }
}

}  // namespace
}  // namespace ls
