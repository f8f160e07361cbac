#include "dns/server.h"

#include <sched.h>

#include <algorithm>

#include "dns/binder.h"

namespace ls::dns {
namespace {

size_t usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

struct Server::Impl {
  Impl(ServerOptions o, Epoch& e, const Clock& c)
      : options(std::move(o)),
        epoch(e),
        clock(c),
        cache(options.cache),
        upstreams(options.upstreams),
        tcp_limits(options.tcp_connections, options.tcp_per_client),
        secret(options.cookie_secret ? *options.cookie_secret : random_cookie_secret()) {
    for (const ServiceOptions& s : options.services) services.push_back(std::make_unique<Service>(s));
  }

  /// Position of the service, or nothing.
  std::optional<size_t> find(ServiceKind kind) const {
    for (size_t i = 0; i < services.size(); i++) {
      if (services[i]->kind == kind) return i;
    }
    return {};
  }

  /// Routes or policy of a service were published.
  void changed(size_t at) {
    services[at]->routes_version.fetch_add(1, std::memory_order_release);
    for (auto& w : workers) w->post([worker = w.get()] { worker->refresh(); });
  }

  const ServerOptions options;
  Epoch& epoch;
  const Clock& clock;
  Cache cache;
  Upstreams upstreams;
  TcpLimits tcp_limits;
  const CookieSecret secret;
  std::vector<std::unique_ptr<Service>> services;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<Binder> binder;
  std::atomic<bool> running{false};
};

Server::Server(ServerOptions options, Epoch& epoch, const Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), epoch, clock)) {
  Impl& i = *impl_;
  size_t count = i.options.workers ? i.options.workers : usable_cpus();
  for (size_t n = 0; n < count; n++) {
    i.workers.push_back(std::make_unique<Worker>(Worker::Shared{
        i.options, i.services, i.epoch, i.clock, i.cache, i.upstreams, i.tcp_limits, i.secret}));
  }
  i.binder = std::make_unique<Binder>(i.options, i.workers);
}

Server::~Server() {
  stop();
}

Result<> Server::start() {
  Impl& i = *impl_;
  i.binder->start();
  for (size_t n = 0; n < i.workers.size(); n++) {
    if (auto started = i.workers[n]->start(n); !started) {
      stop();
      return started;
    }
  }
  i.running = true;
  return {};
}

void Server::stop() {
  Impl& i = *impl_;
  i.running = false;
  for (auto& w : i.workers) w->stop();
}

void Server::set_routes(ServiceKind service, std::shared_ptr<const Routes> routes) {
  Impl& i = *impl_;
  auto at = i.find(service);
  if (!at) return;
  i.services[*at]->routes.publish(std::move(routes));
  i.changed(*at);
}

void Server::set_options(ServiceKind service, const ServiceOptions& options) {
  Impl& i = *impl_;
  auto at = i.find(service);
  if (!at) return;
  auto before = i.services[*at]->policy.get();
  i.services[*at]->policy.publish(std::make_shared<const Policy>(options, before.get()));
  i.changed(*at);
}

bool Server::serves(ServiceKind service) const { return impl_->find(service).has_value(); }

ServerView Server::view() const {
  const Impl& i = *impl_;
  ServerView v;
  v.listeners = i.binder->view();
  v.cache = i.cache.view();
  v.upstreams = i.upstreams.view(i.clock.now());
  v.workers = i.workers.size();
  for (auto& w : i.workers) {
    for (size_t s = 0; s < i.services.size(); s++)
      w->counters(s).add_to(v.services[size_t(i.services[s]->kind)]);
    ForwarderView f = w->forwarder();
    v.forwarder.in_flight += f.in_flight;
    v.forwarder.questions += f.questions;
    v.forwarder.shared += f.shared;
    v.forwarder.answered += f.answered;
    v.forwarder.servfail += f.servfail;
    v.forwarder.stale += f.stale;
    v.forwarder.overflow += f.overflow;
    v.forwarder.mismatches += f.mismatches;
    v.forwarder.tcp_fallbacks += f.tcp_fallbacks;
    v.forwarder.retries += f.retries;
    v.forwarder.loops = std::max(v.forwarder.loops, f.loops);  // counted once for all workers
    v.forwarder.fewer_ports += f.fewer_ports;
    v.worker_lag_s.push_back(i.running ? w->lag() : 0);
  }
  return v;
}

void Server::explain(ServiceKind service, std::vector<uint8_t> query, std::function<void(Explained)> done) {
  Impl& i = *impl_;
  auto at = i.find(service);
  if (!at || !i.running) {
    Explained none;
    none.rule = at ? "stopped" : "no such service";
    return done(std::move(none));
  }
  Worker* worker = i.workers.front().get();
  worker->post([worker, at = *at, query = std::move(query), done = std::move(done)]() mutable {
    worker->responder(at).explain(std::move(query), worker->reader(), std::move(done));
  });
}

size_t Server::flush_cache(const DnsName& suffix) {
  return impl_->cache.flush(suffix);
}

}  // namespace ls::dns
