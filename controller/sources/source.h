#pragma once
/// Where cluster events come from. A source delivers raw records (one JSON event of the Mesos operator API
/// each, spec/mesos-operator-stream.md section 5) to one sink; what they mean is the decoder's business.
///
/// Thread: everything, the sink's calls included, on the thread that runs the control loop's io_context. A
/// source must be destroyed before that io_context. Flow control: the next bytes are read after the sink
/// returned.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sources/master_address.h"
#include "sources/recordio.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls {

/// What is known about the leader in comparison with the connection before.
enum class LeaderChange {
  kFirst,    ///< the first connection of this source
  kSame,     ///< the same master process, elected at the same time
  kChanged,  ///< another one: its snapshot may be a small part of the truth (spec/mesos-state.md section 9.4)
  kUnknown,  ///< it did not say who it is: treat it as changed
};

struct SourceInfo {
  std::string endpoint;                                          ///< "10.0.0.1:5050", or the file
  std::string leader_id;                                         ///< the master's id; empty when unknown
  std::optional<std::chrono::system_clock::time_point> elected;  ///< by the master's clock
  LeaderChange leader = LeaderChange::kFirst;
};

class SourceSink {
 public:
  virtual ~SourceSink() = default;
  /// A stream stands; its first record is a snapshot that replaces everything.
  virtual void on_connected(const SourceInfo& info) = 0;
  virtual void on_record(PaddedRecord record) = 0;
  /// Exactly once for each on_connected, unless stop() came first. The sink logs the error. Attempts that
  /// never got a stream are logged by the source and show in status() only.
  virtual void on_disconnected(const Error& why) = 0;
  /// Only a recording ends: nothing more will come, the state it made stays.
  virtual void on_end_of_recording() {}
};

struct SourceStatus {
  bool connected = false;
  bool complete = false;  ///< a recording was played to its end
  std::string endpoint;   ///< of the current or the last connection; empty before the first
  std::string leader_id;  ///< of the same
  std::string
      last_error;   ///< why the last attempt or stream ended; empty after a success. Never holds a secret
  Instant since{};  ///< when `connected` took its value
  std::optional<Millis> last_byte_age;  ///< nothing before the first byte
  uint64_t bytes = 0;                   ///< of stream bodies, length lines included
  uint64_t records = 0;
  uint64_t connects = 0;    ///< streams that stood
  uint64_t reconnects = 0;  ///< of these, all but the first
  uint64_t failures = 0;    ///< attempts that got no stream, and streams that ended
};

class Source {
 public:
  virtual ~Source() = default;
  /// Begins. Call once; the sink is called from later turns of the loop only.
  virtual void start() = 0;
  /// Ends. No call to the sink after it, not even for records already read. May be called from inside a sink
  /// call.
  virtual void stop() = 0;
  virtual SourceStatus status() const = 0;
  /// Whom to ask from now on, the one that is taken for the leader first; told when anything about them has changed. A stream that
  /// stands goes on, unless another one is named as leader than by the list before and the stream is not of that one: then the
  /// masters are asked anew who leads. Without a stream they are asked at once. An empty list changes nothing.
  virtual void set_masters(const std::vector<MasterAddress>&) {}
  /// SUBSCRIBED names the interval at which bytes come at least; silence of three of them ends the stream.
  virtual void set_heartbeat_interval(Millis) {}
};

}  // namespace ls
