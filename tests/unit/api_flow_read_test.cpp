#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "api/flow_read.h"
#include "api_fake.h"

namespace ls::api {
namespace {

constexpr uint32_t kNow = 1'000'000;  // ticks

ls_flow4 flow(const char* client, uint8_t proto, uint8_t tcp, uint32_t age_s, uint32_t be = 5, uint16_t gen = 1) {
  ls_flow4 f{};
  auto c = ep(client);
  f.src_be = htobe32(c.address.v4());
  f.dst_be = htobe32(ip("11.0.0.1").v4());
  f.sport_be = htobe16(c.port);
  f.dport_be = htobe16(80);
  f.proto = proto;
  f.kind = LS_FLOW_FORWARD;
  f.tcp = tcp;
  f.be = be;
  f.be_gen = gen;
  f.seen = kNow - LS_TICKS_PER_S(age_s);
  return f;
}

std::optional<FlowBackend> backends(uint32_t number, uint16_t generation) {
  if (number != 5 || generation != 1) return std::nullopt;
  return FlowBackend{ep("10.0.0.7:31001"), "web.marathon"};
}

FlowList read(const std::vector<ls_flow4_bucket>& table, FlowFilter filter = {}, size_t limit = 100) {
  FlowList out;
  read_flows(std::span(table), kNow, backends, filter, limit, out);
  return out;
}

TEST(FlowRead, ShowsEachLiveFlowOnceWithItsState) {
  std::vector<ls_flow4_bucket> table(4);
  table[0].way[0] = flow("10.1.0.1:1", 6, LS_TCP_SYN, 1);
  table[0].way[3] = flow("10.1.0.2:2", 6, LS_TCP_SYN | LS_TCP_REPLIED, 7000);
  table[2].way[1] = flow("10.1.0.3:3", 6, LS_TCP_SYN | LS_TCP_REPLIED | LS_TCP_FIN_REV, 30);
  table[3].way[2] = flow("10.1.0.4:4", 17, 0, 119);
  table[3].way[2].flags = LS_FLOW_HAIRPIN;
  auto reverse = flow("10.0.0.7:31001", 6, LS_TCP_SYN, 1);
  reverse.kind = LS_FLOW_REVERSE;
  table[1].way[0] = reverse;

  auto list = read(table).flows;
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].state, FlowState::kSyn);
  EXPECT_EQ(list[0].client, ep("10.1.0.1:1"));
  EXPECT_EQ(list[0].service.text(), "11.0.0.1:80/tcp");
  EXPECT_EQ(list[0].backend, ep("10.0.0.7:31001"));
  EXPECT_EQ(list[0].vip_name, "web.marathon");
  EXPECT_NEAR(list[0].idle_s, 1, 0.2);
  EXPECT_EQ(list[1].state, FlowState::kEstablished);
  EXPECT_EQ(list[2].state, FlowState::kClosing);
  EXPECT_EQ(list[3].state, FlowState::kUdp);
  EXPECT_EQ(list[3].service.protocol, Protocol::kUdp);
  EXPECT_TRUE(list[3].hairpin);

  std::array<uint64_t, 4> counts{};
  count_flows(std::span(std::as_const(table)), kNow, counts);
  EXPECT_EQ(counts, (std::array<uint64_t, 4>{1, 1, 1, 1}));
}

TEST(FlowRead, ExpiredEntriesAreNoFlows) {
  std::vector<ls_flow4_bucket> table(1);
  table[0].way[0] = flow("10.1.0.1:1", 6, LS_TCP_SYN, LS_FLOW_TIMEOUT_SYN_S + 1);
  table[0].way[1] = flow("10.1.0.2:2", 6, LS_TCP_SYN | LS_TCP_REPLIED, LS_FLOW_TIMEOUT_ESTABLISHED_S + 1);
  table[0].way[2] = flow("10.1.0.3:3", 6, LS_TCP_REPLIED | LS_TCP_RST, LS_FLOW_TIMEOUT_CLOSING_S + 1);
  table[0].way[3] = flow("10.1.0.4:4", 17, 0, LS_FLOW_TIMEOUT_UDP_S + 1);
  EXPECT_TRUE(read(table).flows.empty());
  // A packet that came after the clock was read is no reason to leave a flow out; nor is the wrap of the counter.
  table[0].way[0].seen = kNow + 3;
  ASSERT_EQ(read(table).flows.size(), 1u);
  EXPECT_EQ(read(table).flows[0].idle_s, 0);
  FlowList out;
  table = std::vector<ls_flow4_bucket>(1);
  table[0].way[0] = flow("10.1.0.1:1", 6, LS_TCP_SYN, 0);
  table[0].way[0].seen = 0xffffffff;
  read_flows(std::span(std::as_const(table)), 2, backends, {}, 10, out);
  EXPECT_EQ(out.flows.size(), 1u);
}

TEST(FlowRead, FilterLimitAndBackendsThatAreGone) {
  std::vector<ls_flow4_bucket> table(2);
  for (int i = 0; i < 4; i++) table[0].way[i] = flow("10.1.0.1:1", 17, 0, 1);
  table[1].way[0] = flow("10.1.0.9:9", 17, 0, 1, 5, 2);  // another generation
  FlowFilter web;
  web.vip = *VipSelector::parse("web.marathon");
  EXPECT_EQ(read(table, web).flows.size(), 4u);
  EXPECT_EQ(read(table).flows[4].backend_number, 5u);
  EXPECT_EQ(read(table).flows[4].backend, Endpoint{});
  EXPECT_FALSE(read(table, {}, 5).truncated);
  EXPECT_TRUE(read(table, {}, 4).truncated);
  EXPECT_EQ(read(table, {}, 4).flows.size(), 4u);
  FlowFilter closing;
  closing.state = FlowState::kClosing;
  EXPECT_TRUE(read(table, closing).flows.empty());
}

TEST(FlowRead, SixByteForByte) {
  std::vector<ls_flow6_bucket> table(1);
  auto& f = table[0].way[1];
  memcpy(f.src_be, ip("fd00::9").bytes().data(), 16);
  memcpy(f.dst_be, ip("fd01:c::1").bytes().data(), 16);
  f.sport_be = htobe16(9);
  f.dport_be = htobe16(53);
  f.proto = 17;
  f.kind = LS_FLOW_FORWARD;
  f.seen = kNow;
  FlowList out;
  read_flows(std::span(std::as_const(table)), kNow, backends, {}, 10, out);
  ASSERT_EQ(out.flows.size(), 1u);
  EXPECT_EQ(out.flows[0].client.text(), "[fd00::9]:9");
  EXPECT_EQ(out.flows[0].service.text(), "[fd01:c::1]:53/udp");
}

TEST(FlowRead, AnEntryBeingWrittenIsNeverShownHalf) {
  // One entry changes between two flows whose fields all differ, by the writers' rule; the reader must see one or the other.
  std::vector<ls_flow4_bucket> table(1);
  auto a = flow("10.1.0.1:1", 17, 0, 0, 1), b = flow("10.2.0.2:2", 17, 0, 0, 2);
  auto& way = table[0].way[0];
  way = a;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    uint32_t version = 0;
    for (bool first = false; !stop; first = !first) {
      auto& next = first ? a : b;
      __atomic_store_n(&way.version, ++version, __ATOMIC_RELAXED);
      __atomic_thread_fence(__ATOMIC_SEQ_CST);
      *const_cast<volatile __be32*>(&way.src_be) = next.src_be;
      *const_cast<volatile __be16*>(&way.sport_be) = next.sport_be;
      *const_cast<volatile __u32*>(&way.be) = next.be;
      __atomic_store_n(&way.version, ++version, __ATOMIC_RELEASE);
    }
  });
  int seen[3] = {};
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (std::chrono::steady_clock::now() < until) {
    for (auto& f : read(table).flows) {
      ASSERT_TRUE(f.backend_number == 1 || f.backend_number == 2);
      ASSERT_EQ(f.client, ep(f.backend_number == 1 ? "10.1.0.1:1" : "10.2.0.2:2"));
      seen[f.backend_number]++;
    }
  }
  stop = true;
  writer.join();
  EXPECT_GT(seen[1] + seen[2], 0);
}

TEST(FlowRead, TheTickFollowsTheClock) {
  auto before = flow_tick_now();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  auto ticks = flow_tick_now() - before;
  EXPECT_GE(ticks, 2u);
  EXPECT_LT(ticks, 100u);
}

}  // namespace
}  // namespace ls::api
