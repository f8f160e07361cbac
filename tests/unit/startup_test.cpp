#include "app/startup.h"

#include <gtest/gtest.h>

namespace ls {
namespace {

using enum StartupState;

TEST(Startup, IsNotReadyBeforeTheFirstSignal) {
  FakeClock clock;
  Startup s(clock);
  clock.advance(Millis(12'000));
  EXPECT_FALSE(s.ready());
  EXPECT_EQ(s.view().headline(clock.now()),
            "NOT READY: 0 of 7: waiting for a good configuration, since 12 s");
}

TEST(Startup, EntersStatesInOrderWithTheirTimes) {
  FakeClock clock;
  Startup s(clock);
  std::vector<std::string> entered;
  s.on_enter([&](StartupState state) { entered.emplace_back(to_text(state)); });
  for (auto state :
       {kConfigOk, kKernelProbed, kMapsAdopted, kSourceConnected, kInSync, kReconciled, kServing}) {
    EXPECT_FALSE(s.ready());
    clock.advance(Millis(1000));
    s.reach(state);
    EXPECT_EQ(s.view().states[size_t(state)].entered, clock.now());
  }
  EXPECT_TRUE(s.ready());
  EXPECT_EQ(s.view().headline(clock.now()), "READY");
  EXPECT_EQ(entered, (std::vector<std::string>{"config_ok", "kernel_probed", "maps_adopted",
                                               "source_connected", "in_sync", "reconciled", "serving"}));
}

TEST(Startup, StateReachedEarlyCountsWhenItsPredecessorsAre) {
  FakeClock clock;
  Startup s(clock);
  s.reach(kConfigOk);
  s.reach(kSourceConnected);  // the source was quicker than the kernel
  EXPECT_EQ(s.view().entered, 1u);
  EXPECT_TRUE(s.view().states[size_t(kSourceConnected)].reached);
  EXPECT_EQ(s.view().states[size_t(kSourceConnected)].entered, std::nullopt);
  s.reach(kMapsAdopted);
  EXPECT_EQ(s.view().entered, 1u);
  clock.advance(Millis(5000));
  s.reach(kKernelProbed);
  EXPECT_EQ(s.view().entered, 4u);
  EXPECT_EQ(s.view().states[size_t(kSourceConnected)].entered, clock.now());
}

TEST(Startup, RepeatedSignalChangesNothing) {
  FakeClock clock;
  Startup s(clock);
  s.reach(kConfigOk);
  auto first = s.view().states[0].entered;
  clock.advance(Millis(1000));
  s.reach(kConfigOk);
  EXPECT_EQ(s.view().states[0].entered, first);
  EXPECT_EQ(s.view().entered, 1u);
}

TEST(Startup, TroubleIsShownUntilTheNextStateIsEntered) {
  FakeClock clock;
  Startup s(clock);
  s.reach(kConfigOk);
  s.reach(kKernelProbed);
  s.reach(kMapsAdopted);
  s.trouble("connect 10.0.0.1:5050: Connection refused");
  clock.advance(Millis(2500));
  EXPECT_EQ(s.view().headline(clock.now()),
            "NOT READY: 3 of 7: waiting for a connection to the source: connect 10.0.0.1:5050: Connection "
            "refused, since 2 s");
  s.reach(kInSync);  // does not enter anything, so what is wrong is still wrong
  EXPECT_FALSE(s.view().trouble.empty());
  s.reach(kSourceConnected);
  EXPECT_EQ(s.view().headline(clock.now()),
            "NOT READY: 5 of 7: waiting for the kernel tables to equal the state, since 0 s");
}

}  // namespace
}  // namespace ls
