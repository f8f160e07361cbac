// Two CPUs at once in one flow table while services change under them: no flow ever changes its backend or gets another's.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <thread>

#include "bench.h"

namespace ls::test {
namespace {

constexpr int kFlows = 30000;  // a client port each, through two services
constexpr int kRounds = 6;

struct Stage {
  explicit Stage(Bench& bench) : b(bench) {
    swap(0);
  }
  /// Alternates the rings of both services between two disjoint sets of backends; all of them stay alive.
  void swap(int turn) {
    std::string a = turn & 1 ? "10.2.0.1" : "10.2.0.3", c = turn & 1 ? "10.2.0.2" : "10.2.0.4";
    b.service("11.0.0.1", 80, Protocol::kTcp, {{a, 8001}, {c, 8001}});
    b.service("11.0.0.2", 80, Protocol::kTcp, {{a, 8002}, {c, 8002}});
  }
  Bench& b;
  std::array<std::atomic<uint32_t>, 2 * kFlows> first{};
  std::atomic<uint64_t> moved{0}, foreign{0}, wrong_reply{0}, packets{0};
};

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

void drive(Stage& s, int cpu, bool backwards) {
  pin(cpu);
  for (int round = 0; round < kRounds; round++) {
    for (int n = 0; n < 2 * kFlows; n++) {
      // Both CPUs walk the same flows close to each other, now and then meeting on the first packet of one.
      int i = backwards ? n ^ 1 : n;
      int svc = i & 1, port = 10000 + i / 2;
      std::string vip = svc ? "11.0.0.2" : "11.0.0.1";
      auto out = s.b.run("ls_port_in", eth().ip("10.1.0.5", vip).tcp(uint16_t(port), 80, round ? kAck : kSyn));
      auto seen = out.seen();
      s.packets++;
      if (seen.dport != 8001 + svc) {
        s.foreign++;
        continue;
      }
      uint32_t be = seen.dst.v4(), none = 0;
      if (!s.first[size_t(i)].compare_exchange_strong(none, be) && none != be) s.moved++;
      if (n % 7 == 0) {
        auto back = s.b.run("ls_uplink_in", eth().ip(seen.dst.text(), "10.1.0.5").tcp(seen.dport, uint16_t(port), kAck));
        if (back.seen().src.text() != vip || back.seen().sport != 80) s.wrong_reply++;
      }
    }
  }
}

TEST(FlowStress, NoFlowChangesItsBackend) {
  if (auto why = Bench::reason(); !why.empty()) GTEST_SKIP() << "no BPF here: " << why;
  Bench b(BenchOptions{.flow_buckets = 131072});
  Stage s(b);
  std::atomic<bool> stop{false};
  std::thread t0(drive, std::ref(s), 0, false);
  std::thread t1(drive, std::ref(s), int(std::thread::hardware_concurrency() > 1), true);
  std::thread changer([&] {
    for (int turn = 1; !stop; turn++) {
      s.swap(turn);
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  t0.join();
  t1.join();
  stop = true;
  changer.join();
  printf("%lu packets of %d flows on two CPUs: %lu moved, %lu foreign, %lu replies wrong, %lu without an entry\n",
         s.packets.load(), 2 * kFlows, s.moved.load(), s.foreign.load(), s.wrong_reply.load(), static_cast<unsigned long>(b.ctl()->overflows));
  EXPECT_EQ(s.foreign, 0u);
  EXPECT_EQ(s.wrong_reply, 0u);
  EXPECT_EQ(b.ctl()->overflows, 0u) << "the table is large enough for this test";
  EXPECT_EQ(s.moved, 0u);
}

}  // namespace
}  // namespace ls::test
