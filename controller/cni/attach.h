#pragma once
/// The devices, addresses and routes of one container, by rtnetlink. No child process, no netfilter.
///
/// Bridge mode: a bridge with the gateway's address, the host's end of a veth pair as its port (hairpin on), the container's end with
/// its address and routes. Direct mode: no bridge; the host's end has the gateway's address alone, the host a route to the container, and
/// the container sends everything, also to its neighbours of the same half, to its gateway, whose hardware address it is told.
///
/// Thread: the owner's. Cost: about ten requests. Errors: code 5 with what the kernel said. What make() did before it failed, remove() undoes.
#include <string>
#include <vector>

#include "cni/config.h"
#include "cni/mac.h"
#include "cni/netns.h"
#include "cni/result.h"

namespace ls::cni {

struct AttachPlan {
  Mode mode = Mode::kBridge;
  std::string ifname, host_device, bridge;
  Mac mac{}, host_mac{};
  uint32_t mtu = 1450;
  bool hairpin = true, gateway_on_bridge = true;
  std::vector<Ip> ips;        ///< each with its gateway
  std::vector<Route> routes;  ///< without gateway: by the gateway of the family
  std::string alias;          ///< of the host's device: whose it is
};

struct Attached {
  int host_ifindex = 0, bridge_ifindex = 0;
  Mac bridge_mac{};
};

struct DeviceInfo {
  int ifindex = 0, master = 0;
  std::string name, kind, alias;
  Mac mac{};
  uint32_t mtu = 0;
  bool up = false, has_mac = false;
};

class Attacher {
 public:
  /// In the plugin's own namespace.
  static Outcome<Attacher> open();

  /// nullopt: no such device. `socket` says in which namespace.
  static Outcome<std::optional<DeviceInfo>> find_device(netlink::RouteSocket& socket, const std::string& name);
  Outcome<std::optional<DeviceInfo>> find_device(const std::string& name) { return find_device(host_, name); }

  Outcome<Attached> make(const AttachPlan& p, const Netns& netns, netlink::RouteSocket& container);
  /// Absent is success. Takes the container's end with it.
  Outcome<> remove(const std::string& host_device);
  /// Takes the routes and permanent neighbours away that lead to the container; nothing is forwarded to it any more. Absent is success.
  Outcome<> stop(const std::string& host_device, const std::vector<IpAddress>& addresses);
  /// Code 5 with the first difference.
  Outcome<> check(const AttachPlan& p, netlink::RouteSocket& container);
  /// Devices with an alias that begins so.
  Outcome<std::vector<DeviceInfo>> devices_of(const std::string& alias_prefix);
  /// MTU of the device that leads out of this machine; nullopt: no default route. `v6`: it is reached by IPv6 alone.
  std::optional<uint32_t> underlay_mtu(bool& v6);

 private:
  explicit Attacher(netlink::RouteSocket s) : host_(std::move(s)) {}
  Outcome<DeviceInfo> ensure_bridge(const AttachPlan& p);
  Outcome<> add_gateways(const AttachPlan& p, int ifindex, const std::string& device);
  Outcome<> make_pair(const AttachPlan& p, int netns, int bridge_ifindex);
  Outcome<> set_up_host(const AttachPlan& p, int ifindex);
  Outcome<> set_up_container(const AttachPlan& p, const Netns& netns, netlink::RouteSocket& container);
  netlink::RouteSocket host_;
};

/// A hardware address nobody else has: locally administered, the rest random.
Mac random_mac();
/// Of a bridge: follows from its gateway, so that it stays when ports come and go and when the bridge is made again.
Mac bridge_mac(const IpAddress& gateway);
/// "ls" and random digits.
std::string random_device_name();

}  // namespace ls::cni
