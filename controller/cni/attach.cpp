#include "cni/attach.h"

#include <fmt/format.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "cni/fields.h"
#include "cni/ip_math.h"
#include "cni/route_parts.h"

namespace ls::cni {

using netlink::RouteMessage;
using netlink::RouteSocket;

namespace {

Outcome<> io(Result<> r) {
  if (!r) return refuse(Code::kIo, r.error());
  return {};
}

void fill_random(void* to, size_t size) {
  // Never short below 256 octets (getrandom(2)); without random numbers names would collide for ever.
  if (getrandom(to, size, 0) != ssize_t(size)) std::abort();
}

std::optional<DeviceInfo> device_from(const nlmsghdr* h) {
  if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(ifinfomsg))) return std::nullopt;
  auto* i = static_cast<const ifinfomsg*>(NLMSG_DATA(h));
  auto found = netlink::attributes<IFLA_MAX + 1>(i + 1, h->nlmsg_len - NLMSG_LENGTH(sizeof *i));
  DeviceInfo d;
  d.ifindex = i->ifi_index;
  d.up = i->ifi_flags & IFF_UP;
  d.name = netlink::text_of(found[IFLA_IFNAME]);
  d.alias = netlink::text_of(found[IFLA_IFALIAS]);
  d.master = int(netlink::u32_of(found[IFLA_MASTER]));
  d.mtu = netlink::u32_of(found[IFLA_MTU]);
  if (auto* a = found[IFLA_ADDRESS]; a && RTA_PAYLOAD(a) == 6) {
    auto b = netlink::bytes_of(a);
    std::copy(b.begin(), b.end(), d.mac.begin());
    d.has_mac = true;
  }
  if (auto* l = found[IFLA_LINKINFO]) d.kind = netlink::text_of(netlink::attributes<IFLA_INFO_MAX + 1>(RTA_DATA(l), RTA_PAYLOAD(l))[IFLA_INFO_KIND]);
  return d;
}

ifinfomsg up_message(int ifindex = 0) {
  ifinfomsg i{};
  i.ifi_index = ifindex;
  i.ifi_flags = i.ifi_change = IFF_UP;
  return i;
}

/// The address with nothing beside it in its network.
Ip alone(const IpAddress& a) { return {a, 128, {}, {}}; }

/// IPv6 may be off for new devices; whoever gives the device an IPv6 address wants it on.
bool ipv6_is_off(const Result<>& r, const Ip& ip) { return !r && !ip.address.is_v4() && (r.error().code.value() == EACCES || r.error().code.value() == EPERM); }

std::string ipv6_switch(const std::string& device) { return "/proc/sys/net/ipv6/conf/" + device + "/disable_ipv6"; }

}  // namespace

Mac random_mac() {
  Mac m;
  fill_random(m.data(), m.size());
  m[0] = uint8_t((m[0] & 0xfc) | 2);
  return m;
}

Mac bridge_mac(const IpAddress& gateway) {
  auto& b = gateway.bytes();
  return {0x0a, 0x58, b[12], b[13], b[14], b[15]};
}

std::string random_device_name() {
  uint8_t r[6];
  fill_random(r, sizeof r);
  return fmt::format("ls{:02x}{:02x}{:02x}{:02x}{:02x}{:02x}", r[0], r[1], r[2], r[3], r[4], r[5]);
}

Outcome<Attacher> Attacher::open() {
  auto s = RouteSocket::open();
  if (!s) return refuse(Code::kIo, s.error());
  return Attacher(std::move(*s));
}

Outcome<std::optional<DeviceInfo>> Attacher::find_device(RouteSocket& socket, const std::string& name) {
  RouteMessage m(RTM_GETLINK, 0, ifinfomsg{});
  m.put_text(IFLA_IFNAME, name).put32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  std::optional<DeviceInfo> out;
  auto r = socket.ask(m, "look for device " + name, [&](const nlmsghdr* h) {
    if (auto d = device_from(h)) out = std::move(d);
  });
  if (!r && r.error().code.value() != ENODEV) return refuse(Code::kIo, r.error());
  return out;
}

Outcome<DeviceInfo> Attacher::ensure_bridge(const AttachPlan& p) {
  for (int attempt = 0; attempt < 2; attempt++) {
    auto there = find_device(p.bridge);
    if (!there) return tl::make_unexpected(there.error());
    if (*there) {
      auto& d = **there;
      if (d.kind != "bridge") return refuse(Code::kConfig, fmt::format("device {} is no bridge but {}", p.bridge, d.kind.empty() ? "a physical device" : d.kind));
      if (!d.up) {
        RouteMessage m(RTM_NEWLINK, 0, up_message(d.ifindex));
        LS_CNI_TRY(io(host_.call(m, "set bridge " + p.bridge + " up")));
      }
      return d;
    }
    RouteMessage m(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, up_message());
    m.put_text(IFLA_IFNAME, p.bridge).put32(IFLA_MTU, p.mtu);
    if (!p.ips.empty() && p.ips[0].gateway) {
      auto mac = bridge_mac(*p.ips[0].gateway);
      m.put(IFLA_ADDRESS, mac.data(), mac.size());
    }
    m.begin(IFLA_LINKINFO).put_text(IFLA_INFO_KIND, "bridge").end();
    // Another process may be first.
    if (auto r = host_.call(m, "make bridge " + p.bridge); !r && r.error().code.value() != EEXIST) return refuse(Code::kIo, r.error());
  }
  return refuse(Code::kTryAgain, fmt::format("bridge {} is made and removed by others", p.bridge));
}

Outcome<> Attacher::add_gateways(const AttachPlan& p, int ifindex, const std::string& device) {
  for (auto& ip : p.ips) {
    if (!ip.gateway) continue;
    auto gateway = p.mode == Mode::kDirect ? alone(*ip.gateway) : Ip{*ip.gateway, ip.prefix, {}, {}};
    auto r = add_address(host_, ifindex, gateway, true);
    if (ipv6_is_off(r, gateway)) {
      LS_CNI_TRY(set_sysctl(ipv6_switch(device), "0"));
      r = add_address(host_, ifindex, gateway, true);
    }
    LS_CNI_TRY(io(std::move(r)));
    LS_CNI_TRY(set_sysctl(gateway.address.is_v4() ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding", "1"));
  }
  return {};
}

Outcome<> Attacher::make_pair(const AttachPlan& p, int netns, int bridge_ifindex) {
  RouteMessage m(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, up_message());
  m.put_text(IFLA_IFNAME, p.host_device).put(IFLA_ADDRESS, p.host_mac.data(), p.host_mac.size()).put32(IFLA_MTU, p.mtu);
  if (bridge_ifindex) m.put32(IFLA_MASTER, uint32_t(bridge_ifindex));
  ifinfomsg peer{};  // it can only be set up once the two know each other (drivers/net/veth.c)
  m.begin(IFLA_LINKINFO).put_text(IFLA_INFO_KIND, "veth").begin(IFLA_INFO_DATA).begin(VETH_INFO_PEER).raw(&peer, sizeof peer);
  m.put_text(IFLA_IFNAME, p.ifname).put(IFLA_ADDRESS, p.mac.data(), p.mac.size()).put32(IFLA_MTU, p.mtu).put32(IFLA_NET_NS_FD, uint32_t(netns));
  m.end().end().end();
  auto r = host_.call(m, fmt::format("make devices {} and {}", p.host_device, p.ifname));
  if (!r && r.error().code.value() == EEXIST) return refuse(Code::kUnknown, fmt::format("device {} is in the container already", p.ifname));
  return io(std::move(r));
}

Outcome<> Attacher::set_up_host(const AttachPlan& p, int ifindex) {
  ifinfomsg i{};
  i.ifi_index = ifindex;
  RouteMessage m(RTM_NEWLINK, 0, i);
  m.put_text(IFLA_IFALIAS, p.alias);
  if (p.mode == Mode::kBridge && p.hairpin)
    m.begin(IFLA_LINKINFO).put_text(IFLA_INFO_SLAVE_KIND, "bridge").begin(IFLA_INFO_SLAVE_DATA).put8(IFLA_BRPORT_MODE, 1).end().end();
  LS_CNI_TRY(io(host_.call(m, "mark device " + p.host_device)));
  if (p.mode != Mode::kDirect) return {};
  LS_CNI_TRY(add_gateways(p, ifindex, p.host_device));
  for (auto& ip : p.ips) {
    LS_CNI_TRY(io(add_neighbour(host_, ifindex, ip.address, p.mac)));
    LS_CNI_TRY(io(add_route(host_, ifindex, {{ip.address, 128}, {}, {}, {}, {}, {}, {}}, std::nullopt)));
  }
  return {};
}

Outcome<> Attacher::set_up_container(const AttachPlan& p, const Netns& netns, RouteSocket& container) {
  auto device = find_device(container, p.ifname);
  if (!device) return tl::make_unexpected(device.error());
  if (!*device) return refuse(Code::kIo, fmt::format("device {} left the container again", p.ifname));
  int ifindex = (*device)->ifindex;
  bool direct = p.mode == Mode::kDirect;
  RouteMessage up(RTM_NEWLINK, 0, up_message(ifindex));
  LS_CNI_TRY(io(container.call(up, "set device " + p.ifname + " up")));
  for (auto& ip : p.ips) {
    auto r = add_address(container, ifindex, ip, !direct);
    if (ipv6_is_off(r, ip)) {
      LS_CNI_TRY(netns.write_sysctl(ipv6_switch(p.ifname), "0"));
      r = add_address(container, ifindex, ip, !direct);
    }
    LS_CNI_TRY(io(std::move(r)));
    if (!direct || !ip.gateway) continue;
    LS_CNI_TRY(io(add_neighbour(container, ifindex, *ip.gateway, p.host_mac)));
    LS_CNI_TRY(io(add_route(container, ifindex, {{*ip.gateway, 128}, {}, {}, {}, {}, {}, {}}, std::nullopt)));
    LS_CNI_TRY(io(add_route(container, ifindex, {network_of(ip.address, ip.prefix), {}, {}, {}, {}, {}, {}}, ip.gateway, true)));
  }
  for (auto& route : p.routes) {
    auto gateway = route.gateway;
    for (auto& ip : p.ips)
      if (!gateway && ip.address.is_v4() == route.dst.address.is_v4()) gateway = ip.gateway;
    LS_CNI_TRY(io(add_route(container, ifindex, route, gateway, direct)));
  }
  return {};
}

Outcome<Attached> Attacher::make(const AttachPlan& p, const Netns& netns, RouteSocket& container) {
  Attached out;
  if (p.mode == Mode::kBridge) {
    auto bridge = ensure_bridge(p);
    if (!bridge) return tl::make_unexpected(bridge.error());
    out.bridge_ifindex = bridge->ifindex;
    if (p.gateway_on_bridge) LS_CNI_TRY(add_gateways(p, bridge->ifindex, p.bridge));
  }
  LS_CNI_TRY(make_pair(p, netns.fd(), out.bridge_ifindex));
  auto device = find_device(p.host_device);
  if (!device) return tl::make_unexpected(device.error());
  if (!*device) return refuse(Code::kIo, fmt::format("device {} is gone again", p.host_device));
  out.host_ifindex = (*device)->ifindex;
  LS_CNI_TRY(set_up_host(p, out.host_ifindex));
  LS_CNI_TRY(set_up_container(p, netns, container));
  if (p.mode == Mode::kBridge) {
    auto bridge = find_device(p.bridge);
    if (!bridge) return tl::make_unexpected(bridge.error());
    if (*bridge) out.bridge_mac = (*bridge)->mac;
  }
  return out;
}

Outcome<> Attacher::remove(const std::string& host_device) {
  if (host_device.empty()) return {};
  RouteMessage m(RTM_DELLINK, 0, ifinfomsg{});
  m.put_text(IFLA_IFNAME, host_device);
  auto r = host_.call(m, "remove device " + host_device);
  if (!r && r.error().code.value() == ENODEV) return {};
  return io(std::move(r));
}

Outcome<> Attacher::stop(const std::string& host_device, const std::vector<IpAddress>& addresses) {
  auto device = find_device(host_device);
  if (!device) return tl::make_unexpected(device.error());
  if (!*device) return {};
  for (auto& a : addresses) LS_CNI_TRY(io(remove_route(host_, (*device)->ifindex, {a, 128})));
  return {};
}

Outcome<> Attacher::check(const AttachPlan& p, RouteSocket& container) {
  auto wrong = [](std::string text) { return refuse(Code::kIo, std::move(text)); };
  auto inner = find_device(container, p.ifname), outer = find_device(p.host_device);
  if (!inner) return tl::make_unexpected(inner.error());
  if (!outer) return tl::make_unexpected(outer.error());
  if (!*inner) return wrong(fmt::format("device {} is not in the container", p.ifname));
  if (!*outer) return wrong(fmt::format("device {} is not on the host", p.host_device));
  for (auto* d : {&**inner, &**outer})
    if (!d->up) return wrong(fmt::format("device {} is down", d->name));
  if ((*inner)->mac != p.mac) return wrong(fmt::format("device {} has hardware address {} instead of {}", p.ifname, to_text((*inner)->mac), to_text(p.mac)));
  if (p.mode == Mode::kBridge) {
    auto bridge = find_device(p.bridge);
    if (!bridge) return tl::make_unexpected(bridge.error());
    if (!*bridge) return wrong(fmt::format("bridge {} is gone", p.bridge));
    if (!(*bridge)->up) return wrong(fmt::format("bridge {} is down", p.bridge));
    if ((*outer)->master != (*bridge)->ifindex) return wrong(fmt::format("device {} is no port of bridge {}", p.host_device, p.bridge));
  }
  auto addresses = list_addresses(container);
  if (!addresses) return refuse(Code::kIo, addresses.error());
  for (auto& ip : p.ips) {
    bool there = std::any_of(addresses->begin(), addresses->end(),
                             [&](auto& a) { return a.ifindex == (*inner)->ifindex && a.address == ip.address && a.prefix == ip.prefix; });
    if (!there) return wrong(fmt::format("device {} does not have address {}/{}", p.ifname, ip.address.text(), own_prefix(ip.address, ip.prefix)));
  }
  auto routes = list_routes(container);
  if (!routes) return refuse(Code::kIo, routes.error());
  for (auto& want : p.routes) {
    auto gateway = want.gateway;
    for (auto& ip : p.ips)
      if (!gateway && ip.address.is_v4() == want.dst.address.is_v4()) gateway = ip.gateway;
    bool there = std::any_of(routes->begin(), routes->end(), [&](auto& r) {
      return r.ifindex == (*inner)->ifindex && r.dst == want.dst && r.gateway == gateway && r.table == want.table.value_or(RT_TABLE_MAIN);
    });
    if (!there) return wrong(fmt::format("the container has no route {}{}", want.dst.text(), gateway ? " via " + gateway->text() : ""));
  }
  if (p.mode != Mode::kDirect) return {};
  auto host_routes = list_routes(host_);
  if (!host_routes) return refuse(Code::kIo, host_routes.error());
  for (auto& ip : p.ips) {
    bool there = std::any_of(host_routes->begin(), host_routes->end(),
                             [&](auto& r) { return r.ifindex == (*outer)->ifindex && r.dst == IpNetwork{ip.address, 128}; });
    if (!there) return wrong(fmt::format("the host has no route to {}", ip.address.text()));
  }
  return {};
}

Outcome<std::vector<DeviceInfo>> Attacher::devices_of(const std::string& alias_prefix) {
  std::vector<DeviceInfo> out;
  RouteMessage m(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  m.put32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  auto r = host_.ask(m, "list devices", [&](const nlmsghdr* h) {
    auto d = device_from(h);
    if (d && d->alias.starts_with(alias_prefix)) out.push_back(std::move(*d));
  });
  if (!r) return refuse(Code::kIo, r.error());
  return out;
}

std::optional<uint32_t> Attacher::underlay_mtu(bool& v6) {
  // Documentation addresses (RFC 5737, RFC 3849): no network has a route of its own for them.
  int ifindex = device_towards(host_, IpAddress::from_v4(0xcb007101));
  v6 = false;
  if (!ifindex) {
    ifindex = device_towards(host_, *IpAddress::parse("2001:db8::1"));
    v6 = ifindex != 0;
  }
  if (!ifindex) return std::nullopt;
  ifinfomsg i{};
  i.ifi_index = ifindex;
  RouteMessage m(RTM_GETLINK, 0, i);
  m.put32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  std::optional<uint32_t> mtu;
  auto r = host_.ask(m, "look at the underlay", [&](const nlmsghdr* h) {
    if (auto d = device_from(h)) mtu = d->mtu;
  });
  return r ? mtu : std::nullopt;
}

}  // namespace ls::cni
