#include "datapath/flow_table.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "datapath/counters.h"
#include "datapath/tables_reader.h"
#include "svc_fixture.h"

namespace ls::test {
namespace {

constexpr uint32_t kNow = 1'000'000;

FlowFilter only(const std::function<void(FlowFilter&)>& set) {
  FlowFilter f;
  set(f);
  return f;
}

class FlowTableTest : public SvcTablesTest {
 protected:
  void SetUp() override {
    SvcTablesTest::SetUp();
    if (IsSkipped()) return;
    add_lb_maps(maps_);
    maps_.add("ls_flow4",
              make_map(BPF_MAP_TYPE_ARRAY, "ls_flow4", 4, sizeof(ls_flow4_bucket), 1024, BPF_F_MMAPABLE));
    maps_.add("ls_flow6",
              make_map(BPF_MAP_TYPE_ARRAY, "ls_flow6", 4, sizeof(ls_flow6_bucket), 64, BPF_F_MMAPABLE));
    flow4_ = std::move(*MmapArray<ls_flow4_bucket>::adopt(std::move(*maps_.opener()("ls_flow4"))));
    flow6_ = std::move(*MmapArray<ls_flow6_bucket>::adopt(std::move(*maps_.opener()("ls_flow6"))));
    auto tables = SvcTables::adopt(std::move(*SvcMaps::open(maps_.opener())), options());
    ASSERT_TRUE(tables) << tables.error().text();
    tables_.emplace(std::move(*tables));
    Service six;
    six.key = {*IpAddress::parse("fd01:c::1"), 80, Protocol::kTcp};
    Backend b;
    b.address = *IpAddress::parse("fd00::7");
    b.port = 8080;
    six.backends.push_back(b);
    sync(*tables_, {service(1, {1, 2}), service(2, {3}, Protocol::kUdp), six});
    maps_view_.emplace(std::move(*SvcMaps::open(maps_.opener())));
  }
  uint32_t be_of(const Endpoint& e) {
    for (uint32_t n = 1; n < maps_view_->be.size(); n++) {
      if (be_is_live(maps_view_->be[n].state) && endpoint_of(maps_view_->be[n]) == e) return n;
    }
    return 0;
  }
  /// Both entries of a flow, as a program leaves them.
  void flow4(uint32_t bucket, uint32_t client, uint32_t svc, int backend, uint8_t proto, uint8_t tcp,
             uint32_t seen) {
    ls_flow4 f{};
    uint32_t be = be_of(backend_of(backend).endpoint());
    f.src_be = htonl(0xac100000 + client);
    f.dst_be = htonl(0x0b000000 + svc);
    f.sport_be = htons(40000);
    f.dport_be = htons(80);
    f.proto = proto;
    f.kind = LS_FLOW_FORWARD;
    f.be = be;
    f.be_gen = uint16_t(LS_BE_GEN(maps_view_->be[be].state));
    f.seen = seen;
    f.tcp = tcp;
    f.version = 2;
    flow4_.edit(bucket, 1)[0].way[1] = f;
    std::swap(f.src_be, f.dst_be);
    f.src_be = htonl(0x0a000000 + uint32_t(backend));
    f.sport_be = htons(8080);
    f.dport_be = htons(40000);
    f.kind = LS_FLOW_REVERSE;
    flow4_.edit(bucket + 1, 1)[0].way[0] = f;
  }
  FlowReader reader() {
    auto r = FlowReader::open(maps_.opener());
    EXPECT_TRUE(r) << r.error().text();
    return std::move(*r);
  }

  MapSet maps_;
  MmapArray<ls_flow4_bucket> flow4_;
  MmapArray<ls_flow6_bucket> flow6_;
  std::optional<SvcTables> tables_;
  std::optional<SvcMaps> maps_view_;
};

TEST_F(FlowTableTest, DecodesBothDirections) {
  flow4(10, 5, 1, 2, 6, LS_TCP_SYN | LS_TCP_REPLIED, kNow - LS_TICKS_PER_S(10));
  auto all = reader().list(only([&](auto& f) { f.reverse_too = true; }), 100, kNow);
  ASSERT_EQ(all.size(), 2u);
  for (auto& f : all) {
    EXPECT_EQ(f.client.text(), "172.16.0.5:40000");
    EXPECT_EQ(f.service.text(), "11.0.0.1:80");
    EXPECT_EQ(f.backend.text(), "10.0.0.2:8080");
    EXPECT_EQ(to_text(f.state), "established");
    EXPECT_EQ(f.backend_state, "active");
    EXPECT_NEAR(f.age_s, 10, 0.2);
    EXPECT_FALSE(f.expired);
  }
  EXPECT_EQ(to_text(all[0].kind), "forward");
  EXPECT_EQ(to_text(all[1].kind), "reverse");
}

TEST_F(FlowTableTest, DecodesIpv6) {
  ls_flow6 f{};
  put_address(f.src_be, *IpAddress::parse("fd00::99"));
  put_address(f.dst_be, *IpAddress::parse("fd01:c::1"));
  f.sport_be = htons(5);
  f.dport_be = htons(80);
  f.proto = 6;
  f.kind = LS_FLOW_FORWARD;
  f.be = be_of({*IpAddress::parse("fd00::7"), 8080});
  f.be_gen = 1;
  f.seen = kNow;
  flow6_.edit(63, 1)[0].way[3] = f;
  auto all = reader().list({}, 100, kNow);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].client.text(), "[fd00::99]:5");
  EXPECT_EQ(all[0].backend.text(), "[fd00::7]:8080");
  EXPECT_EQ(to_text(all[0].state), "syn");
}

TEST_F(FlowTableTest, FiltersAndLimits) {
  for (uint32_t i = 0; i < 50; i++) flow4(i * 4, i, 1, 1 + int(i % 2), 6, LS_TCP_SYN | LS_TCP_REPLIED, kNow);
  flow4(300, 7, 2, 3, 17, 0, kNow);
  auto r = reader();
  EXPECT_EQ(r.list({}, 1000, kNow).size(), 51u);
  EXPECT_EQ(r.list({}, 10, kNow).size(), 10u);
  EXPECT_EQ(r.list({}, 0, kNow).size(), 0u);
  EXPECT_EQ(r.list(only([&](auto& f) { f.client = IpAddress::from_v4(0xac100007); }), 1000, kNow).size(), 2u);
  EXPECT_EQ(r.list(only([&](auto& f) { f.service = key_of(2, Protocol::kUdp); }), 1000, kNow).size(), 1u);
  EXPECT_EQ(r.list(only([&](auto& f) { f.service = key_of(2, Protocol::kTcp); }), 1000, kNow).size(), 0u);
  EXPECT_EQ(r.list(only([&](auto& f) { f.backend = backend_of(1).endpoint(); }), 1000, kNow).size(), 25u);
  EXPECT_EQ(r.list(only([&](auto& f) { f.protocol = Protocol::kUdp; }), 1000, kNow).size(), 1u);
  EXPECT_EQ(r.list(only([&](auto& f) { f.reverse_too = true; }), 1000, kNow).size(), 102u);
}

TEST_F(FlowTableTest, CountsByStateAndAge) {
  flow4(0, 1, 1, 1, 6, LS_TCP_SYN, kNow);
  flow4(4, 2, 1, 1, 6, LS_TCP_SYN, kNow - LS_TICKS_PER_S(LS_FLOW_TIMEOUT_SYN_S + 2));
  flow4(8, 3, 1, 1, 6, LS_TCP_SYN | LS_TCP_REPLIED, kNow - LS_TICKS_PER_S(7000));
  flow4(12, 4, 1, 1, 6, LS_TCP_SYN | LS_TCP_REPLIED | LS_TCP_FIN_FWD, kNow - LS_TICKS_PER_S(5));
  flow4(16, 5, 2, 3, 17, 0, kNow - LS_TICKS_PER_S(100));
  flow4(20, 6, 2, 3, 17, 0, kNow + 1);  // refreshed while we count
  auto c = reader().count(kNow);
  EXPECT_EQ(c.capacity, 1088u * 4);
  EXPECT_EQ(c.used, 10u);
  EXPECT_EQ(c.expired, 2u);
  EXPECT_EQ(c.forward_by_state, (std::array<uint64_t, 4>{1, 1, 1, 2}));
  EXPECT_EQ(c.dead, 0u);
  EXPECT_EQ(reader().list({}, 100, kNow).size(), 5u);
  EXPECT_EQ(reader().list(only([&](auto& f) { f.expired_too = true; }), 100, kNow).size(), 6u);
}

TEST_F(FlowTableTest, FindsTcpFlowsOfDeadBackends) {
  flow4(0, 1, 1, 1, 6, LS_TCP_SYN | LS_TCP_REPLIED, kNow);
  flow4(4, 2, 1, 2, 6, LS_TCP_SYN | LS_TCP_REPLIED, kNow);
  flow4(8, 3, 1, 1, 6, LS_TCP_SYN | LS_TCP_REPLIED | LS_TCP_RST, kNow);
  flow4(12, 4, 2, 3, 17, 0, kNow);
  auto r = reader();
  EXPECT_TRUE(r.dead_tcp(100, kNow).empty());
  // Backend 1 dies, backend 2 drains, the UDP service goes.
  apply(*tables_, {service(1, {-2, 5})}, {key_of(2, Protocol::kUdp)});
  auto dead = r.dead_tcp(100, kNow);
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_EQ(dead[0].client.text(), "172.16.0.1:40000");
  EXPECT_EQ(dead[0].service.text(), "11.0.0.1:80");
  EXPECT_EQ(dead[0].backend.text(), "10.0.0.1:8080");
  EXPECT_TRUE(dead[0].backend_dead);
  EXPECT_EQ(r.count(kNow).dead, 3u);
  EXPECT_EQ(r.list(only([&](auto& f) { f.backend = backend_of(2).endpoint(); }), 1, kNow).at(0).backend_state,
            "draining");
  // The number gets a new owner: the old flow is still dead and names nobody.
  auto m = std::move(*SvcMaps::open(maps_.opener()));
  m.be.publish(dead[0].be, &ls_be::state, be_state_word(dead[0].be_generation + 1u, LS_BE_ACTIVE));
  dead = r.dead_tcp(100, kNow);
  ASSERT_EQ(dead.size(), 1u);
  EXPECT_TRUE(dead[0].backend.address.is_zero());
}

TEST_F(FlowTableTest, AHalfWrittenEntryIsNeverShown) {
  flow4(0, 0, 1, 1, 6, LS_TCP_SYN, kNow);
  flow4_.edit(0, 1)[0].way[1].version = 3;
  EXPECT_TRUE(reader().list({}, 10, kNow).empty());
  // A writer that flips between two flows: whatever is read is one of them, whole.
  flow4_.edit(0, 1)[0].way[1].version = 4;
  auto& way = flow4_.edit(0, 1)[0].way[1];
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint32_t i = 0; !stop; i++) {
      uint32_t v = way.version;
      __atomic_store_n(&way.version, v + 1, __ATOMIC_RELAXED);
      __atomic_thread_fence(__ATOMIC_RELEASE);
      __atomic_store_n(&way.src_be, htonl(0xac100000 + i % 2), __ATOMIC_RELAXED);
      __atomic_store_n(&way.sport_be, htons(uint16_t(40000 + i % 2)), __ATOMIC_RELAXED);
      __atomic_store_n(&way.version, v + 2, __ATOMIC_RELEASE);
    }
  });
  auto r = reader();
  int seen = 0;
  auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (std::chrono::steady_clock::now() < until) {
    for (auto& f : r.list({}, 10, kNow)) {
      EXPECT_EQ(f.client.address.v4() & 1, f.client.port & 1u);
      seen++;
    }
  }
  stop = true;
  writer.join();
  EXPECT_GT(seen, 0);
}

TEST_F(FlowTableTest, SweepsAMillionEntriesInWellUnderASecond) {
  maps_.add("ls_flow4",
            make_map(BPF_MAP_TYPE_ARRAY, "ls_flow4", 4, sizeof(ls_flow4_bucket), 262144, BPF_F_MMAPABLE));
  auto big = std::move(*MmapArray<ls_flow4_bucket>::adopt(std::move(*maps_.opener()("ls_flow4"))));
  uint32_t live = be_of(backend_of(1).endpoint());
  for (auto& bucket : big.edit(0, big.size())) {
    for (uint32_t w = 0; w < LS_FLOW_WAYS; w++) {
      bucket.way[w] = {};
      bucket.way[w].kind = uint8_t(LS_FLOW_FORWARD + w % 2);
      bucket.way[w].proto = 6;
      bucket.way[w].tcp = LS_TCP_SYN | LS_TCP_REPLIED;
      bucket.way[w].be = live;
      bucket.way[w].be_gen = 1;
      bucket.way[w].seen = kNow;
    }
  }
  big.edit(200'000, 1)[0].way[2].be_gen = 9;
  auto r = reader();
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(r.dead_tcp(100, kNow).size(), 1u);
  auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  std::printf("1,048,576 entries swept in %.1f ms\n", took);
  EXPECT_LT(took, 500);
}

TEST_F(FlowTableTest, TablesReaderShowsTheKernel) {
  uint32_t n = be_of(backend_of(2).endpoint());
  UniqueFd stat = std::move(*maps_.opener()("ls_be_stat"));
  std::vector<ls_be_stat> per_cpu(map_detail::possible_cpus(), ls_be_stat{3, 4});
  ASSERT_EQ(bpf_map_update_elem(stat.get(), &n, per_cpu.data(), 0), 0);
  apply(*tables_, {service(1, {2, -9})});
  auto r = TablesReader::open(maps_.opener());
  ASSERT_TRUE(r) << r.error().text();
  auto all = r->services();
  ASSERT_TRUE(all) << all.error().text();
  ASSERT_EQ(all->size(), 3u);
  auto one = r->find(key_of(1));
  ASSERT_TRUE(one && *one);
  EXPECT_TRUE((*one)->listed);
  EXPECT_EQ((*one)->ring_slots, 1u);
  ASSERT_EQ((*one)->backends.size(), 2u);
  EXPECT_EQ((*one)->backends[0].endpoint, backend_of(2).endpoint());
  EXPECT_EQ((*one)->backends[0].number, n);
  EXPECT_EQ((*one)->backends[0].state, "active");
  EXPECT_EQ((*one)->backends[0].flows_tc, 3u * per_cpu.size());
  EXPECT_EQ((*one)->backends[0].flows_sock, 4u * per_cpu.size());
  EXPECT_EQ((*one)->backends[1].state, "draining");
  EXPECT_FALSE(r->find(key_of(9))->has_value());
  auto same = std::find_if(all->begin(), all->end(), [](auto& s) { return s.key == key_of(1); });
  ASSERT_NE(same, all->end());
  EXPECT_EQ(same->backends[0].flows_tc, 3u * per_cpu.size());
}

TEST_F(FlowTableTest, CountersHaveTheNumbersOfTheLists) {
  MapSet set;
  int stats = make_map(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_stats", 4, sizeof(ls_stat),
                       uint32_t(LS_HOOK_MAX) * uint32_t(LS_VERDICT_MAX));
  int drops = make_map(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_drops", 4, 8, uint32_t(LS_HOOK_MAX) * LS_DROP_SLOTS);
  set.add("ls_stats", stats);
  set.add("ls_drops", drops);
  unsigned cpus = map_detail::possible_cpus();
  std::vector<ls_stat> s(cpus, {2, 100});
  uint32_t at = uint32_t(LS_HOOK_UPLINK_IN) * uint32_t(LS_VERDICT_MAX) + uint32_t(LS_VERDICT_NEW);
  ASSERT_EQ(bpf_map_update_elem(stats, &at, s.data(), 0), 0);
  std::vector<uint64_t> d(cpus, 5);
  at = uint32_t(LS_HOOK_CONNECT) * LS_DROP_SLOTS + uint32_t(LS_DROP_SOCK_REFUSED);
  ASSERT_EQ(bpf_map_update_elem(drops, &at, d.data(), 0), 0);
  auto c = Counters::open(set.opener());
  ASSERT_TRUE(c) << c.error().text();
  auto verdicts = *c->verdicts();
  EXPECT_EQ(verdicts.size(), (LS_HOOK_MAX - 1u) * LS_VERDICT_MAX);
  for (auto& v : verdicts) {
    bool hit = v.hook == LS_HOOK_UPLINK_IN && v.verdict == LS_VERDICT_NEW;
    EXPECT_EQ(v.packets, hit ? 2 * cpus : 0u) << int(v.hook) << " " << int(v.verdict);
    EXPECT_EQ(v.bytes, hit ? 100 * cpus : 0u);
  }
  auto dropped = *c->drops();
  EXPECT_EQ(dropped.size(), (LS_HOOK_MAX - 1u) * (LS_DROP_MAX - 1u));
  for (auto& x : dropped) {
    EXPECT_EQ(x.packets, x.hook == LS_HOOK_CONNECT && x.reason == LS_DROP_SOCK_REFUSED ? 5 * cpus : 0u);
    EXPECT_NE(x.reason, LS_DROP_NONE);
  }
}

}  // namespace
}  // namespace ls::test
