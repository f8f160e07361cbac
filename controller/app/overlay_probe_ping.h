#pragma once
/// ICMP echo to many addresses from one socket that needs no capability (a "ping socket", net.ipv4.ping_group_range).
///
/// Thread: the io_context's. Packets are never cut: IPv4 has DF, and what does not fit into the device is an error of that ping. What a router
/// said of the path's MTU is not believed, so that a path is measured as it is.
/// Errors of open(): EACCES when this group may not.
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>

#include "app/overlay_probe_socket.h"
#include "util/result.h"

namespace ls::overlay_probe {

class PingSocket {
 public:
  static Result<std::shared_ptr<PingSocket>> open(asio::any_io_executor executor, const Via& via);
  ~PingSocket();
  /// Round trip in ms; nullopt: no answer in time, or it could not be sent. `octets` of the whole packet, IP header included. At most 65,536 at
  /// the same time.
  asio::awaitable<std::optional<double>> ping(IpAddress to, size_t octets, Millis limit);
  void close();

 private:
  struct Impl;
  explicit PingSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls::overlay_probe
