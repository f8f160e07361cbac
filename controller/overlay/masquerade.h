#pragma once
/// Masquerade only for what leaves the overlay: a container's packet to an address outside of every pool gets an address of this node.
///
/// Thread: control loop or any other, one at a time. Cost: some netlink messages, well under a millisecond; a transaction only when something is
/// wrong. Per packet: nothing on the shortcut, which passes no netfilter; else the rules are gone through for the first packet of a connection only.
/// Needs CAP_NET_ADMIN. Errors: as netlink/nft.h; nothing was changed then.
///
/// The table is `inet loadstar_overlay`, ours alone, written whole in one transaction; no other table is touched, and none of Docker's or
/// of an operator needs a place for us. Source: the pools of this node's overlays, as the original took them (spec/overlay-modules.md 8.2). Not masqueraded,
/// so that a container keeps its address: destinations in a pool or a VTEP pool, multicast, whatever leaves by the VTEP or by one of the node's own
/// bridges. New against the original: IPv6, VTEP addresses and the VTEP itself (fault 15), and destinations on the node's own bridges.
///
/// A packet to a service (VIP) has been translated by a BPF program at the container's device before it comes here: its destination is the
/// backend's, in a pool or not, and the answer is turned back by conntrack first and by the program at the device afterwards. A packet for another node's own
/// address goes through the tunnel on the shortcut and keeps its source; on the plain path it leaves by the node's own network and is masqueraded.
#include <string>
#include <vector>

#include "util/network.h"
#include "util/result.h"

namespace ls::overlay {

inline constexpr char kMasqueradeTable[] = "loadstar_overlay";

struct MasqueradeSpec {
  std::vector<IpNetwork> sources;           ///< pools of the overlays that this node has a share of
  std::vector<IpNetwork> inside;            ///< pools of all overlays, and of VTEP addresses
  std::vector<std::string> inside_devices;  ///< "vtep1024", "m-dcos", "d-dcos"; at most 15 octets each
  auto operator<=>(const MasqueradeSpec&) const = default;
};

struct MasqueradeReport {
  bool made = false;      ///< there was no table
  bool repaired = false;  ///< there was one that was not what is wanted: changed by somebody else, or the spec is another one
};

/// The kernel has exactly this afterwards. Without sources there is no table.
Result<MasqueradeReport> ensure_masquerade(const MasqueradeSpec&);
/// True when there was one. A kernel without nftables has none.
Result<bool> remove_masquerade();

}  // namespace ls::overlay
