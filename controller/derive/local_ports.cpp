#include "derive/local_ports.h"

#include <algorithm>
#include <tuple>

namespace ls {

namespace {
LocalPortTable::Key key_of(const LocalPort& p) { return {p.protocol, p.host_port, p.container.address.is_v4()}; }
}  // namespace

bool LocalPortTable::add(const LocalPort& p, const std::string& owner, bool running) {
  Key key = key_of(p);
  auto before = find(key.protocol, key.host_port, key.v4);
  ports_[key].insert({!running, owner, p.container});
  return before != find(key.protocol, key.host_port, key.v4);
}

bool LocalPortTable::remove(const LocalPort& p, const std::string& owner, bool running) {
  Key key = key_of(p);
  auto it = ports_.find(key);
  if (it == ports_.end()) return false;
  auto before = find(key.protocol, key.host_port, key.v4);
  it->second.erase({!running, owner, p.container});
  if (it->second.empty()) ports_.erase(it);
  return before != find(key.protocol, key.host_port, key.v4);
}

std::optional<Endpoint> LocalPortTable::find(Protocol protocol, uint16_t host_port, bool v4) const {
  auto it = ports_.find({protocol, host_port, v4});
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
    auto container = table.find(protocol, b.port, b.address.is_v4());
    if (!container) continue;
    b.address = container->address;
    b.port = container->port;
    changed = true;
  }
  if (changed) normalise(backends);
  return backends;
}

}  // namespace ls
