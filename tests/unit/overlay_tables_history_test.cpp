// Random histories of nodes that come, change and go, with a restart or a failing write at any moment: afterwards every address has
// the owner that the last sync() named, and nothing else is in the maps.
#include <array>
#include <map>
#include <random>

#include "overlay_world.h"

namespace ls::test {
namespace {

class OverlayHistory : public testing::TestWithParam<uint32_t> {
 protected:
  void SetUp() override { LS_NEED_BPF(); }
  void TearDown() override { set_map_write_hook_for_tests({}); }
};
INSTANTIATE_TEST_SUITE_P(Seeds, OverlayHistory, testing::Range(1u, 13u));

TEST_P(OverlayHistory, EndsWithWhatWasSaidLast) {
  std::mt19937 random(GetParam());
  auto below = [&](uint32_t n) { return uint32_t(random() % n); };
  OverlayWorld w;
  auto t = w.tables();
  std::map<uint32_t, overlay::Allocation> wanted;
  // A node's blocks are its own number's or, changed, those of number 100 + n: no two nodes claim one.
  auto changed = [&](uint32_t n) {
    auto a = nth_node(n);
    if (below(2)) a.shares[0].v4 = nth_node(100 + n).shares[0].v4;
    if (below(3) == 0) a.shares[1].v6.reset();
    if (below(3) == 0) a.vtep.mac[4] = uint8_t(below(200));
    if (below(5) == 0) a.shares[0].v4 = IpNetwork{IpAddress::from_v4(0x09800000 + (n << 10)), 118};
    return a;
  };
  for (int step = 0; step < 300; step++) {
    uint32_t n = 1 + below(12);
    if (below(3)) {
      wanted[n] = changed(n);
      ASSERT_TRUE(t.put(wanted[n]));
    } else {
      wanted.erase(n);
      ASSERT_TRUE(t.remove(nth_node(n).node));
    }
    if (below(20) == 0) {  // a write fails in the middle of a change, and the process ends there
      int left = int(below(5)), error = std::array{EIO, ENOMEM, EBUSY, E2BIG}[below(4)];
      set_map_write_hook_for_tests([&](const std::string& map) { return map == "ls_ovl_hash" && left-- <= 0 ? error : 0; });
      (void)t.put(changed(1 + below(12)));
      (void)t.remove(nth_node(1 + below(12)).node);
      set_map_write_hook_for_tests({});
      t = w.adopt();
      ASSERT_TRUE(t.configure(OverlayWorld::self(), small_plan()));
      std::vector<overlay::Allocation> all;
      for (auto& [number, a] : wanted) all.push_back(a);
      ASSERT_TRUE(t.sync(all));
    }
    if (step % 10) continue;
    size_t entries = 0;
    for (auto& [number, a] : wanted) {
      auto name = number == 1 ? "self" : a.node.text();
      EXPECT_EQ(owner_of(t, a.node.text()), name);
      EXPECT_EQ(owner_of(t, a.vtep.v4.address.text()), name);
      EXPECT_EQ(owner_of(t, a.shares[0].v4->address.text()), name);
      if (a.shares[1].v6) {
        EXPECT_EQ(owner_of(t, a.shares[1].v6->address.text()), name);
      }
      EXPECT_EQ((*t.find(a.node))->mac, a.vtep.mac);
      entries += 4 + a.shares[1].v6.has_value();
    }
    EXPECT_EQ(t.view().entries, entries);
    EXPECT_EQ(t.view().peers, wanted.size() - wanted.contains(1));
    EXPECT_EQ(*t.check(), 0u);
  }
}

}  // namespace
}  // namespace ls::test
