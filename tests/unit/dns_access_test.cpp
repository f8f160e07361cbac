// Who may ask, and how often an address range gets answers.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include "dns/access.h"
#include "dns/cookie.h"
#include "loadstar/abi/dns.h"
#include "loadstar/abi/dns_rate.h"

namespace ls::dns {
namespace {

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}
IpNetwork net(const char* text) {
  return *IpNetwork::parse(text);
}

TEST(AccessList, EmptyMeansEverybody) {
  AccessList list;
  EXPECT_TRUE(list.allows(ip("192.0.2.1")));
  EXPECT_TRUE(AccessList(std::vector<IpNetwork>()).allows(ip("2001:db8::1")));
}

TEST(AccessList, EveryPrefixLengthCounts) {
  AccessList list(
      {net("10.0.0.0/8"), net("192.0.2.7"), net("198.51.100.128/25"), net("fd01::/16"), net("2001:db8::1")});
  for (const char* in : {"10.0.0.0", "10.255.255.255", "192.0.2.7", "198.51.100.128", "198.51.100.255",
                         "fd01::1", "fd01:ffff::", "2001:db8::1"})
    EXPECT_TRUE(list.allows(ip(in))) << in;
  for (const char* out : {"11.0.0.0", "9.255.255.255", "192.0.2.6", "192.0.2.8", "198.51.100.127",
                          "fd02::", "fd00:ffff::", "2001:db8::2", "::"})
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

using Key = std::array<uint8_t, 16>;
constexpr size_t kWords = LS_DNS_RATE_SETS * LS_DNS_RATE_WAYS;

/// Words that others use too, and what a program in the kernel does with them.
struct SharedLimit : Limit {
  SharedLimit() { std::iota(key.begin(), key.end(), uint8_t(1)); }
  RateLimit limit(RateLimit::Options o) { return RateLimit(o, words, key); }

  Verdict program(const char* from, uint8_t kind, uint32_t per_second, uint32_t slip = 2) {
    __be32 addr[4];
    std::memcpy(addr, ip(from).bytes().data(), 16);
    uint64_t k[2];
    std::memcpy(k, key.data(), 16);
    uint64_t hash = ls_dns_rate_hash(LS_SIP_LE64(k[0]), LS_SIP_LE64(k[1]), addr, !ip(from).is_v4(), kind);
    uint64_t now = ls_dns_rate_now(uint64_t(clock.now().time_since_epoch().count()));
    uint64_t* set = &words[(hash & (LS_DNS_RATE_SETS - 1)) * LS_DNS_RATE_WAYS];
    ls_dns_rate_pick pick = LS_DNS_RATE_NONE;
    for (uint32_t way = 0; way < LS_DNS_RATE_WAYS; way++) ls_dns_rate_look(&pick, way, set[way], hash, now);
    auto verdict = Verdict(ls_dns_rate_take(&pick, hash, now, ls_dns_rate_step(per_second), slip));
    EXPECT_EQ(set[pick.way], pick.word);
    set[pick.way] = pick.next;
    return verdict;
  }

  std::vector<uint64_t> words = std::vector<uint64_t>(kWords);
  Key key;
};

TEST_F(SharedLimit, OneBudgetForProcessAndProgram) {
  auto process = limit({.per_second = 10});
  for (const char* from : {"192.0.2.1", "2001:db8:0:1::1"}) {
    EXPECT_EQ(sent(process, from, 4), 4u);
    size_t n = 0;
    for (int i = 0; i < 10; i++) n += program(from, 0, 10) == Verdict::kSend;
    EXPECT_EQ(n, 6u) << from;
    EXPECT_EQ(sent(process, from, 10), 0u);
    EXPECT_EQ(program(from, 1, 10), Verdict::kSend) << "another kind";
  }
}

TEST_F(SharedLimit, WhatSlipsIsCountedTogether) {
  auto process = limit({.per_second = 1, .slip = 3});
  EXPECT_EQ(program("192.0.2.1", 0, 1, 3), Verdict::kSend);
  for (int i = 0; i < 12; i++) {
    auto v = i % 2 ? process.check(ip("192.0.2.1"), 0, clock.now()) : program("192.0.2.1", 0, 1, 3);
    EXPECT_EQ(v, i % 3 == 2 ? Verdict::kSlip : Verdict::kDrop) << i;
  }
}

TEST_F(SharedLimit, OtherOptionsGoOnWithTheSameWords) {
  {
    auto before = limit({.per_second = 10});
    EXPECT_EQ(sent(before, "192.0.2.1", 10), 10u);
  }
  auto after = limit({.per_second = 20});
  EXPECT_EQ(sent(after, "192.0.2.1", 10), 0u);
  clock.advance(Millis(500));
  EXPECT_EQ(sent(after, "192.0.2.1", 100), 10u);
  auto off = limit({});
  EXPECT_EQ(sent(off, "192.0.2.1", 100), 100u);
}

TEST_F(SharedLimit, ManyAtOnceNeverGetMoreThanTheBudget) {
  auto one = limit({.per_second = 1000}), other = limit({.per_second = 1000});
  std::atomic<size_t> n{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5000; i++)
        n += (t % 2 ? one : other).check(ip("192.0.2.1"), 0, clock.now()) == Verdict::kSend;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(n, 1000u);
}

/// What a word means, told a second time: 20 bits of the prefix's hash, 4 bits of count, 40 bits of time in units of 256 ns.
Verdict by_the_book(std::vector<uint64_t>& words, const Key& key, const IpAddress& client, uint8_t kind, uint64_t now_ns,
                    uint64_t per_second, uint64_t slip) {
  constexpr uint64_t kTime = (1ull << 40) - 1, kSecond = 1'000'000'000 / 256;
  uint8_t prefix[9] = {};
  std::memcpy(prefix, client.bytes().data() + (client.is_v4() ? 12 : 0), client.is_v4() ? 3 : 7);
  prefix[7] = client.is_v4();
  prefix[8] = kind;
  const uint64_t hash = siphash24(key, prefix), now = now_ns / 256, step = kSecond / per_second;
  auto ahead = [&](uint64_t word) {
    uint64_t d = (word - now) % (kTime + 1);
    return d <= 2 * kSecond ? d : 0;
  };
  uint64_t* set = &words[hash % LS_DNS_RATE_SETS * LS_DNS_RATE_WAYS];
  size_t way = 0;
  for (size_t i = 1; i < LS_DNS_RATE_WAYS; i++)
    if (ahead(set[i]) < ahead(set[way])) way = i;
  for (size_t i = LS_DNS_RATE_WAYS; i-- > 0;)
    if (set[i] >> 44 == hash >> 44) way = i;
  const bool known = set[way] >> 44 == hash >> 44;
  const uint64_t due = known ? ahead(set[way]) : 0;
  if (due + step <= kSecond) {
    set[way] = hash >> 44 << 44 | ((now + due + step) & kTime);
    return Verdict::kSend;
  }
  uint64_t count = (set[way] >> 40 & 15) + 1;
  const bool slips = slip && count >= slip;
  set[way] = hash >> 44 << 44 | (slips ? 0 : count % 16) << 40 | (set[way] & kTime);
  return slips ? Verdict::kSlip : Verdict::kDrop;
}

TEST_F(SharedLimit, WordsAreThoseOfTheLayout) {
  std::mt19937 random(20261122);
  for (uint32_t slip : {0u, 1u, 2u, 15u}) {
    auto words_then = words;
    auto process = limit({.per_second = 5, .slip = slip});
    uint64_t ns = ((1ull << 40) - 1'500'000) << 8;  // the time wraps on the way
    size_t counts[3] = {};
    for (int i = 0; i < 50'000; i++) {
      ns += random() % 400'000;
      // So few prefixes of IPv4 that they go over the rate, so many of IPv6 that sets fill.
      auto from = IpAddress::from_v4(0x0a000000 + (random() % 20 << 8));
      if (random() % 2) {
        auto octets = from.bytes();
        octets[0] = 0x20, octets[4] = uint8_t(random()), octets[5] = uint8_t(random()), octets[6] = uint8_t(random());
        from = IpAddress::from_bytes(octets.data());
      }
      uint8_t kind = random() % 2;
      auto want = by_the_book(words_then, key, from, kind, ns, 5, slip);
      ASSERT_EQ(process.check(from, kind, Instant(std::chrono::nanoseconds(ns))), want) << i;
      counts[size_t(want)]++;
      if (i % 1000 == 0) {
        ASSERT_EQ(words, words_then) << i;
      }
    }
    EXPECT_EQ(words, words_then);
    EXPECT_GT(counts[0], 1000u);
    EXPECT_GT(counts[1] + counts[2], 1000u);
  }
}

TEST(SharedLimitDeath, WordsMustBeThoseOfOneService) {
  std::vector<uint64_t> few(kWords - 8);
  EXPECT_DEATH(RateLimit({.per_second = 1}, few, Key{}), "");
}

}  // namespace
}  // namespace ls::dns
