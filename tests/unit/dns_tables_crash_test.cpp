// A daemon may be killed between any two stores, or in the middle of writing an entry; a file may come from elsewhere.
#include <functional>

#include "dns_tables_fixture.h"

namespace ls::test {
namespace {

struct Crash {};

class DnsTablesCrashTest : public ::testing::Test {
 protected:
  void SetUp() override { LS_NEED_BPF(); }
  void TearDown() override { set_map_write_hook_for_tests(nullptr); }
};

struct Op {
  const char* what;
  std::function<void(DnsTables&)> run;
  std::function<void(Shown&)> model;
};

Op put_op(const char* what, Id id, Content c) {
  return {what, [=](DnsTables& t) { ASSERT_TRUE(put(t, id, c)); }, [=](Shown& s) { s[id] = c; }};
}
Op remove_op(Id id) {
  return {"remove", [=](DnsTables& t) { t.remove(id.ref()); }, [=](Shown& s) { s.erase(id); }};
}

constexpr size_t kMark = 5, kSweep = 8;  // in history()
std::vector<Op> history() {
  auto nothing = [](Shown&) {};
  return {
      put_op("new", name(1), content(1)),
      put_op("new", name(2), content(2, 600)),
      put_op("same size", name(1), content(3)),
      put_op("other size", name(1), content(4, 200)),
      put_op("equal", name(2), content(2, 600)),
      {"mark", [](DnsTables& t) { t.mark(); }, nothing},
      put_op("equal after a mark", name(2), content(2, 600)),
      put_op("third", name(3), content(5)),
      {"sweep", [](DnsTables& t) { EXPECT_LE(t.sweep(LS_DNS_SPACE_ZONE), 1u); }, [](Shown& s) { s.erase(name(1)); }},
      put_op("view", {LS_DNS_SPACE_VIEW, 0, "zone"}, content(6, 296)),
      {"too long",
       [](DnsTables& t) { EXPECT_FALSE(put(t, name(3), content(9, LS_DNS_ENTRY_MAX))); }, nothing},
      remove_op(name(2)),
      put_op("again", name(2), content(7)),
      {"255 marks",
       [](DnsTables& t) {
         for (int i = 0; i < 255; i++) t.mark();
       },
       nothing},
      put_op("last", name(4), content(8)),
  };
}

TEST_F(DnsTablesCrashTest, AnyStoreMayBeTheLast) {
  auto ops = history();
  std::mt19937 rng(1);
  int crashes = 0;
  for (int k = 1;; k++) {
    DnsKernelMaps kernel(64, 1);
    auto maps = kernel.open();
    int n = 0;
    size_t done = 0;
    Shown before;
    bool crashed = false;
    {
      auto t = kernel.adopt();
      // The hook runs before each store, so the look sees every state a program can see.
      set_map_write_hook_for_tests([&](const std::string&) {
        if (++n == k) throw Crash{};
        return 0;
      });
      try {
        for (; done < ops.size(); done++) {
          ops[done].run(t);
          ops[done].model(before);
        }
      } catch (const Crash&) {
        crashed = true;
      }
      set_map_write_hook_for_tests(nullptr);
    }
    if (!crashed) break;
    crashes++;
    std::string where = std::string(ops[done].what) + ", store " + std::to_string(k);
    scribble(maps, rng);
    EXPECT_EQ(shown(maps), before) << where << ": the store that was not done changes nothing";
    auto t = kernel.adopt();
    EXPECT_EQ(shown(maps), before) << where;
    EXPECT_EQ(t.view().entries, before.size()) << where;
    // The next daemon goes on; what is swept is what it did not put itself.
    if (done > kMark && done <= kSweep) done = kMark;
    for (size_t i = done; i < ops.size(); i++) {
      ops[i].run(t);
      ops[i].model(before);
    }
    EXPECT_EQ(shown(maps), before) << where;
    // No room is lost.
    auto entries = before;
    for (auto& [id, c] : entries) ASSERT_TRUE(t.remove(id.ref()));
    EXPECT_EQ(shown(maps), Shown{});
    EXPECT_EQ(kernel.adopt().view().bytes_used, 0u);
    if (HasFailure()) return;
  }
  EXPECT_GT(crashes, 15);
}

TEST_F(DnsTablesCrashTest, AFullMapIsAdoptedAtAnyMoment) {
  std::mt19937 rng(7);
  DnsKernelMaps kernel(512, 1);
  auto maps = kernel.open();
  auto t = kernel.adopt();
  Shown model;
  uint32_t version = 0;
  for (int round = 0; round < 60; round++) {
    int stop = 1 + int(rng() % 2000), n = 0;
    set_map_write_hook_for_tests([&](const std::string&) {
      if (++n == stop) throw Crash{};
      return 0;
    });
    Id id;
    Content c;
    try {
      for (;;) {
        id = name(rng() % 3000, LS_DNS_SPACE_ZONE | rng() % 2);
        c = content(version++, rng() % 4 ? rng() % 300 : rng() % 3000);
        if (rng() % 3) {
          if (put(t, id, c)) model[id] = c;
        } else {
          t.remove(id.ref());
          model.erase(id);
        }
      }
    } catch (const Crash&) {
    }
    set_map_write_hook_for_tests(nullptr);
    scribble(maps, rng);
    ASSERT_EQ(shown(maps), model) << round;
    t = kernel.adopt();
    ASSERT_EQ(shown(maps), model) << round;
    ASSERT_EQ(t.view().entries, model.size());
  }
  EXPECT_GT(model.size(), 500u);
}

TEST_F(DnsTablesCrashTest, AnotherHashKeyKeepsNothing) {
  DnsKernelMaps kernel;
  auto t = kernel.adopt();
  for (uint32_t n = 0; n < 500; n++) ASSERT_TRUE(put(t, name(n), content(n)));
  uint64_t other[2] = {kHashKey[0], kHashKey[1] + 2};
  t = kernel.adopt(other);
  EXPECT_EQ(t.view().entries, 0u);
  EXPECT_EQ(t.view().bytes_used, 0u);
  auto maps = kernel.open();
  for (auto& b : maps.buckets.view())
    for (auto word : b.slot) EXPECT_EQ(word, 0u);
  ASSERT_TRUE(put(t, name(1), content(1)));
  EXPECT_EQ(found(t, name(1)), content(1));
}

/// Slots as they are, and what they show.
class DamageTest : public DnsTablesCrashTest {
 protected:
  void SetUp() override {
    DnsTablesCrashTest::SetUp();
    if (IsSkipped()) return;
    kernel_.emplace(256, 2);
    maps_.emplace(kernel_->open());
    auto t = kernel_->adopt();
    for (uint32_t n = 0; n < 100; n++) {
      ASSERT_TRUE(put(t, name(n), content(n)));
      model_[name(n)] = content(n);
    }
    Id view{LS_DNS_SPACE_VIEW + 1, 0, "zone"};
    ASSERT_TRUE(put(t, view, content(1, 296)));
  }
  __u64& slot_of(const Id& id) {
    uint64_t h = hash_of(id, kHashKey);
    uint32_t mask = maps_->buckets.size() - 1;
    for (uint32_t b : {ls_dns_bucket1(h, mask), ls_dns_bucket2(h, mask)})
      for (auto& s : maps_->buckets.edit(b, 1)[0].slot)
        if (s >> 32 == h >> 32) return s;
    ADD_FAILURE() << "no slot";
    return maps_->buckets.edit(0, 1)[0].slot[0];
  }
  __u64& free_slot(uint32_t bucket) {
    for (auto& s : maps_->buckets.edit(bucket, 1)[0].slot)
      if (!s) return s;
    ADD_FAILURE() << "bucket is full";
    return maps_->buckets.edit(0, 1)[0].slot[0];
  }
  ls_dns_entry& entry_of(const Id& id) {
    uint64_t at = uint64_t(LS_DNS_PLACE(slot_of(id))) * LS_DNS_UNIT;
    return *reinterpret_cast<ls_dns_entry*>(maps_->data.edit(uint32_t(at / LS_DNS_SEGMENT), 1)[0].octets + at % LS_DNS_SEGMENT);
  }
  /// The daemon starts; what `gone` names is gone, views too, the rest stays; also when it is killed while it clears.
  void expect_kept(std::initializer_list<uint32_t> gone) {
    for (auto n : gone) model_.erase(name(n));
    for (int k = 1; k < 4; k++) {
      int n = 0;
      set_map_write_hook_for_tests([&](const std::string& map) {
        if (map == "ls_dns_bucket" && ++n == k) throw Crash{};
        return 0;
      });
      try {
        kernel_->adopt();
      } catch (const Crash&) {
      }
      set_map_write_hook_for_tests(nullptr);
      Id view{LS_DNS_SPACE_VIEW + 1, 0, "zone"};
      if (k > 1) {
        EXPECT_EQ(look(*maps_, view).what, Look::kNone) << "the view is the first to go";
      }
    }
    auto t = kernel_->adopt();
    EXPECT_EQ(shown(*maps_), model_);
    EXPECT_EQ(t.view().entries, model_.size());
    for (uint32_t n = 0; n < 2000; n++) put(t, name(n), content(n + 5));
    shown(*maps_);  // no room was given out twice
  }
  std::optional<DnsKernelMaps> kernel_;
  std::optional<DnsMaps> maps_;
  Shown model_;
};

TEST_F(DamageTest, PlacesOutside) {
  slot_of(name(1)) = LS_DNS_SLOT(hash_of(name(1), kHashKey), 0);
  slot_of(name(2)) = LS_DNS_SLOT(hash_of(name(2), kHashKey), 2 * 65536);
  slot_of(name(3)) = LS_DNS_SLOT(hash_of(name(3), kHashKey), ~0u);
  expect_kept({1, 2, 3});
}
TEST_F(DamageTest, SlotsOfEntriesElsewhere) {
  auto word = slot_of(name(1));
  slot_of(name(1)) = 0;
  uint64_t h = hash_of(name(1), kHashKey);
  free_slot((ls_dns_bucket1(h, 255) ^ 3) == ls_dns_bucket2(h, 255) ? 0 : ls_dns_bucket1(h, 255) ^ 3) = word;  // a bucket of neither
  slot_of(name(2)) ^= 1ull << 40;                                                                              // a tag of another key
  expect_kept({1, 2});
}
TEST_F(DamageTest, OctetsThatCannotBe) {
  entry_of(name(1)).octets = LS_DNS_ENTRY_MAX + 1;
  entry_of(name(2)).octets = 20;
  entry_of(name(3)).octets = 0;
  entry_of(name(4)).key_octets = 255;
  entry_of(name(5)).octets = LS_DNS_ENTRY_MAX;  // over its neighbours: the one that is read first stays
  auto t = kernel_->adopt();
  for (uint32_t n = 1; n < 5; n++) EXPECT_FALSE(found(t, name(n))) << n;
  auto maps = kernel_->open();
  shown(maps);
}
TEST_F(DamageTest, ChangedKeys) {
  entry_of(name(1)).space ^= 1;
  entry_of(name(2)).aux = 1;
  reinterpret_cast<char*>(&entry_of(name(3)))[sizeof(ls_dns_entry)] ^= 1;
  reinterpret_cast<char*>(&entry_of(name(4)))[sizeof(ls_dns_entry) + 7] = 'x';  // in the padding
  expect_kept({1, 2, 3, 4});
}
TEST_F(DamageTest, OneEntryShownTwice) {
  uint64_t h = hash_of(name(1), kHashKey);
  free_slot(ls_dns_bucket2(h, 255)) = slot_of(name(1));
  expect_kept({});
}
TEST_F(DamageTest, TwoEntriesOfOneKey) {
  constexpr uint32_t kElsewhere = 2 * 65536 - 4096;  // a chunk that nothing uses yet
  uint64_t h = hash_of(name(1), kHashKey);
  auto* octets = maps_->data.edit(1, 1)[0].octets + uint64_t(kElsewhere - 65536) * LS_DNS_UNIT;
  std::memcpy(octets, &entry_of(name(1)), entry_of(name(1)).octets);
  octets[LS_DNS_BODY(name(1).key.size())] ^= 1;
  free_slot(ls_dns_bucket2(h, 255)) = LS_DNS_SLOT(h, kElsewhere);
  expect_kept({});  // the one that programs find
}
TEST_F(DamageTest, RandomWords) {
  for (uint32_t seed = 0; seed < 30; seed++) {
    std::mt19937_64 rng(seed);
    for (int i = 0; i < 200; i++) {
      auto& b = maps_->buckets.edit(uint32_t(rng() % 256), 1)[0];
      b.slot[rng() % 8] = rng() % 2 ? rng() : (rng() & ~0xffffffffull) | rng() % 131072;
      if (i % 4 == 0) maps_->data.edit(uint32_t(rng() % 2), 1)[0].octets[rng() % 200'000] = uint8_t(rng());
    }
    auto t = kernel_->adopt();
    EXPECT_EQ(shown(*maps_).size(), t.view().entries);
    for (uint32_t n = 0; n < 300; n++) put(t, name(n), content(n + seed));
    EXPECT_EQ(shown(*maps_).size(), t.view().entries);
    if (HasFailure()) return;
  }
}
TEST_F(DamageTest, WhatIsRightStaysWithItsViews) {
  auto before = shown(*maps_);
  kernel_->adopt();
  EXPECT_EQ(shown(*maps_), before);
  EXPECT_EQ(before.size(), 101u);
}

}  // namespace
}  // namespace ls::test
