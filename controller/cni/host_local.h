#pragma once
/// The folder in which the plugin host-local keeps its reservations: one file an address, named by it, holding the container and, in newer
/// ones, CR LF and the interface; last_reserved_ip.N and lock beside them. Thread: any.
#include <filesystem>
#include <string>
#include <vector>

#include "cni/failure.h"
#include "util/address.h"

namespace ls::cni {

struct HostLocalLease {
  IpAddress address;
  std::string container, ifname;  ///< ifname empty: written by an old one
};

struct HostLocal {
  std::vector<HostLocalLease> leases;  ///< sorted by address
  std::vector<IpAddress> last;         ///< handed out last, at most one a family
};

bool has_host_local(const std::filesystem::path& folder);
/// An absent folder has none. Files that are no reservations are passed over.
Outcome<HostLocal> read_host_local(const std::filesystem::path& folder);
/// Removes the file of an address if it is this container's.
void forget_host_local(const std::filesystem::path& folder, const IpAddress& address, const std::string& container);

}  // namespace ls::cni
