// Addresses of servers and names of zones, as settings write them.
#include "app/upstream_address.h"

#include <gtest/gtest.h>

#include "util/zone_names.h"

namespace ls {
namespace {

TEST(UpstreamAddress, GoodForms) {
  auto text = [](std::string_view s) {
    auto e = parse_upstream(s, 53);
    return e ? e->text() : e.error().text();
  };
  EXPECT_EQ(text("8.8.8.8"), "8.8.8.8:53");
  EXPECT_EQ(text("8.8.8.8:65535"), "8.8.8.8:65535");
  EXPECT_EQ(text("fd01::5"), "[fd01::5]:53");
  EXPECT_EQ(text("[fd01::5]"), "[fd01::5]:53");
  EXPECT_EQ(text("[fd01::5]:1"), "[fd01::5]:1");
  EXPECT_EQ(text("FD01::0:5"), "[fd01::5]:53");
}

TEST(UpstreamAddress, Refused) {
  for (auto bad : {"", ":", ":53", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.04", "0x1.2.3.4", "1.2.3.256", "1.2.3.4:", "1.2.3.4:0",
                   "1.2.3.4:053", "1.2.3.4:65536", "1.2.3.4:99999999999", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4:5x", " 1.2.3.4",
                   "1.2.3.4 ", "1.2.3.4\n", "example.com", "example.com:53", "[1.2.3.4]:53", "[fd01::5]53", "[fd01::5]:", "[fd01::5",
                   "fd01::5]:53", "[[fd01::5]]", "[]:53", "fe80::1%eth0", "fd01::/64", "::1::2", "udp://1.2.3.4"}) {
    EXPECT_FALSE(parse_upstream(bad, 53)) << bad;
  }
  EXPECT_EQ(parse_upstream("1.2.3.4:70000", 53).error().text(), "\"1.2.3.4:70000\" has no port from 1 to 65535");
  // An error holds no more of a hostile text than a line can show.
  EXPECT_LT(parse_upstream(std::string(100'000, '\x1b'), 53).error().text().size(), 200u);
}

TEST(ZoneNames, StaticZones) {
  EXPECT_EQ(static_zone_fault("component.thisdcos.directory"), std::nullopt);
  EXPECT_EQ(static_zone_fault("A.B.ThisDCOS.directory"), std::nullopt);
  EXPECT_EQ(static_zone_fault("xmesos.thisdcos.directory"), std::nullopt);
  for (auto bad : {"", "thisdcos.directory", "mesos.thisdcos.directory", "web.dcos.thisdcos.directory", "l4lb.thisdcos.directory",
                   "thisnode.thisdcos.directory", "foo.thisdcos.global", "xthisdcos.directory", "foo..thisdcos.directory",
                   "foo.thisdcos.directory.", ".thisdcos.directory", "a b.thisdcos.directory"}) {
    EXPECT_NE(static_zone_fault(bad), std::nullopt) << bad;
  }
}

TEST(ZoneNames, DomainRule) {
  for (auto good : {"mesos", "a.b", "-a.b-", "1", "Mesos.Example"}) EXPECT_EQ(domain_fault(good), std::nullopt) << good;
  for (auto bad : {"", ".", "a.", ".a", "a..b", "a_b", "a b", "m\xc3\xa9sos"}) EXPECT_NE(domain_fault(bad), std::nullopt) << bad;
  EXPECT_EQ(domain_fault(std::string(63, 'a')), std::nullopt);
  EXPECT_NE(domain_fault(std::string(64, 'a')), std::nullopt);
  std::string longest;
  while (longest.size() < 252) longest += "a.";
  EXPECT_EQ(domain_fault(longest + "a"), std::nullopt);
  EXPECT_NE(domain_fault(longest + "aa"), std::nullopt);
  EXPECT_EQ(zone_fault("_tcp.example"), std::nullopt);
}

}  // namespace
}  // namespace ls
