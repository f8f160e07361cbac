// Which feeds are believed.
#include "sources/overlay_take.h"

#include <gtest/gtest.h>

#include "overlay_support.h"

namespace ls {
namespace {

using overlay::AllocationFeed;

class TakeTest : public testing::Test {
 protected:
  AllocationFeed feed(std::string allocator, std::string run, uint64_t version, bool full = true, uint32_t mtu = 0) {
    AllocationFeed f;
    f.at = {std::move(run), version, std::move(allocator)};
    f.full = full;
    f.plan = overlay::plan_of(overlay::raw_plan());
    if (mtu) f.plan.vtep_mtu = mtu;
    return f;
  }
  /// "full", "changes", "nothing", "refused".
  std::string take(bool first, AllocationFeed f) {
    auto r = take_->take(first, std::move(f));
    if (!r) return "refused";
    if (!*r) return "nothing";
    last_ = **r;
    return (*r)->full ? "full" : "changes";
  }
  void held(std::string allocator, std::string run, uint64_t version) {
    take_.emplace(clock_, Millis(1000), OverlayHeld{{std::move(run), version, std::move(allocator)}, overlay::plan_of(overlay::raw_plan())});
  }
  FakeClock clock_;
  std::optional<OverlayTake> take_{std::in_place, clock_, Millis(1000), std::nullopt};
  AllocationFeed last_;
};

TEST_F(TakeTest, TheFirstFullFeedOfAnybody) {
  EXPECT_EQ(take(false, feed("a", "r", 1, false)), "refused");
  EXPECT_EQ(take_->from(), overlay::FeedPosition{});
  EXPECT_EQ(take(false, feed("a", "r", 1)), "full");
  EXPECT_EQ(take_->from().run, "r");
  EXPECT_EQ(take(false, feed("a", "r", 1, false)), "nothing");
  EXPECT_EQ(take(false, feed("a", "r", 3, false)), "changes");
  EXPECT_EQ(take(false, feed("a", "r", 2, false)), "refused");
}

TEST_F(TakeTest, TheSameAllocatorEverywhere) {
  held("a", "r", 5);
  EXPECT_EQ(take(false, feed("a", "s", 0)), "full") << "another run, another master";
  EXPECT_EQ(take(true, feed("a", "t", 9, false)), "refused");
  EXPECT_EQ(take(true, feed("a", "t", 9)), "full");
  EXPECT_EQ(take_->settling(), Millis(0));
}

TEST_F(TakeTest, AnEarlierTermOfTheSameAllocatorIsOver) {
  auto of_term = [&](uint64_t term, std::string run) {
    auto f = feed("a", std::move(run), 1);
    f.at.term = term;
    return f;
  };
  EXPECT_EQ(take(false, of_term(3, "r")), "full");
  EXPECT_EQ(take(true, of_term(2, "q")), "refused") << "the first master too";
  EXPECT_EQ(take(false, feed("a", "p", 9)), "refused") << "and one that knows of no terms";
  EXPECT_EQ(take(false, of_term(4, "s")), "full");
  EXPECT_EQ(take_->at().term, 4u);
  EXPECT_EQ(take(true, feed("a", "u", 1)), "full") << "the store went back to one master";
  EXPECT_EQ(take(true, feed("b", "t", 1)), "changes") << "another store at the first master";
}

TEST_F(TakeTest, AnotherAllocatorOnlyAtTheFirst) {
  held("a", "r", 5);
  EXPECT_EQ(take(false, feed("b", "s", 7)), "refused");
  EXPECT_EQ(take(false, feed("", "s", 7)), "refused");
  EXPECT_EQ(take_->at(), (overlay::FeedPosition{"r", 5, "a"}));
  EXPECT_EQ(take(true, feed("b", "s", 7)), "changes") << "nobody is removed yet";
  EXPECT_EQ(last_.at, (overlay::FeedPosition{"", 0, "b"}));
  EXPECT_EQ(take_->from(), (overlay::FeedPosition{"s", 7, "b"}));
  clock_.advance(Millis(400));
  EXPECT_EQ(take_->settling(), Millis(600));
  EXPECT_EQ(take(true, feed("b", "s", 8, false)), "changes");
  EXPECT_EQ(take(true, feed("b", "t", 1)), "changes") << "it restarted meanwhile";
  EXPECT_EQ(take(false, feed("a", "r", 6)), "refused");
  clock_.advance(Millis(600));
  EXPECT_EQ(take_->from(), overlay::FeedPosition{});
  EXPECT_EQ(take_->settling(), Millis(0));
  EXPECT_EQ(take(true, feed("b", "t", 2)), "full");
  EXPECT_EQ(last_.at, (overlay::FeedPosition{"t", 2, "b"}));
  EXPECT_EQ(take_->from().run, "t");
}

TEST_F(TakeTest, AnotherPlanReplacesAtOnce) {
  held("a", "r", 5);
  EXPECT_EQ(take(true, feed("b", "s", 7, true, 1400)), "full");
  EXPECT_EQ(take_->settling(), Millis(0));
}

TEST_F(TakeTest, MastersWithoutAnIdentity) {
  held("", "r", 5);
  EXPECT_EQ(take(false, feed("", "r", 6, false)), "changes") << "the same run says who it is";
  EXPECT_EQ(take(false, feed("", "s", 1)), "refused");
  EXPECT_EQ(take(true, feed("", "s", 1)), "changes");
  clock_.advance(Millis(1000));
  EXPECT_EQ(take(true, feed("", "s", 1)), "full");
}

TEST_F(TakeTest, ACopyThatWasKeptWhileItSettledSettlesAnew) {
  held("b", "", 0);
  EXPECT_EQ(take_->from().run, "");
  EXPECT_EQ(take(false, feed("b", "s", 7)), "changes") << "a restart in that minute takes nobody away either";
  clock_.advance(Millis(60'000));
  EXPECT_EQ(take_->from().run, "");
  EXPECT_EQ(take(false, feed("b", "s", 7)), "full");
}

}  // namespace
}  // namespace ls
