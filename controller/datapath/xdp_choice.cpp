#include "datapath/xdp_choice.h"

#include <fmt/format.h>

namespace ls::datapath {

std::string xdp_objection(const netlink::Device& d, std::string_view driver) {
  // Devices with a kind are made by software, all of them.
  if (d.loopback) return "loopback has none";
  if (d.kind == "veth") return "veth drops what XDP sends unless its peer has an XDP program";
  if (!d.kind.empty()) return fmt::format("{} is no network card", d.kind);
  if (driver == "tun") return "tun is no network card";
  if (d.master != 0) return "the device is a member of another, whose packets these are";
  if (driver == "virtio_net") return "virtio_net gives up its receive offloads for it";
  return {};
}

}  // namespace ls::datapath
