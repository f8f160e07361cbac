#pragma once
/// What one worker counts for one service. Written by that worker only, read by any thread: relaxed loads and
/// stores, no locked instruction. Memory fixed.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "dns/server.h"

namespace ls::dns {

class Counter {
 public:
  void add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void subtract(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

/// Upper bounds in seconds: from what a batch of zone answers takes to the longest time-out of a forwarded
/// question.
inline constexpr std::array<double, 16> kLatencyBounds{25e-6,  50e-6, 100e-6, 250e-6, 500e-6, 1e-3,
                                                       2.5e-3, 5e-3,  10e-3,  25e-3,  50e-3,  100e-3,
                                                       250e-3, 0.5,   1.0,    5.0};

struct WorkerCounters {
  Counter udp_queries, tcp_queries, ignored, denied, slipped, rate_dropped, truncated, transfers;
  Counter tcp_open, tcp_accepted, tcp_refused, tcp_timeouts;
  std::array<std::array<Counter, 24>, kPaths> responses;
  std::array<std::array<Counter, kLatencyBounds.size() + 1>, kPaths> seconds;

  void observe(Path path, std::chrono::nanoseconds took, uint64_t times = 1);
  void add_to(ServiceCounters& sum) const;
};

}  // namespace ls::dns
