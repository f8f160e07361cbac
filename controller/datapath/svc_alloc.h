#pragma once
/// Allocators of SvcTables: numbers of services and backends, runs of ring blocks. Pure, one thread.
/// What is given up is kept back until the caller says that no program can still hold it (settle).
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace ls {

/// Numbers 1 .. capacity-1, the longest unused first. Cost: O(1).
class NumberPool {
 public:
  NumberPool() = default;
  /// `taken[n]`: in use or kept back by the caller.
  explicit NumberPool(const std::vector<bool>& taken) {
    for (uint32_t n = 1; n < taken.size(); n++) {
      if (!taken[n]) free_.push_back(n);
    }
  }
  std::optional<uint32_t> take() {
    if (free_.empty()) return std::nullopt;
    uint32_t n = free_.front();
    free_.pop_front();
    return n;
  }
  void give(uint32_t n) { free_.push_back(n); }
  uint32_t left() const { return uint32_t(free_.size()); }

 private:
  std::deque<uint32_t> free_;
};

/// Runs of blocks of a flat array. Best fit: single blocks fill the small gaps and leave the long runs alone.
/// Cost: O(log runs).
class BlockPool {
 public:
  BlockPool() = default;
  explicit BlockPool(uint32_t capacity) {
    if (capacity) insert(0, capacity);
  }

  /// Takes exactly this run; false when any part is taken already (adoption of what the kernel holds).
  bool reserve(uint32_t first, uint32_t count) {
    auto run = by_start_.upper_bound(first);
    if (!count || run == by_start_.begin()) return false;
    --run;
    auto [start, length] = *run;
    if (uint64_t(first) + count > uint64_t(start) + length) return false;
    remove(start, length);
    if (first > start) insert(start, first - start);
    if (start + length > first + count) insert(first + count, start + length - first - count);
    return true;
  }
  std::optional<uint32_t> take(uint32_t count) {
    auto fit = by_size_.lower_bound({count, 0});
    if (fit == by_size_.end()) return std::nullopt;
    auto [length, start] = *fit;
    remove(start, length);
    if (length > count) insert(start + count, length - count);
    return start;
  }
  /// As take(), but only below `limit` (to move a run towards the start).
  std::optional<uint32_t> take_below(uint32_t count, uint32_t limit) {
    for (auto [start, length] : by_start_) {
      if (uint64_t(start) + count > limit) return std::nullopt;
      if (length < count) continue;
      reserve(start, count);
      return start;
    }
    return std::nullopt;
  }
  void retire(uint32_t first, uint32_t count) {
    retired_.emplace_back(first, count);
    retired_blocks_ += count;
  }
  /// Everything retired so far can be taken again.
  void settle() {
    for (auto [first, count] : retired_) give(first, count);
    retired_.clear();
    retired_blocks_ = 0;
  }
  uint32_t left() const { return free_blocks_; }
  uint32_t retired() const { return retired_blocks_; }

 private:
  void give(uint32_t first, uint32_t count) {
    auto after = by_start_.lower_bound(first);
    if (after != by_start_.end() && after->first == first + count) {
      count += after->second;
      remove(after->first, after->second);
    }
    auto before = by_start_.lower_bound(first);
    if (before != by_start_.begin() && (--before)->first + before->second == first) {
      first = before->first;
      count += before->second;
      remove(before->first, before->second);
    }
    insert(first, count);
  }
  void insert(uint32_t first, uint32_t count) {
    by_start_.emplace(first, count);
    by_size_.emplace(count, first);
    free_blocks_ += count;
  }
  void remove(uint32_t first, uint32_t count) {
    by_start_.erase(first);
    by_size_.erase({count, first});
    free_blocks_ -= count;
  }

  std::map<uint32_t, uint32_t> by_start_;            // first -> count
  std::set<std::pair<uint32_t, uint32_t>> by_size_;  // (count, first)
  std::vector<std::pair<uint32_t, uint32_t>> retired_;
  uint32_t free_blocks_ = 0, retired_blocks_ = 0;
};

}  // namespace ls
