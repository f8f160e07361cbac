#pragma once
/// The HTTP API on a unix socket and on TCP addresses (docs/operate/api.md lists the routes).
///
/// Thread: owns one thread, the admin thread, with its own event loop; calls the Provider only there. start and the
/// destructor belong to the owner's thread.
/// Limits: 64 connections (then 503), 8 KiB of header (431), 64 KiB of body (413), 30 s without progress, 4096 events
/// behind for a monitor. Numbers: ours; a person or a scraper stays far below, a stuck client costs little.
/// TCP has limits of its own: connections in all and from one address.
/// Access: the socket's mode and group: the group may read everything and change registrations. TCP shows fewer paths (router.cpp)
/// and takes changes only with the token. Every change is logged with who made it.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/provider.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls::api {

class Server {
 public:
  struct Settings {
    std::string socket;  ///< path, at most 100 bytes; its folder is made when only the last level is missing
    std::string group;   ///< owner group of the socket, empty: the process's own
    unsigned max_connections = 64;
    Millis idle{30000};
    Millis max_wait{30000};  ///< a request that waits for a change of registrations is answered then in any case
    std::vector<Endpoint> listen{};   ///< TCP addresses; one that cannot be bound is a warning in the status and tried again
    std::string token_file{};         ///< bearer token of changes over TCP; empty: none are taken there
    unsigned max_tcp_connections = 10'000;  ///< each follower holds one
    unsigned max_tcp_per_address = 128;
    Millis deferred{15000};  ///< for answers that others make; above the forwarder's own time-out
    size_t monitor_events = EventHub::kQueueEvents;
  };

  /// EADDRINUSE: another process listens there. A socket that nobody listens on is replaced; anything that is not a
  /// socket is left alone (EEXIST). The socket appears under its name with mode and group set and already listening.
  static Result<std::unique_ptr<Server>> start(Settings, Provider&);
  /// Ends every connection, removes the socket if it is still ours, waits for the thread.
  ~Server();

  /// Runs functions on the admin thread, in order, between requests; whoever waits for a change is told afterwards. Any thread, also
  /// after the server has ended: then the function is destroyed without being called.
  std::function<void(std::function<void()>)> poster() const;

  /// Grows once a second while the admin thread works; what a watchdog looks at. Any thread.
  uint64_t beats() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::api
