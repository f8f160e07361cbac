#pragma once
/// hub::Server: the state of this master for every other node: GET /v1/hub answers with a stream of RecordIO that never ends.
///
///   GET /v1/hub?run=R&after=N&node=ID    application/recordio. With a position that is known, the stream goes on there; else it
///                                        begins with a snapshot. `node`: who follows, for the list of followers.
///   GET /v1/hub/time                     {"clock_us":N}: by which a follower finds how its monotonic clock compares
///   503 until the hub's own source was complete once; 401 without the token; TLS with a client's certificate where one is asked for.
///
/// One text for all: a change is written once and shared by every stream; a snapshot too, and it is used again while the changes since
/// are shorter than itself. A stream holds a position, not a queue: whoever is slower than the history is long is given a new
/// snapshot (counted), and delays nobody. After quiet, a change goes out at once; under load, changes of `batch` share a record.
///
/// The files of certificates and of the token are looked at every `look_at_files` and read again when they changed; streams that stand go on.
/// A telling of everybody that took much CPU makes the pause before the next one longer (4 times as long as it took, at most 250 ms).
/// Whoever has much to be written takes turns with the others, one at a time, so that snapshots for thousands do not delay a change.
///
/// Thread: one of its own, for all streams. change() and health() are called on the control loop and copy pointers only.
/// Cost: a change O(its size) once, and one write a stream. Memory: history, one snapshot, and the socket buffers; a stream that is behind
/// may hold a copy of 16 KiB, so that it catches up with few writes.
/// Limits: max_followers streams (then 503 with Retry-After), 8 KiB of request, `idle` for a request's head, `stuck` for a write that
/// makes no progress.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hub/record.h"
#include "util/address.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls::hub {

struct ServerOptions {
  std::vector<Endpoint> listen;
  std::string token_file;                 ///< empty: no token is asked for
  std::string cert_file, key_file;        ///< both: TLS
  std::string client_ca_file;             ///< with TLS: followers must have a certificate of it
  uint64_t history = 64ull << 20;         ///< octets of changes that are kept
  Millis heartbeat{5'000};
  Millis batch{20};
  size_t max_followers = 12'000;
  Millis idle{10'000}, stuck{30'000};
  /// Of a socket; the kernel takes twice that. All together stay below net.ipv4.tcp_mem while everybody is given a snapshot.
  size_t send_buffer = 64 << 10;
  Millis bind_again{5'000}, look_at_files{2'000};
  /// A stream from this address began or ended, or its machine stopped or began again to acknowledge what it is sent (looked at with each
  /// heartbeat). On the hub's thread; must not wait. Not called for streams that end with the server.
  std::function<void(const IpAddress& address, bool there)> on_follower{};
};

struct FollowerView {
  std::string node, address;  ///< what it calls itself; where it comes from
  uint64_t seq = 0;
  uint64_t behind = 0;        ///< changes not yet written to it
  double connected_s = 0;
};

struct ServerStatus {
  std::string run;
  uint64_t seq = 0;
  size_t followers = 0;
  uint64_t connects = 0, resumed = 0, snapshots = 0;     ///< streams; of these, those that went on; snapshots sent
  uint64_t dropped_behind = 0, refused = 0, failed = 0;  ///< given a new snapshot; not let in; ended by an error
  uint64_t snapshot_bytes = 0, snapshots_made = 0, history_bytes = 0, history_changes = 0;
  uint64_t sent_bytes = 0;
  uint64_t beats = 0;                  ///< grows ten times a second while the hub's thread works; what a watchdog looks at
  double lag_s = 0, beat_age_s = 0;    ///< how late its last timer came, and when that was
  std::vector<std::string> warnings;  ///< addresses that could not be bound, certificates that cannot be read
};

class Server {
 public:
  /// Errors: files of certificates or the token that cannot be read. An address that cannot be bound is a warning and tried again.
  static Result<std::unique_ptr<Server>> start(ServerOptions options);
  ~Server();

  /// One change of the cluster, or a whole snapshot's difference. `received`: when the source had it.
  void change(const StateDelta& delta, Instant received);
  /// Where this node's source stands; `synced` opens the doors.
  void health(SourceHealth health);

  ServerStatus status() const;                    ///< any thread
  /// Who follows, in the order of names. Any thread: `done` is called once, on the hub's thread, where it must not wait; never when the server
  /// ends before.
  void ask_followers(std::function<void(std::vector<FollowerView>)> done) const;
  /// The same for callers that may wait. ETIMEDOUT: the hub's thread did not answer in that time. Never on the hub's own thread.
  Result<std::vector<FollowerView>> followers(Millis patience = Millis(5'000)) const;
  std::vector<Endpoint> bound() const;            ///< with the port that port 0 became; any thread

  struct Impl;  ///< of hub/ alone

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::hub
