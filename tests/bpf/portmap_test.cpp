// Host ports, one packet at a time: from outside, from other containers, from the container itself; what must not be touched; what a
// removed mapping leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

#include "bench.h"
#include "loadstar/abi/portmap.h"
#include "packet_checks.h"

namespace ls::test {
namespace {

struct Family {
  const char *name, *client, *host, *host2, *cont, *cont2, *other, *router;
};
constexpr Family kV4{"v4", "198.18.0.9", "10.0.0.1", "172.17.0.1", "9.0.1.10", "9.0.1.11", "10.3.0.1", "10.9.9.9"};
constexpr Family kV6{"v6", "2001:db8:9::9", "fd00::1", "fd00:17::1", "fd01:b::10", "fd01:b::11", "fd00:3::1", "fd00:9::9"};
constexpr uint16_t kHostPort = 8080, kPort = 80;

class PortMap : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
    b = std::make_unique<Bench>();
    f = GetParam();
    own(f.host);
    own(f.host2);
    map(f.cont);
  }
  uint8_t family() const { return IpAddress::parse(f.host)->is_v4() ? 4 : 6; }
  void own(const char* address, bool there = true) {
    ls_own e{};
    std::memcpy(e.addr_be, IpAddress::parse(address)->bytes().data(), 16);
    e.used = there;
    uint32_t at = ls_own_place(e.addr_be);
    ASSERT_EQ(bpf_map_update_elem(b->map_fd("ls_own"), &at, &e, BPF_ANY), 0);
  }
  void map(const char* container, uint16_t port = kPort) {
    for (uint8_t proto : {IPPROTO_TCP, IPPROTO_UDP}) {
      ls_portmap_key key{htobe16(kHostPort), proto, family()};
      ls_portmap value{};
      std::memcpy(value.addr_be, IpAddress::parse(container)->bytes().data(), 16);
      value.port_be = htobe16(port);
      ASSERT_EQ(bpf_map_update_elem(b->map_fd("ls_portmap"), &key, &value, BPF_ANY), 0);
    }
    b->ctl()->ports = 1;
  }
  void unmap() {
    for (uint8_t proto : {IPPROTO_TCP, IPPROTO_UDP}) {
      ls_portmap_key key{htobe16(kHostPort), proto, family()};
      ASSERT_EQ(bpf_map_delete_elem(b->map_fd("ls_portmap"), &key), 0);
    }
  }
  Packet in(uint8_t flags = kSyn) { return eth().ip(f.client, f.host).tcp(40000, kHostPort, flags); }
  Packet back(uint8_t flags = kSyn | kAck) { return eth().ip(f.cont, f.client).tcp(kPort, 40000, flags); }
  void expect_untouched(const char* hook, const Packet& p) {
    auto bytes = p.bytes();
    auto out = b->run(hook, bytes);
    EXPECT_EQ(out.verdict, kPass) << hook;
    EXPECT_EQ(out.frame, bytes) << hook;
  }

  std::unique_ptr<Bench> b;
  Family f{};
};
void PrintTo(const Family& f, std::ostream* os) { *os << f.name; }
INSTANTIATE_TEST_SUITE_P(Families, PortMap, testing::Values(kV4, kV6), [](auto& i) { return i.param.name; });

TEST_P(PortMap, FromOutsideThereAndBack) {
  auto out = b->run("ls_uplink_in", in());
  EXPECT_EQ(out.seen().text(), to(f.client, 40000) + " > " + to(f.cont, kPort) + " tcp S");
  sound(out.seen());
  EXPECT_EQ(b->verdicts(LS_HOOK_UPLINK_IN, LS_VERDICT_NEW), 1u);
  auto data = b->run("ls_uplink_in", in(kAck | kPsh).payload("hello"));
  EXPECT_EQ(data.seen().text(), to(f.client, 40000) + " > " + to(f.cont, kPort) + " tcp .");
  sound(data.seen());
  // The machine has no route here, so the reply is left to the stack as it is; met on its way out it is turned.
  expect_untouched("ls_port_in", back());
  auto reply = b->run("ls_port_out", back());
  EXPECT_EQ(reply.seen().text(), to(f.host, kHostPort) + " > " + to(f.client, 40000) + " tcp S.");
  sound(reply.seen());
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(PortMap, UdpAtEachAddress) {
  for (auto* host : {f.host, f.host2}) {
    uint16_t port = host == f.host ? 5000 : 5001;
    auto out = b->run("ls_uplink_in", eth().ip(f.client, host).udp(port, kHostPort).payload("question"));
    EXPECT_EQ(out.seen().text(), to(f.client, port) + " > " + to(f.cont, kPort) + " udp");
    sound(out.seen());
    auto reply = b->run("ls_port_out", eth().ip(f.cont, f.client).udp(kPort, port).payload("answer"));
    EXPECT_EQ(reply.seen().text(), to(host, kHostPort) + " > " + to(f.client, port) + " udp");
    sound(reply.seen());
  }
}

TEST_P(PortMap, AnotherContainerAndHairpin) {
  auto out = b->run("ls_port_in", eth().ip(f.cont2, f.host).tcp(40000, kHostPort, kSyn));
  EXPECT_EQ(out.seen().text(), to(f.cont2, 40000) + " > " + to(f.cont, kPort) + " tcp S");
  auto reply = b->run("ls_port_out", eth().ip(f.cont, f.cont2).tcp(kPort, 40000, kSyn | kAck));
  EXPECT_EQ(reply.seen().text(), to(f.host, kHostPort) + " > " + to(f.cont2, 40000) + " tcp S.");

  auto own = b->run("ls_bridge_in", eth().ip(f.cont, f.host).tcp(40001, kHostPort, kSyn));
  EXPECT_EQ(own.verdict, kRedirect);
  EXPECT_EQ(own.seen().text(), to(f.host, 40001) + " > " + to(f.cont, kPort) + " tcp S") << "no stack takes a packet from its own address";
  sound(own.seen());
  auto again = b->run("ls_bridge_in", eth().ip(f.cont, f.host).tcp(kPort, 40001, kSyn | kAck));
  EXPECT_EQ(again.verdict, kRedirect);
  EXPECT_EQ(again.seen().text(), to(f.host, kHostPort) + " > " + to(f.cont, 40001) + " tcp S.");
  sound(again.seen());
}

TEST_P(PortMap, WhatIsNotAHostPortIsUntouched) {
  for (auto hook : {"ls_uplink_in", "ls_port_in", "ls_bridge_in"}) {
    expect_untouched(hook, eth().ip(f.client, f.other).tcp(1, kHostPort, kSyn));                 // not an address of this machine
    expect_untouched(hook, eth().ip(f.client, f.host).tcp(1, kHostPort + 1, kSyn));              // not a mapped port
    expect_untouched(hook, eth().ip(f.client, f.host).tcp(1, kHostPort, kAck));                  // of a connection we know nothing of
    expect_untouched(hook, eth().ip(f.client, f.host).tcp(1, kHostPort, kSyn | kAck));           // the machine's own connection
    expect_untouched(hook, eth().ip(f.cont, f.client).tcp(kPort, 40000, kSyn | kAck));           // the container's own
  }
  for (auto hook : {"ls_uplink_out", "ls_lo", "ls_port_out"}) expect_untouched(hook, in());
  b->ctl()->ports = 0;
  expect_untouched("ls_uplink_in", in());
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(PortMap, ServicesComeFirst) {
  b->service(f.host, kHostPort, Protocol::kTcp, {{f.cont2, 99}});
  auto out = b->run("ls_port_in", eth().ip(f.cont2, f.host).tcp(40000, kHostPort, kSyn));
  EXPECT_EQ(out.seen().dport, 99);
  EXPECT_EQ(b->run("ls_uplink_in", in()).verdict, kDropped);
}

TEST_P(PortMap, FlowsEndWithTheirMapping) {
  auto udp = eth().ip(f.client, f.host).udp(5000, kHostPort).payload("x");
  EXPECT_EQ(b->run("ls_uplink_in", in()).seen().dst.text(), f.cont);
  EXPECT_EQ(b->run("ls_uplink_in", udp).seen().dst.text(), f.cont);
  unmap();
  auto out = b->run("ls_uplink_in", in(kAck).payload("x"));
  EXPECT_EQ(out.verdict, kRedirect);
  EXPECT_EQ(out.seen().text(), to(f.host, kHostPort) + " > " + to(f.client, 40000) + " tcp R") << "told at once";
  sound(out.seen());
  EXPECT_EQ(b->drops(LS_HOOK_UPLINK_IN, LS_DROP_BACKEND_DEAD), 1u);
  expect_untouched("ls_uplink_in", udp);
  expect_untouched("ls_port_out", back());  // the address' next owner, at its own port
  expect_untouched("ls_uplink_in", in());
}

// The machine itself, or a container on its network, listens at the port next: clients reuse their ports.
TEST_P(PortMap, TheMachineItselfMayHaveThePortNext) {
  EXPECT_EQ(b->run("ls_uplink_in", in()).seen().dst.text(), f.cont);
  unmap();
  expect_untouched("ls_uplink_in", in());
  expect_untouched("ls_uplink_in", in(kAck));
  expect_untouched("ls_uplink_in", in(kAck).payload("x"));
  expect_untouched("ls_uplink_in", in(kFin | kAck));
  EXPECT_EQ(b->drops(LS_HOOK_UPLINK_IN, LS_DROP_BACKEND_DEAD), 0u) << "nobody was reset";
  map(f.cont2, 81);
  EXPECT_EQ(b->run("ls_uplink_in", in()).seen().dst.text(), f.cont2);
  EXPECT_EQ(b->run("ls_uplink_in", in(kAck)).seen().dst.text(), f.cont2);
}

// One that was open when the mapping went is reset once; what follows is the machine's.
TEST_P(PortMap, AnOpenConnectionIsResetOnce) {
  b->run("ls_uplink_in", in());
  b->run("ls_port_out", back());
  unmap();
  EXPECT_EQ(b->run("ls_uplink_in", in(kAck).payload("x")).verdict, kRedirect);
  expect_untouched("ls_uplink_in", in());
  expect_untouched("ls_uplink_in", in(kAck));
  EXPECT_EQ(b->drops(LS_HOOK_UPLINK_IN, LS_DROP_BACKEND_DEAD), 1u);
}

TEST_P(PortMap, TheNextOwnerOfThePortGetsNewFlowsOnly) {
  EXPECT_EQ(b->run("ls_uplink_in", in()).seen().dst.text(), f.cont);
  EXPECT_EQ(b->run("ls_uplink_in", eth().ip(f.client, f.host).udp(5000, kHostPort)).seen().dst.text(), f.cont);
  unmap();
  map(f.cont2, 81);
  EXPECT_EQ(b->run("ls_uplink_in", in(kAck)).verdict, kRedirect) << "answered with a reset";
  EXPECT_EQ(b->run("ls_uplink_in", in()).seen().text(), to(f.client, 40000) + " > " + to(f.cont2, 81) + " tcp S");
  EXPECT_EQ(b->run("ls_uplink_in", in(kAck)).seen().dst.text(), f.cont2);
  EXPECT_EQ(b->run("ls_uplink_in", eth().ip(f.client, f.host).udp(5000, kHostPort)).seen().dport, 81);
  auto reply = b->run("ls_port_out", eth().ip(f.cont2, f.client).tcp(81, 40000, kSyn | kAck));
  EXPECT_EQ(reply.seen().text(), to(f.host, kHostPort) + " > " + to(f.client, 40000) + " tcp S.");
}

TEST_P(PortMap, AddressThatIsGoneAnswersNoMore) {
  b->run("ls_uplink_in", in());
  own(f.host, false);
  expect_untouched("ls_port_out", back());
  expect_untouched("ls_uplink_in", eth().ip(f.client, f.host).tcp(40001, kHostPort, kSyn));
}

TEST_P(PortMap, ClosedConnectionIsOpenedAnew) {
  b->run("ls_uplink_in", in());
  b->run("ls_port_out", back());
  b->run("ls_uplink_in", in(kFin | kAck));
  EXPECT_EQ(b->run("ls_uplink_in", in()).seen().dst.text(), f.cont);
  EXPECT_EQ(b->verdicts(LS_HOOK_UPLINK_IN, LS_VERDICT_NEW), 2u);
}

TEST_P(PortMap, IcmpErrorsFindTheirSender) {
  bool v4 = family() == 4;
  auto sent = b->run("ls_uplink_in", in(kSyn).payload("0123456789"));
  auto out = b->run("ls_port_in", eth().ip(f.cont, f.client).icmp_error(v4 ? 3 : 1, v4 ? 3 : 4, sent.frame));
  auto seen = out.seen();
  // The container itself complains. Of IPv4 it keeps its address: the machine takes nothing that comes from one of its own.
  EXPECT_EQ(seen.src.text(), v4 ? f.cont : f.host);
  EXPECT_EQ(seen.dst.text(), f.client);
  sound(seen);
  auto reply = b->run("ls_port_out", back().payload("0123456789"));
  auto about = b->run("ls_uplink_in", eth().ip(f.router, f.host).icmp_error(v4 ? 3 : 2, v4 ? 4 : 0, reply.frame));
  EXPECT_EQ(about.seen().dst.text(), f.cont) << "path MTU is the container's to know";
  sound(about.seen());
  unmap();
  auto in = eth().ip(f.router, f.host).icmp_error(v4 ? 3 : 2, v4 ? 4 : 0, reply.frame);
  expect_untouched("ls_uplink_in", in);
}

}  // namespace
}  // namespace ls::test
