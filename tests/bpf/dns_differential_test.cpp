// The same question through the BPF programs and through the process: wherever the programs answer, the octets are the same up to rotation;
// where they do not, the packet is as it was. All names of the cases of spec/, then questions made up at random.
//
// LS_DNS_QUESTIONS: how many (1,000,000); LS_SEED: the first of the seeds that are printed.
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <thread>

#include "../conformance/dns_cluster.h"
#include "dns/standard_routes.h"
#include "dns_kernel_fixture.h"
#include "dns_questions.h"

namespace ls::test {
namespace {

namespace fs = std::filesystem;

class DnsDifferential : public DnsKernelTest {
 protected:
  void SetUp() override {
    DnsKernelTest::SetUp();
    if (IsSkipped()) return;
    use(nullptr);
  }
  void use(DnsWorld* zones) {
    bench().reset();
    lab = std::make_unique<DnsLab>(bench(), zones);
    ASSERT_TRUE(bench().listen("fd00::53", 53, 1));
    xdp_ = bench().prog_fd("ls_dns_xdp");
    try_ = bench().prog_fd("ls_dns_try");
  }

  struct Tally {
    uint64_t asked = 0, answered = 0, wrong = 0;
    std::map<int, uint64_t> results;  ///< of the tc program, enum ls_dns_result
  };
  /// Asks one of the two, and the process when it answered. Reports the first differences in full.
  void compare(const Bytes& frame, bool at_xdp, Tally& t) {
    t.asked++;
    DnsOut out;
    std::string difference;
    for (int tries = 0; tries < 3; tries++) {
      out = bench().run_fd(at_xdp ? xdp_ : try_, at_xdp, !at_xdp, frame);
      difference = out.wrong;
      if (!difference.empty() || !out.answered) break;
      const Seen seen = see_through_tags(frame);
      Bytes said = lab->process.answer(seen.payload, seen.src).message;
      if (said == out.message || normal_form(said) == normal_form(out.message)) break;
      difference = "kernel  " + hex(out.message) + "\nprocess " + hex(said);
      // Cookies and the age of kept answers change with the second, which both do not see turn at the same moment.
      timespec wall;
      clock_gettime(CLOCK_REALTIME, &wall);
      if (wall.tv_nsec > 100'000'000 && wall.tv_nsec < 900'000'000) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(220));
    }
    if (!at_xdp) t.results[out.verdict]++;
    t.answered += out.answered;
    if (difference.empty()) return;
    if (++t.wrong <= 5) differences_ += (at_xdp ? "xdp " : "tc ") + hex(frame) + "\n" + difference + "\n";
  }
  static Seen see_through_tags(const Bytes& frame) {
    Bytes f = frame;
    while (f.size() > 16 && ((f[12] == 0x81 && f[13] == 0) || (f[12] == 0x88 && f[13] == 0xa8))) f.erase(f.begin() + 12, f.begin() + 16);
    return see(f);
  }

  std::vector<Bytes> known_names() {
    auto names = names_of(world().routes(), world().reader, 12);
    for (int i = 0; i < 300; i++) names.push_back(wire_name("h" + std::to_string(i % 25) + ".corp"));
    return names;
  }
  /// All names of all views by all types.
  Tally all_names() {
    Tally t;
    auto names = names_of(world().routes(), world().reader);
    for (auto& name : names) {
      for (uint16_t type : {kTypeA, kTypeAaaa, kTypeSrv, kTypeNs, kTypeSoa, kTypeTxt, kTypeCname, kTypePtr, kTypeMx, kTypeHttps, kTypeRrsig, kTypeAny}) {
        Bytes m{0x12, uint8_t(t.asked), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
        m.insert(m.end(), name.begin(), name.end());
        for (int o : {type >> 8, type & 0xff, 0, 1}) m.push_back(uint8_t(o));
        if (t.asked % 3) {
          m[11] = 1;
          for (int o : {0, 0, 41, 4, 208, 0, 0, t.asked % 3 == 1 ? 0x80 : 0, 0, 0, 0}) m.push_back(uint8_t(o));
        }
        compare(lab->how.around(m), t.asked % 2, t);
      }
    }
    return t;
  }
  void report(const std::string& what, const Tally& t) {
    std::cout << what << ": " << t.asked << " questions, " << t.answered << " answered by the programs, " << t.wrong << " differences\n";
    EXPECT_EQ(t.wrong, 0u) << what << "\n" << differences_;
    differences_.clear();
  }

  std::string differences_;
  int xdp_ = -1, try_ = -1;
};

/// A name as the files write it: octets as \DDD.
std::string_view next_word(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

#define LS_NEED_CASES(folder) \
  const fs::path cases = fs::path(LS_SHARED_DIR) / folder; \
  if (std::string(LS_SHARED_DIR).empty() || !fs::exists(cases)) GTEST_SKIP() << "the cases are not here: " << cases

TEST_F(DnsDifferential, NamesOfTheResolversCases) {
  LS_NEED_CASES("spec/cases/dns");
  Tally sum;
  size_t files = 0;
  for (auto& file : fs::directory_iterator(cases)) {
    if (file.path().extension() != ".json") continue;
    std::ifstream in(file.path());
    const auto json = conformance::Json::parse(in);
    const auto zones = conformance::zones_in(json.value("about", ""));
    bool usable = zones.is_object();
    for (auto& [name, records] : zones.items()) usable = usable && records.is_array();
    if (!usable) continue;
    for (const auto rotation : {dns::Rotation::kRandom, dns::Rotation::kRoundRobin, dns::Rotation::kNone}) {
      conformance::DnsCluster cluster(zones);
      for (auto& view : cluster.world.views) view.rules.rotation = rotation;
      cluster.world.groups.push_back({name_of("."), {}});
      use(&cluster.world);
      lab->mirror();
      const Tally t = all_names();
      sum.asked += t.asked, sum.answered += t.answered, sum.wrong += t.wrong;
      lab.reset();
    }
    files++;
  }
  report("names of " + std::to_string(files) + " files of cases", sum);
  EXPECT_GE(files, 2u);
  EXPECT_GT(sum.answered, sum.asked / 2) << "the programs answer most of it themselves";
}

TEST_F(DnsDifferential, NamesOfTheMesosCases) {
  LS_NEED_CASES("spec/mesos-dns-cases");
  Tally sum;
  size_t records = 0;
  for (auto& folder : fs::directory_iterator(cases)) {
    std::ifstream in(folder.path() / "expected.txt");
    if (!in) continue;
    DnsWorld zones;
    zones.zone("mesos");
    RecordDelta delta;
    for (std::string text; std::getline(in, text);) {
      std::string_view line = text;
      const std::string owner(next_word(line)), type(next_word(line));
      if (type != "A" && type != "AAAA" && type != "SRV") continue;
      if (!DnsName::parse(owner) || !name_of(owner).is_within(name_of("mesos"))) continue;
      delta.add.push_back(record_of(owner, type, std::string(line), name_of("mesos")));
      records++;
    }
    auto table = zones.views[0].table;
    zones.table("mesos").apply(delta);
    dns::MesosDomain mesos{name_of("mesos"), table, 60, zones.views[0].soa};
    for (int variant = 0; variant < 6; variant++) {
      DnsWorld& w = zones;
      if (variant < 4) {
        dns::AuthoritySetup setup;
        setup.mesos = mesos;
        setup.name_server = name_of("ns1.mesos");
        setup.strict = variant & 1;
        setup.empty_is_nxdomain = variant & 2;
        const dns::Routes routes = authority_routes(setup);
        w.views = routes.views(), w.groups = routes.groups();
      } else {
        dns::ResolverSetup setup;
        setup.mesos = mesos;
        setup.empty = table;
        setup.cluster_id = variant == 5 ? "c3zs6aubqe" : "";
        setup.upstreams = {*Endpoint::parse("10.0.0.1:53")};
        setup.rotation = variant == 5 ? dns::Rotation::kRandom : dns::Rotation::kRoundRobin;
        const dns::Routes routes = resolver_routes(setup);
        w.views = routes.views(), w.groups = routes.groups();
      }
      w.rebuild();
      use(&w);
      lab->mirror();
      const Tally t = all_names();
      sum.asked += t.asked, sum.answered += t.answered, sum.wrong += t.wrong;
      lab.reset();
    }
  }
  report("names of the Mesos domain, " + std::to_string(records) + " records", sum);
  EXPECT_GT(records, 100u);
  EXPECT_GT(sum.answered, sum.asked / 2) << "the programs answer most of it themselves";
}

/// Zones with everything a view can say, small and large sets, aliases, texts, odd octets.
void build(DnsWorld& w, std::mt19937_64& random) {
  using dns::AnswerRules;
  const std::pair<const char*, AnswerRules> zones[] = {
      {"plain", {}},
      {"rr", {.rotation = dns::Rotation::kRoundRobin}},
      {"sub.plain", {.rotation = dns::Rotation::kNone}},
      {"resolver", resolver_rules()},
      {"mesos", mesos_rules()},
      {"below", {.refuse_below = true}},
      {"empty.example.org", {.nxdomain_at_empty = true, .recursion_available = true}},
      {"a.very.long.apex.of.many.labels.that.goes.on.and.on.example.org", {.srv_never_nxdomain = true}},
  };
  for (auto& [apex, rules] : zones) {
    const std::string z = apex;
    w.zone(z, rules);
    auto& view = w.view(z);
    view.ttl = uint32_t(random() % 100);
    view.soa.mname = name_of(random() % 2 ? "ns." + z : "ns.spartan");
    view.soa.rname = name_of(random() % 3 ? "root.ns." + z : z);
    view.soa.minimum = uint32_t(random());
    if (random() % 3 == 0) view.srv_override = {uint16_t(random()), uint16_t(random())};
    RecordDelta d;
    for (int i = 0; i < 60; i++) {
      std::string front = "h" + std::to_string(i);
      if (i % 4 == 1) front = std::string(1 + random() % 63, char('a' + random() % 26)) + std::to_string(i % 10);
      if (front.size() > 63) front.resize(63);
      if (i % 5 == 2) front += ".deep.er";
      if (i % 7 == 3) front = "_s" + std::to_string(i) + "._tcp." + front;
      const std::string owner = front + "." + z;
      const auto some = [&](uint64_t most) { return 1 + (random() % 8 == 0 ? random() % most : random() % 5); };
      const auto ttl = [&] { return random() % 3 ? 0 : uint32_t(random()) & 0x7fffffff; };
      if (i % 7 == 3 || random() % 6 == 0) {
        for (uint64_t n = some(33), t = ttl(); n; n--) {
          const uint64_t which = random() % 20;
          const std::string target = which == 0 ? "host.elsewhere.org" : which == 1 ? z : "h" + std::to_string(random() % 12 * 4) + "." + z;
          d.add.push_back(record_of(owner, "SRV", std::to_string(random() % 65536) + " 1 " + std::to_string(random() % 65536) + " " + target, name_of(z), uint32_t(t)));
        }
      }
      if (random() % 8) for (uint64_t n = some(80), t = ttl(); n; n--) d.add.push_back(address_record(name_of(owner).folded().relative_to(name_of(z)), IpAddress::from_v4(uint32_t(random())), uint32_t(t)));
      if (random() % 3 == 0) for (uint64_t n = some(45), t = ttl(); n; n--)
        d.add.push_back(record_of(owner, "AAAA", "fd00::" + std::to_string(random() % 10000), name_of(z), uint32_t(t)));
      if (random() % 12 == 0) d.add.push_back(record_of(owner, "TXT", "\5hello", name_of(z)));
    }
    for (int i = 0; i < 6; i++)
      d.add.push_back(record_of("alias" + std::to_string(i) + "." + z, "CNAME", i == 5 ? "www.outside.net" : "h" + std::to_string(i * 4) + "." + z, name_of(z)));
    d.add.push_back(record_of("mail." + z, "MX", "10 h0." + z, name_of(z)));
    if (random() % 2) d.add.push_back(record_of(z, "A", "10.0.0.1", name_of(z)));
    w.table(z).apply(d);
  }
  w.alias("plain.alias.net", "plain");
  w.alias("m.alias.net", "mesos");
  w.view("m.alias.net").srv_override = {{1, 1}};
  w.zone("late", {}, false);
  w.groups.push_back({name_of("corp"), {}});
  w.groups.push_back({name_of("always.corp"), {}, false});
  if (random() % 2) w.groups.push_back({name_of("."), {}});
}

/// Answers of upstreams for names that are forwarded, kept by the process and handed on to the kernel. Their seconds turn with the clock's.
void keep_some(DnsLab& lab, std::mt19937_64& random) {
  timespec wall, steady;
  clock_gettime(CLOCK_REALTIME, &wall);
  clock_gettime(CLOCK_MONOTONIC, &steady);
  const Instant turn{std::chrono::nanoseconds(steady.tv_sec * 1'000'000'000ll + steady.tv_nsec - wall.tv_nsec)};
  for (int i = 0; i < 20; i++) {
    const std::string name = "h" + std::to_string(i) + ".corp";
    const uint16_t type = i % 3 == 2 ? kTypeAaaa : kTypeA;
    Bytes m = Question{.name = name, .type = type, .id = 0, .flags = uint16_t(random() % 2 ? 0x8180 : 0x81a0)}.bytes();
    m[7] = uint8_t(1 + random() % 20);
    for (int n = 0; n < m[7]; n++) {
      for (int o : {0xc0, 12, 0, int(type), 0, 1, 0, 0, int(1 + random() % 50), int(random() % 256), 0, type == kTypeA ? 4 : 16}) m.push_back(uint8_t(o));
      for (int o = type == kTypeA ? 4 : 16; o; o--) m.push_back(uint8_t(random()));
    }
    lab.keep(m, turn - std::chrono::seconds(random() % 20));
  }
}

uint64_t number(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST_F(DnsDifferential, QuestionsMadeUpAtRandom) {
  const uint64_t all = number("LS_DNS_QUESTIONS", 1'000'000), first = number("LS_SEED", 20260101), rounds = 5;
  Tally sum;
  for (uint64_t round = 0; round < rounds; round++) {
    const uint64_t seed = first + round;
    std::mt19937_64 random(seed);
    use(nullptr);
    build(world(), random);
    world().rebuild();
    lab->mirror();
    keep_some(*lab, random);
    DnsQuestions questions(seed, known_names());
    Tally t;
    for (uint64_t i = 0; i < all / rounds; i++) compare(questions.next().frame, i % 2, t);
    report("seed " + std::to_string(seed), t);
    sum.asked += t.asked, sum.answered += t.answered, sum.wrong += t.wrong;
    for (auto& [result, n] : t.results) sum.results[result] += n;
    if (HasFailure()) break;
  }
  EXPECT_GT(sum.answered, sum.asked / 4);
#define LS_DNS_LABEL(name, num, label, text) {num, label},
  for (auto& [result, label] : std::map<int, std::string>{LS_DNS_RESULTS(LS_DNS_LABEL)}) std::cout << "  " << label << " " << sum.results[result] << "\n";
#undef LS_DNS_LABEL
  for (int result : {LS_DNS_HIT, LS_DNS_NODATA, LS_DNS_NXDOMAIN, LS_DNS_CACHED, LS_DNS_REFUSED, LS_DNS_UP_PACKET, LS_DNS_UP_RESPONSE, LS_DNS_UP_HEADER,
                     LS_DNS_UP_NAME_FORM, LS_DNS_UP_CLASS, LS_DNS_UP_TYPE, LS_DNS_UP_EDNS, LS_DNS_UP_STAR, LS_DNS_UP_NAME, LS_DNS_UP_MISS,
                     LS_DNS_UP_LARGE, LS_DNS_UP_DNSSEC})
    EXPECT_GT(sum.results[result], 0u) << "result " << result << " has not come up";
}

/// The test finds what is wrong: one octet of one entry is another one.
TEST_F(DnsDifferential, PlantedDifferenceIsFound) {
  std::mt19937_64 random(1);
  build(world(), random);
  world().rebuild();
  lab->mirror();
  bool planted = false;
  bench().tables().for_each([&](const ls_dns_entry& e, std::string_view key) {
    if (planted || e.sets == 0 || e.flags || !(e.space & LS_DNS_SPACE_ZONE)) return;
    auto found = bench().tables().find({e.space, e.aux, key});
    auto* octets = const_cast<uint8_t*>(found.data());
    const auto* set = reinterpret_cast<const ls_dns_set*>(octets + LS_DNS_BODY(e.key_octets));
    if (set->form != LS_DNS_FORM_A) return;
    octets[set->at] ^= 1;
    planted = true;
  });
  ASSERT_TRUE(planted);
  EXPECT_GT(all_names().wrong, 0u);
}

}  // namespace
}  // namespace ls::test
