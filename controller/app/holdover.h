#pragma once
/// Holdover: what the kernel served before this process began, kept while the cluster's state is still incomplete.
///
/// A daemon that restarts while a new leader is still collecting its agents sees a small part of the truth and has no memory of
/// the rest. The kernel has: backends it holds that the state does not know stay until every recovered agent has come
/// back, was removed, or its time is over. Thread: control loop. Cost: a map look-up a changed service.
#include <algorithm>
#include <map>
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

  void widen(std::vector<Service>& want) const {
    std::map<ServiceKey, const Service*> missing;
    for (auto& [key, s] : kept_) missing.emplace(key, &s);
    for (auto& s : want) {
      add(s);
      missing.erase(s.key);
    }
    for (auto& [key, s] : missing) want.push_back(*s);
  }
  void widen(VipDelta& delta) const {
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
  void add(Service& s) const {
    auto it = kept_.find(s.key);
    if (it == kept_.end()) return;
    for (auto& b : it->second.backends) {
      bool known = std::any_of(s.backends.begin(), s.backends.end(), [&](auto& o) { return o.endpoint() == b.endpoint(); });
      if (!known) s.backends.push_back(b);
    }
    std::sort(s.backends.begin(), s.backends.end(), [](auto& a, auto& b) { return a.endpoint() < b.endpoint(); });
  }
  std::map<ServiceKey, Service> kept_;
};

}  // namespace ls
