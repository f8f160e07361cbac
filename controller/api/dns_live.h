#pragma once
/// DnsLive: the DnsSource of a running dns::Server. Thread: as DnsSource says; set_routes on the control loop, where it stands beside
/// dns::Server::set_routes.
#include <array>
#include <utility>

#include "api/dns_source.h"
#include "util/published.h"

namespace ls::api {

class DnsLive final : public DnsSource {
 public:
  /// As DnsSource::origins; called on the admin thread.
  using Origins = std::function<std::vector<std::string>(const DnsName& apex, std::string_view relative)>;
  /// All must outlive this.
  DnsLive(dns::Server& server, Epoch& epoch, Origins origins) : server_(server), epoch_(epoch), origins_(std::move(origins)) {}

  void set_routes(dns::ServiceKind service, std::shared_ptr<const dns::Routes> routes) {
    routes_[size_t(service)].publish(std::make_shared<const Held>(Held{std::move(routes)}));
  }

  /// Before the API starts; may be called on any thread.
  void set_http(std::function<std::vector<HttpListener>()> http) { http_ = std::move(http); }
  std::vector<HttpListener> http_listeners() override { return http_ ? http_() : std::vector<HttpListener>{}; }

  /// Answers in the kernel. Any thread, also while the API runs: the programs are loaded after it starts. What the functions use must
  /// outlive the API's server; they are called on the admin thread.
  struct Kernel {
    std::function<KernelDnsView()> view;
    std::function<std::optional<KernelDnsTry>(dns::ServiceKind, std::span<const uint8_t>)> try_question;
    std::function<void(const DnsName&)> flush;
  };
  void set_kernel(Kernel kernel) { kernel_.publish(std::move(kernel)); }
  std::optional<KernelDnsView> kernel() override {
    auto k = kernel_.get();
    return k->view ? std::optional(k->view()) : std::nullopt;
  }
  std::optional<KernelDnsTry> kernel_try(dns::ServiceKind service, std::span<const uint8_t> question) override {
    auto k = kernel_.get();
    return k->try_question ? k->try_question(service, question) : std::nullopt;
  }

  dns::ServerView view() override { return server_.view(); }
  std::shared_ptr<const dns::Routes> routes(dns::ServiceKind service) override { return routes_[size_t(service)].get()->routes; }
  Epoch& epoch() override { return epoch_; }
  void explain(dns::ServiceKind service, std::vector<uint8_t> query, std::function<void(dns::Explained)> done) override {
    server_.explain(service, std::move(query), std::move(done));
  }
  size_t flush(const DnsName& suffix) override {
    size_t n = server_.flush_cache(suffix);
    if (auto k = kernel_.get(); k->flush) k->flush(suffix);
    return n;
  }
  std::vector<std::string> origins(const DnsName& apex, std::string_view relative) override {
    return origins_ ? origins_(apex, relative) : std::vector<std::string>{};
  }

 private:
  struct Held {
    std::shared_ptr<const dns::Routes> routes;
  };
  dns::Server& server_;
  Epoch& epoch_;
  const Origins origins_;
  std::function<std::vector<HttpListener>()> http_;
  std::array<Published<Held>, dns::kServices> routes_;
  Published<Kernel> kernel_;
};

}  // namespace ls::api
