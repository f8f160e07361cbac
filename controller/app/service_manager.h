#pragma once
/// Talks to the service manager (sd_notify(3), Type=notify) and keeps its watchdog quiet only while every
/// loop runs. Without a service manager (NOTIFY_SOCKET not set) every call does nothing and costs a getenv.
///
/// Threading: beat() from any thread; everything else from the control loop. Loops are added before their
/// threads start. Errors: none are returned; a service manager that does not listen must not stop the daemon.
/// Numbers: WATCHDOG_USEC comes from the unit (10 s); sd_watchdog_enabled(3) advises half of it as interval.
#include <atomic>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/clock.h"

namespace ls {

class ServiceManager {
 public:
  struct Loop {
    std::string name;
    std::atomic<bool> beaten{false};
  };

  /// READY=1 with the line of `systemctl status`.
  void ready(std::string_view status);
  /// STATUS=; sent only when it differs from the last one.
  void status(std::string_view text);
  /// Before and after a reload; ready() ends it.
  void reloading();
  void stopping(std::string_view why);

  /// How often pet() has to be called; nullopt when nobody watches.
  std::optional<Millis> watchdog_interval() const;

  /// A loop that must be alive. The reference lives as long as this object.
  Loop& add_loop(std::string name);
  /// A sign of life. Each loop calls it from its own thread, more often than watchdog_interval().
  static void beat(Loop& loop) { loop.beaten.store(true, std::memory_order_relaxed); }
  /// WATCHDOG=1 when every loop has beaten since the last time it was sent; else the names of those that have
  /// not, and nothing is sent: when that lasts, the service manager ends the process with a core and starts
  /// it anew.
  std::vector<std::string> pet();

 private:
  std::deque<Loop> loops_;  // a deque never moves what it holds
  std::string last_status_;
};

}  // namespace ls
