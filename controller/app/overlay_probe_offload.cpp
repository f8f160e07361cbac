#include "app/overlay_probe_offload.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "util/unique_fd.h"

namespace ls::overlay_probe {
namespace {

Result<uint32_t> ethtool(int ifindex, uint32_t command, uint32_t data, const char* doing) {
  ifreq request{};
  if (ifindex <= 0 || !::if_indextoname(unsigned(ifindex), request.ifr_name))
    return fail(ENODEV, std::string(doing) + " of device number " + std::to_string(ifindex));
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno, std::string(doing) + ": open a socket");
  ethtool_value value{command, data};
  request.ifr_data = reinterpret_cast<char*>(&value);
  if (::ioctl(fd.get(), SIOCETHTOOL, &request) != 0) return fail(errno, std::string(doing) + " of " + request.ifr_name);
  return value.data;
}

}  // namespace

Result<bool> read_tx_checksum(int ifindex) {
  LS_ASSIGN(auto value, ethtool(ifindex, ETHTOOL_GTXCSUM, 0, "read the checksum offload"));
  return value != 0;
}

Result<> write_tx_checksum(int ifindex, bool on) {
  LS_TRY(ethtool(ifindex, ETHTOOL_STXCSUM, on, "switch the checksum offload"));
  LS_ASSIGN(auto now, read_tx_checksum(ifindex));
  if (now != on) return fail(EOPNOTSUPP, "switch the checksum offload of device number " + std::to_string(ifindex));
  return {};
}

}  // namespace ls::overlay_probe
