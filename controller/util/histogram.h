#pragma once
/// Counts durations (seconds) into buckets with fixed upper bounds, for metrics. Thread: any, lock-free.
/// A snapshot taken while others count may be one observation apart between its counts and its sum.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace ls {

struct HistogramView {
  std::vector<double> bounds;    ///< ascending upper bounds, inclusive, without +Inf
  std::vector<uint64_t> counts;  ///< bounds.size() + 1; not cumulative, the last is above every bound
  double sum = 0;
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds)
      : bounds_(std::move(bounds)), counts_(new std::atomic<uint64_t>[bounds_.size() + 1]{}) {}

  void observe(double value) {
    size_t i = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    counts_[i].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }

  HistogramView snapshot() const {
    HistogramView v{bounds_, std::vector<uint64_t>(bounds_.size() + 1), sum_.load(std::memory_order_relaxed)};
    for (size_t i = 0; i < v.counts.size(); i++) v.counts[i] = counts_[i].load(std::memory_order_relaxed);
    return v;
  }

 private:
  const std::vector<double> bounds_;
  const std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

}  // namespace ls
