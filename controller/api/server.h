#pragma once
/// The HTTP API on a unix socket (docs/operate/api.md lists the routes).
///
/// Thread: owns one thread, the admin thread, with its own event loop; calls the Provider only there. start and the
/// destructor belong to the owner's thread.
/// Limits: 64 connections (then 503), 8 KiB of header (431), 64 KiB of body (413), 30 s without progress, 4096 events
/// behind for a monitor. Numbers: ours; a person or a scraper stays far below, a stuck client costs little.
/// Access: the socket's mode and group; there is no other authentication, so the group may read everything.
#include <cstdint>
#include <memory>
#include <string>

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
    Millis deferred{15000};  ///< for answers that others make; above the forwarder's own time-out
    size_t monitor_events = EventHub::kQueueEvents;
  };

  /// EADDRINUSE: another process listens there. A socket that nobody listens on is replaced; anything that is not a
  /// socket is left alone (EEXIST). The socket appears under its name with mode and group set and already listening.
  static Result<std::unique_ptr<Server>> start(Settings, Provider&);
  /// Ends every connection, removes the socket if it is still ours, waits for the thread.
  ~Server();

  /// Grows once a second while the admin thread works; what a watchdog looks at. Any thread.
  uint64_t beats() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::api
