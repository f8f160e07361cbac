#pragma once
/// Zones, routes and records at random for the tests of the mirror, and a watch over names that stay.
#include "dns/kernel_mirror.h"
#include "dns_kernel_fake.h"
#include "dns_world.h"

namespace ls::dns::test {

using ls::test::name_of;

inline std::string wire(std::string_view text) { return std::string(name_of(text).folded().wire()); }

constexpr size_t kAuthority = 0, kResolver = 1;

struct World {
  Epoch epoch;
  Epoch::Reader reader{epoch};
  std::map<std::string, std::shared_ptr<ZoneTable>> tables;
  std::map<std::string, std::multiset<Record>> held;
  std::array<std::shared_ptr<const Routes>, 2> routes;
  std::mt19937 random;
  size_t asked = 0, answered = 0, same = 0;  ///< same: compared octet by octet

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

  std::string process_says(size_t service, const std::string& name, uint16_t type, bool& ordered, bool& outside,
                           std::vector<uint8_t>* bytes = nullptr) {
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
    if (bytes) bytes->assign(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(answer.size));
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
    std::vector<uint8_t> bytes;
    const std::string process = process_says(service, name, type, ordered, outside, &bytes);
    const std::string kernel_form = plain_form(*said, ordered);
    ASSERT_EQ(kernel_form, process) << DnsName::from_wire({reinterpret_cast<const uint8_t*>(name.data()), name.size()})->text() << " type "
                                    << type << " service " << service;
    EXPECT_FALSE(outside);
    // Without rotation octet by octet.
    if (ordered) {
      ++same;
      EXPECT_EQ(*said, bytes);
    }
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

inline std::vector<DnsName> ready_spartan() { return {name_of("ready.spartan")}; }

inline void set_routes(KernelMirror& mirror, const World& world) {
  mirror.set_routes(ServiceKind::kAuthority, world.routes[kAuthority]);
  mirror.set_routes(ServiceKind::kResolver, world.routes[kResolver]);
}

/// One random change of a zone, with the watch on.
inline void change(World& world, Watch& watch, std::string table = {}) {
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

}  // namespace ls::dns::test
