// The election over an ensemble in memory that loses what it is told to lose.
#include "zk/election.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "fake_ensemble.h"
#include "util/guarded.h"

namespace ls::zk {
namespace {

using Fault = FakeEnsemble::Fault;

bool eventually(const std::function<bool()>& f) {
  for (int i = 0; i < 20'000; i++) {
    if (f()) return true;
    std::this_thread::sleep_for(Millis(1));
  }
  return false;
}

/// Session and election as a master has them, and all that the election said.
struct Candidate {
  static ElectionOptions options(const std::string& value) { return {.folder = "/l/leader", .value = value, .retry = Millis(2)}; }
  Candidate(const FakeEnsemble& e, const std::string& value, std::function<void(const ElectionState&)> told)
      : session({.url = e.url()}, [this](SessionState s, int64_t id) { election.session_changed(s, id); }), election(session, options(value), std::move(told)) {
    election.start();
    session.start();
  }
  ~Candidate() {
    election.stop();
    session.stop();
  }
  ElectionState state() const { return election.state(); }
  bool leads() const { return state().leading; }

  Session session;
  Election election;
};

std::unique_ptr<Candidate> candidate(const FakeEnsemble& e, const std::string& value, std::function<void(const ElectionState&)> told = {}) {
  return std::make_unique<Candidate>(e, value, std::move(told));
}

size_t candidates_of(const FakeEnsemble& e) {
  auto all = e.children("/l/leader");
  return size_t(std::count_if(all.begin(), all.end(), [](auto& n) { return n.starts_with("c-"); }));
}

TEST(Election, TheFirstLeadsAndTheNextFollows) {
  FakeEnsemble ensemble("election1");
  auto a = candidate(ensemble, "a:1");
  ASSERT_TRUE(eventually([&] { return a->leads(); }));
  EXPECT_EQ(a->state().term, 1);
  auto b = candidate(ensemble, "b:1");
  ASSERT_TRUE(eventually([&] { return b->state().leader == "a:1" && a->state().candidates.size() == 2; }));
  EXPECT_FALSE(b->leads());
  auto c = candidate(ensemble, "c:1");
  ASSERT_TRUE(eventually([&] { return c->state().candidates == std::vector<std::string>{"a:1", "b:1", "c:1"}; }));
  a.reset();
  ASSERT_TRUE(eventually([&] { return b->leads() && c->state().leader == "b:1"; }));
  EXPECT_EQ(b->state().term, 2);
  EXPECT_EQ(b->election.fence(2).version, 2);
  EXPECT_EQ(ensemble.node(b->election.fence(2).path)->stat.version, 2);
}

TEST(Election, StepsDownAtOnceWhenNothingIsKnown) {
  FakeEnsemble ensemble("election2");
  auto a = candidate(ensemble, "a:1");
  auto b = candidate(ensemble, "b:1");
  ASSERT_TRUE(eventually([&] { return a->leads() || b->leads(); }));
  auto& leader = a->leads() ? a : b;
  auto term = leader->state().term;
  ensemble.stop();
  ASSERT_TRUE(eventually([&] { return !leader->leads(); }));
  EXPECT_EQ(leader->state().leader, "");
  EXPECT_EQ(leader->state().term, 0);
  ensemble.start();
  ASSERT_TRUE(eventually([&] { return leader->leads(); })) << "its session and place lived on";
  EXPECT_GT(leader->state().term, term) << "what was written meanwhile is read anew";
  ensemble.expire(leader->session.status().id);
  auto& other = leader == a ? b : a;
  ASSERT_TRUE(eventually([&] { return other->leads() && !leader->leads(); }));
  ASSERT_TRUE(eventually([&] { return other->state().candidates.size() == 2; })) << "it comes back at the end";
}

TEST(Election, WhoseNodeIsRemovedOrResignsGoesToTheEnd) {
  FakeEnsemble ensemble("election3");
  auto a = candidate(ensemble, "a:1");
  ASSERT_TRUE(eventually([&] { return a->leads(); }));
  auto b = candidate(ensemble, "b:1");
  ASSERT_TRUE(eventually([&] { return a->state().candidates.size() == 2; }));
  for (auto& name : ensemble.children("/l/leader")) {
    auto path = "/l/leader/" + name;
    if (name.starts_with("c-") && ensemble.node(path)->value == "a:1") ensemble.erase(path);
  }
  ASSERT_TRUE(eventually([&] { return b->leads() && a->state().candidates == std::vector<std::string>{"b:1", "a:1"}; }));
  EXPECT_FALSE(a->leads());
  b->election.resign(b->election.state().term, "its store cannot be opened", Millis(2));
  ASSERT_TRUE(eventually([&] { return a->leads() && candidates_of(ensemble) == 2; }));
}

TEST(Election, WhoResignedLooksOn) {
  FakeEnsemble ensemble("election8");
  auto a = candidate(ensemble, "a:1");
  ASSERT_TRUE(eventually([&] { return a->leads(); }));
  auto term = a->state().term;
  a->election.resign(term - 1, "of a term before", Millis(3'600'000));
  a->election.resign(term, "its store cannot be opened", Millis(3'600'000));
  ASSERT_TRUE(eventually([&] { return !a->leads() && candidates_of(ensemble) == 0 && a->state().candidates.empty(); }));
  auto b = candidate(ensemble, "b:1");
  ASSERT_TRUE(eventually([&] { return a->state().leader == "b:1" && a->state().candidates == std::vector<std::string>{"b:1"}; }));
  EXPECT_EQ(a->state().last_error, "its store cannot be opened");
  b.reset();
  ASSERT_TRUE(eventually([&] { return a->state().leader.empty(); }));
  EXPECT_FALSE(a->leads());
}

TEST(Election, FoldersOfOthersMayBeClosed) {
  FakeEnsemble ensemble("election9");
  { auto made = candidate(ensemble, "a:1"); ASSERT_TRUE(eventually([&] { return made->leads(); })); }
  ensemble.on_operation([](int64_t, const std::string& what, const std::string& path) {
    return what == "create" && path == "/l" ? Fault::kDenied : Fault::kNone;
  });
  auto a = candidate(ensemble, "a:1");
  EXPECT_TRUE(eventually([&] { return a->leads(); })) << a->state().last_error;
  FakeEnsemble empty("election10");
  empty.on_operation([](int64_t, const std::string& what, const std::string&) { return what == "create" ? Fault::kDenied : Fault::kNone; });
  auto b = candidate(empty, "b:1");
  EXPECT_TRUE(eventually([&] { return b->state().last_error.find("/l") != std::string::npos; }));
}

TEST(Election, NothingIsMadeTwiceWhateverAnswerIsLost) {
  for (auto fault : {Fault::kLostBefore, Fault::kLostAfter, Fault::kExpired}) {
    bool beyond = false;  // the fault came after the last operation
    for (int at = 0; !beyond; at++) {
      ASSERT_LT(at, 60);
      FakeEnsemble ensemble("election4");
      auto seen = std::make_shared<std::atomic<int>>(0);
      ensemble.on_operation([=](int64_t, const std::string&, const std::string&) { return (*seen)++ == at ? fault : Fault::kNone; });
      auto a = candidate(ensemble, "a:1");
      ASSERT_TRUE(eventually([&] { return a->leads() && candidates_of(ensemble) == 1; })) << "fault " << int(fault) << " at " << at;
      EXPECT_EQ(ensemble.node("/l/leader/term")->stat.version, a->state().term);
      beyond = *seen <= at;
    }
  }
}

TEST(Election, NoTermIsLedTwice) {
  FakeEnsemble ensemble("election5");
  std::mt19937 random(7);
  auto decide = std::make_shared<Guarded<std::mt19937>>();
  ensemble.on_operation([=](int64_t, const std::string&, const std::string&) {
    auto n = decide->with([](std::mt19937& r) { return r() % 60; });
    return n == 0 ? Fault::kLostBefore : n == 1 ? Fault::kLostAfter : n == 2 ? Fault::kExpired : Fault::kNone;
  });
  Guarded<std::map<int32_t, std::set<int>>> leaders;
  std::vector<std::unique_ptr<Candidate>> all(3);
  auto make = [&](size_t i) {
    all[i] = candidate(ensemble, std::to_string(i), [&leaders, i](const ElectionState& s) {
      if (s.leading) leaders.with([&](auto& l) { l[s.term].insert(int(i)); });
    });
  };
  for (size_t i = 0; i < all.size(); i++) make(i);
  for (int round = 0; round < 120; round++) {
    std::this_thread::sleep_for(Millis(random() % 6));
    auto i = random() % all.size();
    switch (random() % 3) {
      case 0: ensemble.expire(all[i]->session.status().id); break;
      case 1: make(i); break;
      default: all[i]->election.resign(all[i]->election.state().term, "test", Millis(2));
    }
  }
  ensemble.on_operation({});
  ASSERT_TRUE(eventually([&] { return std::count_if(all.begin(), all.end(), [](auto& c) { return c->leads(); }) == 1 && candidates_of(ensemble) == 3; }));
  auto terms = leaders.with([](auto& l) { return l; });
  EXPECT_GT(terms.size(), 5u);
  for (auto& [term, who] : terms) EXPECT_EQ(who.size(), 1u) << "term " << term;
}

}  // namespace
}  // namespace ls::zk
