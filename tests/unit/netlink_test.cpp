#include <gmock/gmock.h>

#include <algorithm>
#include <optional>

#include "netlink/address_device.h"
#include "netlink/filters.h"
#include "netlink/links.h"
#include "netlink/watch.h"
#include "support/netns_fixture.h"

namespace ls {
namespace {

using netlink::Device;

class Netlink : public test::NetnsFixture {
 protected:
  static std::optional<Device> find(const std::string& name) {
    auto list = netlink::list_devices();
    EXPECT_TRUE(list) << list.error().text();
    for (auto& d : *list) {
      if (d.name == name) return d;
    }
    return std::nullopt;
  }
  static std::vector<netlink::Event> drain(netlink::Watch& w) {
    std::vector<netlink::Event> out;
    auto r = w.drain([&](const netlink::Event& e) { out.push_back(e); });
    EXPECT_TRUE(r);
    return out;
  }
  template <class T>
  static std::vector<T> only(const std::vector<netlink::Event>& events) {
    std::vector<T> out;
    for (auto& e : events) {
      if (auto* t = std::get_if<T>(&e)) out.push_back(*t);
    }
    return out;
  }
};

TEST_F(Netlink, ListsDevicesWithTheirKindMasterAndAddresses) {
  run("ip link add br9 type bridge");
  add_veth("va", "vb");
  run("ip link set va master br9 mtu 1400 up");
  run("ip addr add 192.0.2.7/24 dev vb; ip addr add fd00::7/64 dev vb nodad");
  auto lo = find("lo"), br = find("br9"), va = find("va"), vb = find("vb");
  ASSERT_TRUE(lo && br && va && vb);
  EXPECT_TRUE(lo->loopback);
  EXPECT_TRUE(lo->up);
  EXPECT_EQ(br->kind, "bridge");
  EXPECT_EQ(va->kind, "veth");
  EXPECT_EQ(va->master, br->ifindex);
  EXPECT_EQ(va->mtu, 1400u);
  EXPECT_TRUE(va->up);
  EXPECT_EQ(vb->master, 0);
  EXPECT_FALSE(vb->up);
  EXPECT_THAT(vb->addresses,
              ::testing::UnorderedElementsAre(*IpAddress::parse("192.0.2.7"), *IpAddress::parse("fd00::7")));
}

TEST_F(Netlink, ReportsADeviceFromItsBirthToItsEnd) {
  auto w = netlink::Watch::open();
  ASSERT_TRUE(w) << w.error().text();
  EXPECT_TRUE(drain(*w).empty());
  run("ip link add br9 type bridge");
  add_veth("va", "vb");
  int va = ifindex("va"), br = ifindex("br9");
  auto born = only<netlink::DeviceChanged>(drain(*w));
  EXPECT_TRUE(std::any_of(born.begin(), born.end(),
                          [&](auto& e) { return e.device.name == "va" && e.device.kind == "veth"; }));

  run("ip link set va master br9");
  auto joined = only<netlink::DeviceChanged>(drain(*w));
  EXPECT_TRUE(std::any_of(joined.begin(), joined.end(),
                          [&](auto& e) { return e.device.ifindex == va && e.device.master == br; }));

  run("ip link set va nomaster");
  auto events = drain(*w);
  EXPECT_TRUE(only<netlink::DeviceRemoved>(events).empty()) << "leaving a bridge is not the end of a device";
  auto left = only<netlink::DeviceChanged>(events);
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(left.back().device.master, 0);

  run("ip link del va");
  auto gone = only<netlink::DeviceRemoved>(drain(*w));
  EXPECT_TRUE(std::any_of(gone.begin(), gone.end(), [&](auto& e) { return e.ifindex == va; }));
}

TEST_F(Netlink, ReportsRoutesNeighboursAndAddresses) {
  add_veth("va", "vb");
  run("ip link set va up; ip link set vb up");
  auto w = netlink::Watch::open();
  ASSERT_TRUE(w);
  run("ip addr add 192.0.2.1/24 dev va");
  EXPECT_FALSE(only<netlink::AddressChanged>(drain(*w)).empty());
  run("ip route add 198.51.100.0/24 via 192.0.2.2");
  EXPECT_FALSE(only<netlink::RouteChanged>(drain(*w)).empty());
  run("ip -6 route add fd05::/64 dev va");
  EXPECT_FALSE(only<netlink::RouteChanged>(drain(*w)).empty());
  run("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:01 dev va");
  auto n = only<netlink::NeighbourChanged>(drain(*w));
  ASSERT_FALSE(n.empty());
  EXPECT_EQ(n.back().ifindex, ifindex("va"));
}

TEST_F(Netlink, SaysWhenEventsWereLost) {
  auto w = netlink::Watch::open();
  ASSERT_TRUE(w);
  int small = 2048;
  ASSERT_EQ(setsockopt(w->fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  for (int i = 0; i < 20; i++) run(fmt::format("ip addr add 192.0.2.{}/32 dev lo", i + 1));
  auto events = drain(*w);
  EXPECT_FALSE(only<netlink::ResyncNeeded>(events).empty());
  run("ip addr add 192.0.2.100/32 dev lo");
  EXPECT_FALSE(only<netlink::AddressChanged>(drain(*w)).empty()) << "it goes on afterwards";
}

TEST_F(Netlink, NoFiltersWithoutClsactOrDevice) {
  EXPECT_EQ(*netlink::count_filters(ifindex("lo")), 0u);
  EXPECT_EQ(*netlink::count_filters(9999), 0u);
}

TEST_F(Netlink, AddressDeviceIsMadeOnceAndOnlyOursIsRemoved) {
  std::vector<IpAddress> wanted{*IpAddress::parse("198.51.100.1"), *IpAddress::parse("fd01:d::c633:6401")};
  auto made = netlink::ensure_address_device("spartan", wanted, "loadstar");
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(made->made);
  EXPECT_EQ(made->added, 2u);
  EXPECT_TRUE(made->kind == "dummy" || made->kind == "bridge") << made->kind;
  auto device = find("spartan");
  ASSERT_TRUE(device);
  EXPECT_TRUE(device->up);
  for (auto& a : wanted) EXPECT_THAT(device->addresses, ::testing::Contains(a));

  wanted.push_back(*IpAddress::parse("198.51.100.2"));
  run("ip addr add 203.0.113.9/32 dev spartan");
  run("ip addr del 198.51.100.1/32 dev spartan");
  auto again = netlink::ensure_address_device("spartan", wanted, "loadstar");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->made);
  EXPECT_EQ(again->added, 2u);
  EXPECT_THAT(find("spartan")->addresses, ::testing::Contains(*IpAddress::parse("203.0.113.9")));

  // An address that is on another device already is not given twice.
  run("ip addr add 198.51.100.3/32 dev lo");
  wanted.push_back(*IpAddress::parse("198.51.100.3"));
  auto third = netlink::ensure_address_device("spartan", wanted, "loadstar");
  ASSERT_TRUE(third);
  EXPECT_EQ(third->added, 0u);

  run("ip link add foreign type bridge");
  EXPECT_FALSE(netlink::remove_address_device("foreign", "loadstar").value());
  EXPECT_TRUE(find("foreign"));
  EXPECT_FALSE(netlink::remove_address_device("nowhere", "loadstar").value());
  EXPECT_TRUE(netlink::remove_address_device("spartan", "loadstar").value());
  EXPECT_FALSE(find("spartan"));
}

}  // namespace
}  // namespace ls
