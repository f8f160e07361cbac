#pragma once
/// Holdover: what the kernel served before this process began, kept while the cluster's state is still incomplete.
///
/// A daemon that restarts while a new leader is still collecting its agents sees a small part of the truth and has no memory of
/// the rest. The kernel has: backends it holds that the state does not know stay until the state speaks of them, their agent is
/// back without them, every agent is back, or the agents' time is over. Thread: control loop. Cost: a map look-up a changed
/// service.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "datapath/tables_reader.h"
#include "derive/vip_table.h"

namespace ls {

class Holdover {
 public:
  void take(const std::vector<KernelService>& kernel) {
    for (auto& k : kernel) {
      Service s;
      s.key = k.key;
      for (auto& b : k.backends) {
        Backend backend;
        backend.address = b.endpoint.address;
        backend.port = b.endpoint.port;
        backend.weight = b.state == "active" ? 1 : 0;
        s.backends.push_back(std::move(backend));
      }
      if (!s.backends.empty()) kept_.emplace(k.key, std::move(s));
    }
  }
  void release() { kept_.clear(); }
  bool empty() const { return kept_.empty(); }
  size_t services() const { return kept_.size(); }
  size_t backends() const {
    size_t n = 0;
    for (auto& [key, s] : kept_) n += s.backends.size();
    return n;
  }

  /// Agents that have told all their tasks: what is kept at their own addresses is gone.
  void settle(const std::set<IpAddress>& agents) {
    drop([&](const Service&, const Backend& b) { return agents.contains(b.address); });
  }

  void widen(std::vector<Service>& want) {
    std::set<ServiceKey> there;
    for (auto& s : want) {
      add(s);
      there.insert(s.key);
    }
    for (auto& [key, s] : kept_) {
      if (!there.contains(key)) want.push_back(s);
    }
  }
  void widen(VipDelta& delta) {
    for (auto& s : delta.upsert) add(s);
    std::vector<ServiceKey> remove;
    for (auto& key : delta.remove) {
      auto it = kept_.find(key);
      if (it == kept_.end()) {
        remove.push_back(key);
      } else {
        delta.upsert.push_back(it->second);
      }
    }
    delta.remove = std::move(remove);
  }

 private:
  template <class F>
  void drop(F&& gone) {
    for (auto it = kept_.begin(); it != kept_.end();) {
      std::erase_if(it->second.backends, [&](auto& b) { return gone(it->second, b); });
      it = it->second.backends.empty() ? kept_.erase(it) : std::next(it);
    }
  }

  /// Adds what is kept of a service. A backend the state knows is the state's from now on: when it goes there, it goes.
  void add(Service& s) {
    auto it = kept_.find(s.key);
    if (it == kept_.end()) return;
    auto& kept = it->second.backends;
    std::erase_if(kept, [&](auto& b) {
      return std::any_of(s.backends.begin(), s.backends.end(), [&](auto& o) { return o.endpoint() == b.endpoint(); });
    });
    s.backends.insert(s.backends.end(), kept.begin(), kept.end());
    std::sort(s.backends.begin(), s.backends.end(), [](auto& a, auto& b) { return a.endpoint() < b.endpoint(); });
    if (kept.empty()) kept_.erase(it);
  }
  std::map<ServiceKey, Service> kept_;
};

}  // namespace ls
