// What the BPF programs answer for names of our zones: the same octets as the process, at every hook.
#include <arpa/inet.h>

#include <algorithm>
#include <set>

#include "dns/response.h"
#include "dns_kernel_fixture.h"

namespace ls::test {
namespace {

using dns::AnswerRules;
using dns::Rotation;

class DnsAnswerKernel : public DnsKernelTest {};

/// Addresses and SRV data of the answer section, in their order.
std::vector<std::string> answers_of(const Bytes& message) {
  dns::Response r;
  EXPECT_TRUE(r.read(message));
  std::vector<std::string> out;
  for (auto& rec : r.records)
    if (rec.section == dns::Section::kAnswer) out.push_back(hex(Bytes(message.begin() + rec.rdata, message.begin() + long(rec.end()))));
  return out;
}

TEST_F(DnsAnswerKernel, Addresses) {
  world().zone("example.org");
  world().add("example.org", "web.example.org", "A", "10.0.0.1");
  world().add("example.org", "web.example.org", "AAAA", "fd00::1");
  world().add("example.org", "example.org", "A", "10.0.0.2", 77);
  world().add("example.org", "two.example.org", "A", "10.0.0.3", 0x01020304);
  world().add("example.org", "two.example.org", "A", "10.0.0.4", 0x01020305);
  world().add("example.org", "deep.empty.example.org", "AAAA", "fd00::2");
  lab->fill();
  same({"web.example.org", kTypeA});
  same({"web.example.org", kTypeAaaa});
  same({"wEb.EXAMPLE.orG", kTypeA});
  same({"example.org", kTypeA});
  same({"two.example.org", kTypeA});
  same({"example.org", kTypeSoa});
  same({"EXAMPLE.ORG", kTypeSoa});
  for (uint16_t type : {kTypeTxt, kTypeSrv, kTypeMx, kTypePtr, kTypeHttps, kTypeCname, kTypeNs, kTypeSoa, uint16_t(0), uint16_t(65535)})
    same({"web.example.org", type}, "nodata");
  same({"two.example.org", kTypeAaaa}, "nodata");
  same({"empty.example.org", kTypeA}, "nodata");
  same({"none.example.org", kTypeA}, "nxdomain");
  same({"a.web.example.org", kTypeA}, "nxdomain");
  same({"none.example.org", kTypeSoa}, "nxdomain");
  same({"NONE.example.org", kTypeTxt}, "nxdomain");
  up({"example.org", kTypeNs}, "up_name");
  up({"example.com", kTypeA}, "up_no_view");
  up({"xample.org", kTypeA}, "up_no_view");
  up({"org", kTypeA}, "up_no_view");
  up({".", kTypeA}, "up_no_view");
}

TEST_F(DnsAnswerKernel, SetsAsLargeAsTheyCanBe) {
  world().zone("z", {.rotation = Rotation::kRoundRobin});
  for (int i = 0; i < 75; i++) world().add("z", "a.z", "A", "10.0.1." + std::to_string(i));
  for (int i = 0; i < 42; i++) world().add("z", "b.z", "AAAA", "fd00::" + std::to_string(i));
  for (int i = 0; i < 76; i++) world().add("z", "c.z", "A", "10.0.1." + std::to_string(i));
  for (int i = 0; i < 29; i++) world().add("z", "d.z", "A", "10.0.1." + std::to_string(i));
  for (int i = 0; i < 31; i++) world().add("z", "e.z", "A", "10.0.1." + std::to_string(i));
  lab->fill();
  for (uint16_t id : {0, 1, 74, 75, 65535, 12345}) {
    same({.name = "a.z", .id = id, .edns = 4096});
    same({.name = "b.z", .type = kTypeAaaa, .id = id, .edns = 1232});
    same({.name = "d.z", .id = id});
    same({.name = "e.z", .id = id, .edns = 600});
    if (HasFailure()) return;
  }
  up({.name = "a.z", .edns = 512}, "up_large");
  up({.name = "e.z"}, "up_large");  // 12 + 7 + 31 * 16 = 515
  up({.name = "c.z", .edns = 4096}, "up_name");
}

TEST_F(DnsAnswerKernel, Soa) {
  struct {
    const char *apex, *mname, *rname;
  } cases[] = {{"below.org", "ns1.below.org", "root.ns1.below.org"},
               {"equal.org", "equal.org", "equal.org"},
               {"outside.org", "ns.spartan", "support.mesosphere.com"},
               {"half.org", "ns.HALF.org", "admin.xhalf.org"},
               {"root.org", ".", "."}};
  for (auto& c : cases) {
    world().zone(c.apex).set_fixed_serial(0x01020304);
    auto& soa = world().view(c.apex).soa;
    soa.mname = name_of(c.mname);
    soa.rname = name_of(c.rname);
    soa.refresh = 0xa1a2a3a4;
    soa.ttl = 60;
    soa.negative_ttl = 61;
  }
  lab->fill();
  for (auto& c : cases) {
    const std::string apex = c.apex;
    same({apex, kTypeSoa});
    same({apex, kTypeTxt}, "nodata");
    same({"no." + apex, kTypeA}, "nxdomain");
    same({"longer.No." + apex, kTypeA, 1, 0x0100, 1, 1232}, "nxdomain");
  }
}

TEST_F(DnsAnswerKernel, Services) {
  for (const auto& [zone, rotation] : {std::pair{"rr", Rotation::kRoundRobin}, {"no", Rotation::kNone}, {"random", Rotation::kRandom}}) {
    const std::string z = zone;
    world().zone(z, {.rotation = rotation});
    for (int i = 0; i < 5; i++) {
      const std::string n = std::to_string(i);
      world().add(z, "_many._tcp." + z, "SRV", n + " " + n + " 800" + n + " host" + n + "." + z);
      world().add(z, "_equal._tcp." + z, "SRV", "0 0 900" + n + " host" + std::to_string(i % 2) + "." + z, 9);
      world().add(z, "host" + n + "." + z, "A", "10.1.0." + n);
      world().add(z, "host" + n + "." + z, "A", "10.2.0." + n);
      if (i % 2) world().add(z, "host" + n + "." + z, "AAAA", "fd00::" + n, 1000);
    }
    world().add(z, "_one._tcp." + z, "SRV", "1 2 3 host1." + z);
    world().add(z, "_apex._tcp." + z, "SRV", "1 2 3 " + z);
    world().add(z, "_lost._tcp." + z, "SRV", "1 2 3 nowhere." + z);
    world().add(z, "_outside._tcp." + z, "SRV", "1 2 3 host.example.org");
    world().add(z, z, "A", "10.3.0.1");
  }
  lab->fill();
  for (const std::string z : {"rr", "no", "random"}) {
    for (uint16_t id : {0, 1, 2, 3, 4, 5, 6, 7, 999, 65535}) {
      for (const char* name : {"_many._tcp.", "_equal._tcp.", "_one._tcp.", "_apex._tcp.", "_lost._TCP."})
        same({.name = name + z, .type = kTypeSrv, .id = id, .edns = 1232});
      if (HasFailure()) return;
    }
    up({"_outside._tcp." + z, kTypeSrv}, "up_name");
  }
}

/// The product folds the names of zones. One that is not folded is the process's alone: it writes targets as the zone is spelt.
TEST_F(DnsAnswerKernel, ApexWithCapitalsGoesUp) {
  world().zone("Upper.ORG");
  world().add("Upper.ORG", "a.upper.org", "A", "10.0.0.1");
  world().add("Upper.ORG", "_s._tcp.upper.org", "SRV", "1 2 3 a.upper.org");
  lab->mirror();
  for (const char* name : {"a.upper.org", "upper.org", "none.Upper.org", "_s._tcp.upper.org"})
    for (uint16_t type : {kTypeA, kTypeSrv, kTypeSoa, kTypeRrsig}) up({name, type}, "up_zone");
}

TEST_F(DnsAnswerKernel, ServicesWithoutAddressesAndWithOverride) {
  world().zone("plain", resolver_rules());
  world().add("plain", "_web._tcp.plain", "SRV", "1 2 3 host.plain");
  world().add("plain", "_web._tcp.plain", "SRV", "1 2 4 elsewhere.example.org");
  world().add("plain", "host.plain", "A", "10.0.0.1");
  world().alias("other.name", "plain");
  world().view("other.name").srv_override = {0x0102, 0x0304};
  world().view("other.name").rules.srv_additional = true;
  world().view("other.name").rules.rotation = Rotation::kRoundRobin;
  world().add("plain", "_two._tcp.plain", "SRV", "5 6 7 host.plain");
  world().add("plain", "_two._tcp.plain", "SRV", "5 6 8 host.plain");
  lab->fill();
  same({"_web._tcp.plain", kTypeSrv});
  same({"_two._tcp.other.name", kTypeSrv});
  same({"_TWO._tcp.OTHER.name", kTypeSrv});
  same({"host.Other.Name", kTypeA});
}

TEST_F(DnsAnswerKernel, RotationIsThatOfTheProcess) {
  world().zone("rr", {.rotation = Rotation::kRoundRobin});
  world().zone("none", {.rotation = Rotation::kNone});
  world().zone("random");
  for (const std::string z : {"rr", "none", "random"})
    for (int i = 0; i < 5; i++) world().add(z, "a." + z, "A", "10.0.0." + std::to_string(i));
  lab->fill();
  std::set<std::vector<std::string>> orders;
  for (uint16_t id = 0; id < 200; id++) {
    for (const std::string z : {"rr", "none"}) {
      const Question q{.name = "a." + z, .id = id};
      const Bytes kernel = lab->kernel(q);
      EXPECT_EQ(kernel, lab->process.answer(q.bytes(), lab->client).message) << "equal without sorting";
    }
    auto got = answers_of(lab->kernel({.name = "a.random", .id = id}));
    orders.insert(got);
    EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 5u);
  }
  EXPECT_EQ(orders.size(), 5u) << "each record comes first sometimes";
}

TEST_F(DnsAnswerKernel, RulesOfViews) {
  const auto zone = [&](const std::string& z, const AnswerRules& rules) {
    world().zone(z, rules);
    world().add(z, "web." + z, "A", "10.0.0.1");
    world().add(z, "deep.empty." + z, "A", "10.0.0.2");
    world().add(z, "_s._tcp." + z, "SRV", "1 2 3 web." + z);
    world().add(z, "stars." + z, "A", "10.0.0.3");
  };
  zone("plain", {});
  zone("below", {.refuse_below = true});
  zone("rrsig", {.refuse_rrsig = true});
  zone("srv", {.srv_never_nxdomain = true});
  zone("empty", {.nxdomain_at_empty = true});
  zone("question", {.soa_at_question = true});
  zone("stars", {.strip_star_labels = true});
  zone("ra", {.recursion_available = true});
  zone("mesos", mesos_rules());
  lab->fill();
  for (const std::string z : {"plain", "below", "rrsig", "srv", "empty", "question", "stars", "ra", "mesos"}) {
    SCOPED_TRACE(z);
    same({"web." + z, kTypeA});
    same({"_s._tcp." + z, kTypeSrv});
    same({"web." + z, kTypeTxt}, "nodata");
    same({"web." + z, kTypeSrv}, "nodata");
    same({"empty." + z, kTypeA}, z == "empty" || z == "mesos" ? "nxdomain" : "nodata");
    same({z, kTypeA}, z == "empty" || z == "mesos" ? "nxdomain" : "nodata");
    same({"missing." + z, kTypeA}, z == "below" ? "refused" : "nxdomain");
    same({"missing." + z, kTypeSrv}, z == "below" ? "refused" : z == "srv" || z == "mesos" ? "nodata" : "nxdomain");
    same({"web." + z, kTypeRrsig}, z == "rrsig" ? "refused" : "nodata");
    same({"missing." + z, kTypeRrsig}, z == "rrsig" || z == "below" ? "refused" : "nxdomain");
    if (z == "question" || z == "mesos") {
      up({z, kTypeSoa}, "up_name");
      up({"web." + z, kTypeNs}, "up_name");
    } else {
      same({z, kTypeSoa});
      same({"web." + z, kTypeSoa}, "nodata");
    }
    if (z == "stars" || z == "mesos") {
      up({"stars.*." + z, kTypeA}, "up_star");
      up({"*.stars." + z, kTypeA}, "up_star");
    } else {
      same({"stars.*." + z, kTypeA}, z == "below" ? "refused" : "nxdomain");
    }
    same({"s*." + z, kTypeA}, z == "below" ? "refused" : "nxdomain");
  }
}

TEST_F(DnsAnswerKernel, LongestSuffixAndNestedZones) {
  world().zone("org");
  world().zone("example.org");
  world().zone("a.b.example.org");
  world().add("org", "web.org", "A", "10.0.0.1");
  world().add("example.org", "web.example.org", "A", "10.0.0.2");
  world().add("a.b.example.org", "web.a.b.example.org", "A", "10.0.0.3");
  world().add("org", "_s._tcp.org", "SRV", "1 2 3 web.example.org");
  world().add("a.b.example.org", "_s._tcp.a.b.example.org", "SRV", "1 2 3 web.a.b.example.org");
  lab->fill();
  same({"web.org", kTypeA});
  same({"web.example.org", kTypeA});
  same({"web.a.b.example.org", kTypeA});
  same({"web.b.example.org", kTypeA}, "nxdomain");
  same({"example.org", kTypeA}, "nodata");
  same({"xexample.org", kTypeA}, "nxdomain");
  up({"_s._tcp.org", kTypeSrv}, "up_name");  // a target could lie in another zone
  same({"_s._tcp.a.b.example.org", kTypeSrv});
}

TEST_F(DnsAnswerKernel, IncompleteAndPartial) {
  world().zone("half");
  world().add("half", "web.half", "A", "10.0.0.1");
  world().add("half", "_s._tcp.half", "SRV", "1 2 3 gone.half");
  world().zone("late", {}, false);
  world().zone("mixed");
  world().add("mixed", "web.mixed", "A", "10.0.0.1");
  world().add("mixed", "web.mixed", "TXT", "\4text");
  world().add("mixed", "alias.mixed", "CNAME", "web.mixed");
  world().add("mixed", "_s._tcp.mixed", "SRV", "1 2 3 web.mixed");
  world().groups.push_back({name_of("corp"), {}, true});
  world().groups.push_back({name_of("always.corp"), {}, false});
  lab->fill(dns::ServiceKind::kResolver, {"half."});
  same({"web.half", kTypeA});
  same({"web.half", kTypeTxt}, "nodata");
  up({"no.half", kTypeA}, "up_zone");
  up({"half", kTypeSoa}, "up_zone");
  up({"_s._tcp.half", kTypeSrv}, "up_zone");
  up({"late", kTypeA}, "up_zone");
  up({"x.late", kTypeA}, "up_zone");
  same({"web.mixed", kTypeA});
  up({"web.mixed", kTypeTxt}, "up_name");
  up({"web.mixed", kTypeAaaa}, "up_name");
  up({"alias.mixed", kTypeA}, "up_name");
  up({"alias.mixed", kTypeCname}, "up_name");
  up({"_s._tcp.mixed", kTypeSrv}, "up_name");
  up({"www.corp", kTypeA}, "up_miss");
  up({"corp", kTypeA}, "up_miss");
  up({"www.always.corp", kTypeA}, "up_miss");
  up({.name = "www.corp", .flags = 0x0110}, "up_dnssec");
  up({.name = "www.corp", .edns = 1232, .dnssec_ok = true}, "up_dnssec");
}

TEST_F(DnsAnswerKernel, LongNames) {
  world().zone("z");
  const std::string l63(63, 'a');
  const std::string longest = l63 + "." + l63 + "." + l63 + "." + std::string(59, 'b') + ".z";
  std::string many;
  for (int i = 0; i < 126; i++) many += "m.";
  many += "z";
  world().add("z", longest, "A", "10.0.0.1");
  world().add("z", many, "A", "10.0.0.2");
  lab->fill();
  ASSERT_EQ(wire_name(longest).size(), 255u);
  same({longest, kTypeA});
  ASSERT_EQ(wire_name(many).size(), 255u);
  same({many, kTypeA});
  same({many.substr(2), kTypeA}, "nodata");
  std::string other = many;
  other[0] = 'n';
  same({other, kTypeA}, "nxdomain");
  for (size_t n = 1; n <= 63; n++) {
    same({std::string(n, 'q') + ".z", kTypeA, 1, 0, 1, int(512 + n)}, "nxdomain");
    if (HasFailure()) return;
  }
}

TEST_F(DnsAnswerKernel, EveryLengthOfNameIsFound) {
  world().zone("z", {.rotation = Rotation::kRoundRobin});
  for (int n = 1; n <= 63; n++) {
    world().add("z", std::string(size_t(n), 'x') + ".z", "A", "10.0.0." + std::to_string(n));
    world().add("z", "_s." + std::string(size_t(n), 'y') + ".z", "SRV", "1 2 3 " + std::string(size_t(n), 'x') + ".z");
  }
  lab->fill();
  for (int n = 1; n <= 63; n++) {
    same({std::string(size_t(n), 'x') + ".z", kTypeA});
    same({"_S." + std::string(size_t(n), 'Y') + ".Z", kTypeSrv});
    if (HasFailure()) return;
  }
}

TEST_F(DnsAnswerKernel, CollisionsGoUp) {
  bench().reset({0, 1});  // multiplication by one: keys are easily made to have one hash
  lab = std::make_unique<DnsLab>(bench());
  world().zone("z");
  // Two names of 16 octets in front of the apex, whose hashes are equal under this key.
  auto hash = [&](std::string_view key) { return bench().hash({LS_DNS_SPACE_ZONE | 1, 0, key}); };
  std::string first(16, 'a'), second;
  first[0] = 15;
  std::vector<uint8_t> a(first.begin(), first.end());
  uint64_t words[2], other[2];
  std::memcpy(words, first.data(), 16);
  bool found = false;
  for (uint32_t n = 1; n < 200'000 && !found; n++) {
    other[0] = words[0] ^ (uint64_t{n & 0xf} << 8 | uint64_t{n >> 4 & 0xf} << 16 | uint64_t{n >> 8 & 0xf} << 24);
    const uint64_t begin = uint64_t{LS_DNS_SPACE_ZONE | 1} << 32;
    const uint64_t x = begin ^ words[0], y = begin ^ other[0];
    other[1] = words[1] ^ (x ^ (x >> 32)) ^ (y ^ (y >> 32));
    second.assign(reinterpret_cast<const char*>(other), 16);
    found = second != first && std::all_of(second.begin() + 1, second.end(), [](char c) { return c != 0 && !(c >= 'A' && c <= 'Z'); }) &&
            second[0] == 15;
  }
  ASSERT_TRUE(found);
  ASSERT_EQ(hash(first), hash(second));
  Record r;
  r.owner = first;
  r.type = RrType::kA;
  r.rdata = "\x0a\1\1\1";
  world().table("z").apply({{r}, {}});
  lab->fill();
  auto ask = [&](const std::string& front) {
    Bytes b = Question{"z", kTypeA}.bytes();
    b.insert(b.begin() + 12, front.begin(), front.end());
    return b;
  };
  same(ask(first), "hit", "the name that is there");
  up(lab->how.around(ask(second)), "up_collision", "the name that shares its hash");
}

TEST_F(DnsAnswerKernel, TagOfAnotherEntryGoesUp) {
  world().zone("z");
  world().add("z", "web.z", "A", "10.0.0.1");
  world().add("z", "other.z", "A", "10.0.0.2");
  lab->fill();
  const std::string key = "\3web";
  const uint64_t h = bench().hash({LS_DNS_SPACE_ZONE | 1, 0, key}), o = bench().hash({LS_DNS_SPACE_ZONE | 1, 0, "\5other"});
  auto slot_of = [&](uint64_t hash) -> __u64* {
    const uint32_t mask = bench().conf().bucket_mask;
    for (uint32_t b : {ls_dns_bucket1(hash, mask), ls_dns_bucket2(hash, mask)})
      for (auto& slot : bench().buckets()[b].slot)
        if (slot && (slot ^ hash) >> 32 == 0) return &slot;
    return nullptr;
  };
  ASSERT_TRUE(slot_of(h) && slot_of(o));
  *slot_of(h) = LS_DNS_SLOT(h, LS_DNS_PLACE(*slot_of(o)));
  up({"web.z", kTypeA}, "up_collision");
  same({"other.z", kTypeA});
  // A place beyond the data.
  *slot_of(h) = LS_DNS_SLOT(h, 0xffffffffu);
  up({"web.z", kTypeA}, "up_collision");
}

}  // namespace
}  // namespace ls::test
