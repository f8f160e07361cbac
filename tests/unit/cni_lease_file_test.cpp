// The state file of one network: transactions against a crash at every write, hash chains against a plain map, damage.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "cni/lease_file.h"
#include "cni_disk.h"

namespace ls::cni {
namespace {

using test::kTestSize;
using test::MemoryDisk;
using test::Platters;

LeaseFile open(Platters& p) {
  auto f = LeaseFile::open(std::make_unique<MemoryDisk>(p), "state");
  EXPECT_TRUE(f) << f.error().msg;
  return std::move(*f);
}

LeaseRecord record(const std::string& container, uint32_t address) {
  LeaseRecord r;
  set_text(r.container, sizeof r.container, container);
  set_text(r.ifname, sizeof r.ifname, "eth0");
  set_address(r, IpAddress::from_v4(address));
  r.owned = 1;
  return r;
}

using Content = std::map<std::string, uint32_t>;

Content content(const LeaseFile& f) {
  Content out;
  auto r = f.for_each([&](uint32_t, const LeaseRecord& rec) -> Outcome<> {
    out[rec.container] = address_of(rec, true)->v4();
    return {};
  });
  EXPECT_TRUE(r) << r.error().msg;
  return out;
}

/// Every index finds exactly what is there.
void check_indexes(const LeaseFile& f, const Content& want) {
  EXPECT_EQ(content(f), want);
  EXPECT_EQ(f.header().used, want.size());
  for (auto& [container, address] : want) {
    auto by_key = f.find(container, "eth0");
    auto by_address = f.find(IpAddress::from_v4(address));
    ASSERT_TRUE(by_key && by_address);
    EXPECT_NE(*by_key, kNoSlot);
    EXPECT_EQ(*by_key, *by_address);
  }
  EXPECT_EQ(*f.find("nobody", "eth0"), kNoSlot);
}

TEST(CniLeaseFile, RandomHistoryAgainstAMap) {
  Platters p(kTestSize);
  std::mt19937 random(1);
  Content want;
  for (int i = 0; i < 3000; i++) {
    auto f = open(p);
    auto name = "c" + std::to_string(random() % 200);
    if (auto it = want.find(name); it != want.end()) {
      ASSERT_TRUE(f.remove(*f.find(name, "eth0"), f.header()));
      want.erase(it);
    } else {
      uint32_t address = 0x09000000 + random() % 100000;
      bool free = std::none_of(want.begin(), want.end(), [&](auto& e) { return e.second == address; });
      if (!free) continue;
      ASSERT_TRUE(f.add(record(name, address), f.header()));
      want[name] = address;
    }
    if (i % 100 == 0) check_indexes(f, want);
  }
  check_indexes(open(p), want);
}

/// Whatever the moment, afterwards the change is there wholly or not at all; with a killed process, and with lost power.
TEST(CniLeaseFile, CrashAtEveryWrite) {
  std::mt19937 random(2);
  for (bool power : {false, true}) {
    for (int round = 0; round < 60; round++) {
      Platters start(kTestSize);
      Content before;
      {
        auto f = open(start);
        for (int i = 0; i < 6; i++) {
          ASSERT_TRUE(f.add(record("c" + std::to_string(i), 0x09000002 + uint32_t(i)), f.header()));
          before["c" + std::to_string(i)] = 0x09000002 + uint32_t(i);
        }
      }
      auto after = before;
      bool add = round % 2;
      if (add) after["new"] = 0x09000050;
      else after.erase("c3");
      for (int crash = 0;; crash++) {
        Platters p = start;
        p.operations = 0;
        p.crash_at = crash;
        bool done;
        {
          auto f = LeaseFile::open(std::make_unique<MemoryDisk>(p), "state");
          done = f.has_value();
          if (done) done = add ? f->add(record("new", 0x09000050), f->header()).has_value() : f->remove(*f->find("c3", "eth0"), f->header()).has_value();
        }
        bool reached = p.crashed;
        if (power) p.power_fails(random);
        else p.process_dies();
        auto f = open(p);
        auto now = content(f);
        EXPECT_TRUE(now == after || (!done && now == before));
        check_indexes(f, now);
        // And it goes on working.
        ASSERT_TRUE(f.add(record("later", 0x09000060), f.header()));
        now["later"] = 0x09000060;
        check_indexes(open(p), now);
        if (!reached) break;
        ASSERT_LT(crash, 50);
      }
    }
  }
}

/// Many transactions, each possibly the last before the power fails: what was confirmed is there.
TEST(CniLeaseFile, PowerFailsAgainAndAgain) {
  std::mt19937 random(3);
  Platters p(kTestSize);
  Content sure;
  for (int life = 0; life < 400; life++) {
    auto f = LeaseFile::open(std::make_unique<MemoryDisk>(p), "state");
    ASSERT_TRUE(f) << f.error().msg;
    sure = content(*f);
    p.operations = 0;
    p.crash_at = int(random() % 40);
    Content maybe = sure;
    for (int i = 0; i < 8 && !p.crashed; i++) {
      auto name = "c" + std::to_string(random() % 40);
      maybe = sure;
      bool done;
      if (sure.contains(name)) {
        done = f->remove(*f->find(name, "eth0"), f->header()).has_value();
        maybe.erase(name);
      } else {
        uint32_t address = 0x09000000 + random() % 60000;
        if (std::any_of(sure.begin(), sure.end(), [&](auto& e) { return e.second == address; })) continue;
        done = f->add(record(name, address), f->header()).has_value();
        maybe[name] = address;
      }
      if (done) sure = maybe;
    }
    p.power_fails(random);
    auto again = open(p);
    auto now = content(again);
    ASSERT_TRUE(now == sure || now == maybe) << "life " << life;
    check_indexes(again, now);
  }
}

/// A process dies before its sync; the next one builds on what it finds; then the power fails during the sync of that one.
TEST(CniLeaseFile, UnconfirmedIsConfirmedBeforeItIsBuiltOn) {
  std::mt19937 random(6);
  for (int round = 0; round < 1000; round++) {
    Platters p(kTestSize);
    {
      auto f = open(p);
      for (int i = 0; i < 3; i++) ASSERT_TRUE(f.add(record("c" + std::to_string(i), 0x09000002 + uint32_t(i)), f.header()));
    }
    for (int death = 0; death < 3; death++) {
      p.operations = 0;
      p.crash_at = int(random() % 8);
      auto f = LeaseFile::open(std::make_unique<MemoryDisk>(p), "state");
      if (f) (void)f->add(record("d" + std::to_string(death), 0x09000020 + uint32_t(death)), f->header());
      if (death < 2) p.process_dies();
    }
    p.power_fails(random);
    auto f = open(p);
    auto now = content(f);
    for (int i = 0; i < 3; i++) ASSERT_TRUE(now.contains("c" + std::to_string(i))) << "round " << round;
    check_indexes(f, now);
  }
}

TEST(CniLeaseFile, CrashWhileItIsMade) {
  std::mt19937 random(4);
  for (int round = 0; round < 50; round++) {
    for (int crash = 0; crash < 6; crash++) {
      Platters p(kTestSize);
      p.crash_at = crash;
      auto f = LeaseFile::open(std::make_unique<MemoryDisk>(p), "state");
      p.power_fails(random);
      check_indexes(open(p), {});
    }
  }
}

TEST(CniLeaseFile, DamageIsNamedAndLeft) {
  Platters p(kTestSize);
  {
    auto f = open(p);
    for (int i = 0; i < 4; i++) ASSERT_TRUE(f.add(record("c" + std::to_string(i), 0x09000002 + uint32_t(i)), f.header()));
  }
  // The journals would mend what they know of; a damaged record that they do not know stays damaged.
  auto broken = p;
  broken.bytes[LeaseFile::kRecordsAt + 100] ^= 1;
  auto f = LeaseFile::open(std::make_unique<MemoryDisk>(broken), "state");
  ASSERT_TRUE(f);
  auto r = f->read(1);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::kIo);
  EXPECT_NE(r.error().msg.find("state is damaged"), std::string::npos);
  auto header = p;
  std::fill_n(header.bytes.begin() + long(LeaseFile::kJournalAt), 2 * LeaseFile::kJournalSize, uint8_t(0));
  header.bytes[20] ^= 0x40;
  auto before = header.bytes;
  EXPECT_FALSE(LeaseFile::open(std::make_unique<MemoryDisk>(header), "state"));
  EXPECT_EQ(header.bytes, before);
}

/// Any octets in the place of the file: an answer, no crash, no endless loop.
TEST(CniLeaseFile, AnyOctets) {
  std::mt19937 random(5);
  Platters good(kTestSize);
  {
    auto f = open(good);
    for (int i = 0; i < 40; i++) ASSERT_TRUE(f.add(record("c" + std::to_string(i), 0x09000002 + uint32_t(i)), f.header()));
  }
  int opened = 0;
  for (int round = 0; round < 300; round++) {
    auto p = good;
    for (unsigned i = 0, n = 1 + random() % 200; i < n; i++) {
      static constexpr uint64_t kWhere[] = {0, LeaseFile::kJournalAt, LeaseFile::kHeadsAt, LeaseFile::kRecordsAt};
      uint64_t at = kWhere[random() % 4] + random() % 4096;
      p.bytes[at] = uint8_t(random());
    }
    auto f = LeaseFile::open(std::make_unique<MemoryDisk>(p), "state");
    if (!f) continue;
    opened++;
    for (int i = 0; i < 40; i++) {
      auto slot = f->find("c" + std::to_string(i), "eth0");
      f->taken(IpAddress::from_v4(0x09000002 + uint32_t(i)));
      if (slot && *slot != kNoSlot) (void)f->remove(*slot, f->header());
    }
    (void)f->add(record("new", 0x09000099), f->header());
  }
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace ls::cni
