#pragma once
/// The HTTP API of Mesos-DNS on TCP (`authority.http_listen`); what it answers is in mesos_dns_routes.h.
///
/// Threads: owns one thread with its own event loop and calls the provider only there, so that a listing of a large cluster delays
/// neither DNS nor the other API. start and the destructor belong to the owner's thread.
/// A listener that cannot be bound is tried again every second and shown; the others go on.
/// Limits: 256 connections in all and 32 from one address (then 503), 8 KiB of header (431), 64 KiB of body (413), 30 s without progress,
/// 4 answers above 1 MiB on their way at once (then 503 for a listing). Numbers: ours; the reference has none, and a client that
/// does not read could hold its memory.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "api/mesos_dns_provider.h"
#include "util/address.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls::api {

class MesosDnsHttp {
 public:
  struct Settings {
    std::vector<Endpoint> listen;
    unsigned max_connections = 256, max_per_client = 32, max_large = 4;
    size_t large_bytes = 1 << 20;
    Millis idle{30'000};
  };
  struct ListenerView {
    Endpoint endpoint;  ///< the port as bound
    bool bound = false;
    std::string error;
  };

  /// Fails only when no thread can be made. The provider must outlive this.
  static Result<std::unique_ptr<MesosDnsHttp>> start(Settings settings, MesosDnsProvider& provider);
  ~MesosDnsHttp();

  std::vector<ListenerView> listeners() const;  ///< any thread
  uint64_t beats() const;                       ///< grows once a second while the thread works; any thread

 private:
  struct Impl;
  explicit MesosDnsHttp(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::api
