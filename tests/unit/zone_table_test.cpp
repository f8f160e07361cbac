// The contents of a zone: multisets, empty non-terminals, growth, comparison with a list.
#include "dns/zone_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace ls::dns {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Record a(const std::string& owner, uint32_t n, uint32_t ttl = 0) { return address_record(*relative_name(owner), IpAddress::from_v4(0x0a000000 + n), ttl); }

class ZoneTableTest : public testing::Test {
 protected:
  Epoch epoch;
  ZoneTable table{epoch};

  const ZoneName* find(const std::string& owner) { return table.find(*relative_name(owner)); }
  std::vector<int> addresses(const std::string& owner) {
    std::vector<int> out;
    const ZoneName* name = find(owner);
    if (!name) return {-1};
    const auto set = name->rrset(RrType::kA);
    for (size_t i = 0; set && i < set->count(); ++i) out.push_back(static_cast<uint8_t>(set->rdata(i)[3]));
    return out;
  }
};

TEST_F(ZoneTableTest, NothingIsKnownBeforeTheFirstChange) {
  EXPECT_FALSE(table.loaded());
  EXPECT_EQ(find("web"), nullptr);
  table.apply({});
  EXPECT_TRUE(table.loaded());
  EXPECT_EQ(table.version(), 1u);
  table.apply({});
  EXPECT_EQ(table.version(), 1u) << "nothing changed";
}

TEST_F(ZoneTableTest, EqualRecordsAreCounted) {
  table.apply({{a("web", 1), a("web", 1), a("web", 2)}, {}});
  EXPECT_THAT(addresses("web"), ElementsAre(1, 2));
  EXPECT_EQ(find("web")->rrset(RrType::kA)->multiplicity(0), 2u);
  EXPECT_EQ(find("web")->rrset(RrType::kA)->multiplicity(1), 1u);
  table.apply({{}, {a("web", 1)}});
  EXPECT_THAT(addresses("web"), ElementsAre(1, 2));
  table.apply({{}, {a("web", 1)}});
  EXPECT_THAT(addresses("web"), ElementsAre(2));
  table.apply({{}, {a("web", 2)}});
  EXPECT_EQ(find("web"), nullptr);
  EXPECT_EQ(table.names(), 0u);
  EXPECT_EQ(table.records(), 0u);
  EXPECT_EQ(table.faults(), 0u);
}

TEST_F(ZoneTableTest, AddedBeforeRemovedInOneChange) {
  table.apply({{a("web", 1)}, {}});
  table.apply({{a("web", 2)}, {a("web", 1)}});
  EXPECT_THAT(addresses("web"), ElementsAre(2));
  table.apply({{a("web", 3)}, {a("web", 3)}});
  EXPECT_THAT(addresses("web"), ElementsAre(2));
  EXPECT_EQ(table.faults(), 0u);
}

TEST_F(ZoneTableTest, RemovalOfWhatIsNotThereIsCounted) {
  table.apply({{a("web", 1)}, {a("web", 9), a("none", 1)}});
  EXPECT_EQ(table.faults(), 2u);
  EXPECT_THAT(addresses("web"), ElementsAre(1));
  EXPECT_EQ(find("none"), nullptr);
}

TEST_F(ZoneTableTest, RecordsThatNoZoneCanHoldAreCounted) {
  Record bad = a("web", 1);
  bad.owner = "\5web";
  Record short_address = a("web", 1);
  short_address.rdata = "abc";
  Record no_end{*relative_name("web"), RrType::kCname, "\3web", 0};
  Record no_target{*relative_name("web"), RrType::kSrv, "\1\1\1\1\1\1", 0};
  table.apply({{bad, short_address, no_end, no_target}, {}});
  EXPECT_EQ(table.faults(), 4u);
  EXPECT_EQ(table.names(), 0u);
}

TEST_F(ZoneTableTest, NamesAboveAreThereAsLongAsOneBelowIs) {
  table.apply({{a("x.web.marathon", 1), a("y.web.marathon", 2)}, {}});
  ASSERT_NE(find("web.marathon"), nullptr);
  EXPECT_TRUE(find("web.marathon")->empty_non_terminal());
  EXPECT_TRUE(find("marathon")->empty_non_terminal());
  EXPECT_EQ(table.names(), 2u);
  table.apply({{}, {a("x.web.marathon", 1)}});
  EXPECT_NE(find("web.marathon"), nullptr);
  table.apply({{a("web.marathon", 3)}, {a("y.web.marathon", 2)}});
  EXPECT_FALSE(find("web.marathon")->empty_non_terminal());
  EXPECT_NE(find("marathon"), nullptr);
  table.apply({{}, {a("web.marathon", 3)}});
  EXPECT_EQ(find("web.marathon"), nullptr);
  EXPECT_EQ(find("marathon"), nullptr);
}

TEST_F(ZoneTableTest, ANameWithNamesBelowLosesOnlyItsRecords) {
  table.apply({{a("marathon", 1), a("web.marathon", 2)}, {}});
  table.apply({{}, {a("marathon", 1)}});
  ASSERT_NE(find("marathon"), nullptr);
  EXPECT_TRUE(find("marathon")->empty_non_terminal());
  table.apply({{a("marathon", 4)}, {}});
  table.apply({{}, {a("web.marathon", 2), a("marathon", 4)}});
  EXPECT_EQ(find("marathon"), nullptr);
}

TEST_F(ZoneTableTest, TheApexHoldsRecordsWithoutBeingAParent) {
  table.apply({{a("", 1), a("web", 2)}, {}});
  EXPECT_THAT(addresses(""), ElementsAre(1));
  table.apply({{}, {a("", 1)}});
  EXPECT_EQ(find(""), nullptr);
  EXPECT_THAT(addresses("web"), ElementsAre(2));
}

TEST_F(ZoneTableTest, TypesAndSizesOfOneName) {
  const auto owner = *relative_name("web");
  const auto target = *relative_name("t"), longer = *relative_name("longer.target");
  table.apply({{a("web", 1), srv_record(owner, 1, 2, 3, target), srv_record(owner, 1, 2, 4, longer), srv_record(owner, 1, 2, 3, target),
                {owner, RrType::kTxt, std::string("\5hello"), 0}, address_record(owner, *IpAddress::parse("fd01::1"))},
               {}});
  const ZoneName* name = find("web");
  ASSERT_NE(name, nullptr);
  EXPECT_EQ(name->rrset_count(), 4u);
  const auto srv = name->rrset(RrType::kSrv);
  ASSERT_TRUE(srv);
  ASSERT_EQ(srv->count(), 2u);
  EXPECT_EQ(srv->rdata(0), srv_record(owner, 1, 2, 3, target).rdata);
  EXPECT_EQ(srv->rdata(1), srv_record(owner, 1, 2, 4, longer).rdata);
  EXPECT_EQ(srv->multiplicity(0), 2u);
  EXPECT_EQ(srv->multiplicity(1), 1u);
  EXPECT_EQ(name->rrset(RrType::kTxt)->rdata(0), "\5hello");
  EXPECT_EQ(name->rrset(RrType::kAaaa)->count(), 1u);
  EXPECT_FALSE(name->rrset(RrType::kMx));
  EXPECT_EQ(table.records(), 5u);
  std::vector<RrType> types;
  name->for_each([&](RrSet set) { types.push_back(set.type()); });
  EXPECT_THAT(types, ElementsAre(RrType::kA, RrType::kSrv, RrType::kTxt, RrType::kAaaa));
}

TEST_F(ZoneTableTest, OneRecordWithTwoTtlsIsShownOnce) {
  table.apply({{a("web", 1, 60), a("web", 1, 30), a("web", 2, 60)}, {}});
  const auto set = find("web")->rrset(RrType::kA);
  EXPECT_EQ(set->count(), 2u);
  EXPECT_EQ(set->ttl(), 30u);
  EXPECT_EQ(table.records(), 2u);
  table.apply({{}, {a("web", 1, 30)}});
  EXPECT_EQ(find("web")->rrset(RrType::kA)->count(), 2u);
  EXPECT_EQ(find("web")->rrset(RrType::kA)->ttl(), 60u);
  EXPECT_EQ(table.faults(), 0u);
}

TEST_F(ZoneTableTest, SerialGrowsWithChanges) {
  uint32_t now = 1000;
  table.set_clock([&] { return now; });
  table.apply({{a("web", 1)}, {}});
  EXPECT_EQ(table.serial(), 1000u);
  table.apply({{a("web", 2)}, {}});
  EXPECT_EQ(table.serial(), 1001u);
  table.apply({{a("web", 2)}, {a("web", 2)}});
  EXPECT_EQ(table.serial(), 1001u);
  now = 500;  // a clock that jumps back does not take the serial with it
  table.apply({{a("web", 3)}, {}});
  EXPECT_EQ(table.serial(), 1002u);
  table.set_fixed_serial(7);
  table.apply({{a("web", 4)}, {}});
  EXPECT_EQ(table.serial(), 7u);
}

TEST_F(ZoneTableTest, SerialWrapsAsRfc1982) {
  uint32_t now = 0xffffffff;
  table.set_clock([&] { return now; });
  table.apply({{a("web", 1)}, {}});
  EXPECT_EQ(table.serial(), 1u + 1u) << "2^32 - 1 counts as before 2";
}

TEST_F(ZoneTableTest, ReplaceTouchesOnlyWhatDiffers) {
  table.apply({{a("same", 1), a("same", 2), a("grows", 1), a("goes.below", 1)}, {}});
  const ZoneName* same = find("same");
  const uint64_t version = table.version();
  table.replace({a("same", 2), a("same", 1), a("grows", 1), a("grows", 2), a("new", 1)});
  EXPECT_EQ(find("same"), same) << "the same block";
  EXPECT_THAT(addresses("grows"), ElementsAre(1, 2));
  EXPECT_THAT(addresses("new"), ElementsAre(1));
  EXPECT_EQ(find("goes.below"), nullptr);
  EXPECT_EQ(find("below"), nullptr);
  EXPECT_EQ(table.version(), version + 1);
  table.replace({a("same", 2), a("same", 1), a("grows", 1), a("grows", 2), a("new", 1)});
  EXPECT_EQ(table.version(), version + 1);
  table.replace({a("same", 2), a("same", 1), a("same", 1), a("grows", 1), a("grows", 2), a("new", 1)});
  EXPECT_EQ(find("same")->rrset(RrType::kA)->multiplicity(0), 2u);
  table.replace({});
  EXPECT_EQ(table.names(), 0u);
  size_t left = 0;
  table.for_each([&](const ZoneName&) { ++left; });
  EXPECT_EQ(left, 0u);
}

TEST_F(ZoneTableTest, ManyRecordsUnderOneName) {
  RecordDelta delta;
  for (uint32_t i = 0; i < 5000; ++i) delta.add.push_back(address_record(*relative_name("slave"), IpAddress::from_v4(i)));
  table.apply(delta);
  ASSERT_EQ(find("slave")->rrset(RrType::kA)->count(), 5000u);
  RecordDelta less;
  for (uint32_t i = 0; i < 5000; i += 2) less.remove.push_back(delta.add[i]);
  table.apply(less);
  const auto set = find("slave")->rrset(RrType::kA);
  ASSERT_EQ(set->count(), 2500u);
  for (size_t i = 0; i < 2500; ++i) EXPECT_EQ(set->rdata(i), delta.add[2 * i + 1].rdata);
  EXPECT_EQ(table.faults(), 0u);
}

/// Random changes against a plain model.
TEST_F(ZoneTableTest, FollowsAModel) {
  std::mt19937 random(11);
  std::map<std::string, std::multiset<std::string>> model;
  const auto owner = [&] {
    static const char* kLabels[] = {"a", "b", "c", "d"};
    std::string name = kLabels[random() % 4];
    for (size_t depth = random() % 4; depth > 0; --depth) name += std::string(".") + kLabels[random() % 4];
    return name;
  };
  for (int step = 0; step < 3000; ++step) {
    RecordDelta delta;
    const bool whole = step % 100 == 99;
    for (size_t n = random() % 6; n > 0; --n) {
      Record r = a(owner(), random() % 4, random() % 3);
      delta.add.push_back(r);
    }
    for (size_t n = random() % 6; n > 0 && !model.empty(); --n) {
      auto it = std::next(model.begin(), static_cast<long>(random() % model.size()));
      const std::string key = *it->second.begin();
      delta.remove.push_back({it->first, RrType::kA, key.substr(0, 4), static_cast<uint32_t>(key[4])});
      it->second.erase(it->second.begin());
      if (it->second.empty()) model.erase(it);
    }
    for (const Record& r : delta.add) model[r.owner].insert(r.rdata + static_cast<char>(r.ttl));
    if (whole) {
      std::vector<Record> all;
      for (auto& [name, set] : model)
        for (auto& key : set) all.push_back({name, RrType::kA, key.substr(0, 4), static_cast<uint32_t>(key[4])});
      table.replace(all);
    } else {
      table.apply(delta);
    }
    // Names with records, names above them, nothing else.
    std::set<std::string> want, got;
    size_t records = 0;
    for (auto& [name, set] : model) {
      std::set<std::string> different;
      for (auto& key : set) different.insert(key.substr(0, 4));
      records += different.size();
      const ZoneName* found = table.find(name);
      ASSERT_NE(found, nullptr);
      std::set<std::string> have;
      const auto rrset = found->rrset(RrType::kA);
      ASSERT_TRUE(rrset);
      for (size_t i = 0; i < rrset->count(); ++i) have.insert(std::string(rrset->rdata(i)));
      ASSERT_EQ(have, different);
      ASSERT_EQ(rrset->count(), different.size());
      for (std::string up = name; !up.empty(); up = up.substr(static_cast<uint8_t>(up[0]) + 1u)) want.insert(up);
    }
    table.for_each([&](const ZoneName& name) { ASSERT_TRUE(got.insert(std::string(name.owner())).second); });
    ASSERT_EQ(got, want);
    ASSERT_EQ(table.names(), model.size());
    ASSERT_EQ(table.records(), records);
    ASSERT_EQ(table.faults(), 0u);
  }
}

TEST_F(ZoneTableTest, MemoryOfALargeZone) {
  // A 50,000-task cluster has about 143,000 names.
  std::vector<Record> all;
  for (uint32_t i = 0; i < 143'000; ++i) {
    const std::string task = "service-" + std::to_string(i / 10) + "-abcde-s" + std::to_string(i % 500);
    if (i % 3 == 2) {
      all.push_back(srv_record(*relative_name("_http._" + task + "._tcp.marathon"), 0, 1, 31000, *relative_name(task + ".marathon")));
    } else {
      all.push_back(a(task + "-" + std::to_string(i) + ".marathon", i));
    }
  }
  table.replace(all);
  EXPECT_GE(table.names(), 130'000u);
  EXPECT_LT(table.bytes(), 25u << 20);
  RecordProperty("bytes", std::to_string(table.bytes()));
  table.replace({});
  EXPECT_LT(table.bytes(), 8u << 20);
}

}  // namespace
}  // namespace ls::dns
