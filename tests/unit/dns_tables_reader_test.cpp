// Readers on other threads look entries up as a program does while the writer replaces them: never half an entry, never one of another
// key, never none for a name that is there all the time.
#include <thread>

#include "dns_tables_fixture.h"

namespace ls::test {
namespace {

constexpr size_t kReaders = 2;

struct Reader {
  alignas(64) std::atomic<uint64_t> looks{0};  ///< grows between two looks
  std::atomic<bool> gone{true};
  uint64_t hits = 0, misses = 0;
  std::string wrong;
};
Reader readers[kReaders];

/// Every look that was going on has ended. The exchange with the counter itself makes a look that begins later see all slots stored before.
void wait_for_looks() {
  waits++;
  for (auto& r : readers) {
    uint64_t then = r.looks.fetch_add(0, std::memory_order_acq_rel);
    while (r.looks.load(std::memory_order_acquire) == then && !r.gone.load(std::memory_order_acquire)) std::this_thread::yield();
  }
}

/// Says which name and version it is, and every octet follows from that.
Content versioned(uint32_t n, uint32_t version) {
  std::mt19937 rng(n * 7919 + version);
  Content c{uint8_t(rng() % 8), uint8_t(rng() % 5), std::vector<uint8_t>(48 + rng() % 3 * 80)};
  std::memcpy(c.body.data(), &n, 4);
  std::memcpy(c.body.data() + 4, &version, 4);
  for (size_t i = 8; i < c.body.size(); i++) c.body[i] = uint8_t(rng());
  return c;
}

TEST(DnsTablesReaders, SeeOneOfTheVersionsPut) {
  LS_NEED_BPF();
  constexpr uint32_t kNames = 1500, kAlways = 1000;
  DnsKernelMaps kernel(2048, 1);
  auto t = kernel.adopt(kHashKey, wait_for_looks);
  for (uint32_t n = 0; n < kNames; n++) ASSERT_TRUE(put(t, name(n), versioned(n, 0))) << n;
  uint32_t filler = 100'000;
  while (t.view().bytes_used < t.view().bytes_total * 8 / 10) {  // so that rooms are used again soon
    ASSERT_TRUE(put(t, name(filler), versioned(filler, 0)));
    filler++;
  }
  std::atomic<uint32_t> version{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kReaders; i++) {
    auto& r = readers[i];
    r.gone = false;
    threads.emplace_back([&, i] {
      auto maps = kernel.open();
      std::mt19937 rng(uint32_t(i) + 1);
      for (; !stop.load(std::memory_order_relaxed) && r.wrong.empty(); r.looks.fetch_add(1, std::memory_order_acq_rel)) {
        uint32_t n = rng() % kNames;
        auto seen = look(maps, name(n));
        if (seen.what == Look::kUp) r.wrong = "another key behind the tag of " + std::to_string(n);
        if (seen.what == Look::kNone) {
          r.misses++;
          if (n < kAlways) r.wrong = "none for " + std::to_string(n);
        }
        if (seen.what != Look::kFound) continue;
        r.hits++;
        uint32_t of = 0, v = 0;
        if (seen.content.body.size() >= 8) {
          std::memcpy(&of, seen.content.body.data(), 4);
          std::memcpy(&v, seen.content.body.data() + 4, 4);
        }
        if (of != n || v > version.load() || seen.content != versioned(n, v)) r.wrong = "no version of " + std::to_string(n);
      }
      r.gone.store(true, std::memory_order_release);
    });
  }
  std::mt19937 rng(99);
  uint64_t before = waits;
  uint32_t refused = 0;
  for (uint32_t step = 1; step <= 30'000; step++) {
    uint32_t n = rng() % kNames;
    version = step;
    if (n >= kAlways && rng() % 3 == 0) {
      t.remove(name(n).ref());
    } else if (n >= kAlways) {
      refused += !put(t, name(n), versioned(n, step));
    } else if (!put(t, name(n), versioned(n, step))) {
      ADD_FAILURE() << "a name that is always there found no room, step " << step;
      break;
    }
    if (step % 5000 == 0) t.mark();
  }
  stop = true;
  for (auto& th : threads) th.join();
  for (auto& r : readers) {
    EXPECT_EQ(r.wrong, "");
    EXPECT_GT(r.hits, 1000u);
  }
  EXPECT_GT(waits - before, 20u);
  EXPECT_LT(waits - before, 30'000u / 100);
  RecordProperty("refused", int(refused));
  RecordProperty("looks", std::to_string(readers[0].hits + readers[1].hits + readers[0].misses + readers[1].misses));
  shown(kernel.open());
}

}  // namespace
}  // namespace ls::test
