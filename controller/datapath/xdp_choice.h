#pragma once
/// Whether native XDP does good on a device. The drivers of real network cards run XDP before an sk_buff is made and send the
/// answer from the same buffer; elsewhere XDP is worse than tc, or loses packets:
///
///   veth                      XDP_TX goes to the peer, which drops it unless it has NAPI, that is XDP of its own or GRO; and an
///                             XDP program makes every packet of the device a copy
///   bond, team and their      the master hands XDP_TX on as a redirect, which members without queues for that drop; a
///   members, bridge ports     program at a member does not see what it means for the master
///   tun, tap                  packets come from a process and are copied for XDP
///   bridge, vlan, macvlan,    no native XDP in the driver
///   vxlan, dummy, ...
///   virtio_net                XDP turns the receive offloads (large segments, checksums) of the whole device off, which
///                             costs TCP more than DNS gains; the queues are set up anew
/// Thread: any, pure. The kernel tells none of this beforehand.
#include <string>
#include <string_view>

#include "netlink/links.h"

namespace ls::datapath {

/// Why not; empty when nothing speaks against it. `driver` as ethtool names it, empty where unknown.
std::string xdp_objection(const netlink::Device& device, std::string_view driver);

}  // namespace ls::datapath
