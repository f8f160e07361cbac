#pragma once
/// HubFeed: what this node tells the hub that it serves: every change of the state, and where its own source stands.
/// Thread: control loop. Cost: a change copies pointers; see hub/server.h.
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "app/settings.h"
#include "hub/server.h"
#include "sources/source.h"

namespace ls {

class HubFeed {
 public:
  /// Without hub_server.listen there is no hub, and everything below does nothing. Errors: those of hub::Server::start().
  Result<> start(const Config& config, std::function<void(const IpAddress& address, bool there)> on_follower);
  void stop() { server_.reset(); }
  const hub::Server* server() const { return server_.get(); }

  void change(const StateDelta& delta, Instant received) {
    if (server_) server_->change(delta, received);
  }
  void leader(const std::string& address) { health_.leader = address; }
  void masters(const std::vector<HostPort>& masters);
  void unreachable(const std::set<IpAddress>& agents) { health_.unreachable.assign(agents.begin(), agents.end()); }
  /// Once a second and after each change of what it says. `synced`: a whole state was there in this run.
  void tell(const SourceStatus& source, bool synced, Instant now);

 private:
  std::unique_ptr<hub::Server> server_;
  hub::SourceHealth health_;
};

}  // namespace ls
