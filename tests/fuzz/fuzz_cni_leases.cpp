/// Histories of the state file of a network: reservations, releases, killed processes, lost power, and damage at any place. Without damage
/// the file keeps to a map with the same rules, whatever the crashes; with damage every call ends, with an answer or an error.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "cni/leases.h"
#include "cni_disk.h"

using namespace ls::cni;

namespace {

void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

using Content = std::map<std::string, std::string>;

Content content(const Leases& l) {
  Content out;
  auto all = l.all();
  require(all.has_value(), "records that cannot be read");
  for (auto& a : *all) require(out.emplace(a.container, a.v4->text()).second, "a container twice");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const test::Platters kEmpty(test::kTestSize);
  static test::Platters p(test::kTestSize);
  p = kEmpty;
  const std::vector<Range> ranges = {*range_of(*ls::IpNetwork::parse("9.0.0.0/27"))};
  std::mt19937 random(1);
  bool damaged = false;
  Content sure;
  for (size_t i = 0; i + 2 < size && i < 300; i += 3) {
    const uint8_t what = data[i], which = data[i + 1], value = data[i + 2];
    if (what >= 0xf0) {
      static constexpr uint64_t kWhere[] = {0, LeaseFile::kJournalAt, LeaseFile::kJournalAt + LeaseFile::kJournalSize, LeaseFile::kHeadsAt, LeaseFile::kRecordsAt, LeaseFile::kRecordsAt + 2048};
      p.bytes[kWhere[what % 6] + which * 8u + value % 8] ^= uint8_t(value | 1);
      damaged = true;
      continue;
    }
    // The number of writes after which it ends.
    p.operations = 0;
    p.crash_at = what & 0x40 ? what & 15 : -1;
    auto name = "c" + std::to_string(which % 40);
    auto maybe = sure;
    bool done = false;
    {
      auto l = Leases::over(std::make_unique<test::MemoryDisk>(p), {"/nonexistent", "net", true, 1});
      if (l && sure.contains(name)) {
        maybe.erase(name);
        auto r = l->release(name, "eth0");
        done = r.has_value();
        if (done && !damaged) require(*r, "nothing to release");
      } else if (l) {
        Attachment a;
        a.container = name;
        a.ifname = "eth0";
        auto r = l->reserve(a, ranges, {});
        done = r.has_value();
        if (r) maybe[name] = r->v4->text();
        else if (!damaged && !p.crashed) require(r.error().code == Code::kExhausted && sure.size() == 29, "refused without need");
      }
    }
    if (damaged) {
      p.process_dies();
      continue;
    }
    if (what & 0x80) p.power_fails(random);
    else p.process_dies();
    auto l = Leases::over(std::make_unique<test::MemoryDisk>(p), {"/nonexistent", "net", true, 1});
    require(l.has_value(), "a crash made the file unreadable");
    auto now = content(*l);
    if (done) require(now == maybe, "what was confirmed is not there");
    else if (now != sure) {
      // The change was made although it could not be confirmed: one container more or less.
      auto difference = now.size() > sure.size() ? now.size() - sure.size() : sure.size() - now.size();
      require(difference == 1 && now.contains(name) != sure.contains(name), "half a change");
    }
    std::map<std::string, int> addresses;
    for (auto& [c, a] : now) require(++addresses[a] == 1, "an address twice");
    sure = std::move(now);
  }
  return 0;
}
