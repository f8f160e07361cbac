// Readers see every name whole, and stable names always, while the zone changes a million times.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "dns/zone_table.h"

namespace ls::dns {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint32_t kChanges = 100'000;
#else
constexpr uint32_t kChanges = 1'000'000;
#endif
constexpr uint32_t kStable = 200, kMoving = 2000;

std::string owner(const char* kind, uint32_t i) { return *relative_name(std::string(kind) + std::to_string(i) + ".app.marathon"); }

/// A name's records are all of one generation: A 10.g.g.1 to 10.g.g.4.
std::vector<Record> generation(const std::string& name, uint8_t g) {
  std::vector<Record> out;
  for (uint32_t i = 1; i <= 4; ++i) out.push_back(address_record(name, IpAddress::from_v4(0x0a000000u | uint32_t{g} << 16 | uint32_t{g} << 8 | i)));
  return out;
}

bool whole(const ZoneName& name) {
  const auto set = name.rrset(RrType::kA);
  if (!set || set->count() != 4) return false;
  const char g = set->rdata(0)[1];
  for (size_t i = 0; i < 4; ++i)
    if (set->rdata(i)[1] != g || set->rdata(i)[2] != g) return false;
  return true;
}

TEST(ZoneTableThreads, NeverHalfAnRrsetNorAMissingName) {
  Epoch epoch;
  ZoneTable table(epoch);
  std::vector<std::string> stable, moving;
  RecordDelta first;
  for (uint32_t i = 0; i < kStable; ++i) {
    stable.push_back(owner("stable", i));
    for (Record& r : generation(stable.back(), 0)) first.add.push_back(std::move(r));
  }
  for (uint32_t i = 0; i < kMoving; ++i) moving.push_back(owner("moving", i));
  table.apply(first);

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> missing{0}, half{0}, no_parent{0}, lookups{0};
  const auto read = [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    Epoch::Reader reader(epoch);
    uint64_t n = 0;
    const std::string parent = *relative_name("app.marathon");
    while (!stop.load(std::memory_order_relaxed)) {
      Epoch::Guard guard(reader);
      for (int i = 0; i < 16; ++i, n += 2) {
        const ZoneName* s = table.find(stable[random() % kStable]);
        if (!s) ++missing;
        if (s && !whole(*s)) ++half;
        const ZoneName* m = table.find(moving[random() % kMoving]);
        if (m && !whole(*m)) ++half;
      }
      if (!table.find(parent)) ++no_parent;
    }
    lookups += n;
  };
  std::thread one(read, 1), two(read, 2);

  std::mt19937_64 random(3);
  std::vector<int> now(kMoving, -1), stable_now(kStable, 0);
  for (uint32_t change = 0; change < kChanges; ++change) {
    const bool of_stable = change % 4 == 0;
    const uint32_t i = static_cast<uint32_t>(random() % (of_stable ? kStable : kMoving));
    int& g = of_stable ? stable_now[i] : now[i];
    const std::string& name = of_stable ? stable[i] : moving[i];
    RecordDelta delta;
    if (g >= 0) delta.remove = generation(name, static_cast<uint8_t>(g));
    if (of_stable || g < 0 || random() % 2) {
      g = static_cast<int>(random() % 200);
      delta.add = generation(name, static_cast<uint8_t>(g));
    } else {
      g = -1;
    }
    table.apply(delta);
  }
  stop = true;
  one.join();
  two.join();
  EXPECT_EQ(missing, 0u);
  EXPECT_EQ(half, 0u);
  EXPECT_EQ(no_parent, 0u);
  EXPECT_GT(lookups, 0u);
  EXPECT_EQ(table.faults(), 0u);
  epoch.collect();
  EXPECT_EQ(epoch.retired(), 0u);
}

}  // namespace
}  // namespace ls::dns
