#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/decode.h"
#include "api_fake.h"
#include "loadstar/abi/flow.h"

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

}  // namespace
}  // namespace ls::api
