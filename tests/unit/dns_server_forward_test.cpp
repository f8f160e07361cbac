// Questions that go to an upstream, which the test plays itself.
#include <future>
#include <map>

#include "dns_server_fixture.h"
#include "util/guarded.h"

namespace ls::dns {
namespace {

/// Answers any name with 192.0.2.1 (AAAA: nothing), except "slow...", which waits until release(), and
/// "gone...", NXDOMAIN.
class Upstream {
 public:
  Upstream() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage a;
    socklen_t size = to_sockaddr({IpAddress::from_v4(0x7f000001), 0}, a);
    if (bind(fd_.get(), reinterpret_cast<sockaddr*>(&a), size) != 0) std::abort();
    port_ = *local_port(fd_.get());
    thread_ = std::thread([this] { run(); });
  }
  ~Upstream() {
    stop_ = true;
    thread_.join();
  }
  ForwardGroup group(const char* zone = ".") const {
    return {*DnsName::parse(zone), {{IpAddress::from_v4(0x7f000001), port_}}};
  }
  void release() { released_ = true; }
  int asked(const std::string& label) {
    return asked_.with([&](std::map<std::string, int>& m) { return m[label]; });
  }

 private:
  void run() {
    std::vector<std::pair<Bytes, sockaddr_storage>> held;
    while (!stop_) {
      pollfd p{fd_.get(), POLLIN, 0};
      if (poll(&p, 1, 5) == 1) {
        Bytes q(2048);
        sockaddr_storage from;
        socklen_t size = sizeof from;
        ssize_t n = recvfrom(fd_.get(), q.data(), q.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
        if (n < 17) continue;
        q.resize(size_t(n));
        std::string label(q.begin() + 13, q.begin() + 13 + q[12]);
        for (char& c : label) c = char(std::tolower(c));
        asked_.with([&](std::map<std::string, int>& m) { m[label]++; });
        if (label.starts_with("slow"))
          held.emplace_back(q, from);
        else
          answer(q, from, label);
      }
      if (!released_) continue;
      for (auto& [q, from] : held) answer(q, from, "slow");
      held.clear();
    }
  }
  void answer(Bytes q, const sockaddr_storage& to, const std::string& label) {
    size_t end = kHeader;
    while (end < q.size() && q[end]) end += q[end] + 1;
    end += 5;
    if (end > q.size()) return;
    uint16_t type = load16(q.data() + end - 4);
    q.resize(end);
    bool gone = label.starts_with("gone"), address = !gone && type == 1;
    store16(q.data() + 2, kQr | kRd | kRa | (gone ? 3 : 0));
    store16(q.data() + 6, address ? 1 : 0);
    store16(q.data() + 8, 0);
    store16(q.data() + 10, 0);
    if (address) {
      const Bytes record{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};
      q.insert(q.end(), record.begin(), record.end());
    }
    sendto(fd_.get(), q.data(), q.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof(sockaddr_in));
  }

  UniqueFd fd_;
  uint16_t port_ = 0;
  std::atomic<bool> stop_{false}, released_{false};
  Guarded<std::map<std::string, int>> asked_;
  std::thread thread_;
};

struct Forwarding : ServerTest {
  Upstream upstream;
};

TEST_F(Forwarding, OutsideNamesComeFromTheUpstreamThenTheCache) {
  start({upstream.group()});
  UdpPeer peer(at);
  for (int i = 0; i < 3; i++) {
    auto a = peer.ask(make_query("www.example.org", 1, uint16_t(100 + i)));
    EXPECT_EQ(id_of(a), 100 + i);
    EXPECT_EQ(answers_of(a), 1);
    EXPECT_TRUE(flags_of(a) & kRa);
    EXPECT_TRUE(flags_of(a) & kRd);
  }
  auto c = counters();
  EXPECT_EQ(c.responses[size_t(Path::kForward)][0], 1u);
  EXPECT_EQ(c.responses[size_t(Path::kCache)][0], 2u);
  EXPECT_EQ(upstream.asked("www"), 1);
}

TEST_F(Forwarding, NamesThatAreAskedForOftenAreHandedOnUnlessTheirGroupIsNotCached) {
  Guarded<std::vector<std::string>> hot;
  options.cache.hot = [&](HotAnswer&& h) {
    hot.with([&](auto& names) { names.emplace_back(h.message.begin() + kHeader, h.message.end()); });
  };
  auto uncached = upstream.group("example.net");
  uncached.cached = false;
  start({upstream.group(), uncached});
  UdpPeer peer(at);
  for (const char* name : {"www.example.net", "WWW.example.org", "gone.example.org"})
    for (int i = 0; i < 8; i++) EXPECT_EQ(peer.ask(make_query(name, 1)).empty(), false);
  EXPECT_EQ(upstream.asked("gone"), 8) << "without SOA: not kept";
  EXPECT_EQ(upstream.asked("www"), 9);
  server->stop();
  hot.with([](auto& names) {
    ASSERT_EQ(names.size(), 1u);
    EXPECT_TRUE(names[0].starts_with("\3www\7example\3org"));
  });
}

TEST_F(Forwarding, AnAliasToOutsideComesWithAddresses) {
  start({upstream.group()});
  UdpPeer peer(at);
  for (int i = 0; i < 2; i++) {  // from the upstream, from the cache
    auto a = peer.ask(make_query("outside.test", 1, 7));
    EXPECT_EQ(id_of(a), 7);
    EXPECT_EQ(rcode_of(a), 0);
    EXPECT_EQ(answers_of(a), 2) << i;
    EXPECT_EQ(Bytes(a.end() - 4, a.end()), Bytes({192, 0, 2, 1}));
  }
  EXPECT_EQ(answers_of(TcpPeer(at).ask(make_query("outside.test", 1))), 2);
  EXPECT_EQ(upstream.asked("www"), 1);
}

TEST_F(Forwarding, WithoutRdNothingIsAsked) {
  start({upstream.group()});
  UdpPeer peer(at);
  EXPECT_EQ(rcode_of(peer.ask(make_query("www.example.org", 1, 1, 0))), 5);
  EXPECT_EQ(answers_of(peer.ask(make_query("outside.test", 1, 1, 0))), 1) << "the alias alone";
  EXPECT_EQ(upstream.asked("www"), 0);
  EXPECT_EQ(answers_of(peer.ask(make_query("www.example.org", 1))), 1);
  EXPECT_EQ(answers_of(peer.ask(make_query("www.example.org", 1, 1, 0))), 1) << "what the cache has";
}

TEST_F(Forwarding, PipelinedAnswersOvertake) {
  start({upstream.group()});
  TcpPeer peer(at);
  Bytes all = TcpPeer::framed(make_query("slow.example.org", 1, 1));
  for (uint16_t i = 2; i < 5; i++) {
    auto f = TcpPeer::framed(make_query("web.test", 1, i));
    all.insert(all.end(), f.begin(), f.end());
  }
  ASSERT_TRUE(peer.send(all));
  for (uint16_t i = 2; i < 5; i++) EXPECT_EQ(id_of(peer.receive()), i);
  upstream.release();
  auto last = peer.receive();
  EXPECT_EQ(id_of(last), 1);
  EXPECT_EQ(answers_of(last), 1);
}

TEST_F(Forwarding, NamesOfOursAreNeverSentOut) {
  start({upstream.group()});
  EXPECT_EQ(rcode_of(UdpPeer(at).ask(make_query("missing.test", 1))), 3);
  EXPECT_EQ(upstream.asked("missing"), 0);
}

TEST_F(Forwarding, GroupsWithoutUpstreamsFailAtOnce) {
  start({{*DnsName::parse("."), {}}});
  EXPECT_EQ(rcode_of(UdpPeer(at).ask(make_query("www.example.org", 1))), 2);
}

TEST_F(Forwarding, StopsWithQuestionsAtTheUpstream) {
  start({upstream.group()});
  UdpPeer udp(at);
  TcpPeer tcp(at);
  for (uint16_t i = 0; i < 50; i++) {
    udp.send(make_query("slow" + std::to_string(i) + ".org", 1, i));
    tcp.send(TcpPeer::framed(make_query("slow" + std::to_string(i) + ".net", 1, i)));
  }
  EXPECT_TRUE(eventually([&] { return counters().tcp_queries == 50; }));
  server.reset();
}

TEST_F(Forwarding, ClientsThatLeaveDoNoHarm) {
  start({upstream.group()});
  {
    TcpPeer tcp(at);
    tcp.send(TcpPeer::framed(make_query("slow.org", 1)));
    EXPECT_TRUE(eventually([&] { return upstream.asked("slow") == 1; }));
  }
  upstream.release();
  EXPECT_EQ(answers_of(UdpPeer(at).ask(make_query("slow2.org", 1))), 1);
  EXPECT_TRUE(eventually([&] { return counters().tcp_open == 0; }));
}

TEST_F(Forwarding, ExplainTellsWhoWasAsked) {
  start({upstream.group("example.org"), {*DnsName::parse("."), {}}});
  auto explain = [&](const char* name) {
    std::promise<Explained> told;
    server->explain(service.kind, make_query(name, 1), [&](Explained e) { told.set_value(std::move(e)); });
    return told.get_future().get();
  };
  auto first = explain("www.example.org");
  EXPECT_EQ(first.rule, "forward example.org.");
  EXPECT_EQ(first.path, Path::kForward);
  EXPECT_EQ(answers_of(first.answer), 1);
  ASSERT_FALSE(first.trace.asked.empty());
  auto second = explain("www.example.org");
  EXPECT_EQ(second.path, Path::kCache);
  ASSERT_TRUE(second.cache_left_s);
  EXPECT_GT(*second.cache_left_s, 0);
  EXPECT_EQ(server->flush_cache(*DnsName::parse("org.")), 1u);
  EXPECT_EQ(explain("outside.test").rule, "zone test., alias to outside");
}

}  // namespace
}  // namespace ls::dns
