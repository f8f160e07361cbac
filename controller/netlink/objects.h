#pragma once
/// Addresses, routes, neighbours, forwarding entries and rules of one device: as requests for a Transaction, and read back.
/// Thread: any. Cost: reading is a dump of the whole table of its kind. No product knowledge.
/// Prefix lengths of IpNetwork are of the 128 bits; the kernel's own counting is made here.
#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "netlink/transaction.h"
#include "util/network.h"

namespace ls::netlink {

struct DeviceAddress {
  IpAddress address;
  uint8_t prefix = 128;       ///< of the 128 bits
  bool prefix_route = true;   ///< false: the kernel makes no route for the network
  auto operator<=>(const DeviceAddress&) const = default;
};

inline constexpr uint32_t kMainTable = 254;   ///< RT_TABLE_MAIN
inline constexpr uint8_t kProtocolBoot = 3;   ///< RTPROT_BOOT
inline constexpr uint8_t kProtocolStatic = 4; ///< RTPROT_STATIC

struct DeviceRoute {
  IpNetwork to;
  std::optional<IpAddress> via;
  std::optional<IpAddress> source;  ///< preferred for packets of this machine
  uint32_t table = kMainTable;
  uint8_t protocol = kProtocolBoot;
  bool onlink = false;  ///< `via` is taken as reachable on the device, whatever its addresses say
  auto operator<=>(const DeviceRoute&) const = default;
};

struct DeviceNeighbour {
  IpAddress address;
  std::array<uint8_t, 6> mac{};
  auto operator<=>(const DeviceNeighbour&) const = default;
};

/// Entry of a VXLAN device: frames for `mac` go to `to`.
struct ForwardingEntry {
  std::array<uint8_t, 6> mac{};
  IpAddress to;  ///< IPv4
  auto operator<=>(const ForwardingEntry&) const = default;
};

/// "from <network> lookup <table>"
struct SourceRule {
  IpNetwork from;
  uint32_t table = 0;
  auto operator<=>(const SourceRule&) const = default;
};

/// Where packets end that no better route leads anywhere: of all routes to that network the last.
struct UnreachableRoute {
  IpNetwork to;
  uint8_t protocol = kProtocolBoot;
  auto operator<=>(const UnreachableRoute&) const = default;
};

// Made or replaced; neighbours and forwarding entries are permanent.
Request put_address(int ifindex, const DeviceAddress& a);
Request put_route(int ifindex, const DeviceRoute& r);
Request put_neighbour(int ifindex, const DeviceNeighbour& n);
Request put_forwarding(int ifindex, const ForwardingEntry& e);
Request put_unreachable(const UnreachableRoute& r);
Request add_rule(const SourceRule& r);  ///< EEXIST when there is one

Request remove_address(int ifindex, const DeviceAddress& a);
Request remove_route(int ifindex, const DeviceRoute& r);
Request remove_neighbour(int ifindex, const DeviceNeighbour& n);
Request remove_forwarding(int ifindex, const ForwardingEntry& e);
Request remove_unreachable(const UnreachableRoute& r);
Request remove_rule(const SourceRule& r);

/// Without link-local ones.
Result<std::vector<DeviceAddress>> list_addresses(int ifindex);
/// Unicast routes of all tables with this device as their only next hop, without those the kernel made itself.
Result<std::vector<DeviceRoute>> list_routes(int ifindex);
/// Those of put_unreachable with this protocol number.
Result<std::vector<UnreachableRoute>> list_unreachable(uint8_t protocol);
/// Permanent ones.
Result<std::vector<DeviceNeighbour>> list_neighbours(int ifindex);
Result<std::vector<ForwardingEntry>> list_forwarding(int ifindex);
/// Rules that look at nothing but the source.
Result<std::vector<SourceRule>> list_rules();

}  // namespace ls::netlink
