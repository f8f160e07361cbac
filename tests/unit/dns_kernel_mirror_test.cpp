// What the kernel says, read out of a store in memory by the rules of the maps, is what answer_from_zone() says; over random
// histories of zones and routes, and after every single change of the store no name that goes on existing is denied.
#include "dns/kernel_mirror.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

#include "dns_kernel_world.h"

namespace ls::dns {
namespace {

using namespace test;

size_t history(uint32_t seed, int steps, unsigned no_room_percent, size_t& answered, size_t& looks) {
  World world(seed);
  FakeStore store;
  KernelMirror mirror(store, world.epoch, ready_spartan());
  std::mt19937 chance(seed);
  bool full = false;
  store.refuse = [&](const KernelKey&) { return full && chance() % 100 < no_room_percent; };
  set_routes(mirror, world);
  mirror.settled();
  Watch watch(world, store, mirror);
  unsigned variant = 0;
  for (int step = 0; step < steps; ++step) {
    full = no_room_percent != 0 && step % 20 < 15;
    if (world.random() % 15 == 0) {
      variant = static_cast<unsigned>(world.random());
      world.reroute(variant);
      set_routes(mirror, world);
    }
    change(world, watch);
    for (int i = 0; i < 60; ++i) world.compare(store, mirror);
    if (testing::Test::HasFatalFailure()) {
      ADD_FAILURE() << "seed " << seed << " step " << step;
      return world.asked;
    }
    if (!full) {
      for (int i = 0; i < 4; ++i) mirror.expire_cached(0);
      EXPECT_EQ(mirror.view().no_room, 0u);
    }
  }
  // What a long history left is what a new mirror makes at once.
  full = false;
  for (int i = 0; i < 4; ++i) mirror.expire_cached(0);
  set_routes(mirror, world);
  FakeStore other;
  KernelMirror fresh(other, world.epoch, ready_spartan());
  set_routes(fresh, world);
  EXPECT_EQ(fresh.view().no_room, 0u);
  EXPECT_EQ(fresh.view().names, mirror.view().names);
  EXPECT_EQ(fresh.view().views, mirror.view().views);
  EXPECT_EQ(fresh.view().ready, mirror.view().ready);
  EXPECT_EQ(mirror.view().names + mirror.view().views + mirror.view().ready, store.entries.size());
  EXPECT_EQ(fresh.view().incomplete_zones, mirror.view().incomplete_zones);
  EXPECT_EQ(other.entries.size(), store.entries.size()) << "seed " << seed;
  for (const auto& [key, entry] : other.entries) {
    const auto at = store.entries.find(key);
    EXPECT_TRUE(at != store.entries.end() && at->second == entry) << "seed " << seed << " space " << std::get<0>(key) << " key " << std::get<2>(key);
  }
  answered += world.answered;
  EXPECT_GT(world.same, world.answered / 4);
  looks += watch.looks;
  return world.asked;
}

TEST(KernelMirror, RandomHistories) {
  size_t asked = 0, answered = 0, looks = 0;
  for (uint32_t seed = 1; seed <= 14 && !HasFailure(); ++seed) asked += history(seed, 250, 0, answered, looks);
  EXPECT_GE(asked, 200'000u);
  EXPECT_GE(answered, asked * 6 / 10);
  EXPECT_GT(looks, 100'000u);
  RecordProperty("answered", static_cast<int>(answered));
}

TEST(KernelMirror, RandomHistoriesWithoutRoom) {
  size_t asked = 0, answered = 0, looks = 0;
  for (uint32_t seed = 101; seed <= 106 && !HasFailure(); ++seed) asked += history(seed, 200, 30, answered, looks);
  for (uint32_t seed = 111; seed <= 112 && !HasFailure(); ++seed) asked += history(seed, 200, 90, answered, looks);
  EXPECT_GE(asked, 80'000u);
  EXPECT_GE(answered, asked / 10);
}

TEST(KernelMirror, TakesOverWhatADaemonBeforeLeft) {
  size_t looks = 0, good = 0;
  for (uint32_t seed = 201; seed <= 212; ++seed) {
    FakeStore store;
    World first(seed);
    {
      KernelMirror mirror(store, first.epoch, ready_spartan());
      set_routes(mirror, first);
      Watch watch(first, store, mirror);
      for (int i = 0; i < 40; ++i) change(first, watch);
    }
    World second(seed + 1000, false);
    second.held = first.held;
    const size_t entries = store.entries.size();
    KernelMirror mirror(store, second.epoch, ready_spartan());
    if (seed % 2) second.reroute(1 + 4);  // a nested zone more, other flags
    set_routes(mirror, second);
    EXPECT_GE(store.entries.size(), entries) << "nothing goes at the start";
    // Nothing is loaded: what the daemon before knew goes on being said.
    for (int i = 0; i < 200; ++i) {
      const std::string name = second.some_name(kResolver);
      KernelReader kernel(store);
      const auto said = kernel.ask(kResolver, mirror.suffixes(ServiceKind::kResolver), name, 1);
      const Route now = second.routes[kResolver]->find(name), then = first.routes[kResolver]->find(name);
      if (!said || !now.zone || !then.zone || now.zone->apex != then.zone->apex) continue;
      bool ordered, outside;
      EXPECT_EQ(plain_form(*said, false), [&] { std::string p = first.process_says(kResolver, name, 1, ordered, outside); return ordered ? plain_form(*said, false) : p; }());
      ++good;
    }
    Watch watch(second, store, mirror);
    for (const char* table : {"plain", "mesos", "l4lb.thisdcos.directory", "spartan", "bare", "stars.plain"}) {
      for (int i = 0; i < 3 && std::string(table) != "bare"; ++i) second.some_change(table);
      const auto& all = second.held[table];
      watch.begin(table, first.held[table], all, true);
      // Some records are known before the cluster's state is.
      if (!all.empty()) second.tables[table]->apply_unloaded({{*all.begin()}, {}});
      second.tables[table]->replace({all.begin(), all.end()});
      watch.end();
      if (std::string(table) != "bare") change(second, watch, table);
    }
    watch.begin("mesos", second.held["mesos"], second.held["mesos"]);
    mirror.settled();
    watch.end();
    looks += watch.looks;
    for (int i = 0; i < 500 && !HasFatalFailure(); ++i) second.compare(store, mirror);
    FakeStore other;
    KernelMirror fresh(other, second.epoch, ready_spartan());
    set_routes(fresh, second);
    EXPECT_EQ(other.entries.size(), store.entries.size()) << "seed " << seed;
    for (const auto& [key, entry] : other.entries) {
      const auto at = store.entries.find(key);
      EXPECT_TRUE(at == store.entries.end() || std::get<0>(key) < 3 || at->second == entry) << "seed " << seed;
      EXPECT_TRUE(at != store.entries.end()) << "seed " << seed << " space " << std::get<0>(key) << " key " << std::get<2>(key);
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(looks, 1000u);
  EXPECT_GT(good, 500u);
}

class KernelMirrorTest : public testing::Test {
 protected:
  World world{1};
  FakeStore store;
  KernelMirror mirror{store, world.epoch, ready_spartan()};

  KernelMirrorTest() { set_routes(mirror, world); }
  std::optional<std::vector<uint8_t>> ask(const char* name, uint16_t type = 1, size_t service = kResolver) {
    KernelReader kernel(store);
    return kernel.ask(service, mirror.suffixes(service == kResolver ? ServiceKind::kResolver : ServiceKind::kAuthority), wire(name), type);
  }
  void add(const char* table, const char* owner, uint32_t address) {
    world.tables[table]->apply({{address_record(*relative_name(owner), IpAddress::from_v4(address))}, {}});
  }
  /// An answer of an upstream with one address.
  std::vector<uint8_t> forwarded(const std::string& name, unsigned rcode = 0) {
    std::vector<uint8_t> m(12, 0);
    put16(m.data() + 2, static_cast<uint16_t>(kQr | kRa | rcode));
    m[5] = m[7] = 1;
    const std::string n = wire(name) + std::string("\0\1\0\1\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\7", 20);
    m.insert(m.end(), n.begin(), n.end());
    return m;
  }
};

TEST_F(KernelMirrorTest, ForwardedAnswers) {
  mirror.put_cached(forwarded("www.example"), 1'000, 5'000);
  mirror.put_cached(forwarded("a.b.example"), 1'000, 4'000);
  mirror.put_cached(forwarded("bexample"), 1'000, 9'000);
  mirror.put_cached(forwarded("bad.example", 2), 1'000, 9'000);
  EXPECT_EQ(mirror.view().cached, 3u);
  ASSERT_TRUE(ask("www.example"));
  EXPECT_EQ(ask("www.example")->size(), forwarded("www.example").size());
  EXPECT_FALSE(ask("www.example", 28));
  EXPECT_FALSE(ask("bad.example"));
  mirror.put_cached(forwarded("www.example", 2), 1'000, 9'000);
  EXPECT_FALSE(ask("www.example")) << "what cannot be kept takes the answer before with it";
  mirror.put_cached(forwarded("www.example"), 1'000, 5'000);
  mirror.expire_cached(3'999);
  EXPECT_EQ(mirror.view().cached, 3u);
  mirror.expire_cached(4'000);
  EXPECT_FALSE(ask("a.b.example"));
  EXPECT_TRUE(ask("www.example"));
  mirror.put_cached(forwarded("a.b.example"), 1'000, 4'500);
  EXPECT_EQ(mirror.flush_cached(name_of("b.EXAMPLE")), 1u);
  EXPECT_EQ(mirror.flush_cached(name_of("example")), 1u);
  EXPECT_TRUE(ask("bexample")) << "not below";
  EXPECT_EQ(mirror.flush_cached(DnsName()), 1u);
  EXPECT_EQ(mirror.view().cached, 0u);
  mirror.put_cached(forwarded("www.corp"), 1'000, 5'000);
  EXPECT_FALSE(ask("www.corp")) << "asked each time";
}

TEST_F(KernelMirrorTest, ForwardedAnswersAreBounded) {
  constexpr size_t kMax = 65'536;
  for (size_t i = 0; i < kMax + 10; ++i) mirror.put_cached(forwarded("n" + std::to_string(i) + ".example"), 1, 1'000 + i);
  EXPECT_EQ(mirror.view().cached, kMax);
  EXPECT_FALSE(ask("n9.example")) << "the one that ends soonest goes";
  EXPECT_TRUE(ask("n10.example"));
  EXPECT_EQ(mirror.flush_cached(DnsName()), kMax);
}

TEST_F(KernelMirrorTest, AFlushTakesWhatADaemonBeforeKept) {
  mirror.put_cached(forwarded("www.example"), 1'000, 5'000);
  KernelMirror next(store, world.epoch, ready_spartan());
  set_routes(next, world);
  EXPECT_TRUE(ask("www.example"));
  EXPECT_EQ(next.flush_cached(name_of("example")), 1u);
  EXPECT_FALSE(ask("www.example"));
}

TEST_F(KernelMirrorTest, AZoneThatIsNotLoadedIsNobodysElse) {
  EXPECT_FALSE(ask("x.late")) << "its view sends up";
  mirror.put_cached(forwarded("x.late"), 1'000, 5'000);
  EXPECT_FALSE(ask("x.late")) << "not from the default upstream's answers";
  EXPECT_EQ(mirror.view().incomplete_zones, 1u);
  world.tables["late"]->apply_unloaded({{address_record("\1x", IpAddress::from_v4(1))}, {}});
  EXPECT_FALSE(ask("x.late"));
  world.tables["late"]->apply({});
  ASSERT_TRUE(ask("x.late"));
  EXPECT_EQ((*ask("none.late"))[3] & 0xf, 3);
  EXPECT_EQ(mirror.view().incomplete_zones, 0u);
}

TEST_F(KernelMirrorTest, ATakenOverZoneThatIsNeverLoadedGoesUpOnceSettled) {
  add("plain", "a", 1);
  World other(2, false);
  KernelMirror next(store, other.epoch, ready_spartan());
  set_routes(next, other);
  EXPECT_TRUE(ask("a.plain"));
  next.settled();
  EXPECT_FALSE(ask("a.plain"));
  EXPECT_EQ(next.view().names, 0u);
  EXPECT_EQ(store.entries.size(), next.view().views);
}

TEST_F(KernelMirrorTest, AnswersADaemonBeforeMadeGoWhenTheyCannotBeMadeAnyMore) {
  const std::string owner = *relative_name("alias");
  add("plain", "a", 1);
  world.tables["plain"]->apply({{cname_record(owner, name_of("a.plain"))}, {}});
  ASSERT_TRUE(ask("alias.plain"));
  World other(2, false);
  KernelMirror next(store, other.epoch, ready_spartan());
  set_routes(next, other);
  EXPECT_TRUE(ask("alias.plain"));
  other.tables["plain"]->replace({cname_record(owner, name_of("www.example"))});
  EXPECT_FALSE(ask("alias.plain")) << "leads out of the zones";
  EXPECT_TRUE(ask("alias.plain", 5));
}

TEST_F(KernelMirrorTest, ATableMayBeReplacedByAnother) {
  for (const char* table : {"plain", "mesos"}) {
    add(table, "a", 1);
    add(table, "b", 2);
    world.tables[table]->apply({{cname_record(*relative_name("c"), name_of(std::string("a.") + table)), {*relative_name("t"), RrType::kTxt, "\1x", 0}}, {}});
  }
  const auto names_stay = [&] {
    for (const char* name : {"a.plain", "c.plain", "t.plain", "a.mesos", "c.mesos", "t.mesos"}) {
      const auto said = ask(name, 99);
      if (said) {
        ASSERT_EQ((*said)[3] & 0xf, 0) << name;
      }
    }
  };
  for (const char* table : {"plain", "mesos"}) {
    auto fresh = std::make_shared<ZoneTable>(world.epoch);
    fresh->replace({address_record("\1a", IpAddress::from_v4(77)), cname_record("\1c", name_of(std::string("a.") + table)),
                    {"\1t", RrType::kTxt, "\1y", 0}});
    world.tables[table] = fresh;
  }
  store.after = names_stay;
  world.reroute(0);
  // For a while each service has its own table under one name.
  mirror.set_routes(ServiceKind::kResolver, world.routes[kResolver]);
  EXPECT_EQ(mirror.view().incomplete_zones, 1u) << "the one that is never loaded";
  EXPECT_EQ(ask("b.mesos")->at(3) & 0xf, 3);
  EXPECT_EQ(ask("b.mesos", 1, kAuthority)->at(3) & 0xf, 0);
  EXPECT_EQ(ask("a.mesos", 1)->back(), 77);
  EXPECT_EQ(ask("c.mesos", 1)->back(), 77);
  EXPECT_EQ(ask("a.mesos", 1, kAuthority)->back(), 1);
  EXPECT_EQ(ask("c.mesos", 1, kAuthority)->back(), 1);
  mirror.set_routes(ServiceKind::kAuthority, world.routes[kAuthority]);
  EXPECT_EQ(ask("a.mesos", 1, kAuthority)->back(), 77);
  store.after = nullptr;
  EXPECT_EQ(mirror.view().names + mirror.view().views + mirror.view().ready, store.entries.size()) << "nothing is left of the tables before";
  for (int i = 0; i < 2000 && !HasFatalFailure(); ++i) world.compare(store, mirror);
}

TEST_F(KernelMirrorTest, SerialsAndNothingElse) {
  add("mesos", "a", 1);
  size_t changes = store.changes;
  add("mesos", "b", 1);
  EXPECT_EQ(store.changes - changes, 1u + 3u) << "a name, and a view for each name of the zone";
  changes = store.changes;
  add("l4lb.thisdcos.directory", "b", 1);
  EXPECT_EQ(store.changes - changes, 1u) << "its serial is always the same";
}

TEST_F(KernelMirrorTest, ViewsWithoutRoomTakeThoseAboveThemOut) {
  add("l4lb.thisdcos.directory", "a", 1);
  bool full = true;
  store.refuse = [&](const KernelKey& k) { return full && k.space < 3 && k.key == wire("l4lb.thisdcos.directory"); };
  AnswerRules rules;
  world.reroute(0);
  std::vector<ZoneView> views = world.routes[kResolver]->views();
  for (ZoneView& v : views) v.ttl = 77;
  const std::vector<ForwardGroup> groups = world.routes[kResolver]->groups();
  mirror.set_routes(ServiceKind::kResolver, world.routes[kResolver] = std::make_shared<const Routes>(views, groups));
  EXPECT_FALSE(ask("a.l4lb.thisdcos.directory")) << "the view says what was";
  EXPECT_FALSE(ask("none.thisdcos.directory")) << "would be answered for a name that is not there";
  EXPECT_TRUE(ask("none.thisdcos.global"));
  full = false;
  mirror.expire_cached(0);
  EXPECT_TRUE(ask("a.l4lb.thisdcos.directory"));
  EXPECT_TRUE(ask("none.thisdcos.directory"));
}

TEST_F(KernelMirrorTest, LetsGoOfTablesWithTheirRoutes) {
  add("plain", "a", 1);
  mirror.set_routes(ServiceKind::kResolver, nullptr);
  mirror.set_routes(ServiceKind::kAuthority, nullptr);
  EXPECT_TRUE(store.entries.empty());
  EXPECT_EQ(mirror.view().names, 0u);
  EXPECT_EQ(mirror.suffixes(ServiceKind::kResolver)[0], 0u);
  add("plain", "b", 1);
  EXPECT_TRUE(store.entries.empty());
}

TEST_F(KernelMirrorTest, CostOfAHundredThousandNames) {
  constexpr uint32_t kNames = 100'000;
  std::vector<Record> all;
  for (uint32_t i = 0; i < kNames; ++i)
    all.push_back(address_record(*relative_name("task-" + std::to_string(i) + ".app.marathon"), IpAddress::from_v4(0x0a000000 + i)));
  const auto seconds = [](auto work) {
    const auto from = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  };
  /// Nothing but the hash that targets of SRV records need.
  struct NoStore : FakeStore {
    bool put(const KernelKey&, uint8_t, uint8_t, std::span<const uint8_t>) override { return ++puts != 0; }
    bool contains(const KernelKey&) const override { return false; }
  } nothing;
  World bare(4);
  KernelMirror only(nothing, bare.epoch, ready_spartan());
  set_routes(only, bare);
  const double mirror_only = seconds([&] { bare.tables["plain"]->replace(all); });
  EXPECT_GE(nothing.puts, kNames);
  World other(3);
  const double alone = seconds([&] { other.tables["plain"]->replace(all); });
  const double followed = seconds([&] { world.tables["plain"]->replace(all); });
  EXPECT_EQ(store.by_hash.size(), store.entries.size());
  EXPECT_GE(mirror.view().names, kNames);
  KernelMirror next(store, world.epoch, ready_spartan());
  const size_t changes = store.changes;
  const double adopted = seconds([&] { set_routes(next, world); });
  EXPECT_EQ(store.changes, changes) << "everything is there already";
  std::printf("ns a name: table alone %.0f, with mirror %.0f, with mirror and store in memory %.0f, taken over %.0f\n", alone * 1e9 / kNames,
              mirror_only * 1e9 / kNames, followed * 1e9 / kNames,
              adopted * 1e9 / kNames);
}

}  // namespace
}  // namespace ls::dns
