// Who follows a zone knows what is in it: a copy kept by the calls alone, against the zone itself, over a random history.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "dns/zone_table.h"

namespace ls::dns {
namespace {

std::string text_of(const ZoneName& name) {
  std::string out = name.empty_non_terminal() ? "empty" : "";
  name.for_each([&out](RrSet set) {
    out += std::to_string(static_cast<int>(set.type())) + '/' + std::to_string(set.ttl()) + '=';
    for (size_t i = 0; i < set.count(); ++i) out += std::string(set.rdata(i)) + ',';
  });
  return out;
}

using Contents = std::map<std::string, std::string>;

Contents contents(const ZoneTable& table) {
  Contents out;
  table.for_each([&out](const ZoneName& name) { out[std::string(name.owner())] = text_of(name); });
  return out;
}

struct Copy : ZoneTable::Follower {
  explicit Copy(const ZoneTable& t) : table(t) {}
  const ZoneTable& table;
  Contents names;
  Contents before;           ///< when the change began
  bool going = false;        ///< a name has gone in this change
  size_t calls = 0, ends = 0;
  uint64_t version = 0;
  bool loaded = false;

  void name_changed(std::string_view owner) override {
    ++calls;
    const std::string key(owner);
    const ZoneName* name = table.find(owner);
    if (name) {
      EXPECT_FALSE(going) << "a name that comes or changes is told after one that goes";
      names[key] = text_of(*name);
    } else {
      EXPECT_EQ(names.erase(key), 1u) << "a name that was never told goes";
      going = true;
    }
  }
  void change_ended() override {
    ++ends;
    version = table.version();
    loaded = table.loaded();
    going = false;
  }
};

Record random_record(std::mt19937& random) {
  static const char* const owners[] = {"", "a", "b", "x.a", "y.a", "z.y.a", "w.z.y.a", "q.r.s", "r.s", "t.r.s", "b.b.b.b"};
  const std::string owner = *relative_name(owners[random() % std::size(owners)]);
  const uint32_t n = static_cast<uint32_t>(random() % 4);
  switch (random() % 4) {
    case 0: return srv_record(owner, 0, 0, static_cast<uint16_t>(n), "\1a");
    case 1: return {owner, RrType::kTxt, std::string(1, '\1') + static_cast<char>('a' + n), 0};
    default: return address_record(owner, IpAddress::from_v4(n), static_cast<uint32_t>(random() % 2 * 30));
  }
}

TEST(ZoneTableFollower, ACopyFromTheCallsAlone) {
  Epoch epoch;
  std::mt19937 random(4711);
  size_t calls = 0;
  for (int history = 0; history < 40; ++history) {
    ZoneTable table(epoch);
    Copy copy(table);
    table.follow(&copy);
    std::multiset<Record> held;
    for (int step = 0; step < 400; ++step) {
      const uint64_t version = table.version();
      const Contents before = contents(table);
      const bool was_loaded = table.loaded();
      const size_t ends = copy.ends, told = copy.calls;
      RecordDelta delta;
      for (uint32_t i = static_cast<uint32_t>(random() % 6); i > 0; --i) delta.add.push_back(random_record(random));
      for (uint32_t i = static_cast<uint32_t>(random() % 8); i > 0 && !held.empty(); --i) {
        auto at = held.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(random() % held.size()));
        delta.remove.push_back(*at);
        held.erase(at);
      }
      for (const Record& r : delta.add) held.insert(r);
      if (random() % 10 == 0) {
        std::vector<Record> all(held.begin(), held.end());
        if (random() % 3 == 0) all.clear(), held.clear();
        table.replace(all);
      } else if (random() % 4 == 0) {
        table.apply_unloaded(delta);
      } else {
        table.apply(delta);
      }
      ASSERT_EQ(copy.names, contents(table)) << "history " << history << " step " << step;
      const bool different = before != contents(table);
      const bool changed = different || version != table.version() || was_loaded != table.loaded();
      if (changed) {
        EXPECT_EQ(copy.ends, ends + 1) << "history " << history << " step " << step;
      }
      EXPECT_LE(copy.ends, ends + 1);
      if (copy.ends != ends) {
        EXPECT_EQ(copy.version, table.version());
        EXPECT_EQ(copy.loaded, table.loaded());
      } else {
        EXPECT_EQ(copy.calls, told);
      }
    }
    calls += copy.calls;
    table.follow(nullptr);
    const size_t last = copy.calls;
    table.replace({});
    EXPECT_EQ(copy.calls, last) << "nobody follows";
  }
  EXPECT_GT(calls, 10'000u);
}

TEST(ZoneTableFollower, OnlyWhatIsTouchedIsTold) {
  Epoch epoch;
  ZoneTable table(epoch);
  std::vector<Record> all;
  for (uint32_t i = 0; i < 5000; ++i) all.push_back(address_record(*relative_name("n" + std::to_string(i) + ".marathon"), IpAddress::from_v4(i)));
  table.replace(all);
  Copy copy(table);
  copy.names = contents(table);
  table.follow(&copy);
  table.apply({{address_record(*relative_name("n7.marathon"), IpAddress::from_v4(1))}, {}});
  EXPECT_EQ(copy.calls, 1u);
  all[9] = address_record(*relative_name("new.deep.marathon"), IpAddress::from_v4(1));
  all.push_back(address_record(*relative_name("n7.marathon"), IpAddress::from_v4(1)));
  table.replace(all);
  EXPECT_EQ(copy.calls, 4u) << "a name, the one above it, and one that goes";
  EXPECT_EQ(copy.ends, 2u);
  table.replace(all);
  EXPECT_EQ(copy.ends, 2u);
  table.set_fixed_serial(99);
  EXPECT_EQ(copy.ends, 3u) << "the serial is another";
  EXPECT_EQ(copy.names, contents(table));
}

}  // namespace
}  // namespace ls::dns
