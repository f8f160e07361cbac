#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/decode.h"
#include "api_fake.h"
#include "loadstar/abi/dns.h"
#include "loadstar/abi/drop.h"
#include "loadstar/abi/flow.h"
#include "loadstar/abi/overlay.h"
#include "loadstar/abi/portmap.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

template <class T>
std::span<const std::byte> bytes(const T& v) {
  return std::as_bytes(std::span(&v, 1));
}
template <class K, class... V>
Json decode(const char* map, const K& key, const V&... values) {
  return decode_entry(map, {bytes(key), {bytes(values)...}});
}

TEST(Decode, ServiceKeyAndNumber) {
  ls_svc_key key{};
  memcpy(key.addr_be, ip("fd01:c::1").bytes().data(), 16);
  key.port_be = htobe16(443);
  key.proto = 17;
  ls_svc_ref ref{12};
  EXPECT_EQ(decode("ls_svc", key, ref),
            Json::parse(R"({"key":{"addr":"fd01:c::1","port":443,"proto":"udp"},"value":{"id":12}})"));
}

TEST(Decode, BackendStateAndGeneration) {
  ls_be be{};
  memcpy(be.addr_be, ip("10.0.0.7").bytes().data(), 16);
  be.port_be = htobe16(31001);
  be.proto = 6;
  be.svc = 3;
  be.state = 9 << 8 | LS_BE_DRAINING;
  EXPECT_EQ(decode("ls_be", uint32_t{5}, be),
            Json::parse(R"({"key":5,"value":{"addr":"10.0.0.7","port":31001,"proto":"tcp","svc":3,"state":"draining","gen":9}})"));
}

TEST(Decode, ServiceTableSplitsTheRingWord) {
  ls_svc svc{};
  svc.flags = LS_SVC_USED;
  svc.ring = LS_RING_WORD(77, 251);
  svc.backends = 4;
  svc.active = 3;
  auto j = decode("ls_svc_tab", uint32_t{1}, svc)["value"];
  EXPECT_EQ(j["ring_first"], 77);
  EXPECT_EQ(j["ring_slots"], 251);
  EXPECT_EQ(j["used"], true);
  EXPECT_EQ(j["external"], false);
}

TEST(Decode, FlowBucketShowsItsUsedEntries) {
  ls_flow4_bucket b{};
  auto& f = b.way[2];
  f.src_be = htobe32(0x0a010002);
  f.dst_be = htobe32(0x0b000001);
  f.sport_be = htobe16(40000);
  f.dport_be = htobe16(80);
  f.proto = 6;
  f.kind = LS_FLOW_FORWARD;
  f.be = 5;
  f.tcp = LS_TCP_SYN | LS_TCP_REPLIED;
  f.flags = LS_FLOW_HAIRPIN;
  auto ways = decode("ls_flow4", uint32_t{0}, b)["value"]["way"];
  ASSERT_EQ(ways.size(), 1u);
  EXPECT_EQ(ways[0]["src"], "10.1.0.2");
  EXPECT_EQ(ways[0]["dport"], 80);
  EXPECT_EQ(ways[0]["kind"], "forward");
  EXPECT_EQ(ways[0]["tcp"], Json::parse(R"(["syn","replied"])"));
  EXPECT_EQ(ways[0]["hairpin"], true);
}

TEST(Decode, PerCpuCountersAreSummed) {
  uint32_t key = int(LS_HOOK_PORT_IN) * int(LS_VERDICT_MAX) + int(LS_VERDICT_NEW);
  ls_stat a{10, 1000}, b{5, 200};
  auto j = decode("ls_stats", key, a, b);
  EXPECT_EQ(j["key"], Json::parse(R"({"hook":"port_in","verdict":"new"})"));
  EXPECT_EQ(j["value"], Json::parse(R"({"packets":15,"bytes":1200})"));
  EXPECT_EQ(j["per_cpu"].size(), 2u);
  uint32_t drop_key = LS_HOOK_LO * LS_DROP_SLOTS + LS_DROP_WRITE_FAILED;
  uint64_t one = 1, two = 2;
  auto d = decode("ls_drops", drop_key, one, two);
  EXPECT_EQ(d["key"], Json::parse(R"({"hook":"lo","reason":"write_failed"})"));
  EXPECT_EQ(d["value"], 3);
}

TEST(Decode, TheSeedOfTheFlowTablesStaysSecret) {
  ls_meta m{};
  m.abi_version = LS_ABI_VERSION;
  m.seed[0] = 0x1122334455667788;
  memset(m.build, 'x', sizeof m.build);  // no terminating zero
  auto text = decode("ls_meta", uint32_t{0}, m).dump();
  EXPECT_EQ(text.find("seed"), text.npos);
  EXPECT_EQ(text.find(std::to_string(m.seed[0])), text.npos);
  EXPECT_NE(text.find(std::string(32, 'x')), text.npos);
  struct {
    ls_meta m;
    uint64_t more;
  } longer{m, 1};
  EXPECT_EQ(decode("ls_meta", uint32_t{0}, longer)["value"], nullptr) << "of another build: not in hexadecimal either";
}

TEST(Decode, WhatIsNotKnownIsHexadecimal) {
  uint16_t key = htobe16(0x0102);
  uint32_t value = htobe32(0xdeadbeef);
  EXPECT_EQ(decode("other", key, value), Json::parse(R"({"key":"0102","value":"deadbeef"})"));
  // A known name with another layout (an older build's map).
  EXPECT_EQ(decode("ls_be", uint32_t{0}, value)["value"], "deadbeef");
  EXPECT_EQ(decode("ls_stats", key, value)["key"], "0102");
  auto per_cpu = decode("other", key, value, value);
  EXPECT_FALSE(per_cpu.contains("value"));
  EXPECT_EQ(per_cpu["per_cpu"].size(), 2u);
}

TEST(Decode, EmptyMeansEveryByte) {
  uint64_t zero = 0, one = 1;
  EXPECT_TRUE(is_empty({bytes(one), {bytes(zero), bytes(zero)}}));
  EXPECT_FALSE(is_empty({bytes(one), {bytes(zero), bytes(one)}}));
}

TEST(Decode, SecretsOfDnsAreNeverShown) {
  ls_dns_conf c{};
  c.enabled = 1;
  c.bucket_mask = 1023;
  c.key[0] = 0x5ec2e75ec2e75ec2;
  c.key[1] = 0x5ec2e75ec2e75ec3;
  memset(c.cookie_secret, 0xab, sizeof c.cookie_secret);
  memset(c.rate_key, 0xcd, sizeof c.rate_key);
  c.port_be[0] = htobe16(53);
  c.service[1].suffixes[0] = 1 << 7;
  c.service[1].suffixes[3] = 1ull << 63;
  c.service[1].udp_max = 1232;
  auto j = decode("ls_dns_conf", uint32_t{0}, c);
  EXPECT_EQ(j["value"]["enabled"], true);
  EXPECT_EQ(j["value"]["ports"], Json({53}));
  EXPECT_EQ(j["value"]["services"][1]["service"], "resolver");
  EXPECT_EQ(j["value"]["services"][1]["suffix_octets"], Json({7, 255}));
  auto text = j.dump();
  for (auto* secret : {"abab", "cdcd", "5ec2", "6827"}) EXPECT_EQ(text.find(secret), text.npos) << secret << " in " << text;
  EXPECT_EQ(text.find(std::to_string(c.key[0])), text.npos);
  // Of another build: nothing at all, not even in hexadecimal.
  struct {
    ls_dns_conf c;
    uint64_t more;
  } longer{c, 1};
  EXPECT_EQ(decode("ls_dns_conf", uint32_t{0}, longer)["value"], nullptr);
}

TEST(Decode, MapsOfDnsAnswers) {
  uint64_t n = 5;
  auto stats = decode("ls_dns_stats", uint32_t{LS_DNS_HOOK_LO * LS_DNS_RESULT_SLOTS + LS_DNS_UP_MISS}, n, n);
  EXPECT_EQ(stats["key"], Json({{"hook", "lo"}, {"result", "up_miss"}}));
  EXPECT_EQ(stats["value"], 10);
  ls_dns_acl_key key{};
  key.prefix = 32 + 96 + 8;
  key.service_be = htobe32(1);
  memcpy(key.addr_be, ip("10.0.0.0").bytes().data(), 16);
  EXPECT_EQ(decode("ls_dns_acl", key, uint64_t{1})["key"], Json({{"service", "resolver"}, {"net", "10.0.0.0/8"}}));
  memcpy(key.addr_be, ip("fd00::").bytes().data(), 16);
  key.prefix = 32 + 8;
  EXPECT_EQ(decode("ls_dns_acl", key, uint64_t{1})["key"]["net"], "fd00::/8");
  ls_dns_bucket b{};
  b.slot[3] = LS_DNS_SLOT(0x1234567800000000ull, 77);
  EXPECT_EQ(decode("ls_dns_bucket", uint32_t{9}, b)["value"]["slot"], Json::array({{{"tag", 0x12345678}, {"place", 77}}}));
  ls_dns_listen l{};
  memcpy(l.addr_be, ip("198.51.100.1").bytes().data(), 16);
  l.port_be = htobe16(53);
  l.service = 9;
  EXPECT_EQ(decode("ls_dns_listen", uint32_t{9}, l)["value"], Json({{"addr", "198.51.100.1"}, {"port", 53}, {"service", "unknown"}}));
  EXPECT_TRUE(decode("ls_dns_stats", uint64_t{1}, uint16_t{1})["value"].is_string()) << "other sizes are shown in hexadecimal";
}

TEST(Decode, HostPortsAndTheMachinesOwnAddresses) {
  ls_portmap_key key{htobe16(8080), 17, 6};
  ls_portmap to{};
  memcpy(to.addr_be, ip("fd01:b::7").bytes().data(), 16);
  to.port_be = htobe16(53);
  to.bridge_ifindex = 12;
  EXPECT_EQ(decode("ls_portmap", key, to),
            Json::parse(R"({"key":{"port":8080,"proto":"udp","family":6},"value":{"addr":"fd01:b::7","port":53,"bridge_ifindex":12}})"));
  EXPECT_TRUE(decode("ls_portmap", key, uint32_t{1})["value"].is_string()) << "another layout stays hexadecimal";
  ls_own own{};
  memcpy(own.addr_be, ip("10.0.0.3").bytes().data(), 16);
  own.used = 1;
  EXPECT_EQ(decode("ls_own", uint32_t{99}, own), Json::parse(R"({"key":99,"value":{"addr":"10.0.0.3","used":true}})"));
  own.used = 0;
  EXPECT_EQ(decode("ls_own", uint32_t{99}, own)["value"]["used"], false) << "given up, the address still stands there";
}

TEST(Decode, OwnersOfTheOverlay) {
  ls_ovl_owner owner{LS_OVL_OWNER(0x0a000003u, 0x800003u, LS_OVL_OWNED | LS_OVL_SELF)};
  EXPECT_EQ(decode("ls_ovl_block", uint32_t{7}, owner), Json::parse(R"({"key":7,"value":{"node":"10.0.0.3","mac_end":"80:00:03","self":true}})"));
  ls_ovl_key key{};
  memcpy(key.addr_be, ip("fd01:b::").bytes().data(), 16);
  key.prefix = 80;
  EXPECT_EQ(decode("ls_ovl_hash", key, owner)["key"], Json({{"net", "fd01:b::/80"}}));
  memcpy(key.addr_be, ip("10.0.0.3").bytes().data(), 16);
  key.prefix = 128;
  EXPECT_EQ(decode("ls_ovl_hash", key, owner)["key"], Json({{"net", "10.0.0.3/32"}}));
  EXPECT_EQ(decode("ls_ovl_block", uint32_t{7}, ls_ovl_owner{})["value"], nullptr) << "nobody's";
  EXPECT_TRUE(decode("ls_ovl_block", uint32_t{7}, uint32_t{1})["value"].is_string()) << "another layout stays hexadecimal";
  ls_ovl_local local{12, {2, 0, 0, 0, 0, 9}, {2, 0, 0, 0, 0, 1}};
  ls_ovl_addr a{};
  memcpy(a.addr_be, ip("9.0.3.7").bytes().data(), 16);
  EXPECT_EQ(decode("ls_ovl_local", a, local),
            Json::parse(R"({"key":{"addr":"9.0.3.7"},"value":{"ifindex":12,"mac":"02:00:00:00:00:09","gateway_mac":"02:00:00:00:00:01"}})"));
}

TEST(Decode, ConfigurationAndCountsOfTheOverlay) {
  ls_ovl_conf c{};
  c.flags = LS_OVL_ENABLED;
  c.vni = 1024;
  c.mtu = 1450;
  memcpy(c.node_be, ip("10.0.0.3").bytes().data(), 16);
  auto& p = c.pool4[1];
  p.flags = LS_OVL_POOL_USED | LS_OVL_POOL_ARRAY;
  memcpy(p.net_be, ip("9.0.0.0").bytes().data(), 16);
  for (int i = 0; i < 3; i++) p.mask_be[i] = 0xffffffff;
  p.mask_be[3] = htobe32(0xff000000);
  p.share = 120;
  p.last = 65535;
  auto j = decode("ls_ovl_conf", uint32_t{0}, c)["value"];
  EXPECT_EQ(j["enabled"], true);
  EXPECT_EQ(j["node"], "10.0.0.3");
  ASSERT_EQ(j["pools"].size(), 1u);
  EXPECT_EQ(j["pools"][0]["net"], "9.0.0.0/8");
  ls_stat s{};
  s.packets = 3;
  s.bytes = 180;
  j = decode("ls_ovl_stats", uint32_t{LS_OVL_HOOK_IN} * LS_OVL_RESULT_MAX + LS_OVL_STACK, s, s);
  EXPECT_EQ(j["key"], Json({{"hook", "overlay_in"}, {"result", "stack"}}));
  EXPECT_EQ(j["value"]["packets"], 6) << "of all CPUs";
  EXPECT_NO_THROW(decode("ls_ovl_stats", uint32_t{999}, s));
}

}  // namespace
}  // namespace ls::api
