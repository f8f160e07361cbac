#pragma once
/// What one task asks for: which VIPs it stands behind, with which endpoints, and what of its labels was refused.
/// Pure, thread: any. Cost: O(ports and labels of the task).
#include <compare>
#include <string>
#include <vector>

#include "derive/ports.h"
#include "derive/vip_table.h"
#include "state/model.h"

namespace ls {

struct VipOptions {
  IpAddress named_min = IpAddress::from_v4(0x0b000000);  ///< 11.0.0.0, inclusive
  IpAddress named_max = IpAddress::from_v4(0x0bffffff);  ///< 11.255.255.255, inclusive
  IpAddress named_min6 = *IpAddress::parse("fd01:c::");
  IpAddress named_max6 = *IpAddress::parse("fd01:c::ffff:ffff:ffff:ffff");
  bool ipv6 = true;  ///< false: named VIPs take no IPv6 backends; IPv6 address VIPs work all the same

  /// All backends of a service unhealthy: false, it takes no new connections (spec/minuteman-vips.md 1.4);
  /// true, it serves from all of them as if they were healthy. Tasks being killed never count.
  bool fail_open_unhealthy = false;

  std::vector<IpAddress> own_addresses;  ///< of this machine's agent: the table is its own view (local_ports.h)
  bool local_docker = false;             ///< also for tasks of the Docker containerizer, which has its own rules for it
};

/// A VIP as labels name it. Labels and frameworks that fold to one DNS name are one VIP.
struct VipKey {
  std::string name;   ///< folded "label.framework"; empty: an address VIP
  IpAddress address;  ///< of an address VIP, else zero
  uint16_t port = 0;
  Protocol protocol = Protocol::kTcp;
  auto operator<=>(const VipKey&) const = default;
};

/// How much a task's endpoints are worth, best first.
enum class Standing : uint8_t { kServing, kUnhealthy, kLeaving };
constexpr uint8_t weight_of(Standing s) { return s == Standing::kServing ? 1 : 0; }

struct VipOffer {
  VipKey key;
  std::string label;                ///< as written, without leading slashes
  std::vector<Endpoint> endpoints;  ///< sorted; may be empty (an IPv6 address VIP of a task with IPv4 only)
  bool operator==(const VipOffer&) const = default;
};

struct TaskVips {
  Standing standing = Standing::kServing;
  std::vector<VipOffer> offers;  ///< sorted by key, one a key
  std::vector<LocalPort> local;  ///< host ports a container stands behind; for tasks of own agents
  std::vector<VipProblem> problems;
  size_t ports = 0;  ///< looked at; for tests of the cost
  bool empty() const { return offers.empty() && local.empty() && problems.empty(); }
  bool operator==(const TaskVips&) const = default;
};

/// Nothing for a task that waits for its agent or framework; problems only, for one that does not run.
TaskVips task_vips(const Task& task, const VipOptions& options);

}  // namespace ls
