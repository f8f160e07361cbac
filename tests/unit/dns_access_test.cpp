// Who may ask, and how often an address range gets answers.
#include <gtest/gtest.h>

#include "dns/access.h"

namespace ls::dns {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }
IpNetwork net(const char* text) { return *IpNetwork::parse(text); }

TEST(AccessList, EmptyMeansEverybody) {
  AccessList list;
  EXPECT_TRUE(list.allows(ip("192.0.2.1")));
  EXPECT_TRUE(AccessList(std::vector<IpNetwork>()).allows(ip("2001:db8::1")));
}

TEST(AccessList, EveryPrefixLengthCounts) {
  AccessList list({net("10.0.0.0/8"), net("192.0.2.7"), net("198.51.100.128/25"), net("fd01::/16"), net("2001:db8::1")});
  for (const char* in : {"10.0.0.0", "10.255.255.255", "192.0.2.7", "198.51.100.128", "198.51.100.255", "fd01::1", "fd01:ffff::", "2001:db8::1"})
    EXPECT_TRUE(list.allows(ip(in))) << in;
  for (const char* out : {"11.0.0.0", "9.255.255.255", "192.0.2.6", "192.0.2.8", "198.51.100.127", "fd02::", "fd00:ffff::", "2001:db8::2", "::"})
    EXPECT_FALSE(list.allows(ip(out))) << out;
}

TEST(AccessList, ZeroPrefixIsOneFamily) {
  EXPECT_TRUE(AccessList({net("0.0.0.0/0")}).allows(ip("203.0.113.9")));
  EXPECT_FALSE(AccessList({net("0.0.0.0/0")}).allows(ip("2001:db8::1")));
}

using Verdict = RateLimit::Verdict;

struct Limit : ::testing::Test {
  FakeClock clock;
  size_t sent(RateLimit& limit, const char* from, int times, uint8_t kind = 0) {
    size_t n = 0;
    for (int i = 0; i < times; i++) n += limit.check(ip(from), kind, clock.now()) == Verdict::kSend;
    return n;
  }
};

TEST_F(Limit, OffByDefault) {
  RateLimit limit({});
  EXPECT_EQ(sent(limit, "192.0.2.1", 100'000), 100'000u);
}

TEST_F(Limit, ASecondsWorthAtOnceThenTheRate) {
  RateLimit limit({.per_second = 10});
  EXPECT_EQ(sent(limit, "192.0.2.1", 100), 10u);
  clock.advance(Millis(95));
  EXPECT_EQ(sent(limit, "192.0.2.1", 10), 0u);
  clock.advance(Millis(10));
  EXPECT_EQ(sent(limit, "192.0.2.1", 10), 1u);
  size_t n = 0;
  for (int i = 0; i < 100; i++) {
    clock.advance(Millis(100));
    n += sent(limit, "192.0.2.1", 5);
  }
  EXPECT_NEAR(double(n), 100, 1);
  clock.advance(Millis(60'000));
  EXPECT_EQ(sent(limit, "192.0.2.1", 100), 10u);
}

TEST_F(Limit, EverySecondOneAboveItSlips) {
  RateLimit limit({.per_second = 1, .slip = 2});
  EXPECT_EQ(limit.check(ip("192.0.2.1"), 0, clock.now()), Verdict::kSend);
  for (int i = 0; i < 10; i++)
    EXPECT_EQ(limit.check(ip("192.0.2.1"), 0, clock.now()), i % 2 ? Verdict::kSlip : Verdict::kDrop) << i;
}

TEST_F(Limit, SlipOneAlwaysSlipZeroNever) {
  RateLimit always({.per_second = 1, .slip = 1}), never({.per_second = 1, .slip = 0});
  for (int i = 0; i < 10; i++) {
    auto a = always.check(ip("192.0.2.1"), 0, clock.now()), n = never.check(ip("192.0.2.1"), 0, clock.now());
    EXPECT_EQ(a, i ? Verdict::kSlip : Verdict::kSend);
    EXPECT_EQ(n, i ? Verdict::kDrop : Verdict::kSend);
  }
}

TEST_F(Limit, PrefixesAndKindsAreApart) {
  RateLimit limit({.per_second = 5});
  EXPECT_EQ(sent(limit, "192.0.2.1", 10), 5u);
  EXPECT_EQ(sent(limit, "192.0.2.200", 10), 0u) << "the same /24";
  EXPECT_EQ(sent(limit, "192.0.3.1", 10), 5u);
  EXPECT_EQ(sent(limit, "192.0.2.1", 10, 6), 5u) << "another kind";
  EXPECT_EQ(sent(limit, "2001:db8:0:1::1", 10), 5u);
  EXPECT_EQ(sent(limit, "2001:db8:0:1ff::1", 10), 5u) << "another /56";
  EXPECT_EQ(sent(limit, "2001:db8:0:ff::1", 10), 0u) << "the same /56";
}

TEST_F(Limit, OneFloodDoesNotHurtOthersWithManyPrefixes) {
  RateLimit limit({.per_second = 10, .buckets = 4096});
  size_t refused = 0;
  for (int round = 0; round < 50; round++) {
    sent(limit, "203.0.113.1", 100);
    for (uint32_t i = 0; i < 1000; i++)
      refused += limit.check(IpAddress::from_v4(0x0a000000 + (i << 8)), 0, clock.now()) != Verdict::kSend;
    clock.advance(Millis(200));
  }
  EXPECT_EQ(refused, 0u);
}

}  // namespace
}  // namespace ls::dns
