// The overlay's device: made once, repaired in place, taken away again; and the static wiring that it replaces.
#include <gmock/gmock.h>

#include "datapath/overlay_device.h"
#include "datapath/overlay_static.h"
#include "netlink/objects.h"
#include "netlink/vxlan.h"
#include "support/netns_fixture.h"

namespace ls {
namespace {

using datapath::OverlayDeviceSpec;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

IpNetwork net(const std::string& text) { return IpNetwork::parse(text).value(); }
IpAddress addr(const std::string& text) { return IpAddress::parse(text).value(); }

overlay::Plan plan() {
  overlay::Plan p;
  p.vtep4 = net("44.128.0.0/20");
  p.vtep6 = net("fd01:a::/64");
  p.overlays.push_back({"dcos", overlay::Pool{net("9.0.0.0/8"), 24}, std::nullopt, true});
  p.overlays.push_back({"dcos6", std::nullopt, overlay::Pool{net("fd01:b::/64"), 80}, true});
  return p;
}

overlay::Allocation node(uint32_t n) {
  overlay::Allocation a;
  a.node = IpAddress::from_v4(0x0a000000 + n);
  a.vtep.v4 = {IpAddress::from_v4(0x2c800000 + n), 20};
  a.vtep.v6 = overlay::InterfaceAddress{addr(fmt::format("fd01:a::{:x}", n)), 64};
  a.vtep.mac = {0x70, 0xb3, 0xd5, 0x80, 0, uint8_t(n)};
  overlay::Share v4, v6;
  v4.overlay = "dcos";
  v4.v4 = IpNetwork{IpAddress::from_v4(0x09000000 + ((n - 1) << 8)), 120};
  v6.overlay = "dcos6";
  v6.v6 = net(fmt::format("fd01:b:0:0:{:x}::/80", n - 1));
  a.shares = {v4, v6};
  return a;
}

class OverlayDevice : public test::NetnsFixture {
 protected:
  static OverlayDeviceSpec spec() { return datapath::device_spec(plan(), node(1), 1500); }
  static datapath::OverlayDeviceReport ensure(const OverlayDeviceSpec& s = spec()) {
    auto r = datapath::ensure_overlay_device(s);
    EXPECT_TRUE(r) << r.error().text();
    return r.value_or(datapath::OverlayDeviceReport{});
  }
  static netlink::Vxlan device() {
    auto v = netlink::read_vxlan("vtep1024");
    EXPECT_TRUE(v && *v);
    return v && *v ? **v : netlink::Vxlan{};
  }
};

TEST_F(OverlayDevice, IsWhatTheTunnelNeeds) {
  auto made = ensure();
  EXPECT_TRUE(made.made);
  auto v = device();
  EXPECT_EQ(v.ifindex, made.ifindex);
  EXPECT_EQ(v.kind, "vxlan");
  EXPECT_TRUE(v.metadata);
  EXPECT_EQ(v.udp_port, 64000);
  EXPECT_FALSE(v.learning);
  EXPECT_EQ(v.local, addr("10.0.0.1"));
  EXPECT_EQ(v.mac, node(1).vtep.mac);
  EXPECT_EQ(v.mtu, 1450u);
  EXPECT_TRUE(v.up);
  EXPECT_FALSE(v.arp);
  auto text = output("ip -d link show vtep1024");
  EXPECT_THAT(text, HasSubstr("noudpcsum"));
  EXPECT_THAT(text, HasSubstr("alias loadstar"));
  EXPECT_THAT(output("ip addr show vtep1024"), HasSubstr("inet 44.128.0.1/20"));
  EXPECT_THAT(output("ip addr show vtep1024"), HasSubstr("inet6 fd01:a::1/64"));
  EXPECT_THAT(output("ip route get 9.200.3.4"), HasSubstr("via 169.254.1.1 dev vtep1024 src 44.128.0.1"));
  EXPECT_THAT(output("ip route get 44.128.7.7"), HasSubstr("dev vtep1024 src 44.128.0.1"));
  EXPECT_THAT(output("ip route get fd01:b:0:0:77::1"), HasSubstr("via fe80::1 dev vtep1024"));
  EXPECT_THAT(output("ip route get fd01:a::9"), HasSubstr("dev vtep1024"));
  EXPECT_EQ(output("cat /proc/sys/net/ipv6/conf/vtep1024/disable_ipv6"), "0\n");
  EXPECT_EQ(output("cat /proc/sys/net/ipv4/conf/vtep1024/rp_filter"), "2\n");
  EXPECT_EQ(netlink::list_neighbours(made.ifindex)->size(), 2u);
  EXPECT_EQ(netlink::list_routes(made.ifindex)->size(), 4u) << output("ip route; ip -6 route");
}

TEST_F(OverlayDevice, SecondTimeChangesNothing) {
  ensure();
  auto w = netlink::read_vxlan("vtep1024");
  auto again = ensure();
  EXPECT_FALSE(again.made);
  EXPECT_THAT(again.repaired, IsEmpty());
  EXPECT_EQ(again.ifindex, (*w)->ifindex);
}

TEST_F(OverlayDevice, WhatSomebodyChangedIsRepairedInPlace) {
  int index = ensure().ifindex;
  run("ip link set vtep1024 mtu 1300 address 02:00:00:00:00:99 arp on");
  EXPECT_THAT(ensure().repaired, Contains("device"));
  EXPECT_THAT(ensure().repaired, IsEmpty());
  run("ip addr del 44.128.0.1/20 dev vtep1024");
  auto without_address = ensure().repaired;  // the kernel takes routes with that source away too
  EXPECT_THAT(without_address, Contains("address"));
  EXPECT_THAT(without_address, Contains("route"));
  run("ip -6 addr del fd01:a::1/64 dev vtep1024; ip addr add 192.0.2.9/32 dev vtep1024");
  EXPECT_THAT(ensure().repaired, Contains("address"));
  EXPECT_THAT(output("ip addr show vtep1024"), Not(HasSubstr("192.0.2.9")));
  EXPECT_THAT(output("ip addr show vtep1024"), HasSubstr("fd01:a::1/64"));
  run("ip route del 9.0.0.0/8; ip -6 route del fd01:b::/64");
  EXPECT_THAT(ensure().repaired, ElementsAre("route"));
  run("ip neigh del 169.254.1.1 dev vtep1024");
  EXPECT_THAT(ensure().repaired, ElementsAre("neighbour"));
  run("ip link set vtep1024 down");
  EXPECT_THAT(ensure().repaired, Contains("device"));
  run("sysctl -qw net.ipv6.conf.vtep1024.disable_ipv6=1 net.ipv4.conf.vtep1024.rp_filter=1");
  auto last = ensure();
  EXPECT_THAT(last.repaired, Contains("disable_ipv6"));
  EXPECT_THAT(last.repaired, Contains("rp_filter"));
  EXPECT_EQ(device().ifindex, index) << "never replaced";
  EXPECT_EQ(device().mtu, 1450u);
  EXPECT_THAT(ensure().repaired, IsEmpty());
}

TEST_F(OverlayDevice, NewPlanIsTakenOverInPlace) {
  int index = ensure().ifindex;
  auto p = plan();
  p.vtep_mtu = 1420;
  p.overlays[0].v4->network = net("10.64.0.0/12");
  p.overlays.push_back({"blue", overlay::Pool{net("10.128.0.0/16"), 24}, std::nullopt, true});
  auto self = node(1);
  self.vtep.v4 = {addr("44.128.0.7"), 20};
  self.vtep.mac[5] = 7;
  auto changed = ensure(datapath::device_spec(p, self, 1500));
  EXPECT_FALSE(changed.made);
  EXPECT_EQ(device().ifindex, index);
  EXPECT_EQ(device().mtu, 1420u);
  EXPECT_EQ(device().mac, self.vtep.mac);
  auto routes = output("ip route");
  EXPECT_THAT(routes, HasSubstr("10.64.0.0/12"));
  EXPECT_THAT(routes, HasSubstr("10.128.0.0/16"));
  EXPECT_THAT(routes, Not(HasSubstr("9.0.0.0/8")));
  EXPECT_THAT(output("ip route get 44.128.7.7"), HasSubstr("src 44.128.0.7"));
  EXPECT_THAT(ensure(datapath::device_spec(p, self, 1500)).repaired, IsEmpty());
}

TEST_F(OverlayDevice, StaticDeviceOfTheSameNameIsReplaced) {
  run("ip link add vtep1024 type vxlan id 1024 dstport 64000");
  run("ip link set vtep1024 up; ip addr add 44.128.0.1/20 dev vtep1024");
  EXPECT_TRUE(ensure().made);
  EXPECT_TRUE(device().metadata);
  run("ip link del vtep1024; ip link add vtep1024 type bridge");
  EXPECT_TRUE(ensure().made);
}

TEST_F(OverlayDevice, RoutesOfOthersStay) {
  ensure();
  run("ip route add 198.51.100.0/24 dev vtep1024");
  EXPECT_THAT(ensure().repaired, IsEmpty());
  EXPECT_THAT(output("ip route"), HasSubstr("198.51.100.0/24"));
}

TEST_F(OverlayDevice, OnlyOursIsRemoved) {
  EXPECT_FALSE(*datapath::remove_overlay_device());
  run("ip link add vtep1024 type vxlan id 1024 dstport 64000");
  EXPECT_FALSE(*datapath::remove_overlay_device());
  ensure();
  EXPECT_TRUE(*datapath::remove_overlay_device());
  EXPECT_EQ(ifindex("vtep1024"), 0);
  EXPECT_THAT(output("ip route; ip -6 route"), Not(HasSubstr("vtep1024")));
}

TEST_F(OverlayDevice, NodeWithoutIpv6) {
  auto p = plan();
  p.vtep6.reset();
  p.overlays.pop_back();
  auto self = node(1);
  self.vtep.v6.reset();
  ensure(datapath::device_spec(p, self, 9000));
  EXPECT_EQ(device().mtu, 8950u);
  EXPECT_THAT(output("ip -6 route"), Not(HasSubstr("fd01")));
  OverlayDeviceSpec bad = spec();
  bad.name = "not/a/name";
  EXPECT_FALSE(datapath::ensure_overlay_device(bad));
}

// ---- static ----

class OverlayStatic : public OverlayDevice {
 protected:
  static datapath::StaticReport apply(std::vector<overlay::Allocation> all) {
    auto r = datapath::apply_static(plan(), node(1), all);
    EXPECT_TRUE(r) << r.error().text();
    return r.value_or(datapath::StaticReport{});
  }
};

TEST_F(OverlayStatic, FourObjectsAPeerAndFamily) {
  auto r = apply({node(1), node(2), node(3)});
  EXPECT_EQ(r.put, 12u);
  EXPECT_EQ(r.removed, 0u);
  EXPECT_THAT(output("ip route"), HasSubstr("9.0.1.0/24 via 44.128.0.2 dev vtep1024"));
  EXPECT_THAT(output("ip route show table 42"), HasSubstr("10.0.0.2 via 44.128.0.2 dev vtep1024"));
  EXPECT_THAT(output("ip rule"), HasSubstr("from 9.0.0.0/8 lookup 42"));
  EXPECT_THAT(output("ip neigh show dev vtep1024"), HasSubstr("44.128.0.3 lladdr 70:b3:d5:80:00:03 PERMANENT"));
  EXPECT_THAT(output("ip -6 neigh show dev vtep1024"), HasSubstr("fd01:a::3 lladdr 70:b3:d5:80:00:03"));
  EXPECT_THAT(output("bridge fdb show dev vtep1024"), HasSubstr("70:b3:d5:80:00:02 dst 10.0.0.2 self permanent"));
  EXPECT_THAT(output("ip -6 route"), HasSubstr("fd01:b:0:0:1::/80 via fd01:a::2 dev vtep1024"));
  auto d = device();
  EXPECT_FALSE(d.metadata);
  EXPECT_EQ(d.vni, 1024u);
  EXPECT_FALSE(d.learning);
  EXPECT_TRUE(d.arp);

  auto again = apply({node(1), node(2), node(3)});
  EXPECT_EQ(again.put + again.removed, 0u);
  EXPECT_EQ(output("ip rule | grep -c 'lookup 42'"), "1\n");
}

TEST_F(OverlayStatic, WhatIsGoneLeavesNothing) {
  apply({node(1), node(2), node(3)});
  auto moved = node(3);
  moved.vtep.mac[5] = 0x33;
  moved.shares[0].v4 = net("9.0.9.0/24");
  auto r = apply({node(1), moved});
  EXPECT_GT(r.removed, 0u);
  auto all = output("ip route show table all; ip -6 route show table all; ip neigh show; bridge fdb show dev vtep1024");
  EXPECT_THAT(all, Not(HasSubstr("44.128.0.2 ")));
  EXPECT_THAT(all, Not(HasSubstr("9.0.2.0/24")));
  EXPECT_THAT(all, Not(HasSubstr("10.0.0.2 ")));
  EXPECT_THAT(all, Not(HasSubstr("70:b3:d5:80:00:03")));
  EXPECT_THAT(all, HasSubstr("9.0.9.0/24 via 44.128.0.3"));
  EXPECT_THAT(all, HasSubstr("70:b3:d5:80:00:33 dst 10.0.0.3"));
  auto again = apply({node(1), moved});
  EXPECT_EQ(again.put + again.removed, 0u);
}

TEST_F(OverlayStatic, BatchesOfRequests) {
  std::vector<overlay::Allocation> all;
  for (uint32_t n = 1; n <= 200; n++) all.push_back(node(n));
  EXPECT_EQ(apply(all).put, 199u * 6);
  EXPECT_EQ(output("ip route | grep -c 'via 44.128'"), "199\n");
  EXPECT_EQ(apply({node(1)}).removed, 199u * 6);
  EXPECT_EQ(output("ip route | grep -c 'via 44.128'"), "0\n");
}

TEST_F(OverlayStatic, RequestsReportTheirOwnErrors) {
  netlink::Transaction t;
  int lo = ifindex("lo");
  t.add(netlink::put_address(lo, {addr("192.0.2.1"), 128, true}));
  t.add(netlink::put_route(lo, {net("198.51.100.0/24"), addr("203.0.113.1"), {}, 254, 3, false}));
  t.add(netlink::put_address(lo, {addr("192.0.2.2"), 128, true}));
  auto r = t.run();
  ASSERT_TRUE(r);
  EXPECT_EQ(r->size(), 3u);
  EXPECT_EQ((*r)[0], 0);
  EXPECT_EQ((*r)[1], ENETUNREACH);
  EXPECT_EQ((*r)[2], 0);
}

}  // namespace
}  // namespace ls
