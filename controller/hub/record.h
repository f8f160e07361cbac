#pragma once
/// What a hub tells its followers, as text: one JSON object a record of RecordIO (sources/recordio.h reads the same framing of Mesos). The
/// keys are short; docs/design/13-hub.md lists them. Plain values, any thread.
///
///   hello      the first record of a stream: which run of which hub, whether a snapshot or the rest of what was known follows
///   snapshot   the whole cluster as of a sequence number. Descriptions that many tasks share are written once
///   changes    what changed since the record before, in order, and when the hub's own source told it
///   beat       nothing changed; where the hub's source stands
///
/// Sequence numbers count changes of one run and have no gaps: who misses one begins anew. Two runs have nothing in common.
///
/// Text: names and ids may hold any octets. What is no UTF-8 is written as U+F8FF and two hexadecimal digits an octet, U+F8FF itself as
/// U+F8FF and "--", and both are read back, so nothing is lost. A number that JSON has no word for (infinite, not a number) is
/// written as the largest finite one, or as -1.
///
/// Forward compatibility: unknown keys and unknown types of records are skipped; `format` in the hello grows when that is not enough.
/// Hostile input: sizes, counts and depth are bounded by the record's size; an item that cannot be read fails the record, because a
/// follower that leaves one out is not equal to its hub any more.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "state/cluster_state.h"
#include "util/result.h"

namespace ls::hub {

inline constexpr int kFormat = 1;

/// Where a follower is: `seq` is of the last change it applied.
struct Position {
  std::string run;  ///< 16 hexadecimal digits; empty: nowhere
  uint64_t seq = 0;
  bool operator==(const Position&) const = default;
};

/// How the hub itself is fed.
struct SourceHealth {
  bool connected = false;
  bool synced = false;        ///< a whole state was there once in this run; before, a hub serves nobody
  int64_t lost_ms = 0;        ///< how long it has not been connected
  std::string leader;         ///< Mesos master that leads, "10.0.0.1:5050"; empty: not known
  std::vector<std::string> masters;  ///< all that are known, the leader first
  std::vector<IpAddress> unreachable;  ///< agents that the hub's node cannot reach (app/agent_watch.h), sorted
  bool operator==(const SourceHealth&) const = default;
};

struct Hello {
  int format = kFormat;
  Position at;             ///< what the follower has, when no snapshot follows
  bool snapshot = true;    ///< the next record is a snapshot
  int64_t heartbeat_ms = 0;
  int64_t clock_us = 0;    ///< the hub's monotonic clock when this record was made
  std::string version;     ///< of loadstar
  SourceHealth source;
};

/// Everything the hub holds. Tasks as ClusterState has them, resolved or waiting.
struct Image {
  uint64_t seq = 0;
  std::vector<AgentChange> agents;    ///< that are told: registered and held ones
  std::vector<SharedText> recovered;  ///< ids of agents that the leader waits for
  std::vector<Framework> frameworks;
  std::vector<TaskPtr> tasks;
};

struct Changes {
  uint64_t first = 0, last = 0;  ///< numbers of the first and the last change in it
  int64_t received_us = 0;       ///< when the oldest of them was received by the hub's source, by the hub's monotonic clock
  std::vector<AgentChange> agents;          ///< an id once
  std::vector<FrameworkChange> frameworks;  ///< as agents
  std::vector<TaskChange> tasks;            ///< `before` is null; of a removed one `after` holds ids and `copy` only
  std::vector<RecoveredChange> recovered;
};

struct Beat {
  uint64_t seq = 0;
  int64_t clock_us = 0;
  SourceHealth source;
};

using Record = std::variant<Hello, Image, Changes, Beat>;

std::string encode(const Hello&);
std::string encode(const Image&);
std::string encode(const Changes&);
std::string encode(const Beat&);
/// A snapshot's text made bit by bit, so that a thread with other duties can do those in between. Text of descriptions is written once however many tasks have it.
class ImageWriter {
 public:
  /// `expected`: octets to set aside, for instance what the last snapshot took.
  explicit ImageWriter(uint64_t seq, size_t expected = 0);
  ~ImageWriter();
  void agent(const Agent& agent, const IpAddress& address);
  void recovered(const SharedText& id);
  void framework(const Framework& framework);
  /// Agents, recovered ones and frameworks, in this order, come before the first task.
  void task(const Task& task);
  size_t size() const;  ///< octets so far
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// `text` with `allocated` readable octets, at least simdjson's padding more than its size. Errors name the key.
/// nullopt: a type that this version does not know.
Result<std::optional<Record>> decode(std::string_view text, size_t allocated);

/// Placed events for ClusterState (state/events.h), in an order in which it can take them: tasks before their agents, because an agent
/// that is back ends the tasks that it did not bring.
std::vector<Event> events_of(Image&& image, Millis heartbeat);
std::vector<Event> events_of(Changes&& changes);

}  // namespace ls::hub
