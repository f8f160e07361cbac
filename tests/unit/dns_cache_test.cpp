#include "dns/cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <thread>

#include "dns_wire.h"

namespace ls::dns::test {
namespace {

using ::testing::ElementsAre;
using Hit = Cache::Hit;

class CacheTest : public ::testing::Test {
 protected:
  struct Got {
    Hit hit;
    Seen seen;
    size_t size;
  };
  Got get(const Query& query, bool stale = false, size_t limit = 4096) {
    Bytes out(65535);
    Got g{Hit::kMiss, {}, 0};
    g.hit = cache->answer(query, clock.now(), limit, stale, out, g.size);
    if (g.hit != Hit::kMiss) g.seen = see({out.data(), g.size});
    return g;
  }
  Got get(const std::string& name, bool stale = false) {
    Asked asked(name);
    return get(asked.query, stale);
  }
  void store(const Bytes& message, bool dnssec_ok = false, bool cd = false) { cache->store(message, dnssec_ok, cd, clock.now()); }
  void make(CacheOptions o) { cache = std::make_unique<Cache>(o); }

  FakeClock clock;
  std::unique_ptr<Cache> cache = std::make_unique<Cache>(CacheOptions{});
};

TEST_F(CacheTest, TtlCountsDownAndEnds) {
  store(response("www.example.org", 1, {a_record(0x01020304, 300)}, {}, {}, 0, 0x8580, true));
  clock.advance(Millis{99'900});
  auto g = get("www.example.org");
  EXPECT_EQ(g.hit, Hit::kFresh);
  EXPECT_THAT(g.seen.ttls, ElementsAre(201u));
  EXPECT_THAT(g.seen.addresses, ElementsAre("1.2.3.4"));
  EXPECT_FALSE(g.seen.flags & kAa);
  clock.advance(Millis{200'050});
  EXPECT_EQ(get("www.example.org").hit, Hit::kFreshPrefetch);
  clock.advance(Millis{51});
  EXPECT_EQ(get("www.example.org").hit, Hit::kMiss);
}

TEST_F(CacheTest, SmallestTtlCountsAndMaxTtlCuts) {
  store(response("a.org", 1, {cname("", "b.org", 20), a_record(1, 500, "b.org")}));
  clock.advance(Millis{20'000});
  EXPECT_EQ(get("a.org").hit, Hit::kMiss);
  CacheOptions o;
  o.max_ttl = Millis{60'000};
  make(o);
  store(response("a.org", 1, {a_record(1, 500)}));
  EXPECT_THAT(get("a.org").seen.ttls, ElementsAre(60u));
  store(response("zero.org", 1, {a_record(1, 0)}));
  EXPECT_EQ(get("zero.org").hit, Hit::kMiss);
  store(response("huge.org", 1, {a_record(1, 0x80000001)}));
  EXPECT_EQ(get("huge.org").hit, Hit::kMiss);
}

TEST_F(CacheTest, ClientsSpellingIdAndFlags) {
  store(response("wWw.ExAmPlE.oRg", 1, {a_record(1)}));
  Asked asked("WWW.example.ORG", 1, 0x7777, kRd | kCd, -1);
  EXPECT_EQ(get(asked.query).hit, Hit::kMiss);  // CD is kept apart
  Asked plain("WWW.example.ORG", 1, 0x7777, 0);
  auto g = get(plain.query);
  EXPECT_EQ(g.seen.question, "WWW.example.ORG.");
  EXPECT_EQ(g.seen.id, 0x7777);
  EXPECT_FALSE(g.seen.flags & kRd);
  EXPECT_TRUE(g.seen.flags & kRa);
}

TEST_F(CacheTest, DnssecDataIsKeptApart) {
  store(response("a.org", 1, {a_record(1)}, {}, {}, 0, 0x81a0), true);
  EXPECT_EQ(get("a.org").hit, Hit::kMiss);
  Asked wants("a.org", 1, 1, kRd, 1232, true);
  auto g = get(wants.query);
  EXPECT_EQ(g.hit, Hit::kFresh);
  EXPECT_TRUE(g.seen.opt);
  EXPECT_TRUE(g.seen.flags & kAd);
}

TEST_F(CacheTest, NegativeAnswersByTheirSoa) {
  store(response("no.example.org", 1, {}, {soa("example.org", 3600, 60)}, {}, 3));
  auto g = get("no.example.org");
  EXPECT_EQ(g.seen.rcode, 3u);
  EXPECT_THAT(g.seen.ttls, ElementsAre(60u));
  store(response("nodata.example.org", 1, {}, {soa("example.org", 40, 600)}));
  clock.advance(Millis{39'000});
  EXPECT_EQ(get("nodata.example.org").hit, Hit::kFresh);
  clock.advance(Millis{1'000});
  EXPECT_EQ(get("nodata.example.org").hit, Hit::kMiss);
  store(response("nosoa.example.org", 1, {}, {}, {}, 3));
  EXPECT_EQ(get("nosoa.example.org").hit, Hit::kMiss);
  store(response("foreign.example.org", 1, {}, {soa("example.com", 60, 60)}, {}, 3));
  EXPECT_EQ(get("foreign.example.org").hit, Hit::kMiss);
  // An alias to a name without data: the SOA is of the target's zone.
  store(response("alias.example.org", 1, {cname("", "gone.example.net", 100)}, {soa("example.net", 60, 7)}));
  EXPECT_EQ(get("alias.example.org").hit, Hit::kFresh);
  clock.advance(Millis{7'000});
  EXPECT_EQ(get("alias.example.org").hit, Hit::kMiss);
}

TEST_F(CacheTest, ErrorsTruncatedAndMalformedAreNotKept) {
  for (unsigned rcode : {1u, 2u, 4u, 5u}) store(response("a.org", 1, {a_record(1)}, {}, {}, rcode));
  store(response("a.org", 1, {a_record(1)}, {}, {}, 0, 0x8380));
  Bytes cut = response("a.org", 1, {a_record(1)});
  cut.resize(cut.size() - 1);
  store(cut);
  EXPECT_EQ(cache->view().entries, 0u);
}

TEST_F(CacheTest, RecordsThatCameAlongAnswerNothing) {
  store(response("a.org", 1, {a_record(1), a_record(2, 300, "victim.org")}, {}, {a_record(3, 300, "victim.org")}));
  EXPECT_EQ(get("a.org").hit, Hit::kFresh);
  EXPECT_EQ(get("victim.org").hit, Hit::kMiss);
}

TEST_F(CacheTest, StaleOnlyWhenAllowedAndForItsTime) {
  CacheOptions o;
  o.stale_for = Millis{1'000'000};
  make(o);
  store(response("a.org", 1, {a_record(1, 10)}));
  clock.advance(Millis{11'000});
  EXPECT_EQ(get("a.org").hit, Hit::kMiss);
  auto g = get("a.org", true);
  EXPECT_EQ(g.hit, Hit::kStale);
  EXPECT_THAT(g.seen.ttls, ElementsAre(30u));
  Asked asked("a.org");
  cache->failed(asked.query, clock.now());
  EXPECT_EQ(get("a.org").hit, Hit::kStale);  // known to have failed: not asked again
  clock.advance(Cache::kRecheck);
  EXPECT_EQ(get("a.org").hit, Hit::kMiss);
  EXPECT_EQ(get("a.org", true).hit, Hit::kStale);
  clock.advance(Millis{1'000'000});
  EXPECT_EQ(get("a.org", true).hit, Hit::kMiss);
}

TEST_F(CacheTest, FailureIsRememberedForASecond) {
  Asked asked("a.org");
  cache->failed(asked.query, clock.now());
  auto g = get("a.org");
  EXPECT_EQ(g.hit, Hit::kFresh);
  EXPECT_EQ(g.seen.rcode, 2u);
  clock.advance(Cache::kFailure);
  EXPECT_EQ(get("a.org", true).hit, Hit::kMiss);
  cache->failed(asked.query, clock.now());
  store(response("a.org", 1, {a_record(1)}));
  EXPECT_EQ(get("a.org").seen.rcode, 0u);
}

TEST_F(CacheTest, PrefetchOnceAndOnlyWhenHot) {
  store(response("hot.org", 1, {a_record(1, 100)}));
  store(response("cold.org", 1, {a_record(1, 100)}));
  EXPECT_EQ(get("hot.org").hit, Hit::kFresh);
  clock.advance(Millis{89'999});
  EXPECT_EQ(get("hot.org").hit, Hit::kFresh);
  clock.advance(Millis{1});
  EXPECT_EQ(get("hot.org").hit, Hit::kFreshPrefetch);
  EXPECT_EQ(get("hot.org").hit, Hit::kFresh);
  EXPECT_EQ(get("cold.org").hit, Hit::kFresh);
  EXPECT_EQ(cache->view().prefetches, 1u);
  store(response("hot.org", 1, {a_record(1, 100)}));
  EXPECT_EQ(get("hot.org").hit, Hit::kFresh);
  clock.advance(Millis{95'000});
  EXPECT_EQ(get("hot.org").hit, Hit::kFreshPrefetch);
}

TEST_F(CacheTest, LeastRecentlyUsedGoesFirst) {
  CacheOptions o;
  o.bytes = 10'000;
  make(o);
  for (int i = 0; i < 200; i++) {
    store(response("n" + std::to_string(i) + ".org", 1, {a_record(1)}));
    EXPECT_EQ(get("n0.org").hit, Hit::kFresh);
    EXPECT_LE(cache->view().bytes, 10'000u);
  }
  EXPECT_GT(cache->view().evictions, 100u);
  EXPECT_EQ(get("n1.org").hit, Hit::kMiss);
  EXPECT_EQ(get("n199.org").hit, Hit::kFresh);
}

TEST_F(CacheTest, FlushBySuffix) {
  for (const char* n : {"a.example.org", "b.example.org", "example.org", "badexample.org", "example.com"}) store(response(n, 1, {a_record(1)}));
  EXPECT_EQ(cache->flush(*DnsName::parse("EXAMPLE.org")), 3u);
  EXPECT_EQ(get("a.example.org").hit, Hit::kMiss);
  EXPECT_EQ(get("badexample.org").hit, Hit::kFresh);
  EXPECT_EQ(cache->flush(DnsName()), 2u);
  EXPECT_EQ(cache->view().bytes, 0u);
}

TEST_F(CacheTest, AddressesRotate) {
  store(response("a.org", 1, {cname("", "b.org"), a_record(1, 60, "b.org"), a_record(2, 60, "b.org"), a_record(3, 60, "b.org")}));
  std::set<std::string> first;
  for (int i = 0; i < 3; i++) {
    auto seen = get("a.org").seen;
    ASSERT_TRUE(seen.well);
    EXPECT_THAT(seen.addresses, ::testing::UnorderedElementsAre("0.0.0.1", "0.0.0.2", "0.0.0.3"));
    first.insert(seen.addresses[0]);
  }
  EXPECT_EQ(first.size(), 3u);
}

TEST_F(CacheTest, CutToTheLimit) {
  std::vector<Rr> many;
  for (uint32_t i = 0; i < 100; i++) many.push_back(a_record(i));
  store(response("a.org", 1, many));
  Asked asked("a.org", 1, 5, kRd, 512);
  auto g = get(asked.query, false, 512);
  EXPECT_LE(g.size, 512u);
  EXPECT_TRUE(g.seen.tc);
  EXPECT_TRUE(g.seen.opt);
  EXPECT_FALSE(get(asked.query, false, 4096).seen.tc);
}

TEST_F(CacheTest, RemainingSeconds) {
  store(response("a.org", 1, {a_record(1, 10)}));
  clock.advance(Millis{4'000});
  const auto wire = std::string(DnsName::parse("a.org")->wire());
  EXPECT_DOUBLE_EQ(cache->remaining(wire, 1, clock.now()).value(), 6);
  clock.advance(Millis{8'000});
  EXPECT_DOUBLE_EQ(cache->remaining(wire, 1, clock.now()).value(), -2);
  EXPECT_FALSE(cache->remaining(wire, 28, clock.now()));
}

/// Against a map with the same rules, by chance: nothing is evicted, so both must agree on every question.
TEST_F(CacheTest, AgreesWithASimpleModel) {
  struct Entry {
    Instant stored;
    uint32_t ttl, address;
  };
  std::mt19937 random{20261122};
  CacheOptions o;
  o.stale_for = Millis{20'000};
  o.prefetch = false;
  make(o);
  std::map<std::pair<int, bool>, Entry> model;
  for (int step = 0; step < 60'000; step++) {
    const int n = static_cast<int>(random() % 200);
    const bool dnssec_ok = random() % 2;
    const std::string name = "n" + std::to_string(n) + (n % 2 ? ".odd" : ".even") + ".test";
    switch (random() % 8) {
      case 0: {
        const uint32_t ttl = random() % 30, address = random();
        store(response(name, 1, {a_record(address, ttl)}), dnssec_ok);
        if (ttl) model[{n, dnssec_ok}] = {clock.now(), ttl, address};
        break;
      }
      case 1: clock.advance(Millis{random() % 2'000}); break;
      case 2:
        if (random() % 100 == 0) {
          cache->flush(*DnsName::parse("odd.test"));
          std::erase_if(model, [](auto& e) { return e.first.first % 2; });
        }
        break;
      default: {
        Asked asked(name, 1, 1, kRd, 1232, dnssec_ok);
        const bool stale = random() % 4 == 0;
        auto g = get(asked.query, stale);
        auto it = model.find({n, dnssec_ok});
        Hit expected = Hit::kMiss;
        if (it != model.end()) {
          const auto ends = it->second.stored + std::chrono::seconds(it->second.ttl);
          if (clock.now() < ends) expected = Hit::kFresh;
          else if (stale && clock.now() < ends + o.stale_for) expected = Hit::kStale;
        }
        ASSERT_EQ(g.hit, expected) << step;
        if (expected == Hit::kMiss) break;
        ASSERT_THAT(g.seen.addresses, ElementsAre(IpAddress::from_v4(it->second.address).text()));
        const auto age = std::chrono::duration_cast<std::chrono::seconds>(clock.now() - it->second.stored).count();
        ASSERT_THAT(g.seen.ttls, ElementsAre(expected == Hit::kStale ? 30u : it->second.ttl - static_cast<uint32_t>(age)));
      }
    }
  }
}

TEST_F(CacheTest, ManyThreads) {
  CacheOptions o;
  o.bytes = 4 << 20;
  make(o);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      SystemClock real;
      Bytes out(4096);
      size_t size = 0;
      for (int i = 0; i < 20'000; i++) {
        const std::string name = "n" + std::to_string(i % 3'000) + ".org";
        Asked asked(name);
        if (i % 5 == t) {
          cache->store(response(name, 1, {a_record(static_cast<uint32_t>(i))}), false, false, real.now());
        } else if (cache->answer(asked.query, real.now(), 512, true, out, size) != Hit::kMiss) {
          EXPECT_TRUE(see({out.data(), size}).well);
        }
        if (i % 5'000 == 0) cache->flush(*DnsName::parse("n7.org"));
      }
    });
  }
  for (auto& t : threads) t.join();
}

}  // namespace
}  // namespace ls::dns::test
