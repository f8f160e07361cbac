#pragma once
/// What a hub keeps of its changes: texts that all streams share, and how deltas become records. Pure: no socket, no clock.
/// Thread: one; texts may be read by any. Cost: a change O(its size), a look-up O(log changes).
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "hub/record.h"

namespace ls::hub {

/// One record as it goes out, length line included. Large ones have that line for themselves: a snapshot is not copied for it.
struct Text {
  std::string head, body;
  size_t size() const { return head.size() + body.size(); }
};
using TextPtr = std::shared_ptr<const Text>;
TextPtr framed(std::string record);

class History {
 public:
  explicit History(uint64_t limit) : limit_(limit) {}

  struct Entry {
    uint64_t first = 0, last = 0;
    uint64_t offset = 0;  ///< octets of all entries ever before it
    TextPtr text;
  };
  /// Nothing before `seq` is known.
  void restart(uint64_t seq);
  /// `first` is last() + 1. The oldest entries go while there are more octets than the limit; the newest one stays in any case.
  void add(uint64_t first, uint64_t last, TextPtr text);

  uint64_t last() const { return last_; }  ///< of the newest change
  /// The record that follows `seq`; null when that is the newest, or when holds() is false.
  const Entry* after(uint64_t seq) const;
  /// What follows `seq` for somebody who may be far behind: as many records as fit into kRun octets, at least one, in one text; `last` is the
  /// number of its newest change. Those who ask for the same one after the other share it. Null: as after().
  TextPtr run_after(uint64_t seq, uint64_t& last);
  static constexpr size_t kRun = 16 << 10;  ///< a record of TLS
  /// Whoever has everything up to `seq` can go on from there. False also for a place inside a record, or in the future.
  bool holds(uint64_t seq) const;
  /// Octets of what came after `seq`, which it holds.
  uint64_t bytes_after(uint64_t seq) const;
  uint64_t bytes() const { return end_ - begin_; }
  uint64_t changes() const { return entries_.empty() ? 0 : last_ - entries_.front().first + 1; }

 private:
  std::deque<Entry>::const_iterator find(uint64_t seq) const;

  const uint64_t limit_;
  struct Run {
    uint64_t after = 0, last = 0;
    TextPtr text;
  } run_;  ///< the newest
  uint64_t last_ = 0;
  uint64_t begin_ = 0, end_ = 0;  ///< offsets
  std::deque<Entry> entries_;
};

/// Changes on their way into records.
class Batch {
 public:
  static constexpr size_t kTasks = 2000;  ///< of a record, so that none is long

  /// `received_us`: not before that of the call before.
  void add(const StateDelta& delta, int64_t received_us);
  bool empty() const { return records_.empty(); }
  /// Numbers them from `seq` + 1 on and moves `seq`.
  std::vector<Changes> take(uint64_t& seq);

 private:
  Changes& open(int64_t received_us);
  std::vector<Changes> records_;
};

}  // namespace ls::hub
