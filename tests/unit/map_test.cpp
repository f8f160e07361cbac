#include "bpf/map.h"

#include <atomic>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "bpf/mmap_array.h"
#include "bpf_maps.h"

namespace ls {
namespace {

struct Key {
  uint32_t a, b;
};
struct Sixteen {
  uint64_t x, y;
};

class MapTest : public testing::Test {
 protected:
  void SetUp() override { LS_NEED_BPF(); }
  void TearDown() override { set_map_write_hook_for_tests(nullptr); }
  static UniqueFd hash(uint32_t entries) {
    return UniqueFd(test::make_map(BPF_MAP_TYPE_HASH, "t_hash", sizeof(Key), sizeof(Sixteen), entries));
  }
  static uint64_t errors(const std::string& map, int error) {
    for (auto& e : map_errors()) {
      if (e.map == map && e.error == error) return e.count;
    }
    return 0;
  }
};

TEST_F(MapTest, PutGetErase) {
  auto m = Map<Key, Sixteen>::adopt(hash(16));
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_FALSE(m->get({1, 2})->has_value());
  ASSERT_TRUE(m->put({1, 2}, {3, 4}));
  EXPECT_EQ((*m->get({1, 2}))->y, 4u);
  EXPECT_TRUE(m->erase({1, 2}));
  EXPECT_TRUE(m->erase({1, 2})) << "absent is success";
  EXPECT_EQ(*m->entries(), 0u);
}

TEST_F(MapTest, WalksMoreEntriesThanOneBatch) {
  auto m = Map<Key, Sixteen>::adopt(hash(20000));
  ASSERT_TRUE(m);
  for (uint32_t i = 0; i < 20000; i++) ASSERT_TRUE(m->put({i, 7}, {i, i * 2ull}));
  std::map<uint32_t, uint64_t> seen;
  ASSERT_TRUE(m->for_each([&](const Key& k, const Sixteen& v) { seen[k.a] += v.y; }));
  EXPECT_EQ(seen.size(), 20000u);
  EXPECT_EQ(seen[777], 1554u);
  EXPECT_EQ(*m->entries(), 20000u);
}

TEST_F(MapTest, AFullMapSaysSoAndIsCounted) {
  auto m = Map<Key, Sixteen>::adopt(hash(2));
  ASSERT_TRUE(m);
  auto before = errors("t_hash", E2BIG);
  ASSERT_TRUE(m->put({1, 0}, {}));
  ASSERT_TRUE(m->put({2, 0}, {}));
  auto r = m->put({3, 0}, {});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code.value(), E2BIG);
  EXPECT_NE(r.error().text().find("update t_hash"), std::string::npos) << r.error().text();
  EXPECT_EQ(errors("t_hash", E2BIG), before + 1);
}

TEST_F(MapTest, BusyIsTriedAgainThreeTimes) {
  auto m = Map<Key, Sixteen>::adopt(hash(2));
  ASSERT_TRUE(m);
  int calls = 0, busy = 3;
  set_map_write_hook_for_tests([&](const std::string&) { return ++calls <= busy ? EBUSY : 0; });
  EXPECT_TRUE(m->put({1, 1}, {}));
  EXPECT_EQ(calls, 4);
  calls = 0;
  busy = 100;
  auto r = m->put({1, 1}, {});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code.value(), EBUSY);
  EXPECT_EQ(calls, 4);
  EXPECT_FALSE(m->erase({1, 1}));
}

TEST_F(MapTest, RefusesAnotherLayoutAndNamesBoth) {
  UniqueFd fd(test::make_map(BPF_MAP_TYPE_HASH, "t_other", 12, 16, 4));
  auto r = Map<Key, Sixteen>::adopt(std::move(fd));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code.value(), EPROTO);
  auto text = r.error().text();
  for (const char* part : {"t_other", "key 12", "value 16", "key 8"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  EXPECT_FALSE(MmapArray<Sixteen>::adopt(hash(4)));
  UniqueFd plain(test::make_map(BPF_MAP_TYPE_ARRAY, "t_plain", 4, 16, 4));
  auto not_mapped = MmapArray<Sixteen>::adopt(std::move(plain));
  ASSERT_FALSE(not_mapped);
  EXPECT_NE(not_mapped.error().text().find("BPF_F_MMAPABLE"), std::string::npos);
  EXPECT_FALSE((Map<Key, Sixteen>::adopt(UniqueFd{})));
}

TEST_F(MapTest, AMappedArrayIsTheMapItself) {
  int raw = test::make_map(BPF_MAP_TYPE_ARRAY, "t_mmap", 4, 16, 1000, BPF_F_MMAPABLE);
  ASSERT_GE(raw, 0);
  auto m = MmapArray<Sixteen>::adopt(UniqueFd(raw));
  ASSERT_TRUE(m) << m.error().text();
  m->write(999, {1, 2});
  m->publish(999, &Sixteen::x, 77);
  uint32_t index = 999;
  Sixteen out{};
  ASSERT_EQ(bpf_map_lookup_elem(raw, &index, &out), 0);
  EXPECT_EQ(out.x, 77u);
  EXPECT_EQ(out.y, 2u);
  out.y = 5;
  ASSERT_EQ(bpf_map_update_elem(raw, &index, &out, 0), 0);
  EXPECT_EQ(m->load(999, &Sixteen::y), 5u);
  EXPECT_EQ(m->view().size(), 1000u);
}

/// Pages of this process that belong to BPF maps: all of a piece count once it is mapped.
size_t resident_of_maps() {
  std::ifstream in("/proc/self/smaps");
  bool ours = false;
  size_t kib = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.find("anon_inode:bpf-map") != line.npos) ours = true;
    else if (line.starts_with("Rss:") && ours) kib += std::stoul(line.substr(4)), ours = false;
  }
  return kib << 10;
}

TEST_F(MapTest, ALargeArrayIsMappedByPieces) {
  constexpr uint32_t kEntries = 4 << 20;  // 64 MiB
  constexpr size_t kPiece = map_detail::kPiece;
  const size_t before = resident_of_maps();
  auto m = MmapArray<Sixteen>::adopt(UniqueFd(test::make_map(BPF_MAP_TYPE_ARRAY, "t_large", 4, 16, kEntries, BPF_F_MMAPABLE)));
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_EQ(m->mapped_bytes(), kPiece);
  m->write(kEntries - 1, {7, 8});
  // Over the border of two pieces.
  const uint32_t border = 20 * kPiece / 16;
  std::vector<Sixteen> run(10, Sixteen{3, 4});
  m->write_run(border - 5, run);
  EXPECT_EQ(m->mapped_bytes(), 4 * kPiece);
  EXPECT_EQ(resident_of_maps() - before, 4 * kPiece);
  m->let_go(4 * kPiece);
  EXPECT_EQ(m->mapped_bytes(), 4 * kPiece);
  m->let_go();
  EXPECT_EQ(m->mapped_bytes(), 0u);
  EXPECT_EQ(resident_of_maps(), before);
  // What was written is in the map, not in the mapping.
  EXPECT_EQ((*m)[kEntries - 1].y, 8u);
  EXPECT_EQ(m->load(border + 4, &Sixteen::x), 3u);
  EXPECT_EQ(m->load(border - 6, &Sixteen::x), 0u);
  auto moved = std::move(*m);
  moved.publish(border, &Sixteen::x, 9);
  EXPECT_EQ(moved.view(border - 1, 2)[1].x, 9u);
  EXPECT_EQ(moved.view().size(), kEntries);
  EXPECT_EQ(moved.mapped_bytes(), size_t(kEntries) * 16);
  EXPECT_EQ(moved.view()[kEntries - 1].x, 7u);
}

TEST_F(MapTest, PiecesAreMappedByManyThreads) {
  constexpr uint32_t kEntries = 1 << 20;  // 64 pieces
  auto m = MmapArray<Sixteen>::adopt(UniqueFd(test::make_map(BPF_MAP_TYPE_ARRAY, "t_threads", 4, 16, kEntries, BPF_F_MMAPABLE)));
  ASSERT_TRUE(m) << m.error().text();
  for (uint32_t i = 0; i < kEntries; i += 997) m->write(i, {i, i + 1});
  for (int round = 0; round < 20; round++) {
    m->let_go();
    std::atomic<size_t> wrong{0};
    std::vector<std::thread> readers;
    for (int t = 0; t < 4; t++)
      readers.emplace_back([&] {
        for (uint32_t i = 0; i < kEntries; i += 997) wrong += (*m)[i].x != i || (*m)[i].y != i + 1;
      });
    for (auto& r : readers) r.join();
    ASSERT_EQ(wrong, 0u);
    EXPECT_EQ(m->mapped_bytes(), size_t(kEntries) * 16);
  }
}

TEST_F(MapTest, NeverWritesPastTheEnd) {
  auto m = MmapArray<Sixteen>::adopt(
      UniqueFd(test::make_map(BPF_MAP_TYPE_ARRAY, "t_end", 4, 16, 10, BPF_F_MMAPABLE)));
  ASSERT_TRUE(m);
  std::vector<Sixteen> run(4);
  EXPECT_DEATH(m->write(10, {}), "t_end which has 10");
  EXPECT_DEATH(m->write_run(7, run), "7..10 of t_end");
  EXPECT_DEATH(m->publish(0xffffffff, &Sixteen::x, 1), "t_end");
  m->write_run(6, run);
}

TEST_F(MapTest, PerCpuCountersAreSummed) {
  int raw = test::make_map(BPF_MAP_TYPE_PERCPU_ARRAY, "t_cpu", 4, 16, 9000);
  ASSERT_GE(raw, 0);
  auto m = PerCpuArray<Sixteen>::adopt(UniqueFd(raw));
  ASSERT_TRUE(m) << m.error().text();
  unsigned cpus = map_detail::possible_cpus();
  std::vector<Sixteen> values(cpus);
  uint64_t want = 0;
  for (unsigned i = 0; i < cpus; i++) {
    values[i] = {i + 1, 100};
    want += i + 1;
  }
  uint32_t index = 8888;
  ASSERT_EQ(bpf_map_update_elem(raw, &index, values.data(), 0), 0);
  EXPECT_EQ(m->sum(8888)->x, want);
  EXPECT_EQ(m->sum(8888)->y, 100u * cpus);
  EXPECT_EQ(m->sum(9000)->x, 0u);
  auto all = m->sums();
  ASSERT_TRUE(all) << all.error().text();
  ASSERT_EQ(all->size(), 9000u);
  EXPECT_EQ((*all)[8888].x, want);
  EXPECT_EQ((*all)[0].x, 0u);
}

}  // namespace
}  // namespace ls
