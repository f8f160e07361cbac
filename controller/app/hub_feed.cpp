#include "app/hub_feed.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "app/agent_ask.h"

namespace ls {
namespace {

hub::ServerOptions options_of(const Config::HubServer& s) {
  hub::ServerOptions o;
  o.listen = s.listen;
  o.token_file = s.token_file;
  o.cert_file = s.cert_file;
  o.key_file = s.key_file;
  o.client_ca_file = s.client_ca_file;
  o.history = s.history.bytes;
  o.heartbeat = s.heartbeat;
  o.batch = s.batch;
  o.max_followers = s.max_followers;
  return o;
}

}  // namespace

Result<> HubFeed::start(const Config& config, ServiceManager& manager, OnReachable on_reachable) {
  auto& s = config.hub_server;
  if (s.listen.empty()) return {};
  masters(config.mesos.masters);  // until others are found
  auto options = options_of(s);
  if (s.probe_every != Millis(0)) {
    AgentWatchOptions w;
    w.every = s.probe_every;
    auto ask = [this, limit = w.again](const Endpoint& agent, auto answer) { ask_tcp(io_, agent, limit, std::move(answer)); };
    watch_.emplace(clock_, w, ask, [this, on_reachable = std::move(on_reachable)](const IpAddress& agent, bool reachable) {
      auto& lost = watch_->unreachable();
      health_.unreachable.assign(lost.begin(), lost.end());
      on_reachable(agent, reachable);
    });
    options.on_follower = [this](const IpAddress& address, bool there) {
      boost::asio::post(io_, [this, address, there] { watch_->follower(address, there); });
    };
  }
  auto made = hub::Server::start(std::move(options));
  if (!made) return pass(std::move(made.error()), "start the hub");
  server_ = std::move(*made);
  loop_ = &manager.add_loop("hub");
  return {};
}

void HubFeed::change(const StateDelta& delta, Instant received) {
  if (delta.empty()) return;
  if (server_) server_->change(delta, received);
  if (watch_) watch_->apply(delta);
}

void HubFeed::masters(const std::vector<HostPort>& masters) {
  health_.masters.clear();
  for (auto& m : masters) health_.masters.push_back(m.text());
}

void HubFeed::tick(const SourceStatus& source, bool synced) {
  if (!server_) return;
  if (auto beats = server_->status().beats; beats != beats_) {
    beats_ = beats;
    ServiceManager::beat(*loop_);
  }
  if (watch_) watch_->tick();
  health_.connected = source.connected;
  health_.synced = synced;
  bool lost = !source.connected && source.since != Instant{};
  health_.lost_ms = lost ? std::chrono::duration_cast<Millis>(clock_.now() - source.since).count() : 0;
  server_->health(health_);
}

}  // namespace ls
