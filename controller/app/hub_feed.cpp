#include "app/hub_feed.h"

namespace ls {

Result<> HubFeed::start(const Config& config, std::function<void(const IpAddress& address, bool there)> on_follower) {
  auto& s = config.hub_server;
  if (s.listen.empty()) return {};
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
  o.on_follower = std::move(on_follower);
  auto made = hub::Server::start(std::move(o));
  if (!made) return pass(std::move(made.error()), "start the hub");
  server_ = std::move(*made);
  return {};
}

void HubFeed::masters(const std::vector<HostPort>& masters) {
  health_.masters.clear();
  for (auto& m : masters) health_.masters.push_back(m.text());
}

void HubFeed::tell(const SourceStatus& source, bool synced, Instant now) {
  if (!server_) return;
  health_.connected = source.connected;
  health_.synced = synced;
  bool lost = !source.connected && source.since != Instant{};
  health_.lost_ms = lost ? std::chrono::duration_cast<Millis>(now - source.since).count() : 0;
  server_->health(health_);
}

}  // namespace ls
