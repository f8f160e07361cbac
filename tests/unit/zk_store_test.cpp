// The store in ZooKeeper over an ensemble in memory: what a lost answer, an ended session or another writer does to it.
#include "store/zk_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "fake_ensemble.h"
#include "store/migrate.h"
#include "store/zk_names.h"

namespace ls {
namespace {

using zk::FakeEnsemble;
using Fault = FakeEnsemble::Fault;

bool is(const Error& e, int err) { return e.code == std::error_code(err, std::generic_category()); }

/// A session that is connected.
struct Connected {
  explicit Connected(const FakeEnsemble& e) : session({.url = e.url()}) {
    session.start();
    while (session.status().state != zk::SessionState::kConnected) std::this_thread::sleep_for(Millis(1));
  }
  ~Connected() { session.stop(); }
  zk::Session session;
};

class ZkStores : public testing::Test {
 protected:
  ZkStores() : ensemble_("store") { ensemble_.write("/term", ""); }
  zk::Op fence() const { return {.kind = zk::Op::Kind::kCheck, .path = "/term", .version = ensemble_.node("/term")->stat.version}; }
  void next_term() { ensemble_.write("/term", "x"); }
  Result<std::unique_ptr<Store>> open(Connected& c, std::function<void(std::string)> over = {}) {
    return open_zk_store(c.session, {.path = "/l/store", .fence = fence(), .limit = Millis(2'000), .on_over = std::move(over)});
  }
  FakeEnsemble ensemble_;
};

TEST_F(ZkStores, NamesOfNodesKeepEveryText) {
  std::string all;
  for (int c = 0; c < 256; c++) all += char(c);
  for (std::string text : {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("%"), std::string("a.b-c_D9"), all}) {
    auto name = zk_name(text);
    EXPECT_EQ(name.find('/'), name.npos);
    EXPECT_FALSE(name.empty() || name == "." || name == "..") << name;
    EXPECT_EQ(zk_text(name), text);
  }
  for (auto* bad : {"", "a b", "%6", "%zz", "%61", ".x", "a%", "%2f"}) EXPECT_FALSE(zk_text(bad)) << bad;
  EXPECT_EQ(zk_name("a.b"), "a.b");
}

TEST_F(ZkStores, AnotherTermEndsTheOlderStore) {
  Connected c(ensemble_), d(ensemble_);
  std::string why;
  auto older = open(c, [&](std::string w) { why = w; });
  ASSERT_TRUE(older) << older.error().text();
  ASSERT_TRUE((*older)->put("a", "k", "old"));
  next_term();
  auto newer = open(d);
  ASSERT_TRUE(newer);
  auto before = ensemble_.node("/l/store/a/k");
  auto refused = (*older)->put("a", "k", "late");
  ASSERT_FALSE(refused);
  EXPECT_TRUE(is(refused.error(), ESTALE)) << refused.error().text();
  EXPECT_FALSE(why.empty());
  EXPECT_EQ(ensemble_.node("/l/store/a/k")->value, before->value);
  EXPECT_TRUE(is((*older)->get("a", "k").error(), ESTALE)) << "nobody works on from a guess";
  EXPECT_TRUE(is((*older)->erase("a", "k").error(), ESTALE));
  EXPECT_EQ((*(*newer)->get("a", "k"))->value, "old");
  ASSERT_TRUE((*newer)->put("a", "k", "new"));
}

TEST_F(ZkStores, AStoreOfAnOldTermIsNotOpened) {
  Connected c(ensemble_);
  auto old = fence();
  next_term();
  auto r = open_zk_store(c.session, {.path = "/l/store", .fence = old, .limit = Millis(2'000), .on_over = {}});
  ASSERT_FALSE(r);
  EXPECT_TRUE(is(r.error(), ESTALE)) << r.error().text();
  EXPECT_TRUE(ensemble_.children("/l/store").empty());
}

TEST_F(ZkStores, ALostAnswerEndsItAndTheNextReadsWhatIsTrue) {
  struct Case {
    Fault fault;
    int err;
    bool written;
  };
  int n = 0;
  for (auto [fault, err, written] : {Case{Fault::kLostBefore, ECONNABORTED, false}, {Fault::kLostAfter, ECONNABORTED, true},
                                     {Fault::kUnanswered, ETIMEDOUT, true}, {Fault::kExpired, ECONNABORTED, true}}) {
    for (bool erase : {false, true}) {
      auto key = "k" + std::to_string(n++);
      Connected c(ensemble_);
      int over = 0;
      auto store = open(c, [&](std::string) { over++; });
      ASSERT_TRUE(store) << store.error().text();
      auto first = (*store)->put("a", key, "1");
      ASSERT_TRUE(first);
      ensemble_.on_operation([fault](int64_t, const std::string& what, const std::string&) { return what == "multi" ? fault : Fault::kNone; });
      auto failed = erase ? (*store)->erase("a", key) : Result<>((*store)->put("a", key, "2").map([](uint64_t) {}));
      ensemble_.on_operation({});
      ASSERT_FALSE(failed);
      EXPECT_TRUE(is(failed.error(), err)) << failed.error().text();
      EXPECT_EQ(over, 1);
      EXPECT_TRUE(is((*store)->list("a").error(), ESTALE));
      EXPECT_EQ(over, 1) << "told once";
      next_term();
      Connected d(ensemble_);
      auto next = open(d);
      ASSERT_TRUE(next) << next.error().text();
      auto there = *(*next)->get("a", key);
      if (erase) EXPECT_EQ(there.has_value(), !written);
      else EXPECT_EQ(there->value, written ? "2" : "1");
      auto again = (*next)->put("a", key, "3");
      ASSERT_TRUE(again);
      EXPECT_GT(*again, *first + (written && !erase)) << "no version twice";
    }
  }
}

TEST_F(ZkStores, WithoutAConnectionNothingIsWrittenAndItLivesOn) {
  Connected c(ensemble_);
  auto store = open(c);
  ASSERT_TRUE((*store)->put("a", "k", "1"));
  ensemble_.stop();
  auto r = (*store)->put("a", "k", "2");
  ASSERT_FALSE(r);
  EXPECT_TRUE(is(r.error(), ENOTCONN)) << r.error().text();
  EXPECT_EQ((*(*store)->get("a", "k"))->value, "1");
  ensemble_.start();
  while (c.session.status().state != zk::SessionState::kConnected) std::this_thread::sleep_for(Millis(1));
  EXPECT_TRUE((*store)->put("a", "k", "2"));
}

TEST_F(ZkStores, OpeningFailsCleanlyAtEveryStep) {
  Connected c(ensemble_);
  {
    auto store = open(c);
    for (int i = 0; i < 20; i++) ASSERT_TRUE((*store)->put(i % 2 ? "a" : "b", std::to_string(i), "v"));
  }
  bool beyond = false;
  for (int at = 0; !beyond; at++) {
    ASSERT_LT(at, 60);
    auto seen = std::make_shared<std::atomic<int>>(0);
    ensemble_.on_operation([=](int64_t, const std::string&, const std::string&) { return (*seen)++ == at ? Fault::kLostAfter : Fault::kNone; });
    auto store = open(c);
    while (!store && is(store.error(), ENOTCONN)) store = open(c);  // still cut off by the round before
    beyond = *seen <= at;
    EXPECT_EQ(store.has_value(), beyond) << at;
  }
}

TEST_F(ZkStores, ADamagedRecordIsNamedAndNothingIsServed) {
  Connected c(ensemble_);
  {
    auto store = open(c);
    ASSERT_TRUE((*store)->put("a", "good", "v"));
    ASSERT_TRUE((*store)->put("a", "b/d", std::string("value\n\0x", 8)));
  }
  auto path = "/l/store/a/b%2Fd";
  auto good = ensemble_.node(path)->value;
  for (size_t i = 0; i < good.size(); i++) {
    for (int bit = 0; bit < 8; bit++) {
      auto bad = good;
      bad[i] = char(bad[i] ^ (1 << bit));
      ensemble_.write(path, bad);
      auto r = open(c);
      // Letters of a hexadecimal number may be of either case.
      if (r) {
        EXPECT_EQ((*(*r)->get("a", "b/d"))->value, std::string("value\n\0x", 8)) << i;
        continue;
      }
      ASSERT_TRUE(is(r.error(), EILSEQ)) << r.error().text();
      ASSERT_NE(r.error().text().find(path), std::string::npos) << r.error().text();
    }
  }
  // A record that stands in another's place, and a name that is none of ours.
  ensemble_.write(path, ensemble_.node("/l/store/a/good")->value);
  EXPECT_TRUE(is(open(c).error(), EILSEQ));
  ensemble_.write(path, good);
  ensemble_.write("/l/store/a/not ours", "");
  EXPECT_TRUE(is(open(c).error(), EILSEQ));
  ensemble_.erase("/l/store/a/not ours");
  ASSERT_TRUE(open(c));
  ensemble_.write("/l/store", "something else");
  EXPECT_TRUE(is(open(c).error(), EILSEQ));
}

TEST_F(ZkStores, SomebodyElseWroteAndItIsOver) {
  Connected c(ensemble_);
  auto store = open(c);
  ASSERT_TRUE((*store)->put("a", "k", "v"));
  ensemble_.write("/l/store", ensemble_.node("/l/store")->value);
  EXPECT_TRUE(is((*store)->put("a", "k2", "v").error(), ESTALE));
  EXPECT_FALSE(ensemble_.node("/l/store/a/k2"));
}

TEST_F(ZkStores, SizesHaveBounds) {
  Connected c(ensemble_);
  auto store = open(c);
  EXPECT_TRUE(is((*store)->put("a", "k", std::string(zk::kMaxValue, 'x')).error(), EMSGSIZE));
  EXPECT_TRUE((*store)->put("a", "k", std::string(zk::kMaxValue - 100, 'x')));
  EXPECT_TRUE(is((*store)->put("a", std::string(kMaxZkName + 1, 'k'), "x").error(), EMSGSIZE));
  EXPECT_EQ((*store)->list("a")->size(), 1u);
}

TEST_F(ZkStores, VersionsGoOnAcrossTermsAndCopies) {
  Connected c(ensemble_);
  uint64_t last = 0;
  for (int term = 0; term < 5; term++) {
    auto store = open(c);
    ASSERT_TRUE(store);
    for (int i = 0; i < 3; i++) {
      auto v = (*store)->put("a", "k", "v");
      ASSERT_TRUE(v);
      EXPECT_GT(*v, last);
      last = *v;
      ASSERT_TRUE((*store)->erase("a", "k"));
    }
    if (term == 2) {
      ASSERT_TRUE((*store)->skip_versions(last + 1000));
      last += 1000;
    }
    EXPECT_EQ(*(*store)->last_version(), last);
    next_term();
  }
}

TEST_F(ZkStores, ACopyThatWasInterruptedAnywhereIsKnownAndBegunAnew) {
  auto from = make_memory_store();
  for (int i = 0; i < 6; i++) ASSERT_TRUE(from->put(i % 2 ? "a" : "b", std::to_string(i), "v" + std::to_string(i)));
  auto copy = [&](Store& to) { return copy_stores({{.parts = {{from.get(), {"a", "b"}}}, .to = &to, .unchanged = {}, .to_name = "x"}}); };
  bool beyond = false;
  for (int at = 0; !beyond; at++) {
    ASSERT_LT(at, 60);
    FakeEnsemble ensemble("store");
    ensemble.write("/term", "");
    auto open_at = [&](Connected& c) {
      return open_zk_store(c.session, {.path = "/l/store", .fence = {.path = "/term", .version = ensemble.node("/term")->stat.version}, .limit = Millis(2'000), .on_over = {}});
    };
    {
      Connected c(ensemble);
      auto store = open_at(c);
      ASSERT_TRUE(store);
      auto seen = std::make_shared<std::atomic<int>>(0);
      ensemble.on_operation([=](int64_t, const std::string& what, const std::string&) {
        if (what != "multi") return Fault::kNone;
        return (*seen)++ == at ? (at % 2 ? Fault::kLostAfter : Fault::kLostBefore) : Fault::kNone;
      });
      auto done = copy(**store);
      ensemble.on_operation({});
      beyond = *seen <= at;
      EXPECT_EQ(done.has_value(), beyond) << at;
    }
    ensemble.write("/term", "x");
    Connected c(ensemble);
    auto store = open_at(c);
    ASSERT_TRUE(store);
    bool nothing = (*store)->areas()->empty(), whole = (*store)->list("a")->size() + (*store)->list("b")->size() == 6;
    if (!nothing && !whole) {
      EXPECT_TRUE(is(check_copied(**store).error(), EBUSY)) << at;
    }
    auto done = copy(**store);
    ASSERT_TRUE(done) << done.error().text();
    EXPECT_TRUE(check_copied(**store));
    EXPECT_EQ((*store)->list("a")->size(), 3u);
    EXPECT_EQ((*(*store)->get("b", "4"))->value, "v4");
    EXPECT_GE(*(*store)->last_version(), *from->last_version());
  }
}

TEST_F(ZkStores, FiveThousandRecords) {
  Connected c(ensemble_);
  {
    auto store = open(c);
    for (int i = 0; i < 5000; i++) ASSERT_TRUE((*store)->put(i % 3 ? "a" : "b", "key " + std::to_string(i), std::string(size_t(i % 100), 'v')));
  }
  auto store = open(c);
  ASSERT_TRUE(store) << store.error().text();
  EXPECT_EQ((*store)->list("a")->size() + (*store)->list("b")->size(), 5000u);
  EXPECT_EQ(*(*store)->areas(), (std::vector<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace ls
