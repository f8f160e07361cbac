// Address management: order, exhaustion, requests, what host-local left (spec/cni.md, 3.3), histories with crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>

#include "cni/deadline.h"
#include "cni/leases.h"
#include "cni_disk.h"

namespace ls::cni {
namespace {

namespace fs = std::filesystem;
using test::kTestSize;
using test::MemoryDisk;
using test::Platters;
using ::testing::ElementsAre;

class CniLeases : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "ls-cni-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }

  Leases open(uint64_t boot = 1) {
    auto l = Leases::open({dir_, "net", true, boot});
    EXPECT_TRUE(l) << l.error().msg;
    return std::move(**l);
  }
  void host_local(const std::string& name, const std::string& content) {
    fs::create_directories(dir_ / "net");
    std::ofstream(dir_ / "net" / name, std::ios::binary) << content;
  }

  fs::path dir_;
};

std::vector<Range> ranges(std::initializer_list<const char*> networks) {
  std::vector<Range> out;
  for (auto n : networks) out.push_back(*range_of(*IpNetwork::parse(n)));
  return out;
}

Attachment wish(const std::string& container, const std::string& ifname = "eth0") {
  Attachment a;
  a.container = container;
  a.ifname = ifname;
  return a;
}

std::string take(Leases& l, const std::string& container, const std::vector<Range>& r, std::vector<IpAddress> requested = {}) {
  auto a = l.reserve(wish(container), r, requested);
  return a ? (a->v4 ? a->v4->text() : a->v6->text()) : "code " + std::to_string(int(a.error().code));
}

TEST_F(CniLeases, WholeHalfThenExhaustedThenTheOnlyFreeOne) {
  auto r = ranges({"9.0.0.0/25"});
  auto l = open();
  for (int i = 2; i <= 126; i++) ASSERT_EQ(take(l, "c" + std::to_string(i), r), "9.0.0." + std::to_string(i));
  auto full = l.reserve(wish("more"), r, {});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kExhausted);
  EXPECT_NE(full.error().details.find("9.0.0.0/25"), std::string::npos);
  EXPECT_FALSE(l.room(r));
  EXPECT_TRUE(*l.release("c77", "eth0"));
  EXPECT_TRUE(l.room(r));
  EXPECT_EQ(take(l, "more", r), "9.0.0.77");
}

TEST_F(CniLeases, SmallNetworks) {
  for (auto [network, count] : {std::pair{"9.0.0.0/27", 29}, {"9.0.1.0/29", 5}, {"9.0.2.0/30", 1}}) {
    auto r = ranges({network});
    auto l = Leases::open({dir_, std::string("n") + std::to_string(count), true, 1});
    ASSERT_TRUE(l);
    int got = 0;
    while (take(**l, "c" + std::to_string(got), r)[0] != 'c') got++;
    EXPECT_EQ(got, count) << network;
  }
}

TEST_F(CniLeases, ReleasedIsUsedLast) {
  auto r = ranges({"9.0.0.0/29"});
  auto l = open();
  for (auto c : {"a", "b", "c"}) take(l, c, r);
  ASSERT_TRUE(*l.release("a", "eth0"));
  EXPECT_EQ(take(l, "d", r), "9.0.0.5");
  EXPECT_EQ(take(l, "e", r), "9.0.0.6");
  EXPECT_EQ(take(l, "f", r), "9.0.0.2");
  EXPECT_EQ(take(l, "g", r), "code 100");
}

TEST_F(CniLeases, BothFamilies) {
  auto r = ranges({"9.0.0.0/29", "fd01:b::/81"});
  auto l = open();
  auto a = l.reserve(wish("a"), r, {});
  ASSERT_TRUE(a);
  EXPECT_EQ(a->v4->text(), "9.0.0.2");
  EXPECT_EQ(a->v6->text(), "fd01:b::2");
  auto found = l.find("a", "eth0");
  ASSERT_TRUE(found && *found);
  EXPECT_EQ(**found, *a);
  for (int i = 0; i < 4; i++) ASSERT_TRUE(l.reserve(wish("x" + std::to_string(i)), r, {}));
  // IPv4 is full: nothing of IPv6 is taken either.
  EXPECT_EQ(take(l, "late", r), "code 100");
  ASSERT_TRUE(*l.release("a", "eth0"));
  auto next = l.reserve(wish("b"), r, {});
  EXPECT_EQ(next->v4->text(), "9.0.0.2");
  EXPECT_EQ(next->v6->text(), "fd01:b::7");
}

TEST_F(CniLeases, TwiceIsRefusedAndNothingChanges) {
  auto r = ranges({"9.0.0.0/25"});
  auto l = open();
  take(l, "a", r);
  EXPECT_EQ(take(l, "a", r), "code 3");
  EXPECT_EQ(take(l, "b", r), "9.0.0.3");
  auto second = l.reserve(wish("a", "eth1"), r, {});
  ASSERT_TRUE(second);
  EXPECT_EQ(second->v4->text(), "9.0.0.4");
  EXPECT_TRUE(*l.release("a", "eth0"));
  EXPECT_FALSE(*l.release("a", "eth0"));
  EXPECT_TRUE(*l.find("a", "eth1"));
}

TEST_F(CniLeases, NamesThatContainEachOther) {
  auto r = ranges({"9.0.0.0/25"});
  auto l = open();
  take(l, "a", r);
  take(l, "a.b", r);
  EXPECT_TRUE(*l.release("a", "eth0"));
  EXPECT_TRUE(*l.find("a.b", "eth0"));
}

TEST_F(CniLeases, RequestedAddresses) {
  auto r = ranges({"9.0.0.0/25", "fd01:b::/81"});
  auto l = open();
  auto ip = [](const char* t) { return *IpAddress::parse(t); };
  EXPECT_EQ(take(l, "a", r, {ip("9.0.0.50")}), "9.0.0.50");
  EXPECT_EQ(take(l, "b", r, {ip("9.0.0.50")}), "code 100");
  for (auto bad : {"9.0.0.0", "9.0.0.1", "9.0.0.127", "9.0.0.128", "10.0.0.1", "fd01:c::1", "fd01:b::1"}) EXPECT_EQ(take(l, "b", r, {ip(bad)}), "code 7") << bad;
  EXPECT_EQ(take(l, "b", r), "9.0.0.51");
  auto both = l.reserve(wish("c"), r, {ip("fd01:b::99"), ip("9.0.0.9")});
  ASSERT_TRUE(both);
  EXPECT_EQ(both->v4->text(), "9.0.0.9");
  EXPECT_EQ(both->v6->text(), "fd01:b::99");
}

TEST_F(CniLeases, EverythingOfTheRecordIsKept) {
  auto a = wish("3f1a.5e2d", "eth7");
  a.mode = Mode::kDirect;
  a.mac = {2, 0, 0, 0, 0, 9};
  a.host_device = "ls0123456789ab";
  a.bridge = "m-dcos";
  for (uint16_t i = 1; i <= kMaxMappings; i++) a.mappings.push_back({i % 2 ? Protocol::kTcp : Protocol::kUdp, uint16_t(i * 100), i});
  a.container = std::string(kMaxContainerId, 'x');
  auto made = [&] { return open().reserve(a, ranges({"9.0.0.0/25"}), {}); }();
  ASSERT_TRUE(made);
  auto l = open();
  EXPECT_EQ(**l.find(a.container, "eth7"), *made);
  auto all = l.all();
  ASSERT_EQ(all->size(), 1u);
  EXPECT_EQ(all->front(), *made);
}

TEST_F(CniLeases, AnotherHalfForTheSameNetwork) {
  take(*std::make_unique<Leases>(open()), "a", ranges({"9.0.0.0/25"}));
  auto l = open();
  EXPECT_EQ(take(l, "b", ranges({"9.0.7.0/25"})), "9.0.7.2");
  EXPECT_EQ(*(*l.find("a", "eth0"))->v4, *IpAddress::parse("9.0.0.2"));
  EXPECT_TRUE(*l.release("a", "eth0"));
}

TEST_F(CniLeases, EarlierBootIsForgotten) {
  auto r = ranges({"9.0.0.0/30"});
  take(*std::make_unique<Leases>(open(1)), "a", r);
  EXPECT_EQ(take(*std::make_unique<Leases>(open(1)), "b", r), "code 100");
  auto l = open(2);
  EXPECT_FALSE(*l.find("a", "eth0"));
  EXPECT_EQ(take(l, "b", r), "9.0.0.2");
}

TEST_F(CniLeases, TakesOverHostLocal) {
  host_local("9.0.0.2", "old");                 // the pinned one
  host_local("9.0.0.3", "new\r\neth0");         // later ones
  host_local("9.0.0.5", "new\r\neth1\r\n");
  host_local("9.0.0.6", "twice");
  host_local("9.0.0.7", "twice");               // its second address (spec/cni.md, 1.4)
  host_local("fd01:b::3", "new\r\neth0");
  host_local("9.0.0.8", "");
  host_local("last_reserved_ip.0", "9.0.0.3");
  host_local("lock", "");
  auto r = ranges({"9.0.0.0/28"});
  {
    auto l = open();
    auto dual = l.find("new", "eth0");
    ASSERT_TRUE(dual && *dual);
    EXPECT_EQ((*dual)->v4->text(), "9.0.0.3");
    EXPECT_EQ((*dual)->v6->text(), "fd01:b::3");
    EXPECT_TRUE((*dual)->imported);
    EXPECT_EQ(take(l, "c1", r), "9.0.0.4");
    EXPECT_EQ(take(l, "c2", r), "9.0.0.9");
    EXPECT_EQ(take(l, "old", r), "code 3");
  }
  auto l = open();
  EXPECT_TRUE(*l.release("old", "eth0"));
  EXPECT_FALSE(fs::exists(dir_ / "net" / "9.0.0.2"));
  EXPECT_TRUE(fs::exists(dir_ / "net" / "9.0.0.3"));
  EXPECT_TRUE(*l.release("twice", "eth0"));
  for (auto c : {"c3", "c4", "c5", "c6", "c7"}) take(l, c, r);  // .10 to .14
  std::set<std::string> got;
  for (auto c : {"d1", "d2", "d3"}) got.insert(take(l, c, r));
  EXPECT_THAT(got, ElementsAre("9.0.0.2", "9.0.0.6", "9.0.0.7"));
  EXPECT_EQ(take(l, "d4", r), "code 100");
  EXPECT_TRUE(*l.release("new", "eth0"));
  EXPECT_TRUE(*l.find("new", "eth1"));
}

TEST_F(CniLeases, NothingIsMadeForADelOfNothing) {
  auto none = Leases::open({dir_, "net", false, 1});
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  EXPECT_TRUE(fs::is_empty(dir_));
  host_local("9.0.0.2", "old");
  auto some = Leases::open({dir_, "net", false, 1});
  ASSERT_TRUE(some && *some);
  EXPECT_TRUE(*(*some)->release("old", "eth3"));
}

TEST_F(CniLeases, DamagedFileIsAnError) {
  take(*std::make_unique<Leases>(open()), "a", ranges({"9.0.0.0/25"}));
  fs::resize_file(lease_path(dir_, "net"), 1000);
  auto l = Leases::open({dir_, "net", true, 1});
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().code, Code::kIo);
}

/// The process that holds a lock ends without a word; and one that does not end costs no more than the deadline.
TEST_F(CniLeases, LocksAreBounded) {
  int ready[2], go[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(go), 0);
  pid_t pid = fork();
  if (pid == 0) {
    auto l = Leases::open({dir_, "net", true, 1});
    auto a = AttachmentLock::take(dir_, "net", "a", "eth0", true);
    char c = 'x';
    if (write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) < 0) _exit(1);
    _exit(0);
  }
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  Deadline::set(std::chrono::milliseconds(100));
  auto l = Leases::open({dir_, "net", true, 1});
  ASSERT_FALSE(l);
  EXPECT_EQ(l.error().code, Code::kTryAgain);
  auto a = AttachmentLock::take(dir_, "net", "a", "eth0", true);
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kTryAgain);
  EXPECT_TRUE(AttachmentLock::take(dir_, "net", "b", "eth0", true));
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  for (int fd : {ready[0], ready[1], go[0], go[1]}) close(fd);
  Deadline::set(std::chrono::seconds(100));
  EXPECT_TRUE(Leases::open({dir_, "net", true, 1}));
  EXPECT_TRUE(AttachmentLock::take(dir_, "net", "a", "eth0", true));
}

TEST_F(CniLeases, ManyProcessesAtOnce) {
  constexpr int kProcesses = 40;
  auto r = ranges({"9.0.0.0/25"});
  std::vector<pid_t> pids;
  for (int i = 0; i < kProcesses; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      for (int n = 0; n < 3; n++) {
        auto l = Leases::open({dir_, "net", true, 1});
        if (!l || !(*l)->reserve(wish("c" + std::to_string(i) + "." + std::to_string(n)), r, {})) _exit(1);
      }
      _exit(0);
    }
    pids.push_back(pid);
  }
  for (pid_t pid : pids) {
    int status = 1;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  auto l = open();
  std::set<std::string> seen;
  auto all = l.all();
  ASSERT_TRUE(all);
  for (auto& a : *all) seen.insert(a.v4->text());
  EXPECT_EQ(seen.size(), size_t(kProcesses * 3));
}

/// host-local's rules as a model: the next after the last handed out, wrapping, without the gateway.
struct Model {
  uint32_t network, count, last = 0;
  std::map<std::string, uint32_t> held;
  std::optional<uint32_t> reserve(const std::string& c) {
    uint32_t from = last ? last : 0;
    for (uint32_t i = 1; i <= count; i++) {
      uint32_t host = (from + i - 1) % count + 1;
      bool taken = std::any_of(held.begin(), held.end(), [&](auto& h) { return h.second == host; });
      if (host == 1 || taken) continue;
      last = host;
      held[c] = host;
      return network + host;
    }
    return std::nullopt;
  }
};

RC_GTEST_PROP(CniLeasesHistory, OrderIsThatOfHostLocalThroughCrashes, (const std::vector<uint16_t>& steps)) {
  Platters p(kTestSize);
  auto r = ranges({"9.0.0.0/28"});
  Model m{0x09000000, 14, 0, {}};
  std::mt19937 random(7);
  for (uint16_t step : steps) {
    auto l = Leases::over(std::make_unique<MemoryDisk>(p), {"/nonexistent", "net", true, 1});
    RC_ASSERT(l.has_value());
    auto c = "c" + std::to_string(step % 20);
    if (m.held.contains(c)) {
      RC_ASSERT(*l->release(c, "eth0"));
      m.held.erase(c);
    } else {
      auto got = l->reserve(wish(c), r, {});
      auto want = m.reserve(c);
      RC_ASSERT(got.has_value() == want.has_value());
      if (got) RC_ASSERT(got->v4->v4() == *want);
    }
    // What was confirmed survives.
    if (step & 0x100) p.power_fails(random);
  }
}

}  // namespace
}  // namespace ls::cni
