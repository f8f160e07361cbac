#include "dns/registry.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>

namespace ls::dns {
namespace {

using Kind = Refusal::Kind;
using namespace std::chrono_literals;
constexpr const char* kZone = "reg.thisdcos.directory";

/// A store that fails when it is told to.
class FlakyStore final : public Store {
 public:
  Result<std::vector<StoredRecord>> list(std::string_view area) override { return in_->list(area); }
  Result<std::optional<StoredRecord>> get(std::string_view area, std::string_view key) override { return in_->get(area, key); }
  Result<uint64_t> put(std::string_view area, std::string_view key, std::string_view value, std::optional<uint64_t> expected) override {
    if (fails) return fail(fails, "put");
    puts++;
    return in_->put(area, key, value, expected);
  }
  Result<> erase(std::string_view area, std::string_view key, std::optional<uint64_t> expected) override {
    if (fails) return fail(fails, "erase");
    return in_->erase(area, key, expected);
  }
  int fails = 0;
  int puts = 0;

 private:
  std::unique_ptr<Store> in_ = make_memory_store();
};

class RegistryTest : public testing::Test {
 protected:
  void SetUp() override { start(); }

  void start(RegistryOptions options = {}) {
    zones_.clear();
    registry_ = std::make_unique<Registry>(store_, options, [this](const std::string& zone, RecordDelta d) {
      changes_++;
      auto& have = zones_[zone];
      for (auto& r : d.add) have.insert(r);
      for (auto& r : d.remove) {
        auto it = have.find(r);
        ASSERT_NE(it, have.end()) << "taken away what is not there";
        have.erase(it);
      }
    });
    auto r = registry_->load(now_);
    ASSERT_TRUE(r) << r.error().text();
  }
  static Registration a(std::string name, std::vector<std::string> data, RrType type = RrType::kA) {
    Registration r;
    r.zone = kZone;
    r.name = std::move(name);
    r.type = type;
    r.data = std::move(data);
    return r;
  }
  Registration leased(std::string name, Millis lease) {
    auto r = a(std::move(name), {"10.0.0.1"});
    r.lease = lease;
    return r;
  }
  auto put(Registration r, std::optional<uint64_t> expected = std::nullopt) { return registry_->put(std::move(r), expected, now_); }
  void pass(Millis by, Millis wall_jump = 0ms) {
    now_.monotonic += by;
    now_.unix_ms += (by + wall_jump).count();
  }
  std::optional<Kind> refused(Registration r, std::optional<uint64_t> expected = std::nullopt) {
    auto p = put(std::move(r), expected);
    if (p) return std::nullopt;
    return p.error().kind;
  }

  FlakyStore store_;
  RegistryTime now_{1'700'000'000'000, Instant(1h)};
  std::map<std::string, std::multiset<Record>> zones_;
  int changes_ = 0;
  std::unique_ptr<Registry> registry_;
};

TEST_F(RegistryTest, PutGetListRemove) {
  auto r = put(a("Web", {"10.0.0.1", "10.0.0.2"}));
  ASSERT_TRUE(r) << r.error().why;
  EXPECT_EQ(r->name, "web");
  EXPECT_EQ(r->ttl, 5u) << "the default";
  EXPECT_GT(r->version, 0u);
  EXPECT_EQ(zones_[kZone].size(), 2u);
  EXPECT_EQ(*registry_->get(kZone, "web", RrType::kA), *r);
  EXPECT_FALSE(registry_->get(kZone, "web", RrType::kAaaa));
  auto other = a("x", {"10.0.0.9"});
  other.zone = "b.thisdcos.directory";
  ASSERT_TRUE(put(other));
  EXPECT_EQ(registry_->list().size(), 2u);
  EXPECT_EQ(registry_->list(kZone).size(), 1u);
  EXPECT_EQ(registry_->zones(), (std::vector<std::string>{"b.thisdcos.directory", kZone}));
  auto version = registry_->version();
  ASSERT_TRUE(registry_->remove(kZone, "web", RrType::kA, std::nullopt));
  EXPECT_GT(registry_->version(), version);
  EXPECT_TRUE(zones_[kZone].empty());
  EXPECT_EQ(registry_->remove(kZone, "web", RrType::kA, std::nullopt).error().kind, Kind::kNotFound);
}

TEST_F(RegistryTest, OnlyWhatChangedIsTold) {
  ASSERT_TRUE(put(a("web", {"10.0.0.1", "10.0.0.2"})));
  int before = changes_;
  auto version = registry_->version();
  auto same = put(a("web", {"10.0.0.1", "10.0.0.2"}));
  ASSERT_TRUE(same);
  EXPECT_EQ(changes_, before);
  EXPECT_EQ(registry_->version(), version);
  auto r = put(a("web", {"10.0.0.2", "10.0.0.3"}));
  EXPECT_GT(r->version, same->version);
  EXPECT_EQ(changes_, before + 1);
  EXPECT_EQ(zones_[kZone].size(), 2u);
}

TEST_F(RegistryTest, CompareAndSet) {
  EXPECT_EQ(refused(a("web", {"10.0.0.1"}), 5), Kind::kPrecondition);
  auto r = put(a("web", {"10.0.0.1"}), 0);
  ASSERT_TRUE(r);
  EXPECT_EQ(refused(a("web", {"10.0.0.2"}), 0), Kind::kPrecondition);
  EXPECT_EQ(refused(a("web", {"10.0.0.2"}), r->version + 1), Kind::kPrecondition);
  auto r2 = put(a("web", {"10.0.0.2"}), r->version);
  ASSERT_TRUE(r2);
  EXPECT_EQ(refused(a("web", {"10.0.0.3"}), r->version), Kind::kPrecondition) << "of two with the same ETag one wins";
  EXPECT_EQ(registry_->remove(kZone, "web", RrType::kA, r->version).error().kind, Kind::kPrecondition);
  EXPECT_TRUE(registry_->remove(kZone, "web", RrType::kA, r2->version));
  auto r3 = put(a("web", {"10.0.0.2"}), 0);
  ASSERT_TRUE(r3);
  EXPECT_GT(r3->version, r2->version) << "an ETag is never given twice";
}

TEST_F(RegistryTest, CnameStandsAlone) {
  ASSERT_TRUE(put(a("web", {"10.0.0.1"})));
  EXPECT_EQ(refused(a("web", {"a.example"}, RrType::kCname)), Kind::kConflict);
  ASSERT_TRUE(put(a("alias", {"a.example"}, RrType::kCname)));
  EXPECT_EQ(refused(a("alias", {"10.0.0.1"})), Kind::kConflict);
  EXPECT_TRUE(put(a("alias", {"b.example"}, RrType::kCname)));
  EXPECT_TRUE(put(a("alias2", {"10.0.0.1"})));
  ASSERT_TRUE(registry_->remove(kZone, "alias", RrType::kCname, std::nullopt));
  EXPECT_TRUE(put(a("alias", {"10.0.0.1"})));
}

TEST_F(RegistryTest, Limits) {
  start({.max_records = 3});
  ASSERT_TRUE(put(a("a", {"10.0.0.1", "10.0.0.2"})));
  EXPECT_EQ(refused(a("b", {"10.0.0.1", "10.0.0.2"})), Kind::kFull);
  ASSERT_TRUE(put(a("b", {"10.0.0.1"})));
  EXPECT_EQ(refused(a("b", {"10.0.0.1", "10.0.0.2"})), Kind::kFull);
  EXPECT_TRUE(put(a("b", {"10.0.0.7"}))) << "a change that needs no more room is taken";
  EXPECT_TRUE(put(a("a", {"10.0.0.1"})));
  EXPECT_TRUE(put(a("b", {"10.0.0.1", "10.0.0.2"})));
  EXPECT_EQ(registry_->records(), 3u);
  start({.max_records = 1});
  EXPECT_EQ(registry_->records(), 3u) << "a lower limit takes nothing away";
}

TEST_F(RegistryTest, StoreThatFails) {
  ASSERT_TRUE(put(a("web", {"10.0.0.1"})));
  auto version = registry_->version();
  int before = changes_;
  for (int err : {ENOSPC, EIO}) {
    store_.fails = err;
    EXPECT_EQ(refused(a("web", {"10.0.0.2"})), err == ENOSPC ? Kind::kFull : Kind::kStore);
    EXPECT_EQ(refused(a("new", {"10.0.0.2"})), err == ENOSPC ? Kind::kFull : Kind::kStore);
    EXPECT_FALSE(registry_->remove(kZone, "web", RrType::kA, std::nullopt));
  }
  EXPECT_EQ(registry_->version(), version);
  EXPECT_EQ(changes_, before);
  EXPECT_EQ(registry_->get(kZone, "web", RrType::kA)->data[0], "10.0.0.1");
  start();  // the disk is still full, the names are there
  EXPECT_EQ(zones_[kZone].size(), 1u);
}

TEST_F(RegistryTest, LeasesEndWithoutRenewal) {
  ASSERT_TRUE(put(leased("web", 30s)));
  ASSERT_TRUE(put(leased("long", 1h)));
  ASSERT_TRUE(put(a("forever", {"10.0.0.1"})));
  pass(20s);
  auto r = put(leased("web", 30s));
  ASSERT_TRUE(r);
  EXPECT_EQ(registry_->expire(now_), 0u);
  pass(29s);
  EXPECT_EQ(registry_->expire(now_), 0u);
  pass(1s);
  EXPECT_EQ(registry_->expire(now_), 1u);
  EXPECT_FALSE(registry_->get(kZone, "web", RrType::kA));
  EXPECT_EQ(zones_[kZone].size(), 2u);
  EXPECT_EQ(registry_->remove(kZone, "web", RrType::kA, std::nullopt).error().kind, Kind::kNotFound);
  pass(2h);
  EXPECT_EQ(registry_->expire(now_), 1u);
  start();
  EXPECT_EQ(registry_->list().size(), 1u) << "ended on the disk too";
}

TEST_F(RegistryTest, AMasterThatLeadsNoMoreTakesNothingAway) {
  start({.default_ttl = 5, .max_lease = 1h, .max_records = 10, .elected = true});
  ASSERT_TRUE(put(leased("web", 30s)));
  ASSERT_TRUE(put(leased("mail", 30s)));
  auto version = registry_->version();
  store_.fails = ESTALE;
  pass(31s);
  EXPECT_EQ(registry_->expire(now_), 0u);
  EXPECT_EQ(registry_->version(), version) << "what followers would hear of";
  EXPECT_EQ(zones_[kZone].size(), 2u);
  Registry next(store_, {.default_ttl = 5, .max_lease = 1h, .max_records = 10, .elected = true}, {});
  EXPECT_FALSE(next.load(now_)) << "a turn that cannot be written down is none";
  store_.fails = 0;
  EXPECT_EQ(registry_->expire(now_), 2u);
}

TEST_F(RegistryTest, ALeaseCanBeTakenOffAndPutOn) {
  ASSERT_TRUE(put(leased("web", 30s)));
  ASSERT_TRUE(put(a("web", {"10.0.0.1"})));
  pass(1h);
  EXPECT_EQ(registry_->expire(now_), 0u);
  ASSERT_TRUE(put(leased("web", 10s)));
  pass(10s);
  EXPECT_EQ(registry_->expire(now_), 1u);
}

TEST_F(RegistryTest, RenewalsKeepTheVersionAndSpareTheDisk) {
  auto first = put(leased("web", 40s));
  auto version = registry_->version();
  int puts = store_.puts;
  for (int i = 0; i < 40; i++) {
    pass(1s);
    auto r = put(leased("web", 40s), first->version);
    ASSERT_TRUE(r);
    EXPECT_EQ(r->version, first->version);
    EXPECT_GT(r->expires_unix_ms, first->expires_unix_ms);
  }
  EXPECT_EQ(registry_->version(), version);
  EXPECT_EQ(store_.puts - puts, 4) << "once in a quarter of the lease";
}

TEST_F(RegistryTest, ClockJumpsDropNoLease) {
  for (int i = 0; i < 50; i++) ASSERT_TRUE(put(leased("n" + std::to_string(i), 30s)));
  for (auto jump : {Millis(1h), -Millis(1h), Millis(24h)}) {
    pass(1s, jump);
    EXPECT_EQ(registry_->expire(now_), 0u);
    for (int i = 0; i < 50; i++) ASSERT_TRUE(put(leased("n" + std::to_string(i), 30s)));
  }
  // Over a restart: half the lease at least, all of it at most.
  for (auto jump : {Millis(1h), -Millis(1h)}) {
    now_.unix_ms += jump.count();
    now_.monotonic = Instant(5s);  // another machine start
    start();
    EXPECT_EQ(zones_[kZone].size(), 50u);
    EXPECT_EQ(registry_->expire(now_), 0u);
    pass(14s);
    EXPECT_EQ(registry_->expire(now_), 0u);
    for (int i = 0; i < 50; i++) ASSERT_TRUE(put(leased("n" + std::to_string(i), 30s)));
  }
  pass(30s);
  EXPECT_EQ(registry_->expire(now_), 50u);
}

TEST_F(RegistryTest, RestartWithoutAJumpGoesByTheWallClock) {
  ASSERT_TRUE(put(leased("web", 100s)));
  pass(30s);
  start();
  pass(69s);
  EXPECT_EQ(registry_->expire(now_), 0u);
  pass(1s);
  EXPECT_EQ(registry_->expire(now_), 1u);
}

TEST_F(RegistryTest, SurvivesARestart) {
  auto r = put(a("web", {"10.0.0.1", "10.0.0.2"}));
  ASSERT_TRUE(put(a("txt", {"\"a;b\""}, RrType::kTxt)));
  auto before = zones_;
  start();
  EXPECT_EQ(zones_, before);
  EXPECT_EQ(registry_->get(kZone, "web", RrType::kA)->version, r->version) << "ETags stay";
}

TEST_F(RegistryTest, StoredRubbishIsLeftOut) {
  ASSERT_TRUE(put(a("web", {"10.0.0.1"})));
  ASSERT_TRUE(store_.put("dns.registrations", "x", "not json", std::nullopt));
  ASSERT_TRUE(store_.put("dns.registrations", std::string(kZone) + " A y", R"({"zone":"reg.thisdcos.directory","name":"y","type":"A","data":["bad"],"ttl":5})", std::nullopt));
  ASSERT_TRUE(store_.put("dns.registrations", std::string(kZone) + " A z", R"({"zone":"reg.thisdcos.directory","name":"q","type":"A","data":["10.0.0.1"],"ttl":5})", std::nullopt));
  start();
  EXPECT_EQ(registry_->left_out(), 3u);
  EXPECT_EQ(registry_->list().size(), 1u);
  ASSERT_TRUE(put(a("y", {"10.0.0.5"}))) << "and can be put anew";
}

TEST_F(RegistryTest, FollowersGetWhatTheyMiss) {
  ASSERT_TRUE(put(a("a", {"10.0.0.1"})));
  ASSERT_TRUE(put(a("b", {"10.0.0.1"})));
  auto at = registry_->position();
  auto same = registry_->feed(at);
  EXPECT_FALSE(same.full);
  EXPECT_TRUE(same.registrations.empty() && same.removed.empty());
  ASSERT_TRUE(put(a("a", {"10.0.0.2"})));
  ASSERT_TRUE(put(a("c", {"10.0.0.2"})));
  ASSERT_TRUE(registry_->remove(kZone, "c", RrType::kA, std::nullopt));
  ASSERT_TRUE(registry_->remove(kZone, "b", RrType::kA, std::nullopt));
  auto feed = registry_->feed(at);
  EXPECT_FALSE(feed.full);
  ASSERT_EQ(feed.registrations.size(), 1u);
  EXPECT_EQ(feed.registrations[0].data[0], "10.0.0.2");
  EXPECT_EQ(feed.removed.size(), 2u);
  auto full = registry_->feed({});
  EXPECT_TRUE(full.full);
  EXPECT_EQ(full.registrations.size(), 1u);
  auto ahead = registry_->position();
  ahead.version += 5;
  EXPECT_TRUE(registry_->feed(ahead).full);
  auto old = registry_->position();
  start();
  EXPECT_EQ(registry_->position().store, old.store);
  EXPECT_GT(registry_->position().epoch, old.epoch) << "each start is later than the one before";
  EXPECT_TRUE(registry_->feed(old).full);
  for (int i = 0; i < 5000; i++) ASSERT_TRUE(put(a("a", {i % 2 ? "10.0.0.1" : "10.0.0.3"})));
  EXPECT_TRUE(registry_->feed({old.store, registry_->position().epoch, 1}).full) << "too far behind";
}

}  // namespace
}  // namespace ls::dns
