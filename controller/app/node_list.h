#pragma once
/// NodeList: what /v1/nodes shows of the cluster's agents (spec/spartan-dns.md sections 9, 11). Thread: apply and publish on the
/// control loop, get from any. Cost: O(changed agents); publish copies the list, only when it changed.
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "api/views.h"
#include "app/settings.h"
#include "state/cluster_state.h"
#include "util/published.h"

namespace ls {

class NodeList {
 public:
  void apply(const StateDelta& delta) {
    for (auto& a : delta.agents) {
      changed_ = true;
      if (a.removed) {
        nodes_.erase(a.agent.id.str());
        continue;
      }
      auto& n = nodes_[a.agent.id.str()];
      n.private_ip = a.address;
      n.hostname = a.agent.hostname;
      n.updated_unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    }
  }
  /// Of other nodes the public addresses are not known; `own` has those of this one.
  void publish(const Config::Node& own) {
    if (!std::exchange(changed_, false)) return;
    std::vector<api::NodeView> all;
    for (auto& [id, n] : nodes_) {
      all.push_back(n);
      if (own.address && n.private_ip == *own.address) all.back().public_ips = own.public_addresses;
    }
    shown_.publish(std::move(all));
  }
  std::vector<api::NodeView> get() const { return *shown_.get(); }

 private:
  std::map<std::string, api::NodeView> nodes_;  ///< by agent id
  bool changed_ = true;
  Published<std::vector<api::NodeView>> shown_;
};

}  // namespace ls
