// Where translated packets go: cached next hops, TTL, MTU, local addresses, unknown neighbours; on real devices.
#include <gtest/gtest.h>
#include <net/if.h>

#include <cstdlib>

#include "bench.h"

namespace ls::test {
namespace {

struct Net {
  const char *name, *client, *vip, *be, *local;
};
constexpr Net kV4{"v4", "10.1.0.5", "11.0.0.1", "10.2.0.7", "10.2.255.254"};
constexpr Net kV6{"v6", "fd00:1::5", "fd01:c::1", "fd00:2::7", "fd00:2::fe"};

class NextHop : public testing::TestWithParam<Net> {
 protected:
  void SetUp() override {
    if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
    b = std::make_unique<Bench>();
    n = GetParam();
    sh("ip link set lo up");
    sh("ip link add cl type veth peer name cl1 && ip link add be type veth peer name be1");
    sh("ip addr add 10.1.255.254/16 dev cl && ip addr add 10.2.255.254/16 dev be");
    sh("ip addr add fd00:1::fe/64 dev cl nodad && ip addr add fd00:2::fe/64 dev be nodad");
    sh("for d in cl cl1 be be1; do ip link set $d up; done");
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    neighbour("02:00:00:00:aa:01");
    b->service(n.vip, 80, Protocol::kTcp, {{n.be, 8080}});
  }
  static void sh(const std::string& c) { ASSERT_EQ(std::system(c.c_str()), 0) << c; }
  void neighbour(const std::string& mac) { sh(std::string("ip neigh replace ") + n.be + " lladdr " + mac + " dev be"); }
  Out send(uint8_t ttl = 64, size_t payload = 0, uint16_t port = 40000) {
    auto p = eth().ip(n.client, n.vip).tcp(port, 80, kAck).ttl(ttl).payload(std::string(payload, 'x'));
    return b->run("ls_port_in", p.bytes(), if_nametoindex("cl"));
  }
  std::unique_ptr<Bench> b;
  Net n{};
};
INSTANTIATE_TEST_SUITE_P(Families, NextHop, testing::Values(kV4, kV6), [](auto& i) { return i.param.name; });

TEST_P(NextHop, ForwardsWithMacsAndTtl) {
  for (int i = 0; i < 3; i++) {  // asked for, then from the cache
    auto out = send();
    EXPECT_EQ(out.verdict, kRedirect);
    EXPECT_EQ(out.seen().dmac, (Bytes{2, 0, 0, 0, 0xaa, 1}));
    EXPECT_EQ(int(out.seen().ttl), 63);
    EXPECT_TRUE(out.seen().ip_check_ok && out.seen().l4_check_ok);
  }
}

TEST_P(NextHop, ChangedNeighbourCountsAtOnce) {
  send();
  neighbour("02:00:00:00:aa:02");
  b->ctl()->nh_gen++;  // what the controller does on the kernel's event
  EXPECT_EQ(send().seen().dmac, (Bytes{2, 0, 0, 0, 0xaa, 2}));
}

TEST_P(NextHop, EndOfTtlIsTheStacks) {
  auto out = send(1);
  EXPECT_EQ(out.verdict, kPass);
  EXPECT_EQ(int(out.seen().ttl), 1);
  EXPECT_EQ(out.seen().dst.text(), n.be) << "translated; the stack's ICMP error is translated back at port_out";
}

TEST_P(NextHop, TooLongForTheLinkIsTheStacks) {
  EXPECT_EQ(send(64, 1400).verdict, kRedirect);
  sh("ip link set be mtu 1300");
  b->ctl()->nh_gen++;
  auto out = send(64, 1400);
  EXPECT_EQ(out.verdict, kPass);
  EXPECT_EQ(int(out.seen().ttl), 64);
}

TEST_P(NextHop, LocalBackendGoesUp) {
  b->service(n.vip, 80, Protocol::kTcp, {{n.local, 8080}});
  auto out = send(64, 0, 41000);
  EXPECT_EQ(out.verdict, kPass);
  EXPECT_EQ(out.seen().dst.text(), n.local);
  EXPECT_EQ(int(out.seen().ttl), 64);
}

TEST_P(NextHop, UnknownNeighbourIsResolvedByTheKernel) {
  sh(std::string("ip neigh del ") + n.be + " dev be");
  b->ctl()->nh_gen++;
  auto out = send();
  EXPECT_EQ(out.verdict, kRedirect);
  EXPECT_EQ(int(out.seen().ttl), 63);
}

TEST_P(NextHop, LeavingABridgeIsTheStacks) {
  auto p = eth().ip(n.client, n.vip).tcp(40000, 80, kSyn).bytes();
  auto out = b->run("ls_bridge_in", p, if_nametoindex("cl"));
  EXPECT_EQ(out.verdict, kPass) << "so that its masquerade rule sees the packet";
  EXPECT_EQ(out.seen().dst.text(), n.be);
  EXPECT_EQ(int(out.seen().ttl), 64);
  EXPECT_TRUE(out.seen().ip_check_ok && out.seen().l4_check_ok);
  // Addressed to the device it leaves through: it stays on the same bridge.
  sh("ip link set be address 02:00:00:00:00:02");
  neighbour("02:00:00:00:aa:01");
  b->ctl()->nh_gen++;
  EXPECT_EQ(b->run("ls_bridge_in", p, if_nametoindex("cl")).verdict, kRedirect);
}

TEST_P(NextHop, HostClientReachesLocalAndRemote) {
  auto syn = eth().ip(n.local, n.vip).tcp(40000, 80, kSyn).bytes();
  auto out = b->run("ls_uplink_out", syn, if_nametoindex("cl"));
  EXPECT_EQ(out.verdict, kRedirect);
  EXPECT_EQ(out.seen().dmac, (Bytes{2, 0, 0, 0, 0xaa, 1}));
  EXPECT_EQ(int(out.seen().ttl), 64) << "the host's own packet is not forwarded by itself";
  b->service(n.vip, 81, Protocol::kTcp, {{n.local, 8081}});
  auto own = b->run("ls_uplink_out", eth().ip(n.local, n.vip).tcp(40001, 81, kSyn).bytes(), if_nametoindex("cl"));
  EXPECT_EQ(own.verdict, kRedirect) << "to loopback";
  EXPECT_EQ(own.seen().dmac, Bytes(6, 0)) << "loopback's address";
  EXPECT_EQ(own.seen().text().find(n.local) != std::string::npos, true);
}

}  // namespace
}  // namespace ls::test
