// What DNS takes from the settings, and the words of `dns explain` for each kind of zone.
#include <gtest/gtest.h>

#include "app/dns_options.h"
#include "app/dns_origins.h"
#include "derive/records.h"

namespace ls {
namespace {

using dns::ServiceKind;

TEST(DnsOptions, TheMachineItselfMayAlwaysAsk) {
  Config c;
  auto may = [&](const char* address, ServiceKind kind = ServiceKind::kResolver) {
    return dns::AccessList(service_options(kind, c).clients).allows(*IpAddress::parse(address));
  };
  EXPECT_TRUE(may("192.0.2.1")) << "an empty list is everybody";
  c.dns.clients = {*IpNetwork::parse("172.16.0.0/12")};
  c.node.address = IpAddress::parse("10.0.0.1");
  c.node.addresses = {*IpAddress::parse("fd00::1")};
  EXPECT_FALSE(may("192.0.2.1"));
  EXPECT_FALSE(may("10.0.0.2"));
  for (auto* own : {"172.16.3.4", "127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "fd00::1", "198.51.100.1", "fd01:d::c633:6401"})
    EXPECT_TRUE(may(own)) << own << ": the watchdog asks like this";
  EXPECT_TRUE(may("10.0.0.1", ServiceKind::kAuthority));
  EXPECT_FALSE(may("0.0.0.1", ServiceKind::kAuthority)) << "0.0.0.0 to listen on is no address";
}

TEST(DnsOptions, TheServersNameIsText) {
  Config::Authority a;
  a.domain = "mesos";
  a.soa_mname = "NS1.mesos";
  EXPECT_EQ(zone_options(a, {}).server_name, "ns1");
  MesosZone zone(zone_options(a, {}));
  auto made = zone.set_own_addresses({*IpAddress::parse("10.0.0.1")});
  ASSERT_EQ(made.add.size(), 1u);
  EXPECT_EQ(relative_text(made.add[0].owner), "ns1");
  a.soa_mname = "ns.example.org";
  EXPECT_EQ(zone_options(a, {}).server_name, "");
}

TEST(DnsOrigins, EveryZoneSaysWhatMadeAName) {
  Epoch epoch;
  MesosZone cluster{MesosZoneOptions()};
  dns::ZoneTable mesos(epoch), dcos(epoch), l4lb(epoch), spartan(epoch), localhost(epoch), zk(epoch), thisnode(epoch), empty(epoch), custom(epoch);
  DnsOrigins origins({cluster, mesos, dcos, l4lb, spartan, localhost, zk, thisnode, empty});
  auto of = [&](dns::ZoneTable& t, const char* apex, const char* name) {
    std::string all;
    for (auto& line : origins.of(t, *DnsName::parse(apex), *relative_name(name))) all += line + "\n";
    return all;
  };
  EXPECT_EQ(of(custom, "reg.thisdcos.directory.", "db"), "") << "before anything is known";
  EXPECT_EQ(of(l4lb, "l4lb.thisdcos.directory.", "web.marathon"), "");
  origins.set_sources({[](const std::string& name) { return std::vector<std::string>{"services of " + name}; },
                       [](const std::string& zone, const std::string& name) { return std::vector<std::string>{zone + " has " + name}; }});
  origins.set_static({{"reg.thisdcos.directory", {*relative_name("fixed")}}});
  EXPECT_EQ(of(l4lb, "dclb.thisdcos.global.", "web.marathon"), "services of web.marathon\n") << "under a further name of the zone";
  EXPECT_EQ(of(custom, "REG.thisdcos.directory.", "db"), "reg.thisdcos.directory has db\n");
  EXPECT_EQ(of(custom, "reg.thisdcos.directory.", ""), "reg.thisdcos.directory has @\n");
  EXPECT_EQ(of(custom, "reg.thisdcos.directory.", "fixed"),
            "static zone of the configuration: resolver.static_zones or resolver.zone_files\nreg.thisdcos.directory has fixed\n");
  EXPECT_EQ(of(dcos, "dcos.thisdcos.directory.", "leader"), "the leading master\n");
  EXPECT_NE(of(empty, "thisdcos.directory.", "nope").find("no zone below"), std::string::npos);
  EXPECT_EQ(of(thisnode, "thisnode.thisdcos.directory.", ""), "this machine: node.address\n");
}

}  // namespace
}  // namespace ls
