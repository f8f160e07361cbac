// What the kernel says, read out of a store in memory by the rules of the maps, is what answer_from_zone() says; over random
// histories of zones and routes, and after every single change of the store no name that goes on existing is denied.
#include "dns/kernel_mirror.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

#include "dns_kernel_fake.h"
#include "dns_world.h"

namespace ls::dns {
namespace {

using ls::test::name_of;
using ls::test::record_of;
using test::FakeStore;
using test::KernelReader;
using test::plain_form;

std::string wire(std::string_view text) { return std::string(name_of(text).folded().wire()); }

constexpr size_t kAuthority = 0, kResolver = 1;

struct World {
  Epoch epoch;
  Epoch::Reader reader{epoch};
  std::map<std::string, std::shared_ptr<ZoneTable>> tables;
  std::map<std::string, std::multiset<Record>> held;
  std::array<std::shared_ptr<const Routes>, 2> routes;
  std::mt19937 random;
  size_t asked = 0, answered = 0, denied = 0;

  explicit World(uint32_t seed, bool loaded = true) : random(seed) {
    for (const char* name : {"mesos", "l4lb.thisdcos.directory", "spartan", "bare", "plain", "late", "stars.plain"}) {
      auto table = std::make_shared<ZoneTable>(epoch);
      if (std::string(name) != "mesos" && std::string(name) != "plain") table->set_fixed_serial(1);
      if (loaded && std::string(name) != "late") table->apply({});
      tables[name] = table;
    }
    reroute(0);
  }

  ZoneView view(const char* apex, const char* table, const AnswerRules& rules) {
    ZoneView v;
    v.apex = name_of(apex);
    v.table = tables.at(table);
    v.soa.mname = name_of("ns.spartan");
    v.soa.rname = name_of("support.mesosphere.com");
    v.name_servers = {name_of("ns.spartan")};
    v.rules = rules;
    return v;
  }

  /// Several of a kind: nested zones, aliases, rules, forwarders.
  void reroute(unsigned variant) {
    AnswerRules own = ls::test::resolver_rules();
    std::vector<ZoneView> r;
    for (const char* apex : {"l4lb.thisdcos.directory", "spartan"}) r.push_back(view(apex, apex, own));
    r.push_back(view("dclb.thisdcos.global", "l4lb.thisdcos.directory", own));
    r.back().is_alias = true;
    AnswerRules bare = own;
    bare.refuse_below = true;
    for (const char* apex : {"thisdcos.directory", "thisdcos.global"}) r.push_back(view(apex, "bare", bare));
    r.push_back(view("mesos.thisdcos.directory", "mesos", own));
    r.back().srv_override = {{1, 1}};
    r.back().is_alias = true;
    AnswerRules mesos = own;
    mesos.strip_star_labels = mesos.recursion_available = mesos.srv_additional = true;
    r.push_back(view("mesos", "mesos", mesos));
    r.back().soa.mname = name_of("NS1.mesos");
    r.back().soa.rname = name_of("root.ns1.mesos");
    r.back().ttl = 60;
    AnswerRules plain;
    plain.rotation = Rotation::kRandom;
    r.push_back(view("plain", "plain", plain));
    r.back().name_servers = {name_of("a.plain"), name_of("ns.spartan")};
    r.push_back(view("late", "late", plain));
    std::vector<ForwardGroup> groups;
    groups.push_back({DnsName(), {}, true});
    groups.push_back({name_of("corp"), {}, false});
    if (variant & 1) r.push_back(view("stars.plain", "stars.plain", plain));
    if (variant & 2) groups.push_back({name_of("fw.mesos"), {}, true});
    if (variant & 4) {
      for (ZoneView& v : r)
        if (v.apex == name_of("dclb.thisdcos.global") || v.apex == name_of("plain")) v.rules.recursion_available = true;
    }
    if (variant & 8) std::erase_if(r, [](const ZoneView& v) { return v.apex == name_of("dclb.thisdcos.global") || v.apex == name_of("plain"); });
    routes[kResolver] = std::make_shared<const Routes>(std::move(r), std::move(groups));

    AnswerRules authority;
    authority.soa_at_question = authority.srv_never_nxdomain = !(variant & 16);
    authority.nxdomain_at_empty = !(variant & 32);
    authority.strip_star_labels = true;
    authority.rotation = Rotation::kNone;
    std::vector<ZoneView> a;
    a.push_back(view("mesos", "mesos", authority));
    a.back().soa.mname = name_of("ns1.mesos");
    a.back().ttl = 60;
    routes[kAuthority] = std::make_shared<const Routes>(std::move(a), std::vector<ForwardGroup>());
  }

  Record some_record(const std::string& table) {
    static const char* const owners[] = {"", "a", "b", "x.a", "y.a", "_s._tcp", "deep.er.b", "er.b", "c1", "c2", "fw", "q.fw", "stars", "ns", "z.stars"};
    static const char* const targets[] = {"a.plain", "x.a.mesos", "b.l4lb.thisdcos.directory", "c1.plain", "c2.mesos", "www.example", "none.plain", "z.stars.plain", "a.late"};
    const std::string owner = *relative_name(owners[random() % std::size(owners)]);
    const uint32_t n = static_cast<uint32_t>(random() % 3), ttl = static_cast<uint32_t>(random() % 2 * 30);
    Record r{owner, RrType::kTxt, "", ttl};
    switch (random() % 11) {
      case 10:
        r.type = RrType::kNs;
        r.rdata = wire(targets[random() % std::size(targets)]);
        return r;
      case 0: r.rdata = std::string("\1") + static_cast<char>('a' + n); return r;
      case 1:
        r.type = RrType::kMx;
        r.rdata = std::string("\0\1", 2) + wire(targets[random() % std::size(targets)]);
        return r;
      case 2:
      case 3:
        r.type = RrType::kCname;
        if (random() % 3 == 0) r.rdata = *relative_name(owners[random() % std::size(owners)]) + kApexMark;
        else r.rdata = wire(targets[random() % std::size(targets)]);
        return r;
      case 4:
      case 5: {
        Record srv = srv_record(owner, 0, 0, static_cast<uint16_t>(n), *relative_name(owners[random() % std::size(owners)]));
        if (random() % 8 == 0) srv.rdata = std::string("\0\0\0\0\0\1", 6) + wire(targets[random() % std::size(targets)]);
        return srv;
      }
      case 6: return address_record(owner, *IpAddress::parse("fd00::" + std::to_string(n + 1)), ttl);
      default: return address_record(owner, IpAddress::from_v4(0x0a000000 + n + (table == "plain" ? 256 : 0)), ttl);
    }
  }

  std::string some_table() {
    auto at = tables.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random() % tables.size()));
    return at->first == "bare" || (at->first == "late" && random() % 4) ? some_table() : at->first;
  }

  RecordDelta some_change(const std::string& table) {
    RecordDelta delta;
    auto& all = held[table];
    const bool few = all.size() < 12;
    for (size_t i = random() % 4 + (few ? 2 : 0); i > 0; --i) delta.add.push_back(some_record(table));
    for (size_t i = random() % 4 + (few ? 0 : 1); i > 0 && !all.empty(); --i) {
      auto at = all.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(random() % all.size()));
      delta.remove.push_back(*at);
      all.erase(at);
    }
    for (const Record& r : delta.add) all.insert(r);
    return delta;
  }

  std::string process_says(size_t service, const std::string& name, uint16_t type, bool& ordered, bool& outside) {
    std::vector<uint8_t> packet(12, 0), out(65535);
    packet[5] = 1;
    packet.insert(packet.end(), name.begin(), name.end());
    for (const unsigned v : {unsigned{type}, 1u}) packet.push_back(static_cast<uint8_t>(v >> 8)), packet.push_back(static_cast<uint8_t>(v));
    Query query;
    EXPECT_EQ(parse_query(packet, query).outcome, ParseOutcome::kGood);
    const Route route = routes[service]->find(query.folded());
    ordered = true;
    outside = true;
    if (!route.zone) return "not from a zone";
    ordered = route.zone->rules.rotation == Rotation::kNone;
    AnswerLimits limits;
    limits.tcp = true;
    limits.random = random();
    Epoch::Guard guard(reader);
    const Answer answer = answer_from_zone(query, *route.zone, *routes[service], limits, out);
    outside = answer.outside;
    return plain_form({out.data(), answer.size}, ordered);
  }

  std::string some_name(size_t service) {
    static const char* const fronts[] = {"", "a", "b", "x.a", "y.a", "_s._tcp", "_tcp", "deep.er.b", "er.b", "c1", "c2", "fw", "q.fw", "stars", "ns", "z.stars", "none", "none.a", "ready"};
    static const char* const ends[] = {"mesos", "mesos", "mesos.thisdcos.directory", "l4lb.thisdcos.directory", "dclb.thisdcos.global", "thisdcos.directory", "spartan", "plain", "plain", "late", "corp", "example"};
    std::string front = fronts[random() % std::size(fronts)];
    const std::string end = service == kAuthority ? "mesos" : ends[random() % std::size(ends)];
    return wire(front.empty() ? end : front + "." + end);
  }

  /// One question to both.
  void compare(const FakeStore& store, const KernelMirror& mirror) {
    static constexpr uint16_t types[] = {1, 1, 28, 33, 33, 5, 16, 15, 2, 6, 12, 46};
    const size_t service = random() % 3 ? kResolver : kAuthority;
    const std::string name = some_name(service);
    const uint16_t type = types[random() % std::size(types)];
    KernelReader kernel(store);
    const auto said = kernel.ask(service, mirror.suffixes(service == kAuthority ? ServiceKind::kAuthority : ServiceKind::kResolver), name, type);
    ++asked;
    if (!said) return;
    ++answered;
    bool ordered = false, outside = false;
    const std::string process = process_says(service, name, type, ordered, outside);
    const std::string kernel_form = plain_form(*said, ordered);
    ASSERT_EQ(kernel_form, process) << DnsName::from_wire({reinterpret_cast<const uint8_t*>(name.data()), name.size()})->text() << " type "
                                    << type << " service " << service;
    EXPECT_FALSE(outside);
    if (type != 46) {
      EXPECT_NE(name, wire("ready.spartan")) << "the process answers that";
    }
  }
};

/// Names that are there before and after a change, absolute, in each service.
class Watch {
 public:
  Watch(World& world, FakeStore& store, KernelMirror& mirror) : world_(world), store_(store), mirror_(mirror) {}

  void begin(const std::string& table, const std::multiset<Record>& before, const std::multiset<Record>& after, bool loading = false) {
    names_.clear();
    std::set<std::string> old, both;
    for (const Record& r : before) old.insert(r.owner);
    for (const Record& r : after)
      if (old.contains(r.owner)) both.insert(r.owner);
    for (size_t s = 0; s < 2; ++s)
      for (const ZoneView& v : world_.routes[s]->views()) {
        if (v.table != world_.tables.at(table) || (!v.table->loaded() && !loading)) continue;
        for (const std::string& owner : both) {
          const std::string name = owner + std::string(v.apex.wire());
          if (world_.routes[s]->find(name).zone == &v) names_.emplace_back(s, name);
        }
      }
    store_.after = [this] { look(); };
  }
  void end() { store_.after = nullptr; }
  size_t looks = 0;

 private:
  void look() {
    for (size_t i = 0; i < 4 && !names_.empty(); ++i) {
      const auto& [service, name] = names_[world_.random() % names_.size()];
      KernelReader kernel(store_);
      const auto said = kernel.ask(service, mirror_.suffixes(service == kAuthority ? ServiceKind::kAuthority : ServiceKind::kResolver), name, 99);
      ++looks;
      if (!said) continue;
      const unsigned rcode = (*said)[3] & 0xf;
      ASSERT_EQ(rcode, 0u) << "a name that stays is denied";
    }
  }
  World& world_;
  FakeStore& store_;
  KernelMirror& mirror_;
  std::vector<std::pair<size_t, std::string>> names_;
};

std::vector<DnsName> ready_spartan() { return {name_of("ready.spartan")}; }

void set_routes(KernelMirror& mirror, const World& world) {
  mirror.set_routes(ServiceKind::kAuthority, world.routes[kAuthority]);
  mirror.set_routes(ServiceKind::kResolver, world.routes[kResolver]);
}

/// One random change of a zone, with the watch on.
void change(World& world, Watch& watch, std::string table = {}) {
  if (table.empty()) table = world.some_table();
  const auto before = world.held[table];
  const RecordDelta delta = world.some_change(table);
  watch.begin(table, before, world.held[table]);
  if (world.random() % 10 == 0) {
    const auto& all = world.held[table];
    world.tables[table]->replace({all.begin(), all.end()});
  } else {
    world.tables[table]->apply(delta);
  }
  watch.end();
}

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
