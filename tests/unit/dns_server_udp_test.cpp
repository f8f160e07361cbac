// The server over UDP: zones, access, cookies, rate limit, listeners that cannot be bound.
#include <algorithm>
#include <atomic>
#include <future>

#include "dns_server_fixture.h"
#include "loadstar/abi/dns.h"

namespace ls::dns {
namespace {

using Udp = ServerTest;

TEST_F(Udp, AnswersFromItsZone) {
  start();
  UdpPeer peer(at);
  auto a = peer.ask(make_query("web.test", 1, 4711));
  EXPECT_EQ(id_of(a), 4711);
  EXPECT_EQ(rcode_of(a), 0);
  EXPECT_EQ(answers_of(a), 2);
  EXPECT_EQ(rcode_of(peer.ask(make_query("no.test", 1))), 3);
  EXPECT_EQ(rcode_of(peer.ask(make_query("elsewhere.org", 1))), 5);
  auto c = counters();
  EXPECT_EQ(c.udp_queries, 3u);
  EXPECT_EQ(c.responses[size_t(Path::kZone)][0], 1u);
  EXPECT_EQ(c.responses[size_t(Path::kZone)][3], 1u);
  EXPECT_EQ(c.responses[size_t(Path::kRefused)][5], 1u);
  EXPECT_EQ(c.seconds[size_t(Path::kZone)].back().second, 2u);
}

TEST_F(Udp, ABurstLosesNothing) {
  start();
  UdpPeer peer(at);
  for (uint16_t i = 0; i < 200; i++) ASSERT_TRUE(peer.send(make_query("web.test", 1, i)));
  std::vector<bool> seen(200);
  for (int i = 0; i < 200; i++) {
    auto a = peer.receive();
    ASSERT_EQ(answers_of(a), 2);
    EXPECT_FALSE(seen.at(id_of(a)));
    seen[id_of(a)] = true;
  }
}

TEST_F(Udp, ResponsesAndScrapsAreNotAnswered) {
  start();
  UdpPeer peer(at);
  peer.send(make_query("web.test", 1, 1, kQr));
  peer.send(Bytes(11, 0));
  peer.send(Bytes());
  auto a = peer.ask(make_query("web.test", 1, 9));
  EXPECT_EQ(id_of(a), 9);
  EXPECT_TRUE(eventually([&] { return counters().ignored >= 2; }));
}

TEST_F(Udp, OthersAreRefused) {
  service.clients = AccessList({*IpNetwork::parse("10.0.0.0/8")});
  start();
  EXPECT_EQ(rcode_of(UdpPeer(at).ask(make_query("web.test", 1))), 5);
  EXPECT_EQ(rcode_of(TcpPeer(at).ask(make_query("web.test", 1))), 5);
  EXPECT_EQ(counters().denied, 2u);
}

TEST_F(Udp, RefusalsAreRateLimitedToo) {
  service.clients = AccessList({*IpNetwork::parse("10.0.0.0/8")});
  service.rate_limit.per_second = 2;
  start();
  UdpPeer peer(at);
  for (uint16_t i = 0; i < 40; i++) peer.send(make_query("web.test", 1, i));
  EXPECT_TRUE(eventually([&] { return counters().udp_queries == 40; }));
  auto c = counters();
  EXPECT_GT(c.rate_dropped, 10u);
  EXPECT_GT(c.slipped, 10u);
}

TEST_F(Udp, AboveTheRateATruncatedAnswerSlips) {
  service.rate_limit = {.per_second = 1, .slip = 1};
  start();
  UdpPeer peer(at);
  auto first = peer.ask(make_query("web.test", 1)), second = peer.ask(make_query("web.test", 1));
  EXPECT_EQ(answers_of(first), 2);
  EXPECT_EQ(answers_of(second), 0);
  EXPECT_TRUE(flags_of(second) & kTc);
  EXPECT_EQ(answers_of(TcpPeer(at).ask(make_query("web.test", 1))), 2) << "TCP is exempt";
  EXPECT_EQ(counters().slipped, 1u);
}

TEST_F(Udp, SharedWordsOfTheRateLimitStayWhenOptionsChange) {
  std::vector<uint64_t> words(LS_DNS_RATE_SETS * LS_DNS_RATE_WAYS);
  const auto used = [&] {
    return std::any_of(words.begin(), words.end(), [](uint64_t& w) { return std::atomic_ref(w).load() != 0; });
  };
  service.rate_limit = {.per_second = 1, .slip = 1};
  service.rate_words = words;
  service.rate_key.fill(7);
  start();
  UdpPeer peer(at);
  const auto slips = [&] { return (flags_of(peer.ask(make_query("web.test", 1))) & kTc) != 0; };
  EXPECT_FALSE(slips());
  EXPECT_TRUE(used());
  EXPECT_TRUE(slips());
  auto next = service;
  next.rate_words = {};
  next.rate_limit.per_second = 0;
  server->set_options(service.kind, next);
  EXPECT_TRUE(eventually([&] { return !slips(); }));
  for (uint64_t& w : words) std::atomic_ref(w).store(0);
  EXPECT_FALSE(slips());
  EXPECT_FALSE(used()) << "switched off";
  next.rate_limit.per_second = 1000;
  server->set_options(service.kind, next);
  EXPECT_TRUE(eventually([&] { return !slips() && used(); }));
  server->stop();  // before the words go
}

TEST_F(Udp, AValidCookieIsExempt) {
  service.rate_limit = {.per_second = 1, .slip = 0};
  start();
  UdpPeer peer(at);
  Bytes option{0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
  auto first = peer.ask(make_query("web.test", 1, 1, kRd, make_opt(option)));
  ASSERT_GE(first.size(), 28u);
  // The answer's OPT ends with client and server cookie.
  Bytes cookie(first.end() - 24, first.end());
  EXPECT_EQ(Bytes(cookie.begin(), cookie.begin() + 8), Bytes({1, 2, 3, 4, 5, 6, 7, 8}));
  Bytes both{0, 10, 0, 24};
  both.insert(both.end(), cookie.begin(), cookie.end());
  for (int i = 0; i < 20; i++) {
    auto a = peer.ask(make_query("web.test", 1, 1, kRd, make_opt(both)));
    ASSERT_EQ(answers_of(a), 2) << i;
    EXPECT_EQ(Bytes(a.end() - 24, a.end()), cookie) << "young: sent back as it is";
  }
  both.back() ^= 1;
  peer.send(make_query("web.test", 1, 1, kRd, make_opt(both)));
  EXPECT_TRUE(eventually([&] { return counters().rate_dropped == 1; })) << "a bad one counts as none";
}

TEST_F(Udp, CookiesAreMadeWithTheSecretThatWasGiven) {
  CookieSecret secret;
  secret.fill(0x5a);
  options.cookie_secret = secret;
  options.workers = 4;
  start();
  const Bytes client{1, 2, 3, 4, 5, 6, 7, 8};
  Bytes option{0, 10, 0, 8};
  option.insert(option.end(), client.begin(), client.end());
  for (int i = 0; i < 16; i++) {  // from ports of their own, so that each worker is asked
    auto a = UdpPeer(at).ask(make_query("web.test", 1, 1, kRd, make_opt(option)));
    ASSERT_GE(a.size(), kHeader + kServerCookie);
    std::span<const uint8_t> cookie(a.data() + a.size() - kServerCookie, kServerCookie);
    EXPECT_EQ(check_cookie(secret, client, cookie, at.address, uint32_t(time(nullptr))), CookieState::kFresh);
  }
}

TEST_F(Udp, ABadCookieIsAnsweredWithAGoodOne) {
  start();
  Bytes option{0, 10, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8};
  option.resize(28, 0xee);
  auto a = UdpPeer(at).ask(make_query("web.test", 1, 1, kRd, make_opt(option)));
  EXPECT_EQ(rcode_of(a), 0);
  EXPECT_EQ(answers_of(a), 2);
  ASSERT_GE(a.size(), 28u);
  EXPECT_EQ(a[a.size() - 16], 1) << "version 1";
}

TEST_F(Udp, LargeAnswersAreCutAndWholeOverTcp) {
  start();
  std::string many;
  for (int i = 0; i < 100; i++) many += "many 60 A 10.1.0." + std::to_string(i) + "\n";
  set_zone(many);
  UdpPeer peer(at);
  Bytes cut;
  ASSERT_TRUE(eventually([&] { return answers_of(cut = peer.ask(make_query("many.test", 1))) > 0; }));
  EXPECT_TRUE(flags_of(cut) & kTc);
  EXPECT_LE(cut.size(), 512u);
  auto whole = TcpPeer(at).ask(make_query("many.test", 1));
  EXPECT_EQ(answers_of(whole), 100);
  EXPECT_FALSE(flags_of(whole) & kTc);
  EXPECT_GE(counters().truncated, 1u);
}

TEST_F(Udp, SomeClientsNeverSeeTheTruncateBit) {
  service.no_truncate_bit = {*IpNetwork::parse("127.0.0.0/8")};
  start();
  std::string many;
  for (int i = 0; i < 100; i++) many += "many 60 A 10.1.0." + std::to_string(i) + "\n";
  set_zone(many);
  UdpPeer peer(at);
  Bytes cut;
  ASSERT_TRUE(eventually([&] { return answers_of(cut = peer.ask(make_query("many.test", 1))) > 0; }));
  EXPECT_FALSE(flags_of(cut) & kTc);
}

TEST_F(Udp, NewOptionsTakeEffectWhileItRuns) {
  start();
  UdpPeer peer(at);
  auto rcode = [&] { return rcode_of(peer.ask(make_query("web.test", 1))); };
  ASSERT_EQ(rcode(), 0);
  auto next = service;
  next.clients = AccessList({*IpNetwork::parse("10.0.0.0/8")});
  server->set_options(service.kind, next);
  EXPECT_TRUE(eventually([&] { return rcode() == 5; }));
  next = service;
  next.transfer = {*IpNetwork::parse("127.0.0.1/32")};
  server->set_options(service.kind, next);
  EXPECT_TRUE(eventually([&] { return rcode() == 0; }));
  EXPECT_GT(answers_of(TcpPeer(at).ask(make_query("test", 252))), 2) << "a transfer";
  next.rate_limit = {.per_second = 1, .slip = 1};
  server->set_options(service.kind, next);
  EXPECT_TRUE(eventually([&] { return flags_of(peer.ask(make_query("web.test", 1))) & kTc; }));
  server->set_options(ServiceKind::kAuthority, next);  // is not served: nothing happens
  EXPECT_TRUE(server->serves(service.kind));
  EXPECT_FALSE(server->serves(ServiceKind::kAuthority));
}

TEST_F(Udp, NewRoutesTakeEffectUnderLoad) {
  start();
  UdpPeer peer(at);
  for (int round = 0; round < 50; round++) {
    set_zone("web 60 A 10.9.0." + std::to_string(round));
    ASSERT_TRUE(eventually([&] {
      auto a = peer.ask(make_query("web.test", 1));
      return answers_of(a) == 1 && a.back() == round;
    }));
  }
}

TEST_F(Udp, ATakenPortIsTriedAgain) {
  UniqueFd holder(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage a;
  socklen_t size = to_sockaddr({IpAddress::from_v4(0x7f000001), 0}, a);
  ASSERT_EQ(bind(holder.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
  uint16_t port = *local_port(holder.get());
  service.listen = {{IpAddress::from_v4(0x7f000001), port}, {IpAddress::from_v4(0x7f000001), 0}};
  start();
  auto l = server->view().listeners;
  EXPECT_FALSE(l[0].udp);
  EXPECT_TRUE(l[0].tcp);
  EXPECT_NE(l[0].error.find("bind"), std::string::npos) << l[0].error;
  EXPECT_TRUE(l[1].udp && l[1].tcp) << "the other one goes on";
  EXPECT_EQ(answers_of(UdpPeer(l[1].endpoint).ask(make_query("web.test", 1))), 2);
  holder.reset();
  EXPECT_TRUE(eventually([&] { return server->view().listeners[0].udp; }));
  EXPECT_EQ(server->view().listeners[0].error, "");
  EXPECT_EQ(answers_of(UdpPeer({IpAddress::from_v4(0x7f000001), port}).ask(make_query("web.test", 1))), 2);
}

TEST_F(Udp, StopsWithQuestionsInFlight) {
  for (int round = 0; round < 5; round++) {
    start();
    UdpPeer peer(at);
    std::thread asks([&] {
      for (uint16_t i = 0; i < 2000; i++) peer.send(make_query("web.test", 1, i));
    });
    server->stop();
    asks.join();
    server.reset();
  }
}

TEST_F(Udp, WorkersBeat) {
  start();
  auto v = server->view();
  EXPECT_EQ(v.workers, 2u);
  ASSERT_EQ(v.worker_lag_s.size(), 2u);
  // The view above asked each worker for a sign; zero again means that it came, and not before.
  for (size_t i = 0; i < 2; i++) {
    EXPECT_TRUE(eventually([&] { return server->view().worker_lag_s[i] == 0; })) << i;
  }
}

TEST_F(Udp, ExplainSaysWhy) {
  start();
  auto explain = [&](const char* name) {
    std::promise<Explained> told;
    server->explain(service.kind, make_query(name, 1), [&](Explained e) { told.set_value(std::move(e)); });
    return told.get_future().get();
  };
  auto zone = explain("web.test");
  EXPECT_EQ(zone.rule, "zone test.");
  EXPECT_EQ(answers_of(zone.answer), 2);
  EXPECT_EQ(explain("nobody.org").rule, "refused");
}

}  // namespace
}  // namespace ls::dns
