#pragma once
/// Which backends of a service can be reached (spec/minuteman-vips.md 4). Pure, thread: any.
///
/// Rule, per service: as soon as one backend that takes new flows (weight above 0) can be reached, those that cannot be reached are
/// left out. If none of those can be reached, all are kept (fail open), also beside drained ones that can be: the former
/// system looked at reachability alone and then refused new connections.
/// If no backend takes new flows at all, unreachable ones are left out while one can be reached.
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "derive/vip_table.h"

namespace ls {

using Reachable = std::function<bool(const IpAddress& agent)>;

std::vector<Backend> filter_reachable(std::vector<Backend> backends, const Reachable& reachable);

/// By the same rule, but they are drained (weight 0) in place of being left out: what is found from outside Mesos may be wrong, and a backend that
/// is left out loses its open connections.
void set_aside(std::vector<Backend>& backends, const Reachable& reachable);

/// What a membership protocol knows: agent address -> node, node -> distance (nullopt: cannot be reached).
/// Either table empty means nothing is known: everything counts as reachable. An agent or node that is missing
/// while others are there counts as unreachable.
struct Membership {
  std::map<IpAddress, std::string> node_of_agent;
  std::map<std::string, std::optional<double>> distance;
  bool reachable(const IpAddress& agent) const;
};

}  // namespace ls
