#pragma once
/// The stream of a master's hub (hub/server.h) as a source.
///
/// Which master: every node orders the list by a hash of its own id and the master's address (rendezvous hashing), so that the nodes
/// spread evenly and those of a master that is lost spread over all the others. A lost stream is begun anew after a random part of
/// `backoff_min`; when no master answers, the pause doubles up to `backoff_max`. A master that was silent is asked last, so that a dead
/// machine costs its time-out once. A master whose own source has been lost for longer than `stale` is left for another whose is not, after
/// a random part of `stale`. When a master that comes earlier in the order answers again, the follower moves there after a random part of
/// `rebalance`, for each move costs a whole snapshot. A move makes the new stream first and leaves the old one then, and goes to no master
/// that is without its own source.
///
/// Nothing older than what is held: the snapshot of another run replaces everything, so a hub that has been without its own source for longer
/// than what the sink has is old is not taken; what is held stays until a hub has something newer. Whoever holds nothing takes any.
///
/// Resume: the sink tells by applied() what it has; the next stream to the same run goes on there. A record that cannot be read, a gap in
/// the numbers, or a number that was there already ends the stream, nothing of the record is handed over, and the next stream
/// begins with a snapshot. So does every stream to another run: of another master, or of one that was restarted.
///
/// Liveness: three heartbeats of silence end the stream.
///
/// Convergence: the hub's monotonic clock is compared with ours when the stream begins and every `clock_check` (the shortest of some round
/// trips, on a connection of its own), so that age_of() needs no common wall clock and no jump of one is seen.
///
/// Thread: the control loop's (see source.h). Memory: one record.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hub/record.h"
#include "sources/source.h"

namespace boost::asio {
class io_context;
}

namespace ls {

inline constexpr uint16_t kHubPort = 62081;  // ours, beside that of the API

struct HubConfig {
  std::vector<std::string> masters;  ///< "10.0.0.1:62081"; port 62081 when left out
  std::string node;                  ///< id of this node: its place in the order, and its name at the hub
  bool tls = false;
  std::string ca_file, cert_file, key_file;
  std::string token_file;            ///< Authorization: Bearer
  Millis connect_timeout{5'000}, response_timeout{10'000};
  Millis backoff_min{500}, backoff_max{15'000};
  Millis rebalance{300'000}, stale{30'000}, clock_check{60'000};
  uint64_t record_limit = RecordIoReader::kDefaultLimit;
};

/// What comes of a hub; the counterpart of SourceSink, with records that are decoded already.
class HubSink {
 public:
  virtual ~HubSink() = default;
  /// A stream stands. `info.leader` is kFirst, kSame (the same run: no snapshot comes) or kChanged.
  virtual void on_connected(const SourceInfo& info) = 0;
  /// Replaces everything.
  virtual void on_snapshot(hub::Image image) = 0;
  /// Follows on what was applied last, without a gap.
  virtual void on_changes(hub::Changes changes) = 0;
  /// After on_connected, and when it is another one than before.
  virtual void on_health(const hub::SourceHealth& health) = 0;
  /// As in SourceSink.
  virtual void on_disconnected(const Error& why) = 0;
};

struct HubStatus {
  size_t place = 0;         ///< of the current master in this node's order; 0: the preferred one
  bool preferred = false;   ///< connected to the first in the order
  uint64_t snapshots = 0, resumed = 0;  ///< streams that began with a snapshot; streams that went on
  uint64_t moves = 0;       ///< streams left for a better master
  uint64_t faults = 0;      ///< streams ended by a record that was no record, or not the next one
  size_t masters = 0;       ///< that are configured, each once
  hub::Position at;         ///< what the sink has applied
  uint64_t told = 0;        ///< newest change of the run that the hub spoke of
};

/// Besides what a Source is.
class HubSource : public Source {
 public:
  /// The sink has applied everything up to here. Called from inside on_snapshot and on_changes.
  virtual void applied(const hub::Position& at) = 0;
  /// Before start(): the sink holds a state of an earlier time, which was whole `age` ago.
  virtual void holds(Millis age) = 0;
  /// The run of the stream that stands or stood last.
  virtual const std::string& run() const = 0;
  /// How old an instant of the hub's clock is now; nullopt while the clocks were not compared. May be off by `clock_error`.
  virtual std::optional<std::chrono::microseconds> age_of(int64_t hub_clock_us) const = 0;
  virtual std::chrono::microseconds clock_error() const = 0;
  /// What the hub last said of its own source.
  virtual const hub::SourceHealth& health() const = 0;
  virtual HubStatus hub_status() const = 0;
};

/// The order in which `node` asks; a pure function. Every node must be given the masters in the same spelling.
std::vector<size_t> hub_order(const std::string& node, const std::vector<MasterAddress>& masters);

/// Errors: no master, an address that cannot be read, times that make no sense, files of certificates or the token that cannot be read.
Result<std::unique_ptr<HubSource>> make_hub_source(boost::asio::io_context& io, HubConfig config, HubSink& sink);

}  // namespace ls
