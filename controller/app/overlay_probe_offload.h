#pragma once
/// Transmit checksum offload of a device, by its number: read and switched as `ethtool -K DEVICE tx on|off` does.
///
/// With it off the kernel computes the checksums of what is sent through the device itself, and cuts large segments itself, before the
/// packet is put into the tunnel: the network card under it gets packets that are complete. The device keeps the setting until it is removed.
/// Thread: any. Cost: an ioctl. Errors: what was being done with the device's name; ENODEV: no such device. Switching wants CAP_NET_ADMIN.
/// Source: linux/ethtool.h, ETHTOOL_GTXCSUM and ETHTOOL_STXCSUM (all transmit checksums of the device, whatever it calls them).
#include "util/result.h"

namespace ls::overlay_probe {

Result<bool> read_tx_checksum(int ifindex);
Result<> write_tx_checksum(int ifindex, bool on);

}  // namespace ls::overlay_probe
