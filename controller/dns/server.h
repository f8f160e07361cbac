#pragma once
/// Server: N workers that answer DNS over UDP and TCP. What they answer is in the Routes of each listener; forwarding, cache,
/// rate limit and access list are theirs.
///
/// Threads: construction, start, stop, set_routes, set_options on the control loop; workers are threads of their own, each with its own
/// SO_REUSEPORT sockets, io_context, Forwarder and Epoch::Reader. Views may be read from any thread.
/// A listener that cannot be bound (port taken, address not there) is tried again every second and shown; the others go on.
/// Answers leave from the address that was asked. Receive and send are batched (recvmmsg, sendmmsg).
/// TCP: pipelined questions, answers in the order in which they are ready (RFC 7766), limits on connections in all and per client, idle time,
/// a client that does not read is dropped.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dns/access.h"
#include "dns/cache.h"
#include "dns/cookie.h"
#include "dns/forwarder.h"
#include "dns/routes.h"
#include "dns/upstreams.h"
#include "util/epoch.h"
#include "util/result.h"

namespace ls::dns {

enum class ServiceKind : uint8_t { kAuthority, kResolver };
inline constexpr size_t kServices = 2;
std::string_view to_text(ServiceKind);  ///< "authority", "resolver"

struct ServiceOptions {
  ServiceKind kind = ServiceKind::kResolver;
  std::vector<Endpoint> listen;
  AccessList clients;                    ///< others get REFUSED
  std::vector<IpNetwork> transfer;       ///< who may transfer zones that are `transferable`; empty: nobody
  std::vector<IpNetwork> no_truncate_bit;
  RateLimit::Options rate_limit;
  /// Words of the rate limit that programs in the kernel change too (RateLimit, abi/dns.h ls_dns_rate), and their key. Empty: memory of
  /// its own. Those of the start count: set_options() does not change them.
  std::span<uint64_t> rate_words;
  std::array<uint8_t, 16> rate_key{};
};

struct ServerOptions {
  size_t workers = 0;  ///< 0: one for each CPU this process may use
  uint16_t udp_size = 1232;
  size_t tcp_connections = 1024, tcp_per_client = 64, tcp_queries = 65535;  ///< per server; per client address; per connection
  Millis tcp_idle{10'000};
  CacheOptions cache;
  ForwarderOptions forwarder;
  Upstreams::Options upstreams;
  /// Of all workers and services; the same as the kernel's (abi/dns.h ls_dns_conf), so that a cookie is good wherever it comes back. Unset:
  /// random.
  std::optional<CookieSecret> cookie_secret;
  std::vector<ServiceOptions> services;
};

struct ListenerView {
  ServiceKind service = ServiceKind::kResolver;
  Endpoint endpoint;
  bool udp = false, tcp = false;  ///< bound
  std::string error;              ///< why not
};

/// Where an answer came from; label `path` of the metrics.
enum class Path : uint8_t { kZone, kCache, kForward, kStale, kRefused, kError };
inline constexpr size_t kPaths = 6;
std::string_view to_text(Path);  ///< "zone", "cache", ...

struct ServiceCounters {
  uint64_t udp_queries = 0, tcp_queries = 0;
  std::array<std::array<uint64_t, 24>, kPaths> responses{};  ///< by path and rcode
  uint64_t ignored = 0, denied = 0, slipped = 0, rate_dropped = 0, truncated = 0, transfers = 0;
  uint64_t tcp_open = 0, tcp_accepted = 0, tcp_refused = 0, tcp_timeouts = 0;
  /// Seconds from receipt to answer by path; only forwarded questions are timed one by one, others by batch.
  std::array<std::vector<std::pair<double, uint64_t>>, kPaths> seconds;  ///< upper bound, cumulative count
};

struct ServerView {
  std::vector<ListenerView> listeners;
  std::array<ServiceCounters, kServices> services;
  ForwarderView forwarder;  ///< all workers
  CacheView cache;
  std::vector<UpstreamView> upstreams;
  size_t workers = 0;
  std::vector<double> worker_lag_s;
};

/// One question answered as a client's would be, with the reasons. For `dns lookup` and `dns explain`.
struct Explained {
  std::vector<uint8_t> answer;   ///< the message
  std::string rule;              ///< "zone l4lb.thisdcos.directory. as dclb.thisdcos.global.", "forward corp.", "refused"
  Path path = Path::kZone;
  Forwarder::Trace trace;
  double took_ms = 0;
  std::optional<double> cache_left_s;
};

class Server {
 public:
  Server(ServerOptions options, Epoch& epoch, const Clock& clock);
  ~Server();
  Result<> start();  ///< fails only when no thread can be made; listeners that fail show in view()
  void stop();

  /// Takes effect with each worker's next batch.
  void set_routes(ServiceKind service, std::shared_ptr<const Routes> routes);
  /// Clients, transfer, no_truncate_bit and rate_limit of `options`, at the same moment; kind, listen and the words of the rate limit stay
  /// as they were.
  void set_options(ServiceKind service, const ServiceOptions& options);
  bool serves(ServiceKind service) const;  ///< was among the options of the start
  ServerView view() const;
  /// Any thread. `done` is called on a worker's thread, after at most the forwarder's time-out.
  void explain(ServiceKind service, std::vector<uint8_t> query, std::function<void(Explained)> done);
  size_t flush_cache(const DnsName& suffix);  ///< any thread

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
