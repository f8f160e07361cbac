// Rooms never overlap, never cross a chunk, rest until settled, and their chunks serve any class again.
#include "datapath/dns_rooms.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace ls::datapath {
namespace {

constexpr uint32_t kMax = LS_DNS_ENTRY_MAX / LS_DNS_UNIT;

DnsRooms fresh(uint32_t segments) {
  DnsRooms r(segments);
  r.claimed();
  return r;
}

/// place -> units of rooms that are taken; add() wants them apart.
class Taken {
 public:
  explicit Taken(uint32_t segments) : end_(segments * DnsRooms::kSegmentUnits) {}
  void add(uint32_t place, uint32_t units) {
    ASSERT_NE(place, 0u);
    ASSERT_LE(uint64_t(place) + units, end_);
    ASSERT_EQ(place / DnsRooms::kChunkUnits, (place + units - 1) / DnsRooms::kChunkUnits);
    auto next = rooms.lower_bound(place);
    if (next != rooms.end()) {
      ASSERT_LE(place + units, next->first);
    }
    if (next != rooms.begin()) {
      ASSERT_LE(std::prev(next)->first + std::prev(next)->second, place);
    }
    rooms[place] = units;
  }
  std::map<uint32_t, uint32_t> rooms;

 private:
  uint64_t end_;
};

TEST(DnsRooms, ClassesGrowBySteps) {
  for (uint32_t units = 1; units <= kMax; units++) {
    uint32_t room = DnsRooms::room_units(units);
    EXPECT_GE(room, units);
    if (units > 8) {
      EXPECT_LE((room - units) * 5, room) << units;
    }
  }
  EXPECT_EQ(DnsRooms::room_units(kMax), kMax);
  EXPECT_EQ(DnsRooms::room_units(5), 5u);
}

TEST(DnsRooms, EverySizeFillsTheDataButTheReserve) {
  for (uint32_t units : {1u, 2u, 5u, 9u, 33u, 130u, kMax}) {
    auto r = fresh(2);
    Taken t(2);
    while (auto place = r.take(units)) {
      t.add(*place, DnsRooms::room_units(units));
      if (HasFatalFailure()) return;
    }
    EXPECT_EQ(r.free_chunks(), r.reserve());
    uint64_t chunks = 32 - r.reserve(), per_chunk = DnsRooms::kChunkUnits / DnsRooms::room_units(units);
    EXPECT_EQ(t.rooms.size(), chunks * per_chunk - 1) << "all but place 0";
    EXPECT_EQ(r.used_units(), t.rooms.size() * DnsRooms::room_units(units));
    EXPECT_FALSE(r.take_reserve(units, RoomFor::kNew)) << "nothing rests";
    uint64_t kept = 0;
    while (auto place = r.take_reserve(units, RoomFor::kKept)) {
      t.add(*place, DnsRooms::room_units(units));
      kept++;
    }
    EXPECT_EQ(kept, r.reserve() * per_chunk);
  }
}

TEST(DnsRooms, WhatRestsIsNotGivenOut) {
  auto r = fresh(1);
  std::vector<uint32_t> all;
  while (auto place = r.take(5)) all.push_back(*place);
  for (auto place : all) r.retire(place, 5);
  EXPECT_FALSE(r.take(5));
  EXPECT_EQ(r.retired(), all.size());
  EXPECT_GT(r.used_units(), 0u);
  r.settle();
  EXPECT_EQ(r.retired(), 0u);
  EXPECT_EQ(r.used_units(), 0u);
  EXPECT_EQ(r.free_chunks(), 16u) << "chunks serve any class again";
  size_t large = 0;
  while (r.take(kMax)) large++;
  EXPECT_EQ(large, 14u * 16 - 1);
}

TEST(DnsRooms, NewOnesBorrowFromTheReserveWhatRests) {
  auto r = fresh(1);
  std::vector<uint32_t> all;
  while (auto place = r.take(5)) all.push_back(*place);
  r.retire(all[0], 5);
  r.retire(all[1], 5);
  EXPECT_TRUE(r.take_reserve(5, RoomFor::kNew));
  EXPECT_TRUE(r.take_reserve(4, RoomFor::kNew));
  EXPECT_FALSE(r.take_reserve(5, RoomFor::kNew));
  r.settle();
  EXPECT_FALSE(r.take_reserve(5, RoomFor::kNew));
  EXPECT_TRUE(r.take(5));
}

TEST(DnsRooms, LargerRoomsHelpOut) {
  auto r = fresh(1);
  auto large = r.take(16);
  ASSERT_TRUE(large);
  while (r.take(10)) {
  }
  EXPECT_FALSE(r.take_larger(10, 15));
  auto place = r.take_larger(10, 20);
  ASSERT_TRUE(place);
  EXPECT_EQ(*place / DnsRooms::kChunkUnits, *large / DnsRooms::kChunkUnits);
}

TEST(DnsRooms, ClaimsAreChecked) {
  DnsRooms r(1);
  EXPECT_FALSE(r.claim(0, 4)) << "place 0";
  EXPECT_FALSE(r.claim(DnsRooms::kSegmentUnits, 4)) << "behind the end";
  EXPECT_FALSE(r.claim(DnsRooms::kSegmentUnits - 3, 4)) << "across the end";
  EXPECT_FALSE(r.claim(DnsRooms::kChunkUnits - 3, 4)) << "across a chunk";
  EXPECT_FALSE(r.claim(8, 0));
  EXPECT_FALSE(r.claim(8, kMax + 1));
  EXPECT_FALSE(r.claim(~0u, 4));
  EXPECT_TRUE(r.claim(8, 4));
  EXPECT_FALSE(r.claim(8, 4)) << "twice";
  EXPECT_FALSE(r.claim(11, 1)) << "over another one";
  EXPECT_FALSE(r.claim(5, 4));
  EXPECT_TRUE(r.claim(12, 4));
  r.claimed();
  EXPECT_EQ(r.used_units(), 8u);
}

TEST(DnsRooms, EntriesOfNoCommonClassAreKeptUntilTheyGo) {
  DnsRooms r(1);
  ASSERT_TRUE(r.claim(7, 3));
  ASSERT_TRUE(r.claim(11, 3));  // no class has rooms at 7 and at 11
  r.claimed();
  EXPECT_EQ(r.free_chunks(), 15u);
  Taken t(1);
  t.add(7, 3);
  t.add(11, 3);
  while (auto place = r.take(3)) t.add(*place, 3);
  EXPECT_EQ(t.rooms.size(), 2 + 13u * 1365);
  r.retire(7, 3);
  r.settle();
  EXPECT_FALSE(r.take(3));
  r.retire(11, 3);
  r.settle();
  EXPECT_TRUE(r.take(3));
}

TEST(DnsRooms, GivingBackTwiceEndsTheProcess) {
  auto twice = [] {
    auto r = fresh(1);
    auto a = r.take(5), b = r.take(5);
    (void)b;
    r.retire(*a, 5);
    r.retire(*a, 5);
    r.settle();
  };
  EXPECT_DEATH(twice(), "given back but not in use");
}

/// Long histories; now and then the bookkeeping is made again from what is taken.
TEST(DnsRooms, HistoriesKeepRoomsApart) {
  for (uint32_t seed = 1; seed <= 4; seed++) {
    std::mt19937 rng(seed);
    auto r = fresh(1);
    std::map<uint32_t, uint32_t> live;  // place -> units asked for
    Taken t(1);                         // units asked for, resting ones too
    std::vector<std::pair<uint32_t, uint32_t>> rest;
    auto settled = [&] {
      for (auto [p, u] : rest) t.rooms.erase(p);
      rest.clear();
    };
    for (int step = 0; step < 40'000; step++) {
      uint32_t roll = rng() % 1000;
      bool grow = step / 4000 % 2 == 0;
      if (roll < (grow ? 650u : 350u)) {
        uint32_t units = rng() % 3 ? 2 + rng() % 12 : 1 + rng() % kMax;
        auto place = r.take(units);
        if (!place) place = r.take_larger(units, 2 * units);
        if (!place) place = r.take_reserve(units, rng() % 2 ? RoomFor::kNew : RoomFor::kKept);
        if (!place) continue;
        t.add(*place, units);
        if (HasFatalFailure()) return;
        live[*place] = units;
      } else if (roll < 995) {
        if (live.empty()) continue;
        auto it = live.lower_bound(rng() % DnsRooms::kSegmentUnits);
        if (it == live.end()) it = live.begin();
        r.retire(it->first, it->second);
        rest.push_back(*it);
        live.erase(it);
      } else if (roll < 999) {
        r.settle();
        settled();
      } else {
        DnsRooms again(1);
        for (auto [p, u] : live) ASSERT_TRUE(again.claim(p, u));
        again.claimed();
        r = std::move(again);
        settled();
      }
      uint64_t asked = 0;
      if (step % 1000 == 0) {
        for (auto [p, u] : t.rooms) asked += u;
        ASSERT_GE(r.used_units(), asked);
      }
    }
    for (auto [p, u] : live) r.retire(p, u);
    r.settle();
    EXPECT_EQ(r.used_units(), 0u);
    EXPECT_EQ(r.free_chunks(), 16u);
  }
}

}  // namespace
}  // namespace ls::datapath
