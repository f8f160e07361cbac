#include "datapath/maglev.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>

namespace ls {
namespace {

/// `n` backends as clusters have them: agents with neighbouring addresses, ports out of a range.
std::vector<RingMember> some_set(uint32_t n, uint32_t seed) {
  std::mt19937 rng(seed * 7919 + n);
  std::map<uint64_t, uint32_t> distinct;  // by hash
  while (distinct.size() < n) {
    Endpoint e{IpAddress::from_v4(0x0a000000 + rng() % 4096), uint16_t(1025 + rng() % 30000)};
    distinct.emplace(ring_hash(e), uint32_t(distinct.size() + 1));
  }
  std::vector<RingMember> out;
  for (auto [hash, number] : distinct) out.push_back({hash, number});
  return out;
}

std::vector<uint32_t> ring_of(const std::vector<RingMember>& members) {
  std::vector<uint32_t> ring(ring_slots(uint32_t(members.size())));
  build_ring(members, ring);
  return ring;
}

/// Share of the flows of the other backends that move when `removed` goes, as a program sees it (sizes may
/// differ).
double moved(const std::vector<uint32_t>& before, const std::vector<uint32_t>& after, uint32_t removed) {
  size_t fine = std::max(before.size(), after.size());
  uint64_t others = 0, changed = 0;
  for (size_t i = 0; i < fine; i++) {
    // The middle of the i-th part of the hash space, looked up by the rule of the programs.
    auto hash = uint32_t(((2 * i + 1) << 31) / fine);
    uint32_t was = before[ring_index(hash, uint32_t(before.size()))];
    uint32_t is = after[ring_index(hash, uint32_t(after.size()))];
    if (was == removed) continue;
    others++;
    changed += was != is;
  }
  return others ? double(changed) / double(others) : 0;
}

TEST(Maglev, SizesNestAndHaveRoomForEqualShares) {
  EXPECT_EQ(ring_slots(0), 0u);
  EXPECT_EQ(ring_slots(1), 1u);
  for (uint32_t n = 2; n <= 2550; n++) {
    EXPECT_EQ(ring_slots(n) % kRingCells, 0u);
    EXPECT_GE(ring_slots(n), n * kRingSlotsPerBackend) << n;
    EXPECT_GE(ring_slots(n + 1), ring_slots(n));
  }
  EXPECT_LE(ring_slots(1'000'000), 262'144u);
}

TEST(Maglev, DependsOnTheSetOnly) {
  auto members = some_set(37, 1);
  auto ring = ring_of(members);
  std::mt19937 rng(5);
  for (int round = 0; round < 5; round++) {
    auto other = members;
    std::shuffle(other.begin(), other.end(), rng);
    for (auto& m : other) m.number += 1000;  // another node gave other numbers
    auto again = ring_of(other);
    for (size_t i = 0; i < ring.size(); i++) ASSERT_EQ(again[i], ring[i] + 1000);
  }
}

/// The rings of one version and the next must agree while a cluster is upgraded: this value never changes.
TEST(Maglev, IsTheSameOnEveryNodeAndInEveryVersion) {
  std::vector<RingMember> members;
  for (uint32_t i = 1; i <= 5; i++)
    members.push_back({ring_hash({*IpAddress::parse("10.0.0." + std::to_string(i)), 8080}), i});
  auto ring = ring_of(members);
  uint64_t sum = 0;
  for (uint32_t n : ring) sum = sum * 1000003 + n;
  EXPECT_EQ(ring_hash({*IpAddress::parse("10.0.0.1"), 8080}), 11798652423343745645ull);
  EXPECT_EQ(sum, 4159962372451028899ull);
  EXPECT_NE(ring_hash({*IpAddress::parse("fd01::1"), 80}), ring_hash({*IpAddress::parse("fd01::1"), 81}));
  EXPECT_NE(ring_hash({*IpAddress::parse("fd01::1"), 80}),
            ring_hash({*IpAddress::parse("fd01::1:0:0:0"), 80}));
}

TEST(Maglev, OneBackendTakesAll) {
  EXPECT_EQ(ring_of({{7, 3}}), std::vector<uint32_t>{3});
  auto two = some_set(2, 1);
  auto ring = ring_of(two);
  EXPECT_EQ(moved(ring, ring_of({two[1]}), two[0].number), 0);
}

TEST(Maglev, MoreBackendsThanSlotsStillFillsTheRing) {
  std::vector<RingMember> members;
  for (uint32_t i = 0; i < 8000; i++) members.push_back({i * 0x9e3779b97f4a7c15ull, i + 1});
  std::vector<uint32_t> ring(kRingCells);
  build_ring(members, ring);
  EXPECT_EQ(std::count(ring.begin(), ring.end(), 0u), 0);
}

TEST(MaglevDeath, RefusesAnotherSize) {
  std::vector<uint32_t> ring(1000);
  EXPECT_DEATH(build_ring(some_set(3, 1), ring), "");
}

TEST(Maglev, SpreadIsEqualAndARemovalMovesAtMostOnePointFivePercent) {
  std::printf("%9s %8s %9s %10s %10s\n", "backends", "slots", "spread %", "moved avg", "worst %");
  for (uint32_t n : {2,  3,  4,   5,   6,   7,   8,   9,   10,  12,  16,  20,  24,  32,  48,  64,  80,
                     100, 109, 110, 128, 159, 160, 161, 200, 256, 319, 320, 400, 512, 640, 800, 1000}) {
    double worst = 0, total = 0, spread = 0;
    int count = 0, above = 0;
    int sets = n <= 100 ? 6 : 2;
    for (int s = 0; s < sets; s++) {
      auto members = some_set(n, uint32_t(s));
      auto ring = ring_of(members);
      std::map<uint32_t, uint32_t> shares;
      for (uint32_t b : ring) shares[b]++;
      ASSERT_EQ(shares.size(), n);
      ASSERT_FALSE(shares.contains(0));
      auto [least, most] = std::minmax_element(shares.begin(), shares.end(),
                                               [](auto& a, auto& b) { return a.second < b.second; });
      EXPECT_LE(most->second - least->second, 1u);
      spread = std::max(spread, 100.0 * (most->second - least->second) / least->second);
      // Every removal of a small set, a sample of a large one.
      uint32_t step = std::max(1u, n / 48);
      for (uint32_t r = 0; r < n; r += step) {
        auto rest = members;
        rest.erase(rest.begin() + r);
        double m = 100 * moved(ring, ring_of(rest), members[r].number);
        worst = std::max(worst, m);
        total += m;
        count++;
        above += m > 1.5;
      }
    }
    std::printf("%9u %8u %9.2f %10.2f %10.2f\n", n, ring_slots(n), spread, total / count, worst);
    EXPECT_LE(worst, 1.5) << n;
    EXPECT_LE(above, count / 100) << n;
    EXPECT_LE(total / count, 1.3) << n;
    EXPECT_LE(spread, 1.6) << n;
  }
}

}  // namespace
}  // namespace ls
