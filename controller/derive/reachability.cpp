#include "derive/reachability.h"

#include <algorithm>

namespace ls {

namespace {

/// Whether those that cannot be reached are to go.
bool others_serve(const std::vector<Backend>& backends, const Reachable& reachable) {
  bool takes_flows = false, any = false, any_takes_flows = false;
  for (auto& b : backends) {
    bool up = reachable(b.agent);
    takes_flows = takes_flows || b.weight > 0;
    any = any || up;
    any_takes_flows = any_takes_flows || (up && b.weight > 0);
  }
  return takes_flows ? any_takes_flows : any;
}

}  // namespace

std::vector<Backend> filter_reachable(std::vector<Backend> backends, const Reachable& reachable) {
  if (others_serve(backends, reachable)) std::erase_if(backends, [&](const Backend& b) { return !reachable(b.agent); });
  return backends;
}

void set_aside(std::vector<Backend>& backends, const Reachable& reachable) {
  if (!others_serve(backends, reachable)) return;
  for (auto& b : backends)
    if (!reachable(b.agent)) b.weight = 0;
}

bool Membership::reachable(const IpAddress& agent) const {
  if (node_of_agent.empty() || distance.empty()) return true;
  auto node = node_of_agent.find(agent);
  if (node == node_of_agent.end()) return false;
  auto far = distance.find(node->second);
  return far != distance.end() && far->second.has_value();
}

}  // namespace ls
