// The packet path, one packet at a time: a test reads as a packet's life. Both directions, both checksums, both families.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench.h"
#include "packet_checks.h"

namespace ls::test {
namespace {

struct Family {  // addresses of one family
  const char *name, *client, *vip, *be1, *be2, *router, *other;
};
constexpr Family kV4{"v4", "10.1.0.5", "11.0.0.1", "10.2.0.7", "10.2.0.8", "10.9.9.9", "10.3.0.1"};
constexpr Family kV6{"v6", "fd00:1::5", "fd01:c::1", "fd00:2::7", "fd00:2::8", "fd00:9::9", "fd00:3::1"};

class LbTc : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
    b = std::make_unique<Bench>();
    f = GetParam();
  }
  void one_backend(Protocol p = Protocol::kTcp) { b->service(f.vip, 80, p, {{f.be1, 8080}}); }
  Packet from_client(uint8_t flags = kSyn, uint16_t sport = 40000) {
    return eth().ip(f.client, f.vip).tcp(sport, 80, flags);
  }

  std::unique_ptr<Bench> b;
  Family f{};
};
void PrintTo(const Family& f, std::ostream* os) { *os << f.name; }
INSTANTIATE_TEST_SUITE_P(Families, LbTc, testing::Values(kV4, kV6), [](auto& i) { return i.param.name; });

TEST_P(LbTc, TcpThereAndBack) {
  one_backend();
  auto out = b->run("ls_port_in", from_client().payload(""));
  EXPECT_EQ(out.verdict, kPass);
  EXPECT_EQ(out.seen().text(), to(f.client, 40000) + " > " + to(f.be1, 8080) + " tcp S");
  sound(out.seen());
  for (auto hook : {"ls_uplink_in", "ls_port_in", "ls_port_out", "ls_lo"}) {
    auto back = b->run(hook, eth().ip(f.be1, f.client).tcp(8080, 40000, kSyn | kAck).payload("x"));
    EXPECT_EQ(back.seen().text(), to(f.vip, 80) + " > " + to(f.client, 40000) + " tcp S.") << hook;
    sound(back.seen());
  }
  auto data = b->run("ls_port_in", from_client(kAck | kPsh).payload("hello"));
  EXPECT_EQ(data.seen().text(), to(f.client, 40000) + " > " + to(f.be1, 8080) + " tcp .");
  sound(data.seen());
  EXPECT_EQ(b->verdicts(LS_HOOK_PORT_IN, LS_VERDICT_NEW), 1u);
  EXPECT_EQ(b->verdicts(LS_HOOK_PORT_IN, LS_VERDICT_FORWARD), 1u);
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(LbTc, UdpThereAndBack) {
  one_backend(Protocol::kUdp);
  auto out = b->run("ls_port_in", eth().ip(f.client, f.vip).udp(5000, 80).payload("question"));
  EXPECT_EQ(out.seen().text(), to(f.client, 5000) + " > " + to(f.be1, 8080) + " udp");
  sound(out.seen());
  auto back = b->run("ls_uplink_in", eth().ip(f.be1, f.client).udp(8080, 5000).payload("answer"));
  EXPECT_EQ(back.seen().text(), to(f.vip, 80) + " > " + to(f.client, 5000) + " udp");
  sound(back.seen());
}

TEST_P(LbTc, OddPayloadLengthsKeepChecksumsRight) {
  one_backend();
  one_backend(Protocol::kUdp);
  for (size_t n = 0; n < 40; n++) {
    std::string data(n, char('a' + n % 26));
    sound(b->run("ls_port_in", from_client(kAck).payload(data)).seen());
    sound(b->run("ls_port_in", eth().ip(f.client, f.vip).udp(uint16_t(6000 + n), 80).payload(data)).seen());
  }
}

TEST_P(LbTc, UdpWithoutChecksumStaysWithout) {
  if (!IpAddress::parse(f.vip)->is_v4()) return;  // IPv6 has no such packets (RFC 8200 8.1)
  one_backend(Protocol::kUdp);
  auto out = b->run("ls_port_in", eth().ip(f.client, f.vip).udp(5000, 80).no_udp_checksum().payload("x"));
  auto s = out.seen();
  EXPECT_EQ(s.dst.text(), f.be1);
  EXPECT_EQ(out.frame[s.l4 + 6] | out.frame[s.l4 + 7], 0);
}

TEST_P(LbTc, WhatIsNotAServiceIsUntouched) {
  one_backend();
  for (auto hook : {"ls_port_in", "ls_port_out", "ls_uplink_in", "ls_uplink_out", "ls_lo"}) {
    for (auto& p : {eth().ip(f.client, f.other).tcp(1, 80, kSyn), eth().ip(f.client, f.vip).tcp(1, 81, kSyn),
                    eth().ip(f.client, f.vip).udp(1, 80), eth().ip(f.be1, f.client).tcp(8080, 40000, kSyn | kAck)}) {
      auto in = p.bytes();
      auto out = b->run(hook, in);
      EXPECT_EQ(out.verdict, kPass);
      EXPECT_EQ(out.frame, in) << hook;
    }
  }
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(LbTc, ServiceIsNotDialledFromOutside) {
  one_backend();
  EXPECT_EQ(b->run("ls_uplink_in", from_client()).verdict, kDropped);
  EXPECT_EQ(b->drops(LS_HOOK_UPLINK_IN, LS_DROP_NOT_FROM_OUTSIDE), 1u);
}

TEST_P(LbTc, NoBackendAnswersTcpWithReset) {
  b->service(f.vip, 80, Protocol::kTcp, {{f.be1, 8080}}, {0});
  auto out = b->run("ls_port_in", eth().ip(f.client, f.vip).tcp(40000, 80, kSyn, 777));
  EXPECT_EQ(out.verdict, kRedirect);
  auto s = out.seen();
  EXPECT_EQ(s.text(), to(f.vip, 80) + " > " + to(f.client, 40000) + " tcp .R");
  EXPECT_EQ(s.ack, 778u);
  sound(s);
  EXPECT_EQ(s.dmac, (Bytes{2, 0, 0, 0, 0, 1}));
  EXPECT_EQ(b->drops(LS_HOOK_PORT_IN, LS_DROP_NO_BACKEND), 1u);
  // A reset is never answered by a reset.
  EXPECT_EQ(b->run("ls_port_in", from_client(kRst)).verdict, kDropped);
}

TEST_P(LbTc, NoBackendAnswersUdpWithPortUnreachable) {
  b->service(f.vip, 80, Protocol::kUdp, {{f.be1, 8080}}, {0});
  for (size_t n : {0, 1, 40, 1000}) {
    auto in = eth().ip(f.client, f.vip).udp(5000, 80).payload(std::string(n, 'x'));
    auto out = b->run("ls_port_in", in);
    EXPECT_EQ(out.verdict, kRedirect);
    auto s = out.seen();
    bool v4 = s.src.is_v4();
    EXPECT_EQ(int(s.icmp_type), v4 ? 3 : 1);
    EXPECT_EQ(int(s.icmp_code), v4 ? 3 : 4);
    EXPECT_EQ(s.src.text(), f.vip);
    EXPECT_EQ(s.dst.text(), f.client);
    sound(s);
    auto q = see_quote(out.frame);
    EXPECT_EQ(q.text(), to(f.client, 5000) + " > " + to(f.vip, 80) + " udp");
  }
}

TEST_P(LbTc, DeadBackendResetsTcpAndMovesUdp) {
  one_backend();
  b->service(f.vip, 80, Protocol::kUdp, {{f.be1, 9090}});
  b->run("ls_port_in", from_client());
  b->run("ls_port_in", eth().ip(f.client, f.vip).udp(5000, 80));
  b->service(f.vip, 80, Protocol::kTcp, {{f.be2, 8080}});
  b->service(f.vip, 80, Protocol::kUdp, {{f.be2, 9090}});
  b->set_state(f.be1, 8080, LS_BE_DEAD);
  b->set_state(f.be1, 9090, LS_BE_DEAD);

  auto rst = b->run("ls_port_in", eth().ip(f.client, f.vip).tcp(40000, 80, kAck, 5000, 7000).payload("data"));
  EXPECT_EQ(rst.verdict, kRedirect);
  EXPECT_EQ(rst.seen().text(), to(f.vip, 80) + " > " + to(f.client, 40000) + " tcp R");
  EXPECT_EQ(rst.seen().seq, 7000u);
  sound(rst.seen());
  EXPECT_EQ(b->drops(LS_HOOK_PORT_IN, LS_DROP_BACKEND_DEAD), 1u);
  EXPECT_EQ(b->run("ls_port_in", from_client()).seen().dst.text(), f.be2) << "a new SYN starts a new flow";
  auto udp = b->run("ls_port_in", eth().ip(f.client, f.vip).udp(5000, 80));
  EXPECT_EQ(udp.seen().dst.text(), f.be2);
  EXPECT_EQ(b->run("ls_uplink_in", eth().ip(f.be2, f.client).udp(9090, 5000)).seen().src.text(), f.vip);
}

TEST_P(LbTc, ReusedBackendNumberIsNotTheOldBackend) {
  one_backend();
  b->run("ls_port_in", from_client());
  b->bump_generation(f.be1, 8080);
  EXPECT_EQ(b->run("ls_port_in", from_client(kAck)).verdict, kRedirect) << "reset, not the new owner of the number";
  EXPECT_EQ(b->run("ls_uplink_in", eth().ip(f.be1, f.client).tcp(8080, 40000, kAck)).verdict, kDropped);
}

TEST_P(LbTc, DrainingKeepsOpenFlowsAndTakesNoNew) {
  b->service(f.vip, 80, Protocol::kTcp, {{f.be1, 8080}});
  b->run("ls_port_in", from_client());
  b->service(f.vip, 80, Protocol::kTcp, {{f.be1, 8080}, {f.be2, 8080}}, {0, 1});
  EXPECT_EQ(b->run("ls_port_in", from_client(kAck)).seen().dst.text(), f.be1);
  for (uint16_t port = 41000; port < 41200; port++)
    EXPECT_EQ(b->run("ls_port_in", from_client(kSyn, port)).seen().dst.text(), f.be2);
}

TEST_P(LbTc, SynOnClosingFlowStartsANewOne) {
  one_backend();
  b->run("ls_port_in", from_client());
  b->run("ls_port_in", from_client(kAck));
  b->service(f.vip, 80, Protocol::kTcp, {{f.be1, 8080}, {f.be2, 8080}}, {0, 1});
  EXPECT_EQ(b->run("ls_port_in", from_client()).seen().dst.text(), f.be1) << "SYN on an open flow stays";
  b->run("ls_uplink_in", eth().ip(f.be1, f.client).tcp(8080, 40000, kFin | kAck));
  EXPECT_EQ(b->run("ls_port_in", from_client(kAck)).seen().dst.text(), f.be1) << "the end of the old one still passes";
  EXPECT_EQ(b->run("ls_port_in", from_client()).seen().dst.text(), f.be2);
  EXPECT_EQ(b->run("ls_uplink_in", eth().ip(f.be2, f.client).tcp(8080, 40000, kSyn | kAck)).seen().src.text(), f.vip);
  EXPECT_EQ(b->run("ls_port_in", from_client(kAck)).seen().dst.text(), f.be2);
}

TEST_P(LbTc, HairpinShowsTheServiceAsClient) {
  b->service(f.vip, 80, Protocol::kTcp, {{f.client, 8080}});
  auto out = b->run("ls_port_in", from_client());
  EXPECT_EQ(out.verdict, kRedirect);
  EXPECT_EQ(out.seen().text(), to(f.vip, 40000) + " > " + to(f.client, 8080) + " tcp S");
  EXPECT_EQ(out.seen().dmac, (Bytes{2, 0, 0, 0, 0, 1})) << "back to the container that sent it";
  sound(out.seen());
  auto back = b->run("ls_port_in", eth().ip(f.client, f.vip).tcp(8080, 40000, kSyn | kAck));
  EXPECT_EQ(back.verdict, kRedirect);
  EXPECT_EQ(back.seen().text(), to(f.vip, 80) + " > " + to(f.client, 40000) + " tcp S.");
  sound(back.seen());
  EXPECT_EQ(b->run("ls_port_in", from_client(kAck)).seen().text(),
            to(f.vip, 40000) + " > " + to(f.client, 8080) + " tcp .");
}

TEST_P(LbTc, IcmpErrorAboutARequestComesBackAsSent) {
  one_backend();
  auto sent = b->run("ls_port_in", from_client());
  bool v4 = IpAddress::parse(f.vip)->is_v4();
  for (auto hook : {"ls_uplink_in", "ls_port_out", "ls_port_in"}) {
    auto out = b->run(hook, eth().ip(f.router, f.client).icmp_error(v4 ? 3 : 2, v4 ? 4 : 0, sent.frame));
    EXPECT_EQ(out.seen().src.text(), f.router) << hook;
    sound(out.seen());
    auto q = see_quote(out.frame);
    EXPECT_EQ(q.text(), to(f.client, 40000) + " > " + to(f.vip, 80) + " tcp S");
    EXPECT_TRUE(q.ip_check_ok);
  }
  // The backend itself complains: its address must not appear.
  auto own = b->run("ls_uplink_in", eth().ip(f.be1, f.client).icmp_error(v4 ? 3 : 1, v4 ? 3 : 4, sent.frame));
  EXPECT_EQ(own.seen().src.text(), f.vip);
  sound(own.seen());
  // With eight quoted bytes of transport, the least RFC 792 asks for.
  auto cut = b->run("ls_uplink_in", eth().ip(f.router, f.client).icmp_error(v4 ? 11 : 3, 0, sent.frame, v4 ? 28 : 48));
  EXPECT_EQ(see_quote(cut.frame).dst.text(), f.vip);
  sound(cut.seen());
  EXPECT_EQ(b->verdicts(LS_HOOK_UPLINK_IN, LS_VERDICT_ICMP), 3u);
}

TEST_P(LbTc, IcmpErrorAboutAReplyReachesTheBackend) {
  one_backend(Protocol::kUdp);
  b->run("ls_port_in", eth().ip(f.client, f.vip).udp(5000, 80));
  auto reply = b->run("ls_uplink_in", eth().ip(f.be1, f.client).udp(8080, 5000).payload("late"));
  bool v4 = IpAddress::parse(f.vip)->is_v4();
  auto out = b->run("ls_port_in", eth().ip(f.client, f.vip).icmp_error(v4 ? 3 : 1, v4 ? 3 : 4, reply.frame));
  EXPECT_EQ(out.seen().dst.text(), f.be1);
  EXPECT_EQ(out.seen().src.text(), f.client);
  sound(out.seen());
  EXPECT_EQ(see_quote(out.frame).text(), to(f.be1, 8080) + " > " + to(f.client, 5000) + " udp");
}

TEST_P(LbTc, IcmpErrorOfStrangersIsUntouched) {
  one_backend();
  b->run("ls_port_in", from_client());
  auto stranger = eth().ip(f.client, f.other).tcp(40000, 80, kSyn).bytes();
  auto in = eth().ip(f.router, f.client).icmp_error(3, 1, stranger).bytes();
  EXPECT_EQ(b->run("ls_uplink_in", in).frame, in);
}

TEST_P(LbTc, FragmentsFollowTheFirst) {
  one_backend(Protocol::kUdp);
  auto whole = eth().ip(f.client, f.vip).udp(5000, 80).payload(std::string(2000, 'f')).bytes();
  bool v4 = IpAddress::parse(f.vip)->is_v4();
  size_t l4 = v4 ? 34 : 54;
  Bytes first(whole.begin() + long(l4), whole.begin() + long(l4 + 1400)), rest(whole.begin() + long(l4 + 1400), whole.end());
  auto later = eth().ip(f.client, f.vip).fragment(1400, false, 99).l4_raw(17, rest).bytes();
  EXPECT_EQ(b->run("ls_port_in", later).frame, later) << "before its first fragment nothing is known";
  auto out1 = b->run("ls_port_in", eth().ip(f.client, f.vip).fragment(0, true, 99).l4_raw(17, first));
  EXPECT_EQ(out1.seen().dst.text(), f.be1);
  EXPECT_EQ(out1.seen().dport, 8080);
  auto out2 = b->run("ls_port_in", later);
  EXPECT_EQ(out2.seen().dst.text(), f.be1);
  EXPECT_TRUE(out2.seen().ip_check_ok);
  // Put together again, the datagram's checksum is right.
  size_t head = v4 ? 34 : 62;
  Bytes all(out1.frame.begin() + long(head), out1.frame.end());
  all.insert(all.end(), out2.frame.begin() + long(head), out2.frame.end());
  EXPECT_EQ(all.size(), 2008u);
  auto again = eth().ip(f.client, f.be1).l4_raw(17, all).bytes();
  EXPECT_TRUE(see(again).l4_check_ok);
}

TEST_P(LbTc, OptionsAndExtensionHeadersAreStepped) {
  one_backend();
  for (size_t words : {1, 3, 9}) {
    auto out = b->run("ls_port_in", from_client(kSyn, uint16_t(42000 + words)).ip_options(words));
    EXPECT_EQ(out.seen().dst.text(), f.be1) << words;
    sound(out.seen());
  }
}

TEST_P(LbTc, TruncatedAtEveryByteIsNeverTranslatedWrongly) {
  one_backend();
  auto whole = from_client().ip_options(2).payload("0123456789").bytes();
  size_t ran = 0;
  for (size_t n = 15; n < whole.size(); n++) {
    Bytes cut(whole.begin(), whole.begin() + long(n));
    auto out = b->run("ls_port_in", cut);
    if (out.verdict == kRefused) continue;
    EXPECT_EQ(out.frame, cut) << "cut to " << n << " bytes";
    EXPECT_EQ(out.verdict, kPass);
    ran++;
  }
  EXPECT_GE(ran, whole.size() - 54);
}

TEST_P(LbTc, FullTableFallsBackToTheHash) {
  b = std::make_unique<Bench>(BenchOptions{.flow_buckets = 16});
  b->service(f.vip, 80, Protocol::kTcp, {{f.be1, 8080}, {f.be2, 8080}});
  std::map<uint16_t, std::string> chosen;
  for (uint16_t port = 20000; port < 20200; port++) {
    auto out = b->run("ls_port_in", from_client(kSyn, port));
    EXPECT_EQ(out.verdict, kPass);
    chosen[port] = out.seen().dst.text();
  }
  EXPECT_GT(b->verdicts(LS_HOOK_PORT_IN, LS_VERDICT_STATELESS), 50u);
  EXPECT_GT(b->ctl()->overflows, 50u);
  for (auto& [port, be] : chosen) {
    EXPECT_EQ(b->run("ls_port_in", from_client(kAck, port)).seen().dst.text(), be) << "same backend, entry or not";
    auto back = b->run("ls_uplink_in", eth().ip(be, f.client).tcp(8080, port, kAck));
    EXPECT_EQ(back.seen().text(), to(f.vip, 80) + " > " + to(f.client, port) + " tcp .") << "replies are turned back";
  }
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(LbTc, ClientPortSharedByTwoServicesOfOneBackend) {
  b->service(f.vip, 80, Protocol::kTcp, {{f.be1, 8080}});
  b->service(f.vip, 81, Protocol::kTcp, {{f.be1, 8080}, {f.be2, 8080}});
  b->run("ls_port_in", from_client());
  // be1:8080 <-> client:40000 belongs to port 80; the flow to port 81 must go elsewhere.
  auto out = b->run("ls_port_in", eth().ip(f.client, f.vip).tcp(40000, 81, kSyn));
  EXPECT_EQ(out.verdict, kPass);
  EXPECT_EQ(b->run("ls_uplink_in", eth().ip(f.be1, f.client).tcp(8080, 40000, kAck)).seen().sport, 80);
}

}  // namespace
}  // namespace ls::test
