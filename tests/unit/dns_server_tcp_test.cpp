// The server over TCP: framing, pipelining, limits, time-outs, zone transfer.
#include "dns_server_fixture.h"

namespace ls::dns {
namespace {

using Tcp = ServerTest;

TEST_F(Tcp, OctetByOctet) {
  start();
  TcpPeer peer(at);
  for (uint8_t octet : TcpPeer::framed(make_query("web.test", 1, 5))) ASSERT_TRUE(peer.send({octet}));
  auto a = peer.receive();
  EXPECT_EQ(id_of(a), 5);
  EXPECT_EQ(answers_of(a), 2);
}

TEST_F(Tcp, ManyInOneSegmentAndMoreThanTheBuffer) {
  start();
  TcpPeer peer(at);
  Bytes all;
  for (uint16_t i = 0; i < 1000; i++) {
    auto f = TcpPeer::framed(make_query("web.test", 1, i));
    all.insert(all.end(), f.begin(), f.end());
  }
  ASSERT_TRUE(peer.send(all));
  for (uint16_t i = 0; i < 1000; i++) ASSERT_EQ(id_of(peer.receive()), i);
  EXPECT_EQ(counters().tcp_queries, 1000u);
}

TEST_F(Tcp, HalfClosedIsStillAnswered) {
  start();
  TcpPeer peer(at);
  ASSERT_TRUE(peer.send(TcpPeer::framed(make_query("web.test", 1))));
  shutdown(peer.fd(), SHUT_WR);
  EXPECT_EQ(answers_of(peer.receive()), 2);
  EXPECT_TRUE(peer.ended());
}

TEST_F(Tcp, IdleConnectionsEnd) {
  options.tcp_idle = Millis(200);
  start();
  TcpPeer silent(at), halfway(at);
  ASSERT_TRUE(halfway.send({0}));
  EXPECT_TRUE(silent.ended());
  EXPECT_TRUE(halfway.ended());
  EXPECT_TRUE(eventually([&] { return counters().tcp_open == 0; }));
  EXPECT_EQ(counters().tcp_timeouts, 2u);
}

TEST_F(Tcp, DrippingOctetsDoNotKeepItOpen) {
  options.tcp_idle = Millis(200);
  start();
  TcpPeer peer(at);
  auto octets = TcpPeer::framed(make_query("a-rather-long-name-so-that-it-takes-its-time.test", 1));
  size_t sent = 0;
  for (; sent < octets.size() && peer.send({octets[sent]}); sent++) std::this_thread::sleep_for(Millis(40));
  EXPECT_LT(sent, octets.size());
  EXPECT_EQ(counters().tcp_timeouts, 1u);
}

TEST_F(Tcp, LimitPerClientAndInAll) {
  options.tcp_per_client = 3;
  start();
  std::vector<std::unique_ptr<TcpPeer>> open;
  for (int i = 0; i < 3; i++) {
    open.push_back(std::make_unique<TcpPeer>(at));
    ASSERT_EQ(answers_of(open.back()->ask(make_query("web.test", 1))), 2);
  }
  EXPECT_TRUE(TcpPeer(at).ended());
  EXPECT_EQ(counters().tcp_refused, 1u);
  open.pop_back();
  EXPECT_TRUE(eventually([&] { return answers_of(TcpPeer(at).ask(make_query("web.test", 1))) == 2; }));
}

TEST_F(Tcp, QuestionsOfOneConnectionAreLimited) {
  options.tcp_queries = 3;
  start();
  TcpPeer peer(at);
  for (int i = 0; i < 3; i++) EXPECT_EQ(answers_of(peer.ask(make_query("web.test", 1))), 2);
  EXPECT_TRUE(peer.ended());
}

TEST_F(Tcp, AClientThatDoesNotReadIsDropped) {
  options.tcp_idle = Millis(300);
  start();
  std::string many;
  for (int i = 0; i < 250; i++) many += "many 60 A 10.1.0." + std::to_string(i) + "\n";
  set_zone(many);
  TcpPeer peer(at);
  int small = 4096;
  setsockopt(peer.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  auto q = TcpPeer::framed(make_query("many.test", 1));
  // 4 KiB an answer: the server's queue and all windows are full long before this ends.
  for (int i = 0; i < 20'000; i++) {
    if (!peer.send(q)) break;
  }
  EXPECT_TRUE(eventually([&] { return counters().tcp_timeouts == 1 && counters().tcp_open == 0; }));
  EXPECT_LT(counters().tcp_queries, 20'000u) << "reading stops";
}

TEST_F(Tcp, TransferToWhoMay) {
  service.transfer = {*IpNetwork::parse("127.0.0.1")};
  start();
  auto zone = TcpPeer(at).ask(make_query("test", 252));
  EXPECT_EQ(rcode_of(zone), 0);
  EXPECT_GE(answers_of(zone), 9);
  EXPECT_EQ(rcode_of(TcpPeer(at).ask(make_query("web.test", 252))), 5) << "no zone";
  EXPECT_EQ(rcode_of(TcpPeer(at).ask(make_query("other", 252))), 5);
  EXPECT_EQ(answers_of(TcpPeer(at).ask(make_query("test", 251))), answers_of(zone)) << "IXFR as AXFR";
  EXPECT_EQ(rcode_of(UdpPeer(at).ask(make_query("test", 252))), 1) << "not over UDP";
  auto again = UdpPeer(at).ask(make_query("test", 251));
  EXPECT_TRUE(flags_of(again) & kTc);
  EXPECT_EQ(counters().transfers, 2u);
}

TEST_F(Tcp, TransfersInOneSegmentWaitForTheirTurn) {
  service.transfer = {*IpNetwork::parse("127.0.0.1/32")};
  start();
  std::string many = "ns 60 A 127.0.0.1\n";
  for (int i = 0; i < 8000; i++) many += "t" + std::to_string(i) + " 60 TXT \"" + std::string(200, 'x') + "\"\n";
  set_zone(many);
  ASSERT_TRUE(eventually([&] { return answers_of(UdpPeer(at).ask(make_query("t1.test", 16))) == 1; }));
  constexpr int kAsked = 60;
  Bytes all;
  for (uint16_t i = 0; i < kAsked; i++) {
    auto f = TcpPeer::framed(make_query("test", 252, i));
    all.insert(all.end(), f.begin(), f.end());
  }
  TcpPeer peer(at);
  ASSERT_TRUE(peer.send(all));
  shutdown(peer.fd(), SHUT_WR);
  ASSERT_TRUE(eventually([&] { return counters().transfers > 0; }));
  ASSERT_GT(TcpPeer(at).ask(make_query("t1.test", 16)).size(), 0u);
  EXPECT_LT(counters().transfers, unsigned(kAsked)) << "the rest is not made before the client has read";
  int octets = 0;
  for (Bytes m = peer.receive(); !m.empty(); m = peer.receive()) octets += int(m.size());
  EXPECT_EQ(counters().transfers, unsigned(kAsked)) << octets;
  EXPECT_GT(octets, kAsked * 8000 * 200);
}

TEST_F(Tcp, NoTransferToOthers) {
  start();
  EXPECT_EQ(rcode_of(TcpPeer(at).ask(make_query("test", 252))), 5) << "nobody by default";
  server.reset();
  service.transfer = {*IpNetwork::parse("10.0.0.0/8")};
  start();
  EXPECT_EQ(rcode_of(TcpPeer(at).ask(make_query("test", 252))), 5);
  EXPECT_EQ(rcode_of(UdpPeer(at).ask(make_query("test", 251))), 5);
  EXPECT_EQ(counters().transfers, 0u);
}

TEST_F(Tcp, StopEndsOpenConnections) {
  start();
  TcpPeer peer(at);
  ASSERT_EQ(answers_of(peer.ask(make_query("web.test", 1))), 2);
  server.reset();
  EXPECT_TRUE(peer.ended());
}

}  // namespace
}  // namespace ls::dns
