// Allocation: a function of the set, whatever happened before.
#include "derive/vip_addresses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

namespace ls {
namespace {

IpAddress ip(std::string_view t) { return IpAddress::parse(t).value(); }

/// The rule, word by word.
std::map<std::string, IpAddress> by_rule(const std::set<std::string, NameRank>& names, std::set<IpAddress> taken,
                                         const IpAddress& min, const IpAddress& max) {
  std::map<std::string, IpAddress> out;
  Address128 base = to_number(min), size = to_number(max) - base + 1;
  for (auto& n : names) {
    Address128 start = min.is_v4() ? start_offset_v4(n, size - 1) : start_offset_v6(n, size - 1);
    for (Address128 i = 0; i < size; i++) {
      IpAddress a = to_address(base + (start + i) % size);
      if (!taken.insert(a).second) continue;
      out.emplace(n, a);
      break;
    }
  }
  return out;
}

RC_GTEST_PROP(VipAddresses, IsAFunctionOfTheSet, ()) {
  bool v4 = *rc::gen::arbitrary<bool>();
  auto last = *rc::gen::inRange<uint32_t>(0, 14);
  IpAddress min = v4 ? IpAddress::from_v4(0x0b0000fa) : ip("fd01:c::fffe"), max = to_address(to_number(min) + last);
  VipAddresses table(min, max);
  std::set<std::string, NameRank> names;
  std::set<IpAddress> avoided;
  auto steps = *rc::gen::container<std::vector<std::tuple<uint8_t, uint8_t>>>(rc::gen::arbitrary<std::tuple<uint8_t, uint8_t>>());
  std::map<std::string, IpAddress> before;
  for (auto [what, which] : steps) {
    std::string name = "n" + std::to_string(which % 20) + ".f";
    IpAddress address = to_address(to_number(min) + which % 16);
    std::vector<std::string> moved;
    switch (what % 6) {
      case 0:
      case 1:
      case 2:
        names.insert(name);
        moved = table.insert(name);
        break;
      case 3:
        names.erase(name);
        moved = table.erase(name);
        break;
      case 4:
        avoided.insert(address);
        moved = table.avoid(address);
        break;
      case 5:
        avoided.erase(address);
        moved = table.release(address);
        break;
    }
    auto want = by_rule(names, avoided, min, max);
    std::set<std::string> changed;
    for (auto& n : names) {
      auto at = table.find(n);
      RC_ASSERT(at.has_value() == want.contains(n));
      if (at) RC_ASSERT(*at == want.at(n));
    }
    for (auto& [n, a] : want)
      if (!before.contains(n) || before.at(n) != a) changed.insert(n);
    for (auto& [n, a] : before)
      if (!want.contains(n)) changed.insert(n);
    RC_ASSERT(std::set<std::string>(moved.begin(), moved.end()) == changed);
    RC_ASSERT(table.unplaced().size() == names.size() - want.size());
    before = std::move(want);
  }
}

TEST(VipAddresses, OnlyWhatDoesNotFitIsLeftOut) {
  VipAddresses table(ip("11.0.0.0"), ip("11.0.0.3"));
  for (int i = 0; i < 6; i++) table.insert("n" + std::to_string(i) + ".f");
  EXPECT_THAT(table.unplaced(), testing::ElementsAre("n4.f", "n5.f"));
  table.erase("n0.f");
  EXPECT_THAT(table.unplaced(), testing::ElementsAre("n5.f"));
}

TEST(VipAddresses, WholeIpv6SpaceAndSingleAddress) {
  VipAddresses all(ip("::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
  all.insert("a.b");
  EXPECT_TRUE(all.find("a.b"));
  VipAddresses one(ip("11.0.0.7"), ip("11.0.0.7"));
  one.insert("b.f");
  one.insert("a.f");
  EXPECT_EQ(one.find("a.f"), ip("11.0.0.7"));
  EXPECT_FALSE(one.find("b.f"));
}

TEST(VipAddresses, CostDoesNotGrowWithTheTable) {
  auto cost = [](int names) {
    VipAddresses table(ip("11.0.0.0"), ip("11.255.255.255"));
    for (int i = 0; i < names; i++) table.insert("service-" + std::to_string(i) + ".marathon");
    uint64_t before = table.probes();
    table.insert("the-new-one.marathon");
    table.erase("the-new-one.marathon");
    return table.probes() - before;
  };
  EXPECT_EQ(cost(10), cost(20000));
}

}  // namespace
}  // namespace ls
