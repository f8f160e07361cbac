#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <set>

#include "dns_forward.h"

namespace ls::dns::test {
namespace {

using Kind = UpstreamScript::Kind;
using ::testing::ElementsAre;

UpstreamScript answers(const std::string& address, unsigned after_ms = 0) {
  UpstreamScript s;
  s.address = address;
  s.after_ms = after_ms;
  return s;
}
UpstreamScript code(unsigned rcode, unsigned after_ms = 0) {
  UpstreamScript s;
  s.rcode = rcode;
  s.after_ms = after_ms;
  return s;
}
UpstreamScript of(Kind kind) {
  UpstreamScript s;
  s.kind = kind;
  return s;
}

TEST(Forwarder, AnswerHasTheClientsIdSpellingAndFlags) {
  ForwardLab lab({answers("192.0.2.1")});
  Asked asked("wWw.Example.ORG", 1, 0xbeef, kRd | kCd, 4096);
  auto r = lab.ask(asked.query);
  EXPECT_EQ(r.seen.id, 0xbeef);
  EXPECT_EQ(r.seen.question, "wWw.Example.ORG.");
  EXPECT_THAT(r.seen.addresses, ElementsAre("192.0.2.1"));
  EXPECT_EQ(r.seen.flags & (kQr | kRd | kRa | kCd | kTc), kQr | kRd | kRa | kCd);
  EXPECT_FALSE(r.seen.opt);
  EXPECT_EQ(r.calls, 1);
  EXPECT_THAT(r.trace.source, ::testing::StartsWith("upstream 127.0.0.11:"));
}

TEST(Forwarder, GoodAnswerBeatsFasterFailure) {
  for (unsigned rcode : {2u, 5u, 4u, 1u}) {
    ForwardLab lab({code(rcode), answers("192.0.2.2", 100)}, ForwardLab::patient());
    auto r = lab.ask("www.example.org");
    EXPECT_EQ(r.seen.rcode, 0u) << rcode;
    EXPECT_THAT(r.seen.addresses, ElementsAre("192.0.2.2"));
  }
}

TEST(Forwarder, NxdomainIsAGoodAnswer) {
  ForwardLab lab({code(3), answers("192.0.2.2", 700)}, ForwardLab::patient());
  auto r = lab.ask("www.example.org");
  EXPECT_EQ(r.seen.rcode, 3u);
}

TEST(Forwarder, AllBadEndsAtOnce) {
  ForwardLab lab({code(2), code(5)}, ForwardLab::patient());
  auto r = lab.ask("www.example.org");
  EXPECT_EQ(r.seen.rcode, 2u);
  EXPECT_EQ(lab.upstreams.view(lab.clock.now())[0].aside, false);
}

TEST(Forwarder, BadNameDoesNotSetUpstreamsAside) {
  ForwardLab lab({code(2), code(2)});
  for (int i = 0; i < 8; i++) lab.ask("n" + std::to_string(i) + ".example.org");
  for (auto& u : lab.upstreams.view(lab.clock.now())) EXPECT_FALSE(u.aside);
}

TEST(Forwarder, LiesAreNotAccepted) {
  for (Kind kind : {Kind::kWrongId, Kind::kWrongQuestion, Kind::kWrongPort, Kind::kWrongAddress, Kind::kGarbage, Kind::kShort, Kind::kForwardPointer}) {
    UpstreamScript liar = of(kind);
    liar.address = "203.0.113.66";
    liar.tcp = false;
    ForwardLab lab({liar, answers("192.0.2.2", 60)}, ForwardLab::patient());
    auto r = lab.ask("www.example.org");
    EXPECT_THAT(r.seen.addresses, ElementsAre("192.0.2.2")) << static_cast<int>(kind);
    ForwardLab alone({liar});
    EXPECT_EQ(alone.ask("www.example.org").seen.rcode, 2u) << static_cast<int>(kind);
  }
}

TEST(Forwarder, ManyWrongIdsSendTheQuestionOverTcp) {
  UpstreamScript s = answers("192.0.2.1", 50);
  s.lies = 40;
  ForwardLab lab({s});
  auto r = lab.ask("www.example.org");
  EXPECT_THAT(r.seen.addresses, ElementsAre("192.0.2.1"));
  lab.run(Millis{100});
  EXPECT_GE(lab.forwarder->view().tcp_fallbacks, 1u);
  EXPECT_GE(lab.servers[0]->counts().tcp, 1u);
  EXPECT_GE(lab.forwarder->view().mismatches, 16u);
}

TEST(Forwarder, SilentUpstreamCostsNothing) {
  ForwardLab lab({of(Kind::kSilent), answers("192.0.2.2")}, ForwardLab::patient());
  for (int i = 0; i < 10; i++) {
    auto r = lab.ask("n" + std::to_string(i) + ".example.org");
    EXPECT_THAT(r.seen.addresses, ElementsAre("192.0.2.2"));
  }
  lab.run(Millis{1'200});
  EXPECT_TRUE(lab.upstreams.view(lab.clock.now())[0].aside);
  EXPECT_FALSE(lab.upstreams.view(lab.clock.now())[1].aside);
  const auto before = lab.servers[0]->counts().udp;
  for (int i = 0; i < 20; i++) lab.ask("m" + std::to_string(i) + ".example.org");
  EXPECT_LE(lab.servers[0]->counts().udp, before + 2);  // probes only
}

TEST(Forwarder, AllSilentIsServfailAtTheTimeout) {
  ForwardLab lab({of(Kind::kSilent), of(Kind::kSilent)});
  // Not before: a timer of the same loop that ends earlier is served earlier, however slow the machine is.
  const auto replies = std::make_shared<int>(0);
  int replies_before = -1;
  boost::asio::steady_timer earlier(lab.io, Millis{1'400});
  earlier.async_wait([&](boost::system::error_code) { replies_before = *replies; });
  Asked asked("www.example.org");
  Seen seen;
  lab.forwarder->ask(asked.query, lab.group, [replies, &seen](std::span<const uint8_t> m, const Forwarder::Trace*) {
    seen = see(m);
    ++*replies;
  });
  for (int i = 0; i < 3'000 && !*replies; i++) lab.run(Millis{10});
  EXPECT_EQ(*replies, 1);
  EXPECT_EQ(replies_before, 0);
  EXPECT_EQ(seen.rcode, 2u);
  EXPECT_TRUE(seen.flags & kQr);
  EXPECT_GT(lab.servers[0]->counts().udp, 1u);  // asked again
}

TEST(Forwarder, LostPacketIsAskedAgainSoon) {
  ForwardLab lab({answers("192.0.2.1")}, ForwardLab::patient());
  for (int i = 0; i < 5; i++) lab.ask("n" + std::to_string(i) + ".example.org");
  lab.servers[0]->set(of(Kind::kSilent));
  bool back = false;
  int calls = 0;
  Asked asked("lost.example.org");
  lab.forwarder->ask(asked.query, lab.group, [&](auto m, auto) { EXPECT_EQ(see(m).rcode, 0u); calls++; });
  for (int i = 0; i < 15'000 && !calls; i++) {
    lab.run(Millis{2});
    if (!back && lab.servers[0]->counts().udp >= 7) {
      lab.servers[0]->set(answers("192.0.2.1"));
      back = true;
    }
  }
  EXPECT_EQ(calls, 1);
  EXPECT_GE(lab.forwarder->view().retries, 1u);
}

TEST(Forwarder, ClosedPortFailsAtOnce) {
  ForwardLab lab({answers("192.0.2.1")}, ForwardLab::patient());
  const auto gone = lab.group;
  lab.servers.clear();
  auto r = lab.ask("www.example.org");
  EXPECT_EQ(r.seen.rcode, 2u);
}

TEST(Forwarder, TruncatedGoesOverTcp) {
  UpstreamScript s = of(Kind::kTruncate);
  s.count = 200;
  ForwardLab lab({s});
  auto r = lab.ask("big.example.org");
  EXPECT_EQ(r.seen.addresses.size(), 200u);
  EXPECT_FALSE(r.seen.tc);
  for (int i = 0; i < 5; i++) lab.ask("n" + std::to_string(i) + ".example.org");
  EXPECT_EQ(lab.servers[0]->counts().tcp_connections, 1u);  // one connection for all
}

TEST(Forwarder, TruncatedWithoutTcpKeepsTheBit) {
  UpstreamScript s = of(Kind::kTruncate);
  s.tcp = false;
  ForwardLab lab({s}, ForwardLab::patient());
  auto r = lab.ask("www.example.org");
  EXPECT_TRUE(r.seen.tc);
  EXPECT_EQ(r.seen.rcode, 0u);
}

TEST(Forwarder, EdnsIsLeftOutForUpstreamsThatDoNotKnowIt) {
  UpstreamScript s = answers("192.0.2.1");
  s.formerr_on_edns = true;
  ForwardLab lab({s});
  EXPECT_THAT(lab.ask("a.example.org").seen.addresses, ElementsAre("192.0.2.1"));
  const auto edns = lab.servers[0]->counts().with_edns;
  for (int i = 0; i < 5; i++) EXPECT_EQ(lab.ask("n" + std::to_string(i) + ".example.org").seen.rcode, 0u);
  EXPECT_EQ(lab.servers[0]->counts().with_edns, edns);  // learned
}

TEST(Forwarder, MixedCaseIsSentAndLearned) {
  ForwardLab keeps({answers("192.0.2.1")});
  for (int i = 0; i < 5; i++) keeps.ask("abcdefghijklmnop" + std::to_string(i) + ".example.org");
  EXPECT_GE(keeps.servers[0]->counts().mixed_case, 5u);
  UpstreamScript lowers = answers("192.0.2.1");
  lowers.lower_case = true;
  ForwardLab lab({lowers}, ForwardLab::patient());
  for (int i = 0; i < 12; i++) {
    auto r = lab.ask("Abcdefghijklmnop" + std::to_string(i) + ".example.org");
    EXPECT_THAT(r.seen.addresses, ElementsAre("192.0.2.1"));
  }
  EXPECT_LE(lab.servers[0]->counts().mixed_case, 4u);  // three misses and the loop probe
}

TEST(Forwarder, CookiesAreSentAndChecked) {
  UpstreamScript s = answers("192.0.2.1");
  s.cookies = true;
  ForwardLab lab({s});
  for (int i = 0; i < 3; i++) EXPECT_EQ(lab.ask("n" + std::to_string(i) + ".example.org").seen.rcode, 0u);
  EXPECT_GE(lab.servers[0]->counts().with_cookie, 3u);
  // From a server that has shown cookies, an answer without one is only believed over TCP.
  s.cookies = false;
  lab.servers[0]->set(s);
  EXPECT_THAT(lab.ask("x.example.org").seen.addresses, ElementsAre("192.0.2.1"));
  EXPECT_EQ(lab.servers[0]->counts().tcp, 1u);
  EXPECT_THAT(lab.ask("y.example.org").seen.addresses, ElementsAre("192.0.2.1"));
  EXPECT_EQ(lab.servers[0]->counts().tcp, 1u);  // it has shown that it has none any more
  s.cookies = s.wrong_cookie = true;
  s.tcp = false;
  lab.servers[0]->set(s);
  EXPECT_EQ(lab.ask("z.example.org").seen.rcode, 2u);
}

TEST(Forwarder, OneQuestionForAllWhoAskTheSame) {
  ForwardLab lab({answers("192.0.2.1", 100)});
  int calls = 0;
  std::vector<std::unique_ptr<Asked>> asked;
  for (uint16_t i = 0; i < 50; i++) asked.push_back(std::make_unique<Asked>(i % 2 ? "Www.example.org" : "www.EXAMPLE.org", 1, i));
  for (uint16_t i = 0; i < 50; i++)
    lab.forwarder->ask(asked[i]->query, lab.group, [&, i](auto m, auto) {
      Seen s = see(m);
      EXPECT_EQ(s.id, i);
      EXPECT_EQ(s.question, i % 2 ? "Www.example.org." : "www.EXAMPLE.org.");
      EXPECT_EQ(s.addresses.size(), 1u);
      calls++;
    });
  EXPECT_EQ(calls, 0);
  lab.run(Millis{400});
  EXPECT_EQ(calls, 50);
  EXPECT_EQ(lab.forwarder->view().shared, 49u);
  EXPECT_EQ(lab.forwarder->view().in_flight, 0u);
}

TEST(Forwarder, TablesAreBounded) {
  ForwarderOptions o = ForwardLab::quick();
  o.max_in_flight = 4;
  o.max_waiters = 2;
  ForwardLab lab({of(Kind::kSilent)}, o);
  int servfail = 0;
  std::vector<std::unique_ptr<Asked>> asked;
  for (int i = 0; i < 10; i++) asked.push_back(std::make_unique<Asked>("n" + std::to_string(i) + ".example.org"));
  for (int i = 0; i < 3; i++) asked.push_back(std::make_unique<Asked>("n0.example.org"));
  for (auto& a : asked) lab.forwarder->ask(a->query, lab.group, [&](auto m, auto) { servfail += see(m).rcode == 2; });
  lab.run(Millis{200});
  EXPECT_EQ(servfail, 8);
  EXPECT_EQ(lab.forwarder->view().overflow, 8u);
  lab.run(Millis{2'000});
  EXPECT_EQ(servfail, 13);
}

TEST(Forwarder, ManySourcePortsWithinThePool) {
  ForwarderOptions o = ForwardLab::quick();
  o.ports = 8;
  ForwardLab lab({answers("192.0.2.1")}, o);
  for (int i = 0; i < 100; i++) lab.ask("n" + std::to_string(i) + ".example.org");
  EXPECT_EQ(lab.servers[0]->counts().ports, 8u);
}

TEST(Forwarder, WithoutDescriptorsPortsAreShared) {
  ForwardLab lab({answers("192.0.2.1")});
  lab.ask("first.example.org");
  rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 3;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  unsigned good = 0;
  for (int i = 0; i < 20; i++) good += lab.ask("n" + std::to_string(i) + ".example.org").seen.addresses.size();
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(good, 20u);
  EXPECT_GE(lab.forwarder->view().fewer_ports, 10u);
}

TEST(Forwarder, StaleAnswerWhenUpstreamsFail) {
  UpstreamScript s = answers("192.0.2.1");
  s.ttl = 1;
  ForwardLab lab({s});
  EXPECT_EQ(lab.ask("www.example.org").seen.rcode, 0u);
  lab.servers[0]->set(code(2));
  lab.run(Millis{1'100});
  auto r = lab.ask("www.example.org");
  EXPECT_THAT(r.seen.addresses, ElementsAre("192.0.2.1"));
  EXPECT_THAT(r.seen.ttls, ElementsAre(30u));
  EXPECT_EQ(r.trace.source, "stale cache");
  EXPECT_EQ(lab.forwarder->view().stale, 1u);
}

TEST(Forwarder, LoopIsSeenAndTheUpstreamLeftOut) {
  ForwardLab lab({answers("192.0.2.1"), answers("192.0.2.2")});
  // The second upstream "sends back" what it got: the token is known to Upstreams.
  const auto number = lab.upstreams.number(lab.group.upstreams[1]);
  auto token = lab.upstreams.loop_probe(number, lab.clock.now(), 0x0123456789abcdef);
  ASSERT_TRUE(token);
  Asked other("fedcba9876543210.loop.loadstar.invalid");
  EXPECT_FALSE(lab.forwarder->is_own_probe(other.query));
  Asked probe("0123456789ABCDEF.loop.loadstar.invalid");
  EXPECT_TRUE(lab.forwarder->is_own_probe(probe.query));
  for (int i = 0; i < 10; i++) EXPECT_THAT(lab.ask("n" + std::to_string(i) + ".example.org").seen.addresses, ElementsAre("192.0.2.1"));
  EXPECT_EQ(lab.servers[1]->counts().udp, 0u);
  EXPECT_TRUE(lab.upstreams.view(lab.clock.now())[number].loop);
  EXPECT_EQ(lab.forwarder->view().loops, 1u);
}

TEST(Forwarder, ProbesForLoopsGoOutAtTheFirstQuestion) {
  ForwardLab lab({answers("192.0.2.1"), answers("192.0.2.2")});
  lab.ask("www.example.org");
  lab.run(Millis{200});
  EXPECT_EQ(lab.servers[0]->counts().udp + lab.servers[1]->counts().udp, 4u);
}

TEST(Forwarder, FlappingUpstreamLosesNothing) {
  UpstreamScript flapping = answers("192.0.2.1");
  flapping.flap_ms = 150;
  ForwardLab lab({flapping, answers("192.0.2.2", 5)});
  for (int i = 0; i < 150; i++) {
    auto r = lab.ask("n" + std::to_string(i) + ".example.org");
    ASSERT_EQ(r.seen.addresses.size(), 1u) << i;
    lab.run(Millis{2});
  }
}

TEST(Forwarder, UnaskedRecordsAnswerNoQuestionOfTheirOwn) {
  ForwardLab lab({of(Kind::kUnasked)});
  EXPECT_EQ(lab.ask("www.example.org").seen.rcode, 0u);
  Asked victim("victim.test");
  Bytes out(4096);
  size_t size = 0;
  EXPECT_EQ(lab.cache.answer(victim.query, lab.clock.now(), 4096, true, out, size), Cache::Hit::kMiss);
}

TEST(Forwarder, EndsWithQuestionsInFlight) {
  ForwardLab lab({of(Kind::kSilent), answers("192.0.2.1", 50)});
  int calls = 0;
  Asked asked("www.example.org");
  lab.forwarder->ask(asked.query, lab.group, [&](auto, auto) { calls++; });
  lab.run(Millis{5});
  lab.forwarder.reset();
  lab.run(Millis{200});
  EXPECT_EQ(calls, 0);
  for (auto& u : lab.upstreams.view(lab.clock.now())) EXPECT_EQ(u.in_flight, 0u);
}

}  // namespace
}  // namespace ls::dns::test
