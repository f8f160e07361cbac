#pragma once
/// What the API and the metrics need from DNS. dns_live.h makes one of a dns::Server; tests make one by hand.
///
/// Thread: the admin thread, except `explain`'s callback. Nothing here waits for the control loop.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/dns_kernel.h"
#include "dns/routes.h"
#include "dns/server.h"
#include "util/epoch.h"

namespace ls::api {

class DnsSource {
 public:
  virtual ~DnsSource() = default;

  virtual dns::ServerView view() = 0;
  /// Of the Mesos-DNS API.
  struct HttpListener {
    Endpoint endpoint;
    bool bound = false;
    std::string error;
  };
  virtual std::vector<HttpListener> http_listeners() { return {}; }
  /// What a service answers from; null: this node does not have the service.
  virtual std::shared_ptr<const dns::Routes> routes(dns::ServiceKind service) = 0;
  /// Of the tables behind the routes.
  virtual Epoch& epoch() = 0;
  /// `done` is called at most once, on any thread, perhaps before this returns.
  virtual void explain(dns::ServiceKind service, std::vector<uint8_t> query, std::function<void(dns::Explained)> done) = 0;
  /// Answers of upstreams at and below `suffix`; returns how many were dropped.
  virtual size_t flush(const DnsName& suffix) = 0;
  /// What made the records of a name of one of our zones: "task web.1 of marathon: name, row 1", "VIP web.marathon",
  /// "registration", "static zone". Empty: nothing is known. `relative`: folded, below `apex`.
  virtual std::vector<std::string> origins(const DnsName& apex, std::string_view relative) = 0;

  // Answers in the kernel.
  /// Nullopt: there are none to speak of, because the programs are not loaded (yet). Switched off is a view with `enabled` false.
  virtual std::optional<KernelDnsView> kernel() { return std::nullopt; }
  /// What the program would do with this message if it came from the network to `service`. Nullopt: it cannot be asked.
  virtual std::optional<KernelDnsTry> kernel_try(dns::ServiceKind, std::span<const uint8_t>) { return std::nullopt; }
};

}  // namespace ls::api
