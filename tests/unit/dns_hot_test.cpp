// Answers that the cache hands on to be answered in the kernel: which, when, and with what in them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/cache.h"
#include "dns_wire.h"
#include "loadstar/abi/dns.h"

namespace ls::dns::test {
namespace {

using ::testing::ElementsAre;
using Hit = Cache::Hit;

static_assert(Cache::kHotOctets == LS_DNS_MESSAGE_MAX);

class HotTest : public ::testing::Test {
 protected:
  HotTest() { make({}); }
  void make(CacheOptions o) {
    o.hot = [this](HotAnswer&& h) {
      handed.push_back(std::move(h));
      EXPECT_GT(cache->view().entries, 0u);  // would wait for ever if this were called under a lock
    };
    cache = std::make_unique<Cache>(std::move(o));
  }
  void store(const Bytes& message, bool dnssec_ok = false, bool cd = false) { cache->store(message, dnssec_ok, cd, clock.now()); }
  Hit get(const std::string& name, uint16_t flags = kRd, bool dnssec_ok = false, bool stale = false, uint16_t type = 1) {
    Asked asked(name, type, 9, flags, dnssec_ok ? 1232 : -1, dnssec_ok);
    Bytes out(65535);
    size_t size = 0;
    return cache->answer(asked.query, clock.now(), 65535, stale, out, size);
  }
  void hits(int n, const std::string& name = "a.org") {
    for (int i = 0; i < n; i++) EXPECT_NE(get(name), Hit::kMiss) << i;
  }
  uint64_t now() const { return static_cast<uint64_t>(clock.now().time_since_epoch().count()); }

  FakeClock clock;
  std::vector<HotAnswer> handed;
  std::unique_ptr<Cache> cache;
};

TEST_F(HotTest, TheThirdHitHandsOn) {
  store(response("A.orG", 1, {cname("", "b.org", 100), a_record(1, 200, "b.org"), a_record(2, 200, "b.org")}, {}, {}, 0, 0x85b0, true));
  const uint64_t stored = now();
  clock.advance(Millis{10'000});
  hits(2);
  EXPECT_TRUE(handed.empty());
  hits(1);
  ASSERT_EQ(handed.size(), 1u);
  hits(20);
  EXPECT_EQ(handed.size(), 1u) << "once";
  const HotAnswer& h = handed[0];
  EXPECT_EQ(h.stored_ns, stored);
  EXPECT_EQ(h.expires_ns, stored + 90'000'000'000);
  const Seen seen = see(h.message);
  ASSERT_TRUE(seen.well);
  EXPECT_EQ(seen.id, 0);
  EXPECT_EQ(seen.flags & 0xfff0, kQr | kRa | kAd) << "no AA, RD or CD";
  EXPECT_EQ(seen.rcode, 0u);
  EXPECT_EQ(seen.question, "a.org.");
  EXPECT_THAT(seen.ttls, ElementsAre(100u, 200u, 200u)) << "as stored";
  EXPECT_THAT(seen.addresses, ElementsAre("0.0.0.1", "0.0.0.2")) << "in the upstream's order";
  EXPECT_FALSE(seen.opt);
  EXPECT_EQ(seen.records, 3u);
}

TEST_F(HotTest, NegativeAnswersToo) {
  store(response("no.example.org", 1, {}, {soa("example.org", 3600, 60)}, {}, 3));
  hits(3, "no.example.org");
  store(response("nodata.example.org", 28, {}, {soa("example.org", 3600, 50)}));
  for (int i = 0; i < 3; i++) get("nodata.example.org", kRd, false, false, 28);
  ASSERT_EQ(handed.size(), 2u);
  EXPECT_EQ(see(handed[0].message).rcode, 3u);
  EXPECT_THAT(see(handed[0].message).ttls, ElementsAre(60u));
  EXPECT_EQ(handed[0].expires_ns, now() + 54'000'000'000);
  EXPECT_EQ(see(handed[1].message).rcode, 0u);
  EXPECT_EQ(handed[1].expires_ns, now() + 45'000'000'000);
}

TEST_F(HotTest, NotWithDnssecDataOrUnchecked) {
  store(response("a.org", 1, {a_record(1)}), true);
  store(response("a.org", 1, {a_record(1)}), false, true);
  for (int i = 0; i < 10; i++) {
    EXPECT_EQ(get("a.org", kRd, true), Hit::kFresh);
    EXPECT_EQ(get("a.org", kRd | kCd), Hit::kFresh);
  }
  EXPECT_TRUE(handed.empty());
}

TEST_F(HotTest, NotOfAnotherClass) {
  Bytes chaos = response("a.org", 1, {a_record(1)});
  const size_t end = kHeader + 7 + 4;
  chaos[end - 1] = 3;
  store(chaos);
  Asked asked("a.org");
  asked.packet[end - 1] = 3;
  parse_query(asked.packet, asked.query);
  Bytes out(512);
  size_t size = 0;
  for (int i = 0; i < 10; i++) EXPECT_EQ(cache->answer(asked.query, clock.now(), 512, false, out, size), Hit::kFresh);
  EXPECT_TRUE(handed.empty());
}

TEST_F(HotTest, NotWithAShortTtl) {
  store(response("four.org", 1, {a_record(1, 4)}));
  store(response("five.org", 1, {a_record(1, 5)}));
  hits(10, "four.org");
  EXPECT_TRUE(handed.empty());
  hits(10, "five.org");
  ASSERT_EQ(handed.size(), 1u);
  EXPECT_EQ(handed[0].expires_ns, now() + 4'500'000'000);
}

TEST_F(HotTest, NotWhenTooLong) {
  for (const size_t octets : {Cache::kHotOctets + 1, Cache::kHotOctets}) {
    // Header and question 23, the record's front 12.
    Rr text{"", 16, 300, Bytes(octets - 23 - 12, 'x')};
    for (size_t at = 0; at < text.rdata.size(); at += 256) text.rdata[at] = static_cast<uint8_t>(std::min<size_t>(255, text.rdata.size() - at - 1));
    const Bytes message = response("a.org", 16, {text});
    ASSERT_EQ(message.size(), octets);
    store(message);
    for (int i = 0; i < 10; i++) EXPECT_EQ(get("a.org", kRd, false, false, 16), Hit::kFresh);
    EXPECT_EQ(handed.size(), octets > Cache::kHotOctets ? 0u : 1u);
  }
  EXPECT_EQ(handed.at(0).message.size(), Cache::kHotOctets);
}

TEST_F(HotTest, NotAFailure) {
  Asked asked("a.org");
  cache->failed(asked.query, clock.now());
  hits(10);
  EXPECT_TRUE(handed.empty());
}

TEST_F(HotTest, NotStaleAndNotWhatIsReadOnlyBecauseUpstreamsFail) {
  store(response("a.org", 1, {a_record(1, 10)}));
  for (int i = 0; i < 10; i++) EXPECT_EQ(get("a.org", kRd, false, true), Hit::kFresh);
  EXPECT_TRUE(handed.empty()) << "a group that is not cached";
  clock.advance(Millis{20'000});
  for (int i = 0; i < 10; i++) EXPECT_EQ(get("a.org", kRd, false, true), Hit::kStale);
  EXPECT_TRUE(handed.empty());
}

TEST_F(HotTest, NotWhenThePrefetchIsDue) {
  store(response("a.org", 1, {a_record(1, 100)}));
  hits(2);
  clock.advance(Millis{90'000});
  EXPECT_EQ(get("a.org"), Hit::kFreshPrefetch);
  hits(5);
  EXPECT_TRUE(handed.empty());
}

TEST_F(HotTest, TheFirstHitThatComesUpPrefetchesAndTheFreshAnswerIsHandedOnAtOnce) {
  store(response("a.org", 1, {a_record(1, 100)}));
  hits(3);
  for (uint32_t round = 1; round <= 5; round++) {
    ASSERT_EQ(handed.size(), round);
    clock.advance(Millis{90'000});
    ASSERT_EQ(now(), handed.back().expires_ns);
    EXPECT_EQ(get("a.org"), Hit::kFreshPrefetch) << "the only one that comes up";
    clock.advance(Millis{50});
    store(response("a.org", 1, {a_record(round + 1, 100)}));
    ASSERT_EQ(handed.size(), round + 1);
    EXPECT_EQ(handed.back().stored_ns, now());
    EXPECT_EQ(handed.back().expires_ns, now() + 90'000'000'000);
    EXPECT_THAT(see(handed.back().message).addresses, ElementsAre("0.0.0." + std::to_string(round + 1)));
  }
  hits(10);
  EXPECT_EQ(handed.size(), 6u);
}

TEST_F(HotTest, AFreshAnswerThatMayNotGoThereIsCountedAnew) {
  store(response("a.org", 1, {a_record(1, 100)}));
  hits(3);
  clock.advance(Millis{95'000});
  store(response("a.org", 1, {a_record(2, 3)}));
  hits(5);
  EXPECT_EQ(handed.size(), 1u);
  store(response("a.org", 1, {a_record(3, 100)}));
  EXPECT_EQ(handed.size(), 1u);
  hits(3);
  EXPECT_EQ(handed.size(), 2u);
}

TEST_F(HotTest, NamesThatNobodyAsksForAnyMoreCoolDown) {
  store(response("a.org", 1, {a_record(1, 10)}));
  hits(3);
  clock.advance(Millis{19'999});
  store(response("a.org", 1, {a_record(1, 10)}));
  EXPECT_EQ(handed.size(), 2u) << "within another TTL";
  clock.advance(Millis{20'000});
  store(response("a.org", 1, {a_record(1, 10)}));
  EXPECT_EQ(handed.size(), 2u);
  hits(2);
  EXPECT_EQ(handed.size(), 2u);
  hits(1);
  EXPECT_EQ(handed.size(), 3u);
}

TEST_F(HotTest, AFlushForgetsWhatWasHot) {
  store(response("a.org", 1, {a_record(1)}));
  hits(3);
  EXPECT_EQ(cache->flush(DnsName()), 1u);
  store(response("a.org", 1, {a_record(1)}));
  EXPECT_EQ(handed.size(), 1u);
  hits(3);
  EXPECT_EQ(handed.size(), 2u);
}

TEST_F(HotTest, WithoutPrefetchingToo) {
  make({.prefetch = false});
  store(response("a.org", 1, {a_record(1, 100)}));
  hits(3);
  ASSERT_EQ(handed.size(), 1u);
  clock.advance(Millis{95'000});
  EXPECT_EQ(get("a.org"), Hit::kFresh);
}

}  // namespace
}  // namespace ls::dns::test
