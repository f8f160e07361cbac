#pragma once
/// The answering side of the self-tests on a node: TCP echo and witness (overlay_probe_wire.h) on the tunnel's address and device.
///
/// Only addresses that `peer` knows are answered; a connection from elsewhere is closed at once. Bounds: kMaxSessions connections, kMaxBytes and
/// kMaxTime each, nothing is kept of a connection that ended. The echo reads until the client ends its side, then sends all of it back.
/// Thread: the io_context's. Memory: 64 KiB a connection.
#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>

#include "app/overlay_probe_socket.h"
#include "app/overlay_probe_wire.h"
#include "util/result.h"

namespace ls::overlay_probe {

inline constexpr size_t kMaxBytes = 65536;
inline constexpr size_t kMaxSessions = 16;
inline constexpr Millis kMaxTime{10'000};

struct EchoEvents {
  std::function<bool(const IpAddress&)> peer;
  /// A peer gave up a connection of which its request had arrived here: our answers do not arrive there.
  std::function<void(const IpAddress&)> unheard;
};

class Echo {
 public:
  /// Errors: the address and port, with what the kernel said.
  static Result<std::shared_ptr<Echo>> open(asio::any_io_executor executor, const Via& via, uint16_t port, EchoEvents events);
  /// Ends everything; no event comes afterwards.
  void close();
  ~Echo();

 private:
  struct Impl;
  explicit Echo(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

/// What this kernel knows of the TCP connection between two endpoints, by one question to inet_diag. Needs no capability.
Seen connection_seen(const Endpoint& local, const Endpoint& remote, int ifindex);

}  // namespace ls::overlay_probe
