#pragma once
/// OverlayDevice: the one VXLAN device of the overlay, its addresses and its fixed routes; nothing here grows with the number of nodes.
///
///   device     collect-metadata mode, UDP 64000, learning off, no ARP, local address, MAC and MTU as wanted
///   addresses  the VTEP's, with the pool's prefix length and without a prefix route
///   gateways   one permanent neighbour a family, an address that no packet ever carries: every route leads through it, so that the kernel
///              keeps one neighbour and not one for each container that is talked to. overlay_tc writes the real MAC.
///   routes     each pool by that gateway, with the VTEP address as source; also the VTEP pools
///   ends       each pool once more as unreachable, after all other routes: without the device its packets never follow the default route
///
/// Own objects are told by the device, the routes by their protocol number besides.
/// Thread: control loop. Cost: five dumps and one transaction when nothing is wrong. Errors: what was being done, with the device's name.
/// A device of the same name that cannot be changed into this one (the static one of Navstar) is replaced: the overlay is cut for
/// that moment, once.
#include <string>
#include <vector>

#include "overlay/model.h"
#include "util/result.h"

namespace ls::datapath {

/// VXLAN over IPv4: outer IP 20, UDP 8, VXLAN 8, inner Ethernet 14 octets.
inline constexpr uint32_t kOverlayOverhead = 50;
/// Of our routes; none of the numbers in /etc/iproute2/rt_protos or the kernel's headers.
inline constexpr uint8_t kOverlayRouteProtocol = 76;

struct OverlayDeviceSpec {
  std::string name = overlay::kVtepName;
  IpAddress node;  ///< local address of the tunnel
  overlay::Vtep vtep;
  uint32_t mtu = 1420;
  std::vector<IpNetwork> pools;  ///< VTEP pools and overlays

  bool has_v6() const;
};
/// For one node of a plan. The MTU is the plan's, else that of the underlay less kOverlayOverhead.
OverlayDeviceSpec device_spec(const overlay::Plan& plan, const overlay::Allocation& self, uint32_t underlay_mtu);

struct OverlayDeviceReport {
  int ifindex = 0;
  bool made = false;                  ///< new, or in place of one that could not be changed
  std::vector<std::string> repaired;  ///< what differed, a word each; of a new device everything
};

/// Idempotent: brings everything about, repairs what was taken away or changed, removes addresses and routes that are not wanted any more.
Result<OverlayDeviceReport> ensure_overlay_device(const OverlayDeviceSpec& spec);

/// Only a device that we made. True when there was one.
Result<bool> remove_overlay_device(const std::string& name = overlay::kVtepName);

}  // namespace ls::datapath
