#pragma once
/// A VXLAN device: made, read, changed in place as far as the kernel can, removed. Thread: any; each call opens its own socket.
/// Cost: a request each. No product knowledge.
/// The kernel changes MAC, MTU, learning, local address and flags of a device that is up; what cannot be changed are its number, port,
/// and whether it takes the other end from each packet's metadata.
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "util/address.h"
#include "util/result.h"

namespace ls::netlink {

struct Vxlan {
  std::string name;
  int ifindex = 0;
  std::string kind;  ///< "vxlan", or what else has the name
  std::string alias;
  bool metadata = false;  ///< the other end comes from each packet; then there is no vni
  uint32_t vni = 0;
  uint16_t udp_port = 0;
  bool learning = true;
  std::optional<IpAddress> local;
  std::array<uint8_t, 6> mac{};
  uint32_t mtu = 0;  ///< 0 when made: what the kernel takes
  bool up = false;
  bool arp = true;  ///< false: neighbours are not asked for
};

/// nullopt: there is no device of that name.
Result<std::optional<Vxlan>> read_vxlan(const std::string& name);
/// Makes it, with everything but `alias` and `up`, which follow in a second request. UDP checksums: none are sent over IPv4.
Result<int> make_vxlan(const Vxlan& wanted);
/// Changes MAC, MTU, alias, up, arp, learning and local address where they differ from `now`. How many did.
Result<int> change_vxlan(const Vxlan& now, const Vxlan& wanted);
/// Absent is success.
Result<> remove_device(int ifindex);

}  // namespace ls::netlink
