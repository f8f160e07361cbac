#pragma once
/// Thousands of agents' streams: real sockets, the real framing and the real decoder of records for everything but snapshots, which are
/// received and thrown away (2,000 states of 100,000 tasks do not fit into one machine; WholeAgents are for that).
/// Thread: whoever calls; run() may be on another than the rest, not at the same time.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hub/record.h"
#include "measure.h"

struct ssl_ctx_st;

namespace ls::converge {

struct FleetCounts {
  std::atomic<uint64_t> records{0}, bytes{0}, snapshots{0}, resumed{0}, lost{0};
  std::atomic<uint64_t> faults{0};  ///< records that are none, gaps in the numbers, streams that were refused
};

class Fleet {
 public:
  /// `tls`: the context of all clients, or null. `receive_buffer`: 0 for the kernel's own choice.
  Fleet(uint16_t port, size_t streams, ssl_ctx_st* tls, const Stamps& stamps, int receive_buffer = 0);
  ~Fleet();

  /// All at once. `from`: where they say they are; without a run each is given a snapshot.
  void connect(const hub::Position& from);
  /// All end at once, as when their machines vanish, and connect anew: each says where it was in `run`; without one, that it has nothing.
  void reconnect(const std::string& run);
  /// Reads until `done`, which is asked every few milliseconds.
  void run(const std::function<bool()>& done);
  std::string text() const;  ///< where they are, for a message
  /// Streams that have everything up to `seq`. Any thread.
  size_t in_sync() const { return in_sync_.load(std::memory_order_relaxed); }
  /// Streams whose last record ended with this number. Only while nobody else runs it, or from `done`.
  size_t have(uint64_t seq) const;
  /// From here on in_sync() is about this number.
  void aim_at(uint64_t seq) { aim_ = seq; }

  Lags lags;
  std::atomic<bool> measuring{false};
  FleetCounts counts;

 private:
  class Stream;
  const uint16_t port_;
  ssl_ctx_st* const tls_;
  const Stamps& stamps_;
  const int receive_buffer_;
  int epoll_ = -1;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::string scratch_;
  std::atomic<size_t> in_sync_{0};
  uint64_t aim_ = 0;
};

}  // namespace ls::converge
