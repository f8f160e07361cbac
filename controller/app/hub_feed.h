#pragma once
/// HubFeed: the hub that this node serves, and what it is told: every change of the state, where this node's own source stands, and which
/// agents cannot be reached (agent_watch.h).
/// Thread: control loop. Cost: a change copies pointers; see hub/server.h.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/agent_watch.h"
#include "app/service_manager.h"
#include "app/settings.h"
#include "hub/server.h"
#include "sources/source.h"

namespace boost::asio {
class io_context;
}

namespace ls {

class HubFeed {
 public:
  using OnReachable = AgentWatch::OnChange;
  HubFeed(boost::asio::io_context& io, const Clock& clock) : io_(io), clock_(clock) {}

  /// Without hub_server.listen there is no hub, and everything below does nothing. Errors: those of hub::Server::start().
  /// `manager` watches the hub's thread: while it stands still, the service manager is not told that all is well.
  Result<> start(const Config& config, ServiceManager& manager, OnReachable on_reachable);
  void stop() { server_.reset(); }
  const hub::Server* server() const { return server_.get(); }
  const AgentWatch* watch() const { return watch_ ? &*watch_ : nullptr; }

  void change(const StateDelta& delta, Instant received);
  void leader(const std::string& address) { health_.leader = address; }
  void masters(const std::vector<HostPort>& masters);
  /// Once a second, and when `synced` changes: a whole state was there in this run. `source`: Cluster::fed().
  void tick(const SourceStatus& source, bool synced);

 private:
  boost::asio::io_context& io_;
  const Clock& clock_;
  std::optional<AgentWatch> watch_;
  hub::SourceHealth health_;
  ServiceManager::Loop* loop_ = nullptr;  ///< of the hub's thread, which is looked at from here
  uint64_t beats_ = 0;
  std::unique_ptr<hub::Server> server_;  // last: its thread calls back
};

}  // namespace ls
