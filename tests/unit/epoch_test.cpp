// Objects outlive every Guard that could have seen them, and no longer.
#include "util/epoch.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace ls {
namespace {

struct Counted {
  explicit Counted(std::atomic<int>& count) : live(count) { ++live; }
  ~Counted() { --live; }
  std::atomic<int>& live;
};

TEST(Epoch, FreesOnlyWhatNoGuardCanSee) {
  std::atomic<int> live{0};
  Epoch epoch;
  Epoch::Reader reader(epoch);
  {
    Epoch::Guard guard(reader);
    epoch.retire(std::make_unique<Counted>(live));
    epoch.collect();
    EXPECT_EQ(live, 1);
    EXPECT_EQ(epoch.retired(), 1u);
  }
  epoch.collect();
  EXPECT_EQ(live, 0);
  EXPECT_EQ(epoch.retired(), 0u);
}

TEST(Epoch, AGuardThatBeganLaterHoldsNothingBack) {
  std::atomic<int> live{0};
  Epoch epoch;
  Epoch::Reader first(epoch), second(epoch);
  auto early = std::make_unique<Epoch::Guard>(first);
  epoch.retire(std::make_unique<Counted>(live));
  epoch.collect();
  Epoch::Guard late(second);
  early.reset();
  epoch.collect();
  EXPECT_EQ(live, 0);
}

TEST(Epoch, EndFreesTheRest) {
  std::atomic<int> live{0};
  {
    Epoch epoch;
    epoch.retire(std::make_unique<Counted>(live));
    EXPECT_EQ(live, 1);
  }
  EXPECT_EQ(live, 0);
}

TEST(Epoch, PlacesAreUsedAgain) {
  Epoch epoch;
  for (size_t i = 0; i < 3 * Epoch::kMaxReaders; ++i) Epoch::Reader reader(epoch);
}

TEST(Epoch, ReadersNeverSeeAFreedObject) {
  struct Pair {
    explicit Pair(uint64_t v) : a(v), b(~v) {}
    ~Pair() {
      a = 0;
      b = 0;
    }
    volatile uint64_t a, b;
  };
  Epoch epoch;
  std::atomic<Pair*> shared{new Pair(0)};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      Epoch::Reader reader(epoch);
      while (!stop.load(std::memory_order_relaxed)) {
        Epoch::Guard guard(reader);
        const Pair* p = shared.load(std::memory_order_acquire);
        if (p->a != ~p->b) ++wrong;
      }
    });
  for (uint64_t i = 1; i <= 200'000; ++i) {
    std::unique_ptr<Pair> old(shared.exchange(new Pair(i), std::memory_order_acq_rel));
    epoch.retire(std::move(old));
    epoch.collect();
  }
  stop = true;
  for (auto& t : readers) t.join();
  EXPECT_EQ(wrong, 0u);
  delete shared.load();
}

}  // namespace
}  // namespace ls
