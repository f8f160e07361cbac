#include "derive/local_ports.h"

#include <algorithm>
#include <tuple>

namespace ls {

bool LocalPortTable::add(const LocalPort& p, const std::string& owner, bool running) {
  auto before = find(p.protocol, p.host_port);
  ports_[{p.protocol, p.host_port}].insert({!running, owner, p.container});
  return before != find(p.protocol, p.host_port);
}

bool LocalPortTable::remove(const LocalPort& p, const std::string& owner, bool running) {
  auto it = ports_.find({p.protocol, p.host_port});
  if (it == ports_.end()) return false;
  auto before = find(p.protocol, p.host_port);
  it->second.erase({!running, owner, p.container});
  if (it->second.empty()) ports_.erase(it);
  return before != find(p.protocol, p.host_port);
}

std::optional<Endpoint> LocalPortTable::find(Protocol protocol, uint16_t host_port) const {
  auto it = ports_.find({protocol, host_port});
  if (it == ports_.end()) return std::nullopt;
  return it->second.begin()->container;
}

std::vector<LocalPort> LocalPortTable::all() const {
  std::vector<LocalPort> out;
  for (auto& [key, claims] : ports_) out.push_back({key.protocol, key.host_port, claims.begin()->container});
  return out;
}

void normalise(std::vector<Backend>& backends) {
  std::sort(backends.begin(), backends.end(), [](const Backend& a, const Backend& b) {
    return std::tie(a.address, a.port, b.weight, a.framework, a.task, a.agent) <
           std::tie(b.address, b.port, a.weight, b.framework, b.task, b.agent);
  });
  backends.erase(std::unique(backends.begin(), backends.end(),
                             [](const Backend& a, const Backend& b) { return a.endpoint() == b.endpoint(); }),
                 backends.end());
}

std::vector<Backend> rewrite_local(std::vector<Backend> backends, Protocol protocol, const std::vector<IpAddress>& own,
                                   const LocalPortTable& table) {
  bool changed = false;
  for (auto& b : backends) {
    if (std::find(own.begin(), own.end(), b.address) == own.end()) continue;
    auto container = table.find(protocol, b.port);
    if (!container) continue;
    b.address = container->address;
    b.port = container->port;
    changed = true;
  }
  if (changed) normalise(backends);
  return backends;
}

}  // namespace ls
