#pragma once
/// The longest that one call of the plugin may take. A signal ends waits for locks and for delegates; whoever waits asks passed().
/// Thread: the process has one thread. Set once, by main.
#include <chrono>

namespace ls::cni {

class Deadline {
 public:
  /// From now on; the signal comes again and again afterwards, so that no wait that begins later is missed.
  static void set(std::chrono::milliseconds from_now);
  /// The rest of the time for undoing, which must not be interrupted by the same deadline.
  static void extend(std::chrono::milliseconds from_now) { set(from_now); }
  static bool passed();
};

}  // namespace ls::cni
