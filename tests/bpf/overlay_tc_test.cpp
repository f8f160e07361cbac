// The overlay, one packet at a time: who it goes to, who may have sent it, what is refused and why. Both families.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "overlay_bench.h"
#include "packet_checks.h"
#include "overlay_tc.skel.h"

namespace ls::test {
namespace {

struct Family {
  const char *name, *own, *own2, *own_nobody, *remote, *third, *unallocated, *outside, *vtep1, *vtep2, *multicast, *link_local;
};
constexpr Family kV4{"v4",        "9.0.0.5",  "9.0.0.6", "9.0.0.9",    "9.0.1.5",    "9.0.2.5",   "9.9.9.9",
                     "192.0.2.1", "44.128.0.1", "44.128.0.2", "224.0.0.1", "0.0.0.0"};
constexpr Family kV6{"v6",           "fd01:b::5",   "fd01:b::6",   "fd01:b::9", "fd01:b:0:0:1::5", "fd01:b:0:0:2::5", "fd01:b:0:0:99::5",
                     "2001:db8::1", "fd01:a::1", "fd01:a::2", "ff02::16",        "fe80::1"};

const Bytes kContainerMac{2, 0, 0, 0, 0, 1};  // what Packet writes as the source
const Bytes kFrameTo{2, 0, 0, 0, 0, 2};       // and as the destination
const Bytes kOtherMac{2, 0, 0, 0, 0xaa, 6}, kGatewayMac{2, 0, 0, 0, 0xbb, 1};
constexpr uint32_t kNode1 = 0x0a000001, kNode2 = 0x0a000002;
constexpr uint32_t kOwnDevice = 1, kOtherDevice = 23;
constexpr uint32_t kSent = 0x4c4f;

Bytes bytes_of(const overlay::Mac& m) { return Bytes(m.begin(), m.end()); }

class OverlayTc : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
    b = std::make_unique<OverlayBench>();
    f = GetParam();
    b->container(f.own, kOwnDevice, kContainerMac, kGatewayMac);
    b->container(f.own2, kOtherDevice, kOtherMac, kGatewayMac);
  }
  Bytes packet(const char* from, const char* to, uint8_t ttl = 64, size_t payload = 10) const {
    return eth().ip(from, to).udp(4000, 53).ttl(ttl).payload(std::string(payload, 'x')).bytes();
  }
  bool v4() const { return std::string_view(f.name) == "v4"; }
  void to_tunnel(const OverlayBench::Outcome& out, uint32_t node, uint32_t peer) const {
    EXPECT_EQ(out.remote, node);
    EXPECT_EQ(out.local, kNode1);
    EXPECT_EQ(out.vni, overlay::kVni);
    EXPECT_EQ(out.seen().dmac, bytes_of(overlay_mac(peer)));
    EXPECT_EQ(out.seen().smac, bytes_of(overlay_mac(1)));
    sound(out.seen());
  }
  void dropped(const char* program, const Bytes& frame, ls_hook hook, ls_drop_reason reason, const std::string& outer = {},
               uint32_t vni = overlay::kVni) {
    auto before = b->drops(hook, reason), all = b->drops_total();
    EXPECT_EQ(b->run(program, frame, outer, vni).verdict, kDropped) << see(frame).text();
    EXPECT_EQ(b->drops(hook, reason), before + 1) << see(frame).text();
    EXPECT_EQ(b->drops_total(), all + 1);
  }
  void untouched(const char* program, const Bytes& frame, const std::string& outer = {}) {
    auto out = b->run(program, frame, outer);
    EXPECT_EQ(out.verdict, kPass) << see(frame).text();
    EXPECT_EQ(out.frame, frame) << see(frame).text();
    EXPECT_TRUE(!outer.empty() || !out.remote) << "a tunnel was set";
  }

  std::unique_ptr<OverlayBench> b;
  Family f{};
};
void PrintTo(const Family& f, std::ostream* os) { *os << f.name; }
INSTANTIATE_TEST_SUITE_P(Families, OverlayTc, testing::Values(kV4, kV6), [](auto& i) { return i.param.name; });

// ---------------------------------------------------------------- egress of the VTEP

TEST_P(OverlayTc, RoutedPacketGetsItsTunnel) {
  auto out = b->run("probe_out", packet("10.0.0.1", "9.0.1.5"));
  to_tunnel(out, kNode2, 2);
  out = b->run("probe_out", packet(f.own, f.remote));
  EXPECT_EQ(out.verdict, kPass);
  to_tunnel(out, kNode2, 2);
  EXPECT_EQ(out.seen().ttl, 64) << "the stack took its hop off already";
  out = b->run("probe_out", packet(f.vtep1, f.third));
  to_tunnel(out, 0x0a000003, 3);
  out = b->run("probe_out", packet(f.vtep1, f.vtep2));
  to_tunnel(out, kNode2, 2);
  EXPECT_EQ(b->count(LS_OVL_HOOK_OUT, LS_OVL_TUNNEL), 4u);
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(OverlayTc, WhatHasNobodyStaysHere) {
  dropped("probe_out", packet(f.own, f.unallocated), LS_HOOK_OVL_OUT, LS_DROP_OVL_UNALLOCATED);
  dropped("probe_out", packet(f.own, f.outside), LS_HOOK_OVL_OUT, LS_DROP_OVL_UNALLOCATED);
  dropped("probe_out", packet(f.own, f.own_nobody), LS_HOOK_OVL_OUT, LS_DROP_OVL_NOT_HERE);
  dropped("probe_out", packet(f.own, f.multicast), LS_HOOK_OVL_OUT, LS_DROP_OVL_NOT_UNICAST);
  auto arp = packet(f.own, f.remote);
  arp[12] = 8, arp[13] = 6;
  dropped("probe_out", arp, LS_HOOK_OVL_OUT, LS_DROP_OVL_NOT_UNICAST);
}

TEST_P(OverlayTc, SwitchedOffLeavesEverythingToTheStack) {
  b->tables().disable();
  for (auto program : {"probe_out", "probe_in", "probe_port", "probe_bridge"}) untouched(program, packet(f.own, f.remote));
}

// ---------------------------------------------------------------- ingress of the VTEP

TEST_P(OverlayTc, ArrivingPacketGoesStraightToItsContainer) {
  auto out = b->run("probe_in", packet(f.remote, f.own2), "10.0.0.2");
  EXPECT_EQ(out.verdict, kRedirect);
  EXPECT_EQ(out.redirect, kOtherDevice);
  EXPECT_FALSE(out.peer);
  auto s = out.seen();
  EXPECT_EQ(s.dmac, kOtherMac);
  EXPECT_EQ(s.smac, kGatewayMac);
  EXPECT_EQ(s.ttl, 63);
  sound(s);
  EXPECT_EQ(b->count(LS_OVL_HOOK_IN, LS_OVL_LOCAL), 1u);
}

TEST_P(OverlayTc, ArrivingPacketForTheStack) {
  untouched("probe_in", packet(f.remote, f.own_nobody), "10.0.0.2");  // no entry: bridge and routes
  untouched("probe_in", packet(f.remote, f.vtep1), "10.0.0.2");
  untouched("probe_in", packet(f.vtep2, f.own_nobody), "10.0.0.2");
  untouched("probe_in", packet(f.remote, f.own2, 1), "10.0.0.2");     // the stack says that its time is exceeded
  untouched("probe_in", packet(f.remote, f.own2, 64, 1450), "10.0.0.2");  // and that it is too large
  if (v4()) {
    untouched("probe_in", packet(f.remote, "10.0.0.1"), "10.0.0.2");  // this node's own address
    untouched("probe_in", packet("10.0.0.2", f.own_nobody), "10.0.0.2");
  }
  b->container(f.own2, 0, kOtherMac, kGatewayMac);
  untouched("probe_in", packet(f.remote, f.own2), "10.0.0.2");
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(OverlayTc, OnlyTheOwnerOfASourceMaySendFromIt) {
  auto good = packet(f.remote, f.own);
  dropped("probe_in", good, LS_HOOK_OVL_IN, LS_DROP_OVL_SPOOF, "10.0.0.3");
  dropped("probe_in", good, LS_HOOK_OVL_IN, LS_DROP_OVL_SPOOF, "192.0.2.9");
  dropped("probe_in", packet(f.unallocated, f.own), LS_HOOK_OVL_IN, LS_DROP_OVL_SPOOF, "10.0.0.2");
  dropped("probe_in", packet(f.outside, f.own), LS_HOOK_OVL_IN, LS_DROP_OVL_SPOOF, "10.0.0.2");
  dropped("probe_in", packet(f.own2, f.own), LS_HOOK_OVL_IN, LS_DROP_OVL_SPOOF, "10.0.0.2");  // claims to be from here
  dropped("probe_in", packet(f.own2, f.own), LS_HOOK_OVL_IN, LS_DROP_OVL_SPOOF, "10.0.0.1");
  dropped("probe_in", good, LS_HOOK_OVL_IN, LS_DROP_OVL_VNI, "10.0.0.2", overlay::kVni + 1);
  dropped("probe_in", good, LS_HOOK_OVL_IN, LS_DROP_OVL_VNI, "10.0.0.2", 0);
  dropped("probe_in", good, LS_HOOK_OVL_IN, LS_DROP_OVL_VNI);  // through no tunnel
}

TEST_P(OverlayTc, OnlyForThisNode) {
  dropped("probe_in", packet(f.remote, f.third), LS_HOOK_OVL_IN, LS_DROP_OVL_NOT_HERE, "10.0.0.2");
  dropped("probe_in", packet(f.remote, f.outside), LS_HOOK_OVL_IN, LS_DROP_OVL_NOT_HERE, "10.0.0.2");
  dropped("probe_in", packet(f.remote, f.unallocated), LS_HOOK_OVL_IN, LS_DROP_OVL_UNALLOCATED, "10.0.0.2");
  dropped("probe_in", packet(f.remote, f.multicast), LS_HOOK_OVL_IN, LS_DROP_OVL_NOT_UNICAST, "10.0.0.2");
  auto arp = packet(f.remote, f.own);
  arp[12] = 8, arp[13] = 6;
  dropped("probe_in", arp, LS_HOOK_OVL_IN, LS_DROP_OVL_NOT_UNICAST, "10.0.0.2");
}

TEST_P(OverlayTc, PacketsOfServicesPassTheContainersDevice) {
  datapath::OverlaySelf self;
  self.node = overlay_node(1).node;
  self.mac = overlay_mac(1);
  self.vtep_ifindex = OverlayBench::kVtep;
  self.redirect_peer = true;
  ASSERT_FALSE(*b->tables().configure(self, overlay_plan()));
  auto arrive = [&](const Bytes& frame) {
    auto out = b->run("probe_in", frame, "10.0.0.2");
    EXPECT_EQ(out.verdict, kRedirect);
    EXPECT_EQ(out.redirect, kOtherDevice);
    return out.peer;
  };
  EXPECT_TRUE(arrive(packet(f.remote, f.own2)));
  EXPECT_TRUE(arrive(eth().ip(f.remote, f.own2).l4_raw(1, Bytes(16)).bytes())) << "echo and the like concern no service";
  // A flow that load balancing knows: its reply has to be turned back at the device.
  b->flow(f.remote, 53, f.own2, 4000, Protocol::kUdp);
  EXPECT_FALSE(arrive(eth().ip(f.remote, f.own2).udp(53, 4000).payload("x").bytes()));
  EXPECT_TRUE(arrive(eth().ip(f.remote, f.own2).udp(53, 4001).payload("x").bytes()));
  // Nobody can say: fragments without ports, errors about a packet that may have been translated.
  EXPECT_FALSE(arrive(eth().ip(f.remote, f.own2).udp(53, 4001).payload(std::string(64, 'x')).fragment(1480, false, 7).bytes()));
  auto quoted = eth().ip(f.own2, f.remote).udp(4001, 53).payload("x").bytes();
  EXPECT_FALSE(arrive(eth().ip(f.remote, f.own2).icmp_error(v4() ? 3 : 1, v4() ? 3 : 4, quoted).bytes()));
}

// ---------------------------------------------------------------- containers

TEST_P(OverlayTc, ContainerGoesStraightIntoTheTunnel) {
  auto out = b->run("probe_port", packet(f.own, f.remote));
  EXPECT_EQ(out.verdict, kRedirect);
  EXPECT_EQ(out.redirect, OverlayBench::kVtep);
  EXPECT_EQ(out.tc_index, kSent);
  EXPECT_EQ(out.seen().ttl, 63);
  to_tunnel(out, kNode2, 2);
  EXPECT_EQ(b->count(LS_OVL_HOOK_PORT, LS_OVL_TUNNEL), 1u);
  if (v4()) {
    out = b->run("probe_port", packet(f.own, "10.0.0.2"));  // another node's own address, and the container keeps its own
    EXPECT_EQ(out.redirect, OverlayBench::kVtep);
    EXPECT_EQ(out.seen().src.text(), f.own);
    to_tunnel(out, kNode2, 2);
  }
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(OverlayTc, WhatTheStackDoes) {
  untouched("probe_port", packet(f.own, f.outside));  // services, the world
  untouched("probe_port", packet(f.own, f.own_nobody));
  untouched("probe_port", packet(f.own, f.vtep1));
  untouched("probe_port", packet(f.own, f.remote, 1));
  untouched("probe_port", packet(f.own, f.own2, 1));
  untouched("probe_port", packet(f.own, f.own));
  untouched("probe_port", packet(f.own, f.multicast));
  untouched("probe_port", packet(f.link_local, f.multicast));
  auto arp = packet(f.own, f.remote);
  arp[12] = 8, arp[13] = 6;
  untouched("probe_port", arp);
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_P(OverlayTc, UnallocatedAddressIsRefusedAtTheContainer) {
  dropped("probe_port", packet(f.own, f.unallocated), LS_HOOK_OVL_PORT, LS_DROP_OVL_UNALLOCATED);
}

TEST_P(OverlayTc, ContainerMaySendFromItsOwnAddressOnly) {
  for (auto to : {f.remote, f.outside, f.own2}) {
    dropped("probe_port", packet(f.own2, to), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);  // of another device
    dropped("probe_port", packet(f.own_nobody, to), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
    dropped("probe_port", packet(f.remote, to), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
    dropped("probe_port", packet(f.outside, to), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
    dropped("probe_port", packet(f.vtep1, to), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
  }
  auto frame = packet(f.own, f.remote);
  frame[11] = 9;  // of another MAC
  dropped("probe_port", frame, LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
}

TEST_P(OverlayTc, BridgeOfUnknownContainersMaySendFromThisNodesShare) {
  auto out = b->run("probe_bridge", packet(f.own_nobody, f.remote));
  EXPECT_EQ(out.redirect, OverlayBench::kVtep);
  to_tunnel(out, kNode2, 2);
  dropped("probe_bridge", packet(f.remote, f.third), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
  dropped("probe_bridge", packet(f.outside, f.third), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
  dropped("probe_bridge", packet(f.vtep1, f.third), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);
  dropped("probe_bridge", packet(f.own2, f.third), LS_HOOK_OVL_PORT, LS_DROP_OVL_SPOOF);  // known, and of another device
}

TEST_P(OverlayTc, ContainersOfOneNodeReachEachOtherWithoutTheStack) {
  auto routed = b->run("probe_port", packet(f.own, f.own2));
  EXPECT_EQ(routed.verdict, kRedirect);
  EXPECT_EQ(routed.redirect, kOtherDevice);
  EXPECT_EQ(routed.seen().dmac, kOtherMac);
  EXPECT_EQ(routed.seen().smac, kGatewayMac);
  EXPECT_EQ(routed.seen().ttl, 63);
  sound(routed.seen());
  b->container(f.own2, kOtherDevice, kFrameTo, kGatewayMac);  // the frame is addressed to it: one bridge
  auto in = packet(f.own, f.own2, 1);
  auto switched = b->run("probe_port", in);
  EXPECT_EQ(switched.redirect, kOtherDevice);
  EXPECT_EQ(switched.frame, in);
}

TEST_P(OverlayTc, TooLargeIsAnswered) {
  auto in = packet(f.own, f.remote, 64, 1450);
  auto out = b->run("probe_port", in);
  EXPECT_EQ(out.verdict, kRedirect);
  EXPECT_EQ(out.redirect, kOwnDevice);
  auto s = out.seen();
  EXPECT_EQ(int(s.icmp_type), v4() ? 3 : 2);
  EXPECT_EQ(int(s.icmp_code), v4() ? 4 : 0);
  EXPECT_EQ(s.dst.text(), f.own);
  EXPECT_EQ(s.dmac, kContainerMac);
  sound(s);
  uint32_t mtu = uint32_t(out.frame[s.l4 + 4]) << 24 | uint32_t(out.frame[s.l4 + 5]) << 16 | uint32_t(out.frame[s.l4 + 6]) << 8 |
                 out.frame[s.l4 + 7];
  EXPECT_EQ(mtu, OverlayBench::kMtu);
  EXPECT_EQ(see_quote(out.frame).text(), see(in).text());
  EXPECT_EQ(b->count(LS_OVL_HOOK_PORT, LS_OVL_ANSWERED), 1u);
  // Exactly as large as fits.
  size_t headers = v4() ? 28 : 48;
  EXPECT_EQ(b->run("probe_port", packet(f.own, f.remote, 64, OverlayBench::kMtu - headers)).redirect, OverlayBench::kVtep);
  EXPECT_EQ(b->run("probe_port", packet(f.own, f.remote, 64, OverlayBench::kMtu - headers + 1)).redirect, kOwnDevice);
  if (v4()) {  // may be cut: the stack does it
    in[20] &= 0xbf;
    uint16_t sum = uint16_t(in[24] << 8 | in[25]);
    uint32_t mended = uint32_t(sum) + 0x4000;
    mended = (mended & 0xffff) + (mended >> 16);
    in[24] = uint8_t(mended >> 8), in[25] = uint8_t(mended);
    untouched("probe_port", in);
  }
}

TEST_P(OverlayTc, ChangedAnywhereItIsNeverSentOnAsAnother) {
  auto whole = packet(f.own, f.remote);
  size_t headers = v4() ? 34 : 54;
  // Any octet of the headers: it goes to the node that its destination says, or not into the tunnel.
  for (size_t at = 0; at < headers; at++) {
    for (int bit = 0; bit < 8; bit++) {
      auto bad = whole;
      bad[at] = uint8_t(bad[at] ^ 1 << bit);
      auto out = b->run("probe_port", bad);
      if (out.redirect != OverlayBench::kVtep) continue;
      auto s = see(bad);
      auto owner = b->tables().find(s.dst);
      ASSERT_TRUE(owner && *owner) << at << " " << bit;
      EXPECT_EQ(out.remote, (*owner)->node.v4()) << at << " " << bit;
      EXPECT_EQ(s.src.text(), f.own) << at << " " << bit;
    }
  }
}

// ---------------------------------------------------------------- change

TEST_P(OverlayTc, PeersComeAndGo) {
  auto node = overlay_node(4);
  auto to = v4() ? "9.0.3.7" : "fd01:b:0:0:3::7";
  dropped("probe_port", packet(f.own, to), LS_HOOK_OVL_PORT, LS_DROP_OVL_UNALLOCATED);
  ASSERT_TRUE(b->tables().put(node));
  to_tunnel(b->run("probe_port", packet(f.own, to)), 0x0a000004, 4);
  node.vtep.mac = overlay_mac(99);
  ASSERT_TRUE(b->tables().put(node));
  to_tunnel(b->run("probe_port", packet(f.own, to)), 0x0a000004, 99);
  ASSERT_TRUE(b->tables().remove(node.node));
  dropped("probe_port", packet(f.own, to), LS_HOOK_OVL_PORT, LS_DROP_OVL_UNALLOCATED);
  dropped("probe_in", packet(to, f.own), LS_HOOK_OVL_IN, LS_DROP_OVL_SPOOF, "10.0.0.4");
}

TEST_P(OverlayTc, SharesOfAnotherLengthAreFound) {
  auto node = overlay_node(4);
  for (auto& s : node.shares) {
    if (s.v4) s.v4 = IpNetwork::parse("9.0.64.0/18");
    if (s.v6) s.v6 = IpNetwork::parse("fd01:b:0:0:4000::/66");
  }
  ASSERT_TRUE(b->tables().put(node));
  to_tunnel(b->run("probe_port", packet(f.own, v4() ? "9.0.100.7" : "fd01:b:0:0:5000::7")), 0x0a000004, 4);
  auto reply = b->run("probe_in", packet(v4() ? "9.0.100.7" : "fd01:b:0:0:5000::7", f.own2), "10.0.0.4");
  EXPECT_EQ(reply.redirect, kOtherDevice);
  dropped("probe_port", packet(f.own, v4() ? "9.0.128.7" : "fd01:b:0:0:8000::7"), LS_HOOK_OVL_PORT, LS_DROP_OVL_UNALLOCATED);
}

// ---------------------------------------------------------------- ingress of the NIC

struct Tunnel {
  std::string from = "10.0.0.2", to = "10.0.0.1";
  uint16_t port = 64000;
  uint32_t vni = overlay::kVni;
  uint8_t flags = 8;
  bool checksum = false;
  overlay::Mac mac = overlay_mac(1);
};

Bytes in_tunnel(Bytes inner, const Tunnel& t = {}) {
  std::copy(t.mac.begin(), t.mac.end(), inner.begin());
  std::string payload{char(t.flags), 0, 0, 0, char(t.vni >> 16), char(t.vni >> 8), char(t.vni), 0};
  payload.append(inner.begin(), inner.end());
  auto p = eth().ip(t.from, t.to).udp(40000, t.port).payload(payload);
  if (!t.checksum) p.no_udp_checksum();
  auto frame = p.bytes();
  std::fill(frame.begin(), frame.begin() + 6, 0);  // the MAC of the device of test runs
  return frame;
}

class OverlayUplink : public testing::Test {
 protected:
  void SetUp() override {
    if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
    b = std::make_unique<OverlayBench>();
    b->container(kV4.own2, kOtherDevice, kOtherMac, kGatewayMac);
    b->container(kV6.own2, kOtherDevice, kOtherMac, kGatewayMac);
  }
  static Bytes inner(const char* from = kV4.remote, const char* to = kV4.own2, uint8_t ttl = 64, size_t payload = 10) {
    return eth().ip(from, to).udp(4000, 53).ttl(ttl).payload(std::string(payload, 'x')).bytes();
  }
  void left_alone(const Bytes& frame, const char* why) {
    auto out = b->run("probe_uplink", frame);
    EXPECT_EQ(out.verdict, kPass) << why;
    EXPECT_EQ(out.frame, frame) << why;
  }
  std::unique_ptr<OverlayBench> b;
};

TEST_F(OverlayUplink, PlainPacketIsTakenOutOfItsTunnel) {
  for (size_t n : {0, 1, 100, 1392}) {
    auto in = inner(kV4.remote, kV4.own2, 64, n);
    auto out = b->run("probe_uplink", in_tunnel(in));
    EXPECT_EQ(out.verdict, kRedirect);
    EXPECT_EQ(out.redirect, kOtherDevice);
    auto s = out.seen();
    EXPECT_EQ(s.text(), see(in).text());
    EXPECT_EQ(s.dmac, kOtherMac);
    EXPECT_EQ(s.smac, kGatewayMac);
    EXPECT_EQ(s.ttl, 63);
    EXPECT_TRUE(s.ok && s.ip_check_ok && s.l4_check_ok);
    EXPECT_EQ(s.payload.size(), n);
    EXPECT_EQ(out.frame.size(), in.size());
  }
  EXPECT_EQ(b->count(LS_OVL_HOOK_IN, LS_OVL_LOCAL), 4u);
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_F(OverlayUplink, AllElseIsLeftToTheVtep) {
  auto good = inner();
  left_alone(in_tunnel(good, {.from = "10.0.0.3"}), "not the owner of the source");
  left_alone(in_tunnel(good, {.from = "192.0.2.1"}), "no node");
  left_alone(in_tunnel(good, {.to = "10.0.0.9"}), "not to this node");
  left_alone(in_tunnel(good, {.port = 4789}), "another port");
  left_alone(in_tunnel(good, {.vni = 7}), "another network");
  left_alone(in_tunnel(good, {.flags = 0}), "no network number");
  left_alone(in_tunnel(good, {.flags = 0x88}), "an extension");
  left_alone(in_tunnel(good, {.checksum = true}), "a checksum that nobody has looked at");
  left_alone(in_tunnel(good, {.mac = overlay_mac(9)}), "another MAC");
  left_alone(in_tunnel(inner(kV4.remote, kV4.own_nobody)), "no entry");
  left_alone(in_tunnel(inner(kV4.remote, kV4.third)), "of another node");
  left_alone(in_tunnel(inner(kV4.unallocated)), "nobody's source");
  left_alone(in_tunnel(inner(kV4.own)), "this node's source");
  left_alone(in_tunnel(inner(kV4.remote, kV4.own2, 1)), "end of its TTL");
  left_alone(in_tunnel(inner(kV4.remote, kV4.own2, 64, 1393)), "too large");
  left_alone(in_tunnel(inner(kV6.remote, kV6.own2)), "IPv6 inside");
  left_alone(good, "no tunnel");
  auto marked = in_tunnel(good);
  marked[15] = 3;
  left_alone(marked, "congestion was experienced");
  auto fragment = in_tunnel(good);
  fragment[20] = 0x20;
  left_alone(fragment, "fragmented outside");
  auto longer = in_tunnel(good);
  longer.push_back(0);
  left_alone(longer, "padded");
  b->tables().disable();
  left_alone(in_tunnel(good), "switched off");
  EXPECT_EQ(b->drops_total(), 0u);
}

TEST_F(OverlayUplink, ChangedAnywhereItIsDeliveredToItsContainerOrNotAtAll) {
  auto whole = in_tunnel(inner());
  for (size_t at = 0; at < 84; at++) {
    for (int bit = 0; bit < 8; bit++) {
      auto bad = whole;
      bad[at] = uint8_t(bad[at] ^ 1 << bit);
      auto out = b->run("probe_uplink", bad);
      if (out.verdict != kRedirect) continue;
      EXPECT_EQ(out.redirect, kOtherDevice) << at << " " << bit;
      EXPECT_EQ(out.seen().dst.text(), kV4.own2) << at << " " << bit;
      EXPECT_EQ((*b->tables().find(out.seen().src))->node.text(), "10.0.0.2") << at << " " << bit;
    }
  }
}

TEST(OverlayPrograms, TheVerifierTakesThem) {
  if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
  auto* skel = overlay_tc__open_and_load();
  ASSERT_TRUE(skel) << std::strerror(errno);
  for (auto* p : {skel->progs.ls_ovl_out, skel->progs.ls_ovl_in, skel->progs.ls_ovl_uplink,
                  skel->progs.ls_ovl_port, skel->progs.ls_ovl_bridge, skel->progs.ls_ovl_try}) {
    bpf_prog_info info{};
    uint32_t len = sizeof info;
    ASSERT_EQ(bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len), 0);
    RecordProperty(std::string(bpf_program__name(p)) + "_verified", int(info.verified_insns));
    EXPECT_LT(info.verified_insns, 20'000u) << bpf_program__name(p);
  }
  overlay_tc__destroy(skel);
}

}  // namespace
}  // namespace ls::test
