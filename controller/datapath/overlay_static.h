#pragma once
/// The overlay as Navstar wired it: a neighbour, two routes and a forwarding entry for each other node. Not how this daemon works by
/// default (overlay_device.h); it is here for nodes without BPF, as what ours is compared with, and because it says exactly what an old
/// node in a mixed cluster has. Source: spec/navstar-overlay.md sections 2 and 4. Differences: learning is off, the device has a
/// local address, forwarding entries exist for nodes with IPv6 only, and what is not wanted any more is removed.
/// Thread: control loop; what only computes: any. Cost: O(nodes) at each call, in batches of requests.
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "netlink/objects.h"
#include "netlink/vxlan.h"
#include "overlay/model.h"

namespace ls::datapath {

inline constexpr uint32_t kOverlayTable = 42;  ///< routes to nodes' own addresses for packets of containers

/// What an overlay of this node asks for on the node itself, in the order in which it is done.
struct StaticNode {
  bool wanted = false;  ///< false: no overlay is there, nothing is done
  netlink::Vxlan device;
  std::vector<netlink::DeviceAddress> addresses;  ///< IPv4 first
  bool enable_ipv6 = false;                       ///< disable_ipv6=0 before the IPv6 address
  std::vector<netlink::SourceRule> rules;
};
StaticNode static_node(const overlay::Plan& plan, const overlay::Allocation& self);

using StaticObject = std::variant<netlink::DeviceNeighbour, netlink::DeviceRoute, netlink::ForwardingEntry>;
/// One entry of the table that nodes exchange: a share behind a VTEP address, in the order in which it is done.
std::vector<StaticObject> static_entry(const IpAddress& node, const IpAddress& vtep, const overlay::Mac& mac, const IpNetwork& share);
/// Everything for one other node, of overlays that this node has too; each object once.
std::vector<StaticObject> static_peer(const overlay::Allocation& self, const overlay::Allocation& peer);

struct StaticReport {
  int ifindex = 0;
  size_t put = 0, removed = 0;
};
/// Compares with the kernel and applies the difference. `all`: every node's allocation, the own one among them or not.
Result<StaticReport> apply_static(const overlay::Plan& plan, const overlay::Allocation& self, std::span<const overlay::Allocation> all);

}  // namespace ls::datapath
