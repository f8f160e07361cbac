#pragma once
/// The network devices of this network namespace, read from rtnetlink. No product knowledge.
/// Thread: any; each call opens its own socket. Cost: two dumps, about 1 ms at a hundred devices.
#include <cstdint>
#include <string>
#include <vector>

#include "util/address.h"
#include "util/result.h"

namespace ls::netlink {

struct Device {
  int ifindex = 0;
  std::string name;
  std::string kind;  ///< "bridge", "veth", "vxlan", ...; empty for physical devices and loopback
  std::string alias;  ///< IFLA_IFALIAS: whose it is, by the word of who made it
  int master = 0;    ///< ifindex of the bridge or bond it is a port of, 0: none
  bool up = false;
  bool loopback = false;
  uint32_t mtu = 0;
  std::vector<IpAddress> addresses;  ///< only from list_devices
  bool operator==(const Device&) const = default;
};

/// Every device, with its addresses, by ifindex.
Result<std::vector<Device>> list_devices();

}  // namespace ls::netlink
