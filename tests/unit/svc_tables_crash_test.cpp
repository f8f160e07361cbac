/// Crashes between any two writes, seen by a reader after each of them, and long random histories.
#include <algorithm>
#include <random>

#include "svc_fixture.h"

namespace ls::test {
namespace {

struct Crash {};

/// One change set, told as the sets before and after it.
struct Step {
  const char* what;
  std::vector<Service> before, after;
};

std::vector<Step> steps() {
  return {
      {"first service", {}, {service(1, {1, 2, 3})}},
      {"backend replaced", {service(1, {1, 2}), service(2, {1})}, {service(1, {1, 3}), service(2, {1})}},
      {"drained and undrained", {service(1, {1, -2, 3})}, {service(1, {-1, 2, 3})}},
      {"down to none and another up",
       {service(1, {1, 2}), service(2, {-3})},
       {service(1, {-1}), service(2, {3, 4})}},
      {"one goes, one comes", {service(1, {1, 2}), service(2, {3})}, {service(2, {3}), service(4, {1, 2})}},
      {"all go", {service(1, {1, 2}), service(2, {-3})}, {}},
  };
}

VipDelta delta_of(const Step& s) {
  VipDelta d;
  for (auto& a : s.after) {
    auto same = std::find_if(s.before.begin(), s.before.end(), [&](auto& b) { return b.key == a.key; });
    if (same == s.before.end() || !(*same == a)) d.upsert.push_back(a);
  }
  for (auto& b : s.before) {
    if (std::none_of(s.after.begin(), s.after.end(), [&](auto& a) { return b.key == a.key; }))
      d.remove.push_back(b.key);
  }
  return d;
}

class SvcCrashTest : public SvcTablesTest {};

TEST_F(SvcCrashTest, AnyWriteMayBeTheLast) {
  int crashes = 0;
  for (auto& step : steps()) {
    for (bool through_sync : {false, true}) {
      for (int k = 1;; k++) {
        Kernel kernel({.svc = 16, .tab = 16, .ring_blocks = 1300, .be = 32});
        auto t = adopt(kernel);
        sync(t, step.before);
        std::string broken;
        int n = 0;
        auto reader = kernel.open();
        set_map_write_hook_for_tests([&](const std::string&) {
          look(reader, broken, false);
          if (++n == k) throw Crash{};
          return 0;
        });
        bool crashed = false;
        try {
          through_sync ? sync(t, step.after) : apply(t, delta_of(step).upsert, delta_of(step).remove);
        } catch (const Crash&) {
          crashed = true;
        }
        set_map_write_hook_for_tests(nullptr);
        crashes += crashed;
        // The next controller: adoption writes nothing, its sync is watched as well.
        set_map_write_hook_for_tests([&](const std::string&) {
          look(reader, broken, false);
          return 0;
        });
        auto next = adopt(kernel);
        sync(next, step.after);
        set_map_write_hook_for_tests(nullptr);
        std::string where = std::string(step.what) + ", write " + std::to_string(k);
        ASSERT_EQ(broken, "") << where;
        expect_shown(kernel, step.after, where);
        EXPECT_FALSE(sync(next, step.after).changed()) << where;
        // And back again: what the crash left taken must be found again.
        clock_.advance(Millis(120'000));
        sync(next, step.before);
        expect_shown(kernel, step.before, where + ", and back");
        if (!crashed) break;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(crashes, 100);
}

TEST_F(SvcCrashTest, AnyCallMayFail) {
  // A map that is busy is tried three times more before that is an error.
  for (auto [error, tries] : {std::pair(ENOSPC, 1), std::pair(ENOMEM, 1), std::pair(EBUSY, 4)}) {
    for (auto& step : steps()) {
      for (int k = 1; k < 8; k++) {
        Kernel kernel;
        auto t = adopt(kernel);
        sync(t, step.before);
        int n = 0;
        set_map_write_hook_for_tests([&, error = error, tries = tries](const std::string& map) {
          if (map != "ls_svc") return 0;
          return ++n >= k && n < k + tries ? error : 0;
        });
        apply(t, delta_of(step).upsert, delta_of(step).remove);
        set_map_write_hook_for_tests(nullptr);
        std::string broken;
        look(kernel.open(), broken, true);
        ASSERT_EQ(broken, "") << step.what << ", errno " << error;
        sync(t, step.after);
        expect_shown(kernel, step.after, step.what);
      }
    }
  }
}

/// A random change of a random set of services over a few keys and backends.
std::vector<Service> mutate(std::vector<Service> now, std::mt19937& rng) {
  uint32_t n = 1 + rng() % 12;
  auto it = std::find_if(now.begin(), now.end(), [&](auto& s) { return s.key == key_of(n); });
  if (it != now.end() && rng() % 4 == 0) {
    now.erase(it);
    return now;
  }
  std::vector<int> backends;
  uint32_t many = rng() % 5 ? 1 + rng() % 6 : 90;  // now and then a ring of the next size
  for (uint32_t i = 0; i < many; i++) backends.push_back(int(1 + rng() % (many * 2)) * (rng() % 5 ? 1 : -1));
  auto s = service(n, backends);
  // One backend has one weight here; what a double means has its own test.
  std::sort(s.backends.begin(), s.backends.end(),
            [](auto& a, auto& b) { return a.endpoint() < b.endpoint(); });
  s.backends.erase(std::unique(s.backends.begin(), s.backends.end(),
                               [](auto& a, auto& b) { return a.endpoint() == b.endpoint(); }),
                   s.backends.end());
  if (it != now.end()) {
    *it = s;
  } else {
    now.push_back(s);
  }
  return now;
}

TEST_F(SvcCrashTest, RandomHistoriesEndLikeAFreshBuild) {
  for (uint32_t seed = 1; seed <= 4; seed++) {
    std::mt19937 rng(seed);
    // Small enough that numbers, service numbers and blocks are all used many times over.
    Kernel kernel({.svc = 16, .tab = 40, .ring_blocks = 438 * 14 + 700, .be = 1500});
    auto t = adopt(kernel);
    std::vector<Service> now;
    sync(t, now);
    std::string broken;
    auto reader = kernel.open();
    std::map<uint32_t, uint32_t> generation;
    for (int i = 0; i < 80; i++) {
      auto next = mutate(now, rng);
      Step step{"", now, next};
      now = next;
      clock_.advance(Millis(30'000));
      uint32_t what = rng() % 10;
      int n = 0, crash_at = what == 0 ? 1 + int(rng() % 30) : -1;
      set_map_write_hook_for_tests([&](const std::string&) {
        if (rng() % 8 == 0) look(reader, broken, false);
        if (++n == crash_at) throw Crash{};
        return 0;
      });
      ApplyStats st;
      try {
        if (what == 1) {
          st = sync(t, now);
        } else {
          auto d = delta_of(step);
          st = apply(t, d.upsert, d.remove);
        }
      } catch (const Crash&) {
      }
      set_map_write_hook_for_tests(nullptr);
      if (what == 0) {
        t = adopt(kernel);
        st = sync(t, now);
      }
      ASSERT_EQ(broken, "") << "seed " << seed << " step " << i;
      ASSERT_EQ(st.left_out, 0u) << "seed " << seed << " step " << i << " " << st.problems.at(0);
      // Generations of a number never go back.
      for (uint32_t b = 1; b < reader.be.size(); b++) {
        uint32_t g = be_generation(reader.be[b].state);
        ASSERT_GE(g, generation[b]);
        generation[b] = g;
      }
    }
    expect_shown(kernel, now, "seed " + std::to_string(seed));
    Kernel other({.svc = 16, .tab = 40, .ring_blocks = 438 * 14 + 700, .be = 1500});
    auto fresh = adopt(other);
    sync(fresh, now);
    std::string none;
    EXPECT_TRUE(look(other.open(), none, true) == look(reader, none, true));
    EXPECT_FALSE(sync(t, now).changed()) << "incremental and from scratch agree";
  }
}

}  // namespace
}  // namespace ls::test
