#include "dns/upstreams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace ls::dns {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class UpstreamsTest : public ::testing::Test {
 protected:
  std::vector<uint32_t> make(size_t n) {
    std::vector<uint32_t> group;
    for (size_t i = 0; i < n; i++) group.push_back(upstreams.number({IpAddress::from_v4(0x0a000001u + static_cast<uint32_t>(i)), 53}));
    return group;
  }
  void good(uint32_t n, double ms, int times = 1) {
    for (int i = 0; i < times; i++) {
      upstreams.asked(n, clock.now());
      upstreams.result(n, UpstreamEvent::kGood, std::chrono::nanoseconds(static_cast<int64_t>(ms * 1e6)), clock.now());
    }
  }
  void bad(uint32_t n, int times = 1, UpstreamEvent event = UpstreamEvent::kTimeout) {
    for (int i = 0; i < times; i++) {
      upstreams.asked(n, clock.now());
      upstreams.result(n, event, {}, clock.now());
    }
  }
  Upstreams::Choice choose(const std::vector<uint32_t>& group) { return upstreams.choose(group, clock.now(), random()); }
  UpstreamView view(uint32_t n) { return upstreams.view(clock.now())[n]; }

  FakeClock clock;
  std::mt19937_64 random{7};
  Upstreams upstreams{Upstreams::Options{}};
};

TEST_F(UpstreamsTest, NumbersAreStable) {
  auto g = make(3);
  EXPECT_EQ(g, make(3));
  EXPECT_EQ(upstreams.endpoint(g[1]).text(), "10.0.0.2:53");
}

TEST_F(UpstreamsTest, TwoOfManyOneOfOneNoneOfNone) {
  EXPECT_THAT(choose({}).now, IsEmpty());
  auto g = make(4);
  EXPECT_THAT(choose({g[0]}).now, ElementsAre(g[0]));
  EXPECT_THAT(choose({g[0], g[1]}).now, UnorderedElementsAre(g[0], g[1]));
  auto c = choose(g);
  EXPECT_EQ(c.now.size(), 2u);
  EXPECT_EQ(c.later.size(), 2u);
}

TEST_F(UpstreamsTest, EqualOnesShareTheLoad) {
  auto g = make(4);
  for (uint32_t n : g) good(n, 1, 20);
  std::map<uint32_t, int> asked;
  for (int i = 0; i < 2'000; i++)
    for (uint32_t n : choose(g).now) asked[n]++;
  for (uint32_t n : g) EXPECT_NEAR(asked[n], 1'000, 150);
}

TEST_F(UpstreamsTest, FasterOnesAreAsked) {
  auto g = make(3);
  good(g[0], 40, 20);
  good(g[1], 2, 20);
  good(g[2], 5, 20);
  EXPECT_THAT(choose(g).now, ElementsAre(g[1], g[2]));
  EXPECT_THAT(choose(g).later, ElementsAre(g[0]));
}

TEST_F(UpstreamsTest, LossesCost) {
  auto g = make(3);
  for (uint32_t n : g) good(n, 2, 20);
  for (int i = 0; i < 5; i++) {
    bad(g[0], 2);
    good(g[0], 2);
  }
  EXPECT_FALSE(view(g[0]).aside);
  EXPECT_THAT(choose(g).now, UnorderedElementsAre(g[1], g[2]));
}

TEST_F(UpstreamsTest, OldOutageIsForgotten) {
  auto g = make(1);
  good(g[0], 2, 10);
  for (int i = 0; i < 10; i++) {
    bad(g[0], 2);
    good(g[0], 2);
  }
  const double then = view(g[0]).failure_share;
  EXPECT_GT(then, 0.3);
  clock.advance(Millis{30'000});
  const double half = view(g[0]).failure_share;
  EXPECT_LT(half, then);
  clock.advance(Millis{300'000});
  EXPECT_LT(view(g[0]).failure_share, 0.02);
}

TEST_F(UpstreamsTest, CountsHalveInTheHalfLife) {
  auto g = make(1);
  bad(g[0], 2);
  good(g[0], 1, 1);
  // bad / (good + bad + 1), with both counts halved: 2/4, then 1/2.5.
  EXPECT_NEAR(view(g[0]).failure_share, 0.5, 1e-6);
  clock.advance(Millis{30'000});
  EXPECT_NEAR(view(g[0]).failure_share, 1 / 2.5, 1e-6);
}

TEST_F(UpstreamsTest, AsideAfterThreeInARowAndProbedWithBackOff) {
  auto g = make(3);
  for (uint32_t n : g) good(n, 1, 20);
  bad(g[0], 2);
  EXPECT_FALSE(view(g[0]).aside);
  bad(g[0]);
  EXPECT_TRUE(view(g[0]).aside);
  EXPECT_NE(view(g[0]).reason, "");
  std::vector<int64_t> probes;
  const Instant start = clock.now();
  for (int i = 0; i < 2'000; i++) {
    auto c = choose(g);
    EXPECT_THAT(c.now, Not(Contains(g[0])));
    for (uint32_t n : {g[1], g[2]}) good(n, 1);
    if (std::find(c.probe.begin(), c.probe.end(), g[0]) != c.probe.end()) {
      probes.push_back(std::chrono::duration_cast<std::chrono::seconds>(clock.now() - start).count());
      bad(g[0]);
    }
    clock.advance(Millis{100});
  }
  EXPECT_THAT(probes, ElementsAre(1, 3, 7, 15, 31, 61, 91, 121, 151, 181));
}

TEST_F(UpstreamsTest, OneGoodAnswerBringsItBack) {
  auto g = make(2);
  good(g[1], 1, 20);
  bad(g[0], 3);
  EXPECT_THAT(choose(g).now, ElementsAre(g[1]));
  good(g[0], 1);
  EXPECT_FALSE(view(g[0]).aside);
  EXPECT_THAT(choose(g).now, UnorderedElementsAre(g[0], g[1]));
}

TEST_F(UpstreamsTest, NeverNone) {
  auto g = make(3);
  for (int round = 0; round < 50; round++) {
    for (uint32_t n : g) bad(n, 3);
    EXPECT_THAT(choose(g).now, UnorderedElementsAre(g[0], g[1], g[2]));
    clock.advance(Millis{700});
  }
}

TEST_F(UpstreamsTest, OthersAreMeasuredNowAndThen) {
  auto g = make(3);
  for (uint32_t n : g) good(n, n == g[2] ? 50 : 1, 20);
  int probes = 0;
  for (int i = 0; i < 600; i++) {
    auto c = choose(g);
    for (uint32_t n : c.now) good(n, 1);
    probes += static_cast<int>(c.probe.size());
    for (uint32_t n : c.probe) good(n, 0.5, 1);
    clock.advance(Millis{100});
  }
  EXPECT_GE(probes, 8);
  EXPECT_LE(probes, 14);
}

TEST_F(UpstreamsTest, PatienceIsTheP95WithinBounds) {
  auto g = make(1);
  EXPECT_EQ(upstreams.patience(g), Millis{200});  // unknown
  for (int i = 0; i < 200; i++) good(g[0], i % 10 == 0 ? 80 : 20);
  EXPECT_NEAR(static_cast<double>(upstreams.patience(g).count()), 80, 16);  // a tenth takes 80 ms: so does the p95
  auto fast = make(2)[1];
  good(fast, 0.3, 50);
  EXPECT_EQ(upstreams.patience(std::vector{fast}), Millis{10});
  auto slow = make(3)[2];
  good(slow, 4'000, 50);
  EXPECT_EQ(upstreams.patience(std::vector{slow}), Millis{1'000});
}

TEST_F(UpstreamsTest, P95ForgetsSlowTimes) {
  auto g = make(1);
  good(g[0], 500, 100);
  for (int i = 0; i < 600; i++) {
    good(g[0], 5);
    clock.advance(Millis{500});
  }
  EXPECT_LT(view(g[0]).p95_ms, 10);
}

TEST_F(UpstreamsTest, ForgedAndTruncatedAnswersAreNoFailures) {
  auto g = make(1);
  bad(g[0], 20, UpstreamEvent::kMismatch);
  bad(g[0], 20, UpstreamEvent::kTruncated);
  for (int i = 0; i < 20; i++) {
    upstreams.asked(g[0], clock.now());
    upstreams.excused(g[0], UpstreamEvent::kServFail);
    upstreams.note(g[0], UpstreamEvent::kMismatch);
  }
  auto v = view(g[0]);
  EXPECT_FALSE(v.aside);
  EXPECT_EQ(v.failure_share, 0);
  EXPECT_EQ(v.in_flight, 0u);
  std::map<std::string, uint64_t> events(v.events.begin(), v.events.end());
  EXPECT_EQ(events["mismatch"], 40u);
  EXPECT_EQ(events["servfail"], 20u);
  EXPECT_EQ(events["truncated"], 20u);
}

TEST_F(UpstreamsTest, LoopingOnesAreNotAskedUntilAProbeStaysAway) {
  auto g = make(2);
  auto token = upstreams.loop_probe(g[0], clock.now(), 77);
  ASSERT_EQ(token, 77u);
  EXPECT_FALSE(upstreams.loop_probe(g[0], clock.now(), 78));
  EXPECT_FALSE(upstreams.loop_seen(78, clock.now()));
  EXPECT_TRUE(upstreams.loop_seen(77, clock.now()));
  EXPECT_EQ(upstreams.loops(), 1u);
  auto c = choose(g);
  EXPECT_THAT(c.now, ElementsAre(g[1]));
  EXPECT_THAT(c.later, IsEmpty());
  EXPECT_TRUE(view(g[0]).loop);
  EXPECT_THAT(choose({g[0]}).now, IsEmpty());
  clock.advance(Upstreams::kLoopEvery);
  EXPECT_EQ(upstreams.loop_probe(g[0], clock.now(), 79), 79u);
  EXPECT_THAT(choose(g).now, ElementsAre(g[1]));  // not yet: the probe may come back
  clock.advance(Upstreams::kLoopWait);
  EXPECT_EQ(choose(g).now.size(), 2u);
}

}  // namespace
}  // namespace ls::dns
