#pragma once
/// The driver of a network device, as "ethtool -i" prints it. Thread: any. Cost: three system calls.
#include <string>

namespace ls::netlink {

/// "mlx5_core", "virtio_net"; empty where the device is gone or says nothing.
std::string driver_of(const std::string& device);

}  // namespace ls::netlink
