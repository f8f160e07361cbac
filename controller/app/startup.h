#pragma once
/// The start-up states: an ordered list, each entered by a signal, never by a timer. Shown by `loadstar
/// status` and the metric loadstar_startup_state; readiness towards systemd and /readyz is the last one.
///
/// A state may be reached before its predecessors (a source connects while maps are still being adopted). It
/// counts from the moment when all before it are reached too; its time is that moment. A state once entered
/// is never left: what is lost later (a source, for example) is not a start-up matter and withdraws nothing.
///
/// Threading: control loop only. Publish `view()` for other threads. Cost: nothing to speak of.
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/clock.h"

namespace ls {

/// X(enumerator, name, what is missing while it is the next one)
#define LS_STARTUP_STATES(X)                                                        \
  X(kConfigOk, "config_ok", "waiting for a good configuration")                     \
  X(kKernelProbed, "kernel_probed", "waiting for the probe of kernel features")     \
  X(kMapsAdopted, "maps_adopted", "waiting for kernel maps and programs")           \
  X(kSourceConnected, "source_connected", "waiting for a connection to the source") \
  X(kInSync, "in_sync", "waiting for the first complete state")                     \
  X(kReconciled, "reconciled", "waiting for the kernel tables to equal the state")  \
  X(kServing, "serving", "waiting for programs to be attached")

#define LS_STARTUP_ENUM(e, name, missing) e,
enum class StartupState { LS_STARTUP_STATES(LS_STARTUP_ENUM) };
#undef LS_STARTUP_ENUM

#define LS_STARTUP_COUNT(e, name, missing) +1
inline constexpr size_t kStartupStates = 0 LS_STARTUP_STATES(LS_STARTUP_COUNT);
#undef LS_STARTUP_COUNT

std::string_view to_text(StartupState state);  ///< "in_sync"

/// What anybody may know about the start-up; a plain value.
struct StartupView {
  struct Entry {
    StartupState state{};
    bool reached = false;            ///< its own signal came
    std::optional<Instant> entered;  ///< it and all before it
  };
  std::array<Entry, kStartupStates> states{};
  size_t entered = 0;   ///< how many of them; kStartupStates: ready
  Instant since{};      ///< when the newest was entered, or when the process began
  std::string trouble;  ///< last error on the way to the next state, may be empty
  bool ready() const { return entered == kStartupStates; }
  /// "READY", or "NOT READY: 3 of 7: waiting for a connection to the source: connect 10.0.0.1:5050: refused,
  /// since 12 s".
  std::string headline(Instant now) const;
};

class Startup {
 public:
  explicit Startup(const Clock& clock);

  /// The signal of a state. Repeating it changes nothing.
  void reach(StartupState state);
  /// Why the next state is not there yet, for people; forgotten when a state is entered.
  void trouble(std::string text) { view_.trouble = std::move(text); }

  bool ready() const { return view_.ready(); }
  const StartupView& view() const { return view_; }
  /// Called once for each state, in order, from within reach(). Must not call back into this object.
  void on_enter(std::function<void(StartupState)> fn) { on_enter_ = std::move(fn); }

 private:
  const Clock& clock_;
  StartupView view_;
  std::function<void(StartupState)> on_enter_;
};

}  // namespace ls
