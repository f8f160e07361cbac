#pragma once
/// Monotonic time as an interface, so that behaviour in time is tested with a fake. Thread: any.
#include <chrono>

namespace ls {

using Millis = std::chrono::milliseconds;
using Instant = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
};

class SystemClock final : public Clock {
 public:
  Instant now() const override { return std::chrono::steady_clock::now(); }
};

class FakeClock final : public Clock {
 public:
  Instant now() const override { return now_; }
  void advance(Millis by) { now_ += by; }

 private:
  Instant now_{std::chrono::hours(1)};
};

}  // namespace ls
