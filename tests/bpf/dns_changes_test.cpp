// Zones change while programs answer: each answer is the one before or after a change, whole. Every name has a version that its records
// tell, so an answer can be held against the versions that counted while it was made.
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "dns/response.h"
#include "dns_kernel_fixture.h"

namespace ls::test {
namespace {

constexpr int kNames = 120;

/// What a name has in a version. Its addresses hold the version, so do the ports of its SRV records.
struct State {
  bool there;
  int count;
};

/// Names below kNames / 2 are always there.
State state_of(int name, uint32_t version) {
  const uint32_t mix = (uint32_t(name) * 2654435761u ^ version * 40503u) >> 7;
  return {name < kNames / 2 || mix % 3 != 0, 1 + int(mix / 3 % 9)};
}

std::string owner_of(int name) { return "n" + std::to_string(name); }

std::vector<Record> records_of(int name, uint32_t version) {
  const State s = state_of(name, version);
  std::vector<Record> out;
  if (!s.there) return out;
  const DnsName apex = name_of("z");
  for (int i = 0; i < s.count; i++) {
    Record r;
    r.owner = name_of(owner_of(name) + ".z").relative_to(apex);
    r.type = RrType::kA;
    r.rdata = {char(i), char(version >> 16), char(version >> 8), char(version)};
    out.push_back(r);
    r.type = RrType::kSrv;
    r.rdata = {char(i), char(version >> 16), 0, 0, char(version >> 8), char(version)};
    // Targets are names that are always there.
    r.rdata += name_of(owner_of((name + i * 7) % (kNames / 2)) + ".z").relative_to(apex) + kApexMark;
    out.push_back(r);
  }
  return out;
}

class DnsChanges : public DnsKernelTest {
 protected:
  /// Published by the writer: before a change `started`, after it `done`.
  std::array<std::atomic<uint32_t>, kNames> started{}, done{};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> changes{0};

  void write(uint64_t seed) {
    std::mt19937_64 random(seed);
    auto& table = world().table("z");
    while (!stop.load()) {
      RecordDelta d;
      std::vector<int> changed;
      for (uint64_t n = 1 + random() % 6; n; n--) {
        const int name = int(random() % kNames);
        if (std::find(changed.begin(), changed.end(), name) != changed.end()) continue;
        changed.push_back(name);
        const uint32_t version = done[size_t(name)];
        started[size_t(name)] = version + 1;
        auto before = records_of(name, version), after = records_of(name, version + 1);
        d.remove.insert(d.remove.end(), before.begin(), before.end());
        d.add.insert(d.add.end(), after.begin(), after.end());
      }
      table.apply(d);
      for (int name : changed) done[size_t(name)]++;
      changes++;
    }
  }

  /// The set in the answer is that of one version between the two. Gives what is wrong with it.
  static std::string wrong(const Bytes& message, int name, uint16_t type, uint32_t from, uint32_t to) {
    dns::Response r;
    if (!r.read(message)) return "malformed";
    const std::string where = " (" + owner_of(name) + ", versions " + std::to_string(from) + " to " + std::to_string(to) + ")\n" + hex(message);
    const size_t answers = r.count(dns::Section::kAnswer);
    if (answers == 0) {
      for (uint32_t v = from; v <= to; v++)
        if (!state_of(name, v).there) return r.rcode == dns::Rcode::kNxDomain ? "" : "rcode" + where;
      return "a name that is always there is denied" + where;
    }
    if (r.rcode != dns::Rcode::kNoError) return "rcode" + where;
    uint32_t seen = 0, bits = 0;
    for (size_t i = 0; i < answers; i++) {
      const uint8_t* d = message.data() + r.records[i].rdata;
      const uint32_t version = type == kTypeA ? uint32_t(d[1] << 16 | d[2] << 8 | d[3]) : uint32_t(d[1] << 16 | d[4] << 8 | d[5]);
      if (i && version != seen) return "two versions in one set" + where;
      seen = version;
      bits |= 1u << d[0];
    }
    if (seen < from || seen > to) return "version " + std::to_string(seen) + where;
    const State s = state_of(name, seen);
    if (!s.there || int(answers) != s.count || bits != (1u << s.count) - 1) return "not the whole set" + where;
    // The addresses of each target are those of one version, whole.
    struct Target {
      uint32_t version, bits, count;
    };
    std::map<int, Target> targets;
    for (size_t i = answers; i < r.body_records; i++) {
      const auto& rec = r.records[i];
      if (rec.section != dns::Section::kAdditional) return "authority in an answer" + where;
      size_t end = 0, size = 0;
      std::array<uint8_t, 256> owner;
      if (!dns::read_name(message, rec.owner, end, nullptr, owner.data(), &size)) return "owner" + where;
      const int target = std::atoi(reinterpret_cast<const char*>(owner.data()) + 2);
      const uint8_t* d = message.data() + rec.rdata;
      const uint32_t version = uint32_t(d[1] << 16 | d[2] << 8 | d[3]);
      auto [it, added] = targets.try_emplace(target, Target{version, 0, 0});
      if (it->second.version != version) return "two versions in a target's addresses" + where;
      it->second.bits |= 1u << d[0];
      it->second.count++;
    }
    for (auto& [target, t] : targets)
      if (int(t.count) != state_of(target, t.version).count || t.bits != (1u << t.count) - 1) return "not all addresses of a target" + where;
    return "";
  }
};

TEST_F(DnsChanges, EachAnswerIsOfOneVersion) {
  const char* text = std::getenv("LS_DNS_CHANGE_QUESTIONS");
  const uint64_t questions = text ? std::strtoull(text, nullptr, 10) : 300'000;
  world().zone("z");
  RecordDelta d;
  for (int name = 0; name < kNames; name++)
    for (auto& r : records_of(name, 0)) d.add.push_back(r);
  d.add.push_back(record_of("alias.z", "CNAME", "n3.z", name_of("z")));
  world().table("z").apply(d);
  lab->mirror();
  std::thread writer([this] { write(7); });
  std::mt19937_64 random(8);
  const int xdp = bench().prog_fd("ls_dns_xdp"), tc = bench().prog_fd("ls_dns_try");
  uint64_t answered = 0, denied = 0, up = 0, wrongs = 0;
  std::map<int, uint64_t> reasons;
  for (uint64_t i = 0; i < questions && wrongs < 5; i++) {
    const bool alias = random() % 16 == 0, at_xdp = random() % 2;
    const int name = alias ? 3 : int(random() % kNames);
    const uint16_t type = !alias && random() % 2 ? kTypeSrv : kTypeA;
    const Bytes frame = lab->how.around(Question{.name = alias ? "alias.z" : owner_of(name) + ".z", .type = type, .id = uint16_t(i), .edns = 1232}.bytes());
    const uint32_t from = done[size_t(name)];
    const DnsOut out = bench().run_fd(at_xdp ? xdp : tc, at_xdp, !at_xdp, frame);
    const uint32_t to = started[size_t(name)];
    std::string why = out.wrong;
    if (why.empty() && out.answered) {
      Bytes message = out.message;
      answered++;
      denied += (message[3] & 0xf) == 3;
      if (alias && message[7] > 0) {
        // The alias comes first; the rest is the set of its end.
        dns::Response r;
        ASSERT_TRUE(r.read(message));
        ASSERT_EQ(r.records[0].type, kTypeCname);
        message.erase(message.begin() + r.records[0].owner, message.begin() + long(r.records[0].end()));
        message[7]--;
        for (size_t at = r.records[0].owner; at + 16 <= message.size() - 11; at += 16) message[at] = 0xc0, message[at + 1] = 12;
      }
      why = wrong(message, name, type, from, to);
    } else if (!at_xdp) {
      reasons[out.verdict]++;
    }
    up += !out.answered;
    if (!why.empty()) {
      wrongs++;
      ADD_FAILURE() << (at_xdp ? "xdp " : "tc ") << why;
    }
  }
  stop = true;
  writer.join();
  std::cout << questions << " questions during " << changes << " changes: " << answered << " answered, " << denied << " of them denials, " << up
            << " went up";
  for (auto& [reason, n] : reasons) std::cout << ", reason " << reason << ": " << n;
  std::cout << "\n";
  EXPECT_GT(changes.load(), 100u);
  EXPECT_GT(answered, questions / 2);
  EXPECT_GT(denied, 0u);
}

/// The check above finds each of the faults it looks for.
TEST_F(DnsChanges, CheckFindsWhatIsWrong) {
  world().zone("z");
  RecordDelta d;
  const uint32_t version = 9;
  for (auto& r : records_of(1, version)) d.add.push_back(r);
  world().table("z").apply(d);
  const auto said = [&] { return lab->process.answer(Question{"n1.z", kTypeA}.bytes(), lab->client).message; };
  lab->mirror();
  EXPECT_EQ(wrong(said(), 1, kTypeA, 9, 9), "");
  EXPECT_EQ(wrong(said(), 1, kTypeA, 3, 12), "");
  EXPECT_NE(wrong(said(), 1, kTypeA, 10, 12), "");
  EXPECT_NE(wrong(said(), 1, kTypeA, 3, 8), "");
  Bytes mixed = said();
  mixed[mixed.size() - 1]++;
  EXPECT_NE(wrong(mixed, 1, kTypeA, 3, 12), "");
  Bytes denied = lab->process.answer(Question{"none.z", kTypeA}.bytes(), lab->client).message;
  EXPECT_NE(wrong(denied, 1, kTypeA, 3, 12), "");
  world().table("z").apply({{}, {records_of(1, version)[0]}});
  EXPECT_NE(wrong(said(), 1, kTypeA, 3, 12), "");
}

}  // namespace
}  // namespace ls::test
