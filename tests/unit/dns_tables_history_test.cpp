// Long random histories against a plain std::map.
#include "dns_tables_fixture.h"

namespace ls::test {
namespace {

struct Play {
  uint32_t buckets, segments, names, steps, seed;
  const uint64_t* key;
  bool twins;  ///< all keys share a hash by threes
};

class DnsTablesHistory : public ::testing::TestWithParam<Play> {};

TEST_P(DnsTablesHistory, EqualsAMap) {
  LS_NEED_BPF();
  auto p = GetParam();
  std::mt19937 rng(p.seed);
  DnsKernelMaps kernel(p.buckets, p.segments);
  auto maps = kernel.open();
  auto t = kernel.adopt(p.key);
  Shown model;
  std::set<Id> fresh;  // put since the mark
  uint64_t refused = 0, refused_with_room = 0, adoptions = 0, swept = 0;
  auto pick = [&] {
    uint32_t n = rng() % p.names;
    // Twins of one space only: their trick needs it.
    if (p.twins) return twin(n);
    return Id{LS_DNS_SPACE_ZONE | n % 3, uint16_t(n % 2), std::string(n % 40, 'a') + std::to_string(n)};
  };
  auto both_full = [&](const Id& id) {
    uint64_t h = hash_of(id, p.key);
    for (uint32_t b : {ls_dns_bucket1(h, p.buckets - 1), ls_dns_bucket2(h, p.buckets - 1)})
      for (auto w : maps.buckets[b].slot)
        if (!w) return false;
    return true;
  };
  for (uint32_t step = 0; step < p.steps; step++) {
    uint32_t roll = rng() % 20'000;
    bool grow = step / (p.steps / 8) % 2 == 0;
    if (roll < (grow ? 14'000u : 7'000u)) {
      auto id = pick();
      auto c = rng() % 8 == 0 && model.contains(id) ? model[id] : content(step, rng() % 10 ? rng() % 16 * 8 : rng() % 3800);
      bool full = both_full(id) && !model.contains(id);
      if (put(t, id, c)) {
        ASSERT_FALSE(full);
        model[id] = c;
        fresh.insert(id);
      } else {
        refused++;
        refused_with_room += !full && t.view().bytes_used < t.view().bytes_total / 2;
      }
      ASSERT_EQ(found(t, id), model.contains(id) ? std::optional(model[id]) : std::nullopt);
    } else if (roll < 19'900) {
      auto id = pick();
      ASSERT_EQ(t.remove(id.ref()), model.erase(id) > 0);
      fresh.erase(id);
      ASSERT_FALSE(found(t, id));
    } else if (roll < 19'960) {
      t.mark();
      fresh.clear();
    } else if (roll < 19'980) {
      uint32_t space = LS_DNS_SPACE_ZONE | rng() % 3;
      size_t want = std::erase_if(model, [&](auto& e) { return e.first.space == space && !fresh.contains(e.first); });
      ASSERT_EQ(t.sweep(space), want);
      swept += want;
    } else {
      t = kernel.adopt(p.key);
      fresh.clear();  // what a daemon before put does not count
      adoptions++;
    }
    ASSERT_EQ(t.view().entries, model.size());
    if (step % 2000 == 0) {
      ASSERT_EQ(shown(maps, p.key), model) << step;
    }
    if (HasFailure()) return;
  }
  ASSERT_EQ(shown(maps, p.key), model);
  for (auto& [id, c] : model) {
    auto seen = look(maps, id, p.key);
    if (seen.what == Look::kFound) {
      ASSERT_EQ(seen.content, c);
    } else {
      ASSERT_EQ(seen.what, Look::kUp);
      ASSERT_TRUE(p.twins);
    }
  }
  if (p.segments > 1) {  // one segment has fewer chunks than there are sizes
    EXPECT_EQ(refused_with_room, 0u);
  }
  EXPECT_GT(adoptions, 4u);
  EXPECT_GT(swept, 0u);
  RecordProperty("refused", int(refused));
  for (auto& [id, c] : Shown(model)) ASSERT_TRUE(t.remove(id.ref()));
  EXPECT_EQ(kernel.adopt(p.key).view().bytes_used, 0u);
}

INSTANTIATE_TEST_SUITE_P(Plays, DnsTablesHistory,
                         ::testing::Values(Play{1024, 4, 5000, 120'000, 1, kHashKey, false},  // room for all
                                           Play{64, 2, 2000, 40'000, 2, kHashKey, false},    // few slots
                                           Play{1024, 1, 5000, 40'000, 3, kHashKey, false},  // little data
                                           Play{256, 2, 600, 30'000, 4, kWeakKey, false},
                                           Play{256, 2, 24, 20'000, 5, kWeakKey, true},
                                           Play{1, 1, 30, 10'000, 6, kHashKey, false}));

}  // namespace
}  // namespace ls::test
