#pragma once
/// What loadstar-cni writes for the packet programs: host ports (ls_portmap, include/loadstar/abi/portmap.h) and, in direct mode, the
/// devices of containers (ls_ovl_local, overlay.h). The maps are the daemon's, pinned below <pin>/maps; this program only has entries.
/// Thread: the owner's. Cost: one system call an entry.
#include <optional>
#include <string>
#include <vector>

#include "cni/config.h"

namespace ls::cni {

struct PortTarget {
  std::optional<IpAddress> v4, v6;
  uint32_t bridge_ifindex = 0;
};

/// All or none. Code 103 for a host port another container has, 11 while the map is not there.
Outcome<> add_port_mappings(const std::string& pin, const std::vector<PortMapping>& mappings, const PortTarget& to);
/// Only entries that lead to these addresses; absent ones and an absent map are success.
Outcome<> remove_port_mappings(const std::string& pin, const std::vector<PortMapping>& mappings, const PortTarget& to);
/// Code 103 with the first entry that is missing or another's.
Outcome<> check_port_mappings(const std::string& pin, const std::vector<PortMapping>& mappings, const PortTarget& to);

struct LocalDevice {
  uint32_t ifindex = 0;
  Mac mac{}, gateway_mac{};
};
/// The map is the daemon's to make; without it packets go by the stack and this is success.
Outcome<> add_local_devices(const std::string& pin, const std::vector<IpAddress>& addresses, const LocalDevice& d);
Outcome<> remove_local_devices(const std::string& pin, const std::vector<IpAddress>& addresses);
/// Code 5 when the map is there and an address is not, or leads elsewhere.
Outcome<> check_local_devices(const std::string& pin, const std::vector<IpAddress>& addresses, const LocalDevice& d);

/// The largest packet inside the tunnel, as the daemon has it in ls_ovl_conf; nullopt: no overlay is set up, the field is 0.
std::optional<uint32_t> tunnel_mtu(const std::string& pin);
/// False: the daemon attaches its programs to devices of this kind, and this one has none.
bool programs_attached(const std::string& pin, int ifindex);

}  // namespace ls::cni
