#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "api/overlay_node.h"

namespace ls::api {

/// `overlay check`: one at a time, because each asks every node.
/// Thread: begin() on the admin thread; what ender() gives, on any.
class OverlayCheckTurn {
 public:
  using Instant = std::chrono::steady_clock::time_point;

  /// The number of the check that may run now; 0: another one runs. One whose time is over and that never ended keeps nobody out.
  uint64_t begin(Instant now) {
    if (running_->load() != 0 && now < until_) return 0;
    until_ = now + kOverlayCheckTime;
    running_->store(++last_);
    return last_;
  }
  /// Tells the end of check `number`; that of one that was given up before changes nothing.
  std::function<void()> ender(uint64_t number) const {
    return [running = running_, number] {
      auto expected = number;
      running->compare_exchange_strong(expected, 0);
    };
  }

 private:
  std::shared_ptr<std::atomic<uint64_t>> running_ = std::make_shared<std::atomic<uint64_t>>(0);  ///< 0: none
  uint64_t last_ = 0;
  Instant until_{};
};

}  // namespace ls::api
