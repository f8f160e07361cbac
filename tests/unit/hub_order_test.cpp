// In which order nodes ask the masters for a stream.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "sources/hub.h"

namespace ls {
namespace {

std::vector<MasterAddress> many_masters(size_t n) {
  std::vector<MasterAddress> out;
  for (size_t i = 0; i < n; ++i) out.push_back({fmt::format("10.0.0.{}", i + 1), kHubPort});
  return out;
}

TEST(HubOrder, SpreadsEvenly) {
  constexpr size_t kNodes = 6000;
  for (size_t n : {1u, 2u, 3u, 5u, 7u}) {
    auto masters = many_masters(n);
    // Each place in the order is spread, so that those of a lost master spread over the others.
    std::vector<std::vector<size_t>> at(n, std::vector<size_t>(n));
    for (size_t node = 0; node < kNodes; ++node) {
      auto order = hub_order(fmt::format("node-{}", node), masters);
      ASSERT_EQ(order.size(), n);
      for (size_t place = 0; place < n; ++place) at[place][order[place]]++;
    }
    double even = double(kNodes) / double(n), sigma = std::sqrt(even * (1 - 1 / double(n)));
    for (size_t place = 0; place < n; ++place)
      for (size_t m = 0; m < n; ++m) EXPECT_LE(std::abs(double(at[place][m]) - even), 5 * sigma) << n << " masters, place " << place;
  }
}

TEST(HubOrder, MovesOnlyWhoMust) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    auto masters = many_masters(3 + random() % 4);
    for (int node = 0; node < 40; ++node) {
      auto id = fmt::format("{}-{}", round, node);
      auto texts = [&](const std::vector<MasterAddress>& list) {
        std::vector<std::string> out;
        for (size_t i : hub_order(id, list)) out.push_back(list[i].text());
        return out;
      };
      auto before = texts(masters);
      // One master goes: everybody else's order is as it was, without it. So one that comes is put somewhere into it.
      auto fewer = masters;
      auto gone = fewer[random() % fewer.size()].text();
      std::erase_if(fewer, [&](auto& m) { return m.text() == gone; });
      auto expected = before;
      std::erase(expected, gone);
      EXPECT_EQ(texts(fewer), expected);
      // The order in which the configuration names them does not matter.
      auto shuffled = masters;
      std::shuffle(shuffled.begin(), shuffled.end(), random);
      EXPECT_EQ(texts(shuffled), before);
    }
  }
}

}  // namespace
}  // namespace ls
