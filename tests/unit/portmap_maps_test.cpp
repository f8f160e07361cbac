// The maps of host ports: kept for loadstar-cni, and the machine's own addresses where programs look for them.
#include <arpa/inet.h>

#include <cstring>
#include <set>

#include "datapath/own_addresses.h"
#include "datapath_fixture.h"

namespace ls {
namespace {

using namespace test;

class PortmapMapsTest : public DatapathFixture {};

/// What loadstar-cni wrote belongs to containers that run on.
TEST_F(PortmapMapsTest, EntriesOfContainersOutliveOtherLayouts) {
  ls_portmap_key key{htons(8080), 6, 4};
  ls_portmap value{};
  value.port_be = htons(80);
  auto ports = [](const Programs& p) {
    ls_ctl ctl{};
    uint32_t zero = 0;
    EXPECT_EQ(bpf_map_lookup_elem(p.map("ls_ctl"), &zero, &ctl), 0);
    return ctl.ports;
  };
  {
    Programs p(options());
    auto r = p.load();
    ASSERT_TRUE(r);
    EXPECT_EQ(story(*r, "ls_portmap").origin, MapOrigin::kCreated) << "made just now";
    EXPECT_EQ(story(*r, "ls_ovl_local").origin, MapOrigin::kCreated);
    EXPECT_NE(bpf_map_lookup_elem(p.map("ls_portmap"), &key, &value), 0);
    ASSERT_TRUE(p.commit());
    EXPECT_EQ(ports(p), 0u) << "nobody has to look";
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_portmap"), &key, &value, BPF_ANY), 0);
    ls_meta meta{};
    uint32_t zero = 0;
    ASSERT_EQ(bpf_map_lookup_elem(p.map("ls_meta"), &zero, &meta), 0);
    meta.abi_version = LS_ABI_VERSION + 1;
    ASSERT_EQ(bpf_map_update_elem(p.map("ls_meta"), &zero, &meta, BPF_ANY), 0);
  }
  Programs p(options());
  auto r = p.load();
  ASSERT_TRUE(r);
  EXPECT_EQ(story(*r, "ls_ctl").origin, MapOrigin::kRebuilt);
  EXPECT_EQ(story(*r, "ls_portmap").origin, MapOrigin::kReused);
  EXPECT_EQ(story(*r, "ls_ovl_local").origin, MapOrigin::kReused);
  ASSERT_TRUE(p.commit());
  EXPECT_EQ(bpf_map_lookup_elem(p.map("ls_portmap"), &key, &value), 0);
  EXPECT_EQ(ports(p), 1u);
}

/// ls_own as programs look it up.
TEST_F(PortmapMapsTest, OwnAddressesAreWhereProgramsLook) {
  Programs p(options());
  ASSERT_TRUE(p.load());
  auto own = datapath::OwnAddresses::open(p.map("ls_own"));
  ASSERT_TRUE(own) << own.error().text();
  auto there = [&](const IpAddress& a) {
    ls_own e{};
    std::memcpy(e.addr_be, a.bytes().data(), 16);
    uint32_t first = ls_own_place(e.addr_be);
    for (uint32_t i = 0; i < LS_OWN_PROBES; i++) {
      uint32_t at = (first + i) % LS_OWN_SLOTS;
      ls_own found{};
      EXPECT_EQ(bpf_map_lookup_elem(p.map("ls_own"), &at, &found), 0);
      if (found.used && std::memcmp(found.addr_be, e.addr_be, 16) == 0) return true;
    }
    return false;
  };
  auto parse = [](const char* text) { return *IpAddress::parse(text); };
  std::set<IpAddress> all;
  for (auto* text : {"10.0.0.1", "172.17.0.1", "fd00::1", "127.0.0.1", "127.8.8.8", "::1", "fe80::1", "169.254.1.1"}) all.insert(parse(text));
  EXPECT_EQ(own->sync(all), 0u);
  for (auto* text : {"10.0.0.1", "172.17.0.1", "fd00::1"}) EXPECT_TRUE(there(parse(text))) << text;
  for (auto* text : {"127.0.0.1", "127.8.8.8", "::1", "fe80::1", "169.254.1.1", "10.0.0.2"}) EXPECT_FALSE(there(parse(text))) << text;
  all.erase(parse("10.0.0.1"));
  EXPECT_EQ(own->sync(all), 0u);
  EXPECT_FALSE(there(parse("10.0.0.1")));
  EXPECT_TRUE(there(parse("fd00::1")));
  // Many: every one that is not reported as left out is found.
  all.clear();
  for (uint32_t i = 0; i < 1000; i++) all.insert(IpAddress::from_v4(0x0a000000 + i * 7));
  size_t left_out = own->sync(all), found = 0;
  for (auto& a : all) found += there(a);
  EXPECT_EQ(found + left_out, all.size());
  EXPECT_LT(left_out, 10u);
}

}  // namespace
}  // namespace ls
