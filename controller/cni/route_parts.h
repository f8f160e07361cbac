#pragma once
/// Inside of ls_cni: addresses, routes and neighbours as rtnetlink requests and answers.
#include <optional>
#include <vector>

#include "cni/mac.h"
#include "cni/result.h"
#include "netlink/route_socket.h"

namespace ls::cni {

/// 4 octets of IPv4, 16 of IPv6, in network order.
std::span<const uint8_t> wire_bytes(const IpAddress& a);
int family_of(const IpAddress& a);

/// EEXIST is success. Duplicate address detection is off: the address was handed out for this device alone.
Result<> add_address(netlink::RouteSocket& s, int ifindex, const Ip& ip, bool with_route);
/// `gateway` nullopt: on the link. `told`: no route to the gateway itself is needed, the neighbour is known. EEXIST is success: the first of
/// two equal routes counts.
Result<> add_route(netlink::RouteSocket& s, int ifindex, const Route& r, const std::optional<IpAddress>& gateway, bool told = false);
Result<> add_neighbour(netlink::RouteSocket& s, int ifindex, const IpAddress& a, const Mac& mac);
/// Absent is success.
Result<> remove_route(netlink::RouteSocket& s, int ifindex, const IpNetwork& dst);

struct HeldAddress {
  int ifindex = 0;
  IpAddress address;
  uint8_t prefix = 128;  ///< of the 128 bits
};
struct HeldRoute {
  int ifindex = 0;
  IpNetwork dst;
  std::optional<IpAddress> gateway;
  uint32_t table = 0;
};
Result<std::vector<HeldAddress>> list_addresses(netlink::RouteSocket& s);
Result<std::vector<HeldRoute>> list_routes(netlink::RouteSocket& s);
/// The device by which `to` is reached; 0: not at all.
int device_towards(netlink::RouteSocket& s, const IpAddress& to);

}  // namespace ls::cni
