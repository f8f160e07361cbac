// Entries are put, replaced, refused, removed, swept and adopted; programs find what was put and nothing else.
#include <chrono>
#include <cstdio>

#include "dns_tables_fixture.h"

namespace ls::test {
namespace {

class DnsTablesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    LS_NEED_BPF();
    waits = 0;
  }
};

TEST_F(DnsTablesTest, PutIsFoundByPrograms) {
  DnsKernelMaps kernel;
  auto t = kernel.adopt();
  EXPECT_EQ(waits, 1u) << "rooms that a daemon before gave up may still be read";
  auto maps = kernel.open();
  Shown model;
  for (uint32_t n = 0; n < 1000; n++) {
    auto id = Id{n % 2 ? LS_DNS_SPACE_ZONE : LS_DNS_SPACE_CACHE, uint16_t(n % 2 ? 0 : 28), std::string(n % 256, char('a' + n % 26)) };
    auto c = content(n, n % 7 * 8);
    ASSERT_TRUE(put(t, id, c));
    model[id] = c;
    EXPECT_EQ(t.hash(id.ref()), hash_of(id, kHashKey));
  }
  EXPECT_EQ(shown(maps), model);
  for (auto& [id, c] : model) {
    EXPECT_EQ(look(maps, id).content, c);
    EXPECT_EQ(found(t, id), c);
  }
  EXPECT_EQ(look(maps, name(5)).what, Look::kNone);
  EXPECT_FALSE(found(t, name(5)));
  EXPECT_EQ(t.view().entries, model.size());
  EXPECT_EQ(t.view().slots, 1024u * 8);
  EXPECT_EQ(t.view().bytes_total, 2u << 20);
  EXPECT_GT(t.view().bytes_used, 0u);
  size_t visited = 0;
  t.for_each([&](const ls_dns_entry& e, std::string_view key) {
    visited++;
    EXPECT_TRUE(model.contains({e.space, e.aux, std::string(key)}));
  });
  EXPECT_EQ(visited, model.size());
}

TEST_F(DnsTablesTest, EqualContentStoresNothingButTheRound) {
  DnsKernelMaps kernel;
  auto t = kernel.adopt();
  auto c = content(1);
  ASSERT_TRUE(put(t, name(1), c));
  auto before = t.find(name(1).ref()).data();
  int writes = 0;
  set_map_write_hook_for_tests([&](const std::string&) { return writes++, 0; });
  ASSERT_TRUE(put(t, name(1), c));
  EXPECT_EQ(writes, 0);
  t.mark();
  ASSERT_TRUE(put(t, name(1), c));
  EXPECT_EQ(writes, 1);
  set_map_write_hook_for_tests(nullptr);
  EXPECT_EQ(t.find(name(1).ref()).data(), before);
  for (auto other : {Content{uint8_t(c.flags ^ 1), c.sets, c.body}, Content{c.flags, uint8_t(c.sets + 1), c.body}, content(2), content(1, 40),
                     content(1, 24), content(1, 0)}) {
    auto at = t.find(name(1).ref()).data();
    ASSERT_TRUE(put(t, name(1), other));
    EXPECT_NE(t.find(name(1).ref()).data(), at) << "an entry that programs see does not change";
    EXPECT_EQ(found(t, name(1)), other);
  }
}

TEST_F(DnsTablesTest, ReplacedInTheSameSlot) {
  DnsKernelMaps kernel(2);
  auto t = kernel.adopt();
  auto maps = kernel.open();
  for (uint32_t n = 0; n < 10; n++) ASSERT_TRUE(put(t, name(n), content(n)));
  auto places = [&] {
    std::vector<uint64_t> tags;
    for (auto& b : maps.buckets.view())
      for (auto w : b.slot) tags.push_back(w >> 32);
    return tags;
  };
  auto before = places();
  ASSERT_TRUE(t.remove(name(3).ref()));
  for (uint32_t n = 9; n > 3; n--) ASSERT_TRUE(put(t, name(n), content(n + 100)));
  auto after = places();
  int differ = 0;
  for (size_t i = 0; i < before.size(); i++) differ += before[i] != after[i];
  EXPECT_EQ(differ, 1) << "only the removed one";
  EXPECT_FALSE(t.remove(name(3).ref()));
}

TEST_F(DnsTablesTest, KeysWithOneHashStayApart) {
  DnsKernelMaps kernel;
  ASSERT_EQ(hash_of(twin(1), kWeakKey), hash_of(twin(2), kWeakKey));
  ASSERT_NE(twin(1), twin(2));
  auto t = kernel.adopt(kWeakKey);
  auto maps = kernel.open();
  for (uint32_t n = 0; n < 16; n++) ASSERT_TRUE(put(t, twin(n), content(n))) << n;
  EXPECT_FALSE(put(t, twin(16), content(16))) << "sixteen slots for one hash";
  EXPECT_EQ(t.view().refused, 1u);
  for (uint32_t n = 0; n < 16; n++) EXPECT_EQ(found(t, twin(n)), content(n));
  // A program finds one of them, and goes up with the others.
  auto seen_by_program = [&](uint32_t from, uint32_t to) {
    int hits = 0;
    for (uint32_t n = from; n < to; n++) {
      auto seen = look(maps, twin(n), kWeakKey);
      EXPECT_NE(seen.what, Look::kNone) << n;
      if (seen.what != Look::kFound) continue;
      hits++;
      EXPECT_EQ(seen.content, found(t, twin(n)));
    }
    return hits;
  };
  EXPECT_EQ(seen_by_program(0, 17), 1);
  ASSERT_TRUE(put(t, twin(7), content(70)));
  for (uint32_t n = 0; n < 7; n++) ASSERT_TRUE(t.remove(twin(n).ref()));
  EXPECT_EQ(seen_by_program(7, 16), 1);
  EXPECT_EQ(found(t, twin(7)), content(70));
  ASSERT_TRUE(put(t, twin(16), content(16)));
  t = kernel.adopt(kWeakKey);
  EXPECT_EQ(t.view().entries, 10u);
  EXPECT_EQ(found(t, twin(16)), content(16));
}

TEST_F(DnsTablesTest, OneBucketWorks) {
  DnsKernelMaps kernel(1, 1);
  auto t = kernel.adopt();
  for (uint32_t n = 0; n < 8; n++) ASSERT_TRUE(put(t, name(n), content(n)));
  EXPECT_FALSE(put(t, name(8), content(8)));
  EXPECT_TRUE(put(t, name(7), content(77)));
  EXPECT_EQ(shown(kernel.open()).size(), 8u);
}

TEST_F(DnsTablesTest, WhatIsTooLongIsRefusedAndTheOldStays) {
  DnsKernelMaps kernel;
  auto t = kernel.adopt();
  size_t most = LS_DNS_ENTRY_MAX - LS_DNS_BODY(name(1).key.size());
  ASSERT_TRUE(put(t, name(1), content(1, most)));
  EXPECT_EQ(t.find(name(1).ref()).size(), size_t(LS_DNS_ENTRY_MAX));
  EXPECT_FALSE(put(t, name(1), content(1, most + 1)));
  EXPECT_EQ(found(t, name(1)), content(1, most));
  EXPECT_FALSE(put(t, {LS_DNS_SPACE_ZONE, 0, std::string(256, 'x')}, content(1)));
  EXPECT_TRUE(put(t, {LS_DNS_SPACE_ZONE, 0, std::string(255, 'x')}, content(1)));
  EXPECT_TRUE(put(t, {LS_DNS_SPACE_ZONE, 0, ""}, content(1, 0))) << "an apex without records";
  EXPECT_EQ(t.view().refused, 2u);
}

TEST_F(DnsTablesTest, FullDataRefusesNewNamesAndKeepsViewsAndChangesGoing) {
  DnsKernelMaps kernel(8192, 1);
  auto t = kernel.adopt();
  auto maps = kernel.open();
  uint32_t n = 0;
  while (put(t, name(n), content(n, 500))) n++;
  EXPECT_EQ(n, 14u * 102 - 1);
  EXPECT_EQ(t.view().refused, 1u);
  for (uint32_t i = 0; i < 50; i++)
    EXPECT_TRUE(put(t, {LS_DNS_SPACE_VIEW, 0, "view" + std::to_string(i)}, content(i, 296))) << "views have room yet";
  uint64_t before = waits;
  for (uint32_t i = 0; i < 5000; i++) ASSERT_TRUE(put(t, name(i % n), content(i + 7777, 500))) << i;
  EXPECT_LE(waits - before, 5000 / 60 + 1) << "rooms come back in bulk";
  // Where one name goes, another comes.
  before = waits;
  for (uint32_t i = 0; i < 3000; i++) {
    ASSERT_TRUE(t.remove(name(i % 1000 + i / 1000 * 10'000).ref()));
    ASSERT_TRUE(put(t, name(i % 1000 + (i / 1000 + 1) * 10'000), content(i, 500))) << i;
  }
  EXPECT_LE(waits - before, 3000 / 60 + 1);
  EXPECT_EQ(shown(maps).size(), n + 50);
}

TEST_F(DnsTablesTest, WithoutAnyRoomTheOldContentStays) {
  DnsKernelMaps kernel(8192, 1);
  auto t = kernel.adopt();
  uint32_t n = 0;
  while (put(t, name(n), content(n, 500))) n++;
  while (put(t, {LS_DNS_SPACE_VIEW, 0, "v" + std::to_string(n)}, content(n, 500))) n++;  // and the reserve
  EXPECT_EQ(found(t, name(0)), content(0, 500));
  EXPECT_FALSE(put(t, name(0), content(1, 2000)));
  EXPECT_EQ(found(t, name(0)), content(0, 500));
  EXPECT_NE(look(kernel.open(), name(0)).what, Look::kNone);
}

TEST_F(DnsTablesTest, ManyChangesAskSeldomForAGracePeriod) {
  DnsKernelMaps kernel(8192, 4);
  auto t = kernel.adopt();
  for (uint32_t n = 0; n < 10'000; n++) ASSERT_TRUE(put(t, name(n), content(n)));
  uint64_t before = waits;
  for (uint32_t n = 0; n < 200'000; n++) ASSERT_TRUE(put(t, name(n % 10'000), content(n + 1)));
  EXPECT_LE(waits - before, 200'000u / 10'000);
  EXPECT_GE(waits - before, 1u);
}

TEST_F(DnsTablesTest, SizesThatChangeFindRoom) {
  DnsKernelMaps kernel(8192, 2);
  auto t = kernel.adopt();
  for (size_t octets : {16, 3000, 40, 900, 0, 4000}) {
    uint32_t n = 0;
    while (put(t, name(n), content(n, octets))) n++;
    size_t room = datapath::DnsRooms::room_units(datapath::DnsRooms::units_of(LS_DNS_BODY(12) + octets)) * LS_DNS_UNIT;
    EXPECT_GE(n, std::min((2u << 20) * 8 / 10 / room, size_t(8192 * 8 * 0.6))) << octets << ": chunks of other sizes serve this one";
    while (n > 0) ASSERT_TRUE(t.remove(name(--n).ref()));
    EXPECT_EQ(t.view().entries, 0u);
  }
}

TEST_F(DnsTablesTest, SweepTakesWhatWasNotPutSinceTheMark) {
  DnsKernelMaps kernel;
  auto t = kernel.adopt();
  uint32_t other = LS_DNS_SPACE_ZONE | 7;
  for (uint32_t n = 0; n < 100; n++) {
    ASSERT_TRUE(put(t, name(n), content(n)));
    ASSERT_TRUE(put(t, name(n, other), content(n)));
  }
  EXPECT_EQ(t.sweep(LS_DNS_SPACE_ZONE), 0u);
  t.mark();
  for (uint32_t n = 0; n < 40; n++) ASSERT_TRUE(put(t, name(n), content(n)));
  for (uint32_t n = 40; n < 60; n++) ASSERT_TRUE(put(t, name(n), content(n + 1)));
  EXPECT_EQ(t.sweep(LS_DNS_SPACE_ZONE), 40u);
  EXPECT_EQ(t.sweep(LS_DNS_SPACE_ZONE), 0u);
  EXPECT_TRUE(found(t, name(59)));
  EXPECT_FALSE(found(t, name(60)));
  EXPECT_TRUE(found(t, name(60, other)));
  EXPECT_EQ(t.view().entries, 160u);
}

TEST_F(DnsTablesTest, SweepSeesThroughTheEndOfTheRoundsOctet) {
  DnsKernelMaps kernel;
  auto t = kernel.adopt();
  for (uint32_t marks = 1; marks < 600; marks++) {
    ASSERT_TRUE(put(t, name(1), content(1)));
    for (uint32_t i = 0; i < marks; i++) t.mark();
    ASSERT_TRUE(put(t, name(2), content(2)));
    ASSERT_EQ(t.sweep(LS_DNS_SPACE_ZONE), 1u) << marks;
    ASSERT_TRUE(found(t, name(2)));
    ASSERT_TRUE(t.remove(name(2).ref()));
  }
}

TEST_F(DnsTablesTest, RefusesMapsAndKeysThatCannotWork) {
  uint64_t even[2] = {1, 2};
  EXPECT_FALSE(DnsTables::adopt(DnsKernelMaps().open(), even, count_wait));
  EXPECT_FALSE(DnsTables::adopt(DnsKernelMaps(3).open(), kHashKey, count_wait));
}

double ms_since(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count();
}

/// By hand: --gtest_also_run_disabled_tests --gtest_filter='*Cost*'. Numbers stand in dns_tables.h.
TEST_F(DnsTablesTest, DISABLED_Cost) {
  for (size_t entry : {80, 96}) {
    DnsKernelMaps kernel(1u << 17, 64);
    auto t = kernel.adopt();
    std::vector<std::string> keys;
    for (uint32_t n = 0; n < 1'200'000; n++) {
      std::string k = "\x0b" "instance-" + std::to_string(n);
      k.resize(40, 'x');
      keys.push_back(k);
    }
    size_t body = entry - LS_DNS_BODY(40);
    auto put_all = [&](uint32_t from, uint32_t to, uint32_t version) {
      auto c = content(version, body);
      for (uint32_t n = from; n < to; n++) {
        std::memcpy(c.body.data(), &n, 4);
        if (!t.put({LS_DNS_SPACE_ZONE, 0, keys[n]}, c.flags, c.sets, c.body)) return n;
      }
      return to;
    };
    auto report = [&](const char* what, std::chrono::steady_clock::time_point from, double times) {
      double ms = ms_since(from);
      std::printf("%zu octets, %-34s %8.1f ms, %6.0f ns each\n", entry, what, ms, ms * 1e6 / times);
    };
    uint32_t many = 600'000;
    auto at = std::chrono::steady_clock::now();
    ASSERT_EQ(put_all(0, many, 1), many);
    report("600,000 new names", at, many);
    std::printf("  %.1f of %.1f MiB used, %.1f %% of the slots\n", double(t.view().bytes_used) / 1048576, double(t.view().bytes_total) / 1048576,
                100.0 * double(t.view().entries) / double(t.view().slots));
    at = std::chrono::steady_clock::now();
    put_all(0, many, 1);
    report("the same again", at, many);
    at = std::chrono::steady_clock::now();
    t.mark();
    put_all(0, many, 1);
    report("the same after a mark", at, many);
    uint64_t before = waits;
    at = std::chrono::steady_clock::now();
    put_all(0, 100'000, 2);
    report("100,000 other contents", at, 100'000);
    std::printf("  %llu grace periods\n", static_cast<unsigned long long>(waits - before));
    at = std::chrono::steady_clock::now();
    t.sweep(LS_DNS_SPACE_ZONE | 5);
    report("sweep that finds nothing", at, many);
    at = std::chrono::steady_clock::now();
    auto next = kernel.adopt();
    report("adopt", at, many);
    EXPECT_EQ(next.view().entries, many);
    t = std::move(next);
    uint32_t last = put_all(many, 1'200'000, 1);
    std::printf("  first refusal at %u names: %.1f %% of the slots, %.1f of %.1f MiB\n", last, 100.0 * last / double(t.view().slots),
                double(t.view().bytes_used) / 1048576, double(t.view().bytes_total) / 1048576);
  }
}

}  // namespace
}  // namespace ls::test
