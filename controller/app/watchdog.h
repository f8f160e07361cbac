#pragma once
/// Watchdog: one round after the other asks the node's DNS addresses, keeps the resolver file right and restarts a dead daemon.
///
/// Thread: one. Time comes from a Clock, probes and the service manager from interfaces, so a day of failures is a test of a
/// millisecond. Numbers: a round starts every `interval` (5 s) and takes at most `timeout` (1 s), so an address that dies right
/// after it answered is out of the resolver file 6 s later; the issue allows 10 s.
/// Order in a round: ask, write the file, then look after the unit: nothing that may hang stands before the file.
/// A restart comes after `failures` rounds in a row without any answer, never while the unit is starting, reloading or stopping,
/// nor when somebody stopped it. The next one waits at least failures x interval, twice that after each further one, at most
/// backoff_max; after the daemon has answered for as long as the last pause it starts from the beginning.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/settings.h"
#include "app/watchdog_file.h"
#include "app/watchdog_probe.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls::watchdog {

enum class UnitState { kActive, kChanging, kFailed, kStopped };
std::string_view to_text(UnitState state);
/// ActiveState of systemd to one of the four; nullopt for a text that no systemd prints.
std::optional<UnitState> parse_unit_state(std::string_view active_state);

/// The service manager.
class Units {
 public:
  virtual ~Units() = default;
  virtual Result<UnitState> state(const std::string& unit) = 0;
  virtual Result<> restart(const std::string& unit) = 0;
};

/// Through systemctl(1), which is given at most two seconds.
class SystemctlUnits final : public Units {
 public:
  explicit SystemctlUnits(std::string program = "systemctl") : program_(std::move(program)) {}
  Result<UnitState> state(const std::string& unit) override;
  Result<> restart(const std::string& unit) override;

 private:
  std::string program_;
};

struct Options {
  std::vector<Endpoint> servers;    ///< those that are asked
  std::vector<Endpoint> upstreams;  ///< the operator's
  std::string search;
  bool write_file = true;
  bool restart = true;
  std::string unit;
  Millis interval{5'000}, timeout{1'000};
  uint32_t failures = 3;
  Millis backoff_max{300'000};
};
/// The IPv4 addresses of resolver.listen (all of them where there is none); a wildcard is asked at the loopback address.
Options options_from(const Config& config);
/// Whether there is anything to watch on this node.
bool wanted(const Config& config);
/// A fault in a part of the configuration that is none of the watchdog's business must not leave a node without one.
bool usable(const std::vector<Problem>& problems);

/// What the last round found; also as JSON for `loadstar status`.
struct Status {
  std::vector<ProbeResult> servers;
  uint64_t rounds = 0, failed_rounds = 0;  ///< failed: in a row, as they count towards a restart
  uint64_t restarts = 0, writes = 0, errors = 0;
  std::string unit_state;   ///< last seen, while nothing answers
  std::string last_error;   ///< of file or unit; empty when the last round had none
  int64_t last_round_unix_ms = 0;
  int64_t took_ms = 0;
  std::string json() const;
};

class Watchdog {
 public:
  using Probe = std::function<std::vector<ProbeResult>(std::span<const Endpoint>, Millis)>;
  /// `shuffle`: puts the operator's servers into random order; called once an outage, so that the file stays as it is meanwhile.
  using Shuffle = std::function<void(std::vector<Endpoint>&)>;
  Watchdog(Options options, ResolvConf file, Clock& clock, Units& units, Probe probe, Shuffle shuffle);

  void round();
  /// When the next round is due: `interval` after the last one started.
  Instant next() const { return next_; }
  const Status& status() const { return status_; }
  void set_options(Options options);

 private:
  void write_file(bool any);
  void look_after_unit(bool any);
  void report_changes(const std::vector<ProbeResult>& now);
  void trouble(std::string_view event, const Error& error);

  Options options_;
  ResolvConf file_;
  Clock& clock_;
  Units& units_;
  Probe probe_;
  Shuffle shuffle_;
  Status status_;
  Instant next_;
  std::vector<Endpoint> fallback_;  // in this outage's order
  std::optional<Instant> restarted_, answering_since_;
  Millis pause_{0};
  std::string last_file_error_, last_unit_error_;
};

}  // namespace ls::watchdog
