#pragma once
/// A device that only carries addresses of this machine: a dummy, or a bridge without ports where the kernel has no dummy. Thread:
/// any; each call opens its own socket. Cost: a few requests. No product knowledge.
/// A device of that name that somebody else made is adopted: missing addresses are added, nothing is taken away. Only devices that
/// carry `mark` as their alias are ever removed.
#include <span>
#include <string>
#include <string_view>

#include "util/address.h"
#include "util/result.h"

namespace ls::netlink {

struct AddressDevice {
  int ifindex = 0;
  std::string kind;       ///< "dummy", "bridge", or what somebody else made
  bool made = false;      ///< by this call
  size_t added = 0;       ///< addresses that were missing
};

/// Device up, every address there with full prefix length. Idempotent.
Result<AddressDevice> ensure_address_device(const std::string& name, std::span<const IpAddress> addresses, const std::string& mark);

/// True when there was one of ours. Needs CAP_NET_ADMIN.
Result<bool> remove_address_device(const std::string& name, const std::string& mark);

}  // namespace ls::netlink
