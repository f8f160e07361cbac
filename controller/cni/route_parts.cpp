#include "cni/route_parts.h"

#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <sys/socket.h>

#include <cerrno>

#include "cni/ip_math.h"

namespace ls::cni {

using netlink::RouteMessage;
using netlink::RouteSocket;

namespace {

Result<> except(Result<> r, int harmless) {
  if (!r && r.error().code.value() == harmless) return {};
  return r;
}

std::optional<IpAddress> address_from(int family, const rtattr* a) {
  if (!a) return std::nullopt;
  auto b = netlink::bytes_of(a);
  if (family == AF_INET && b.size() == 4) return IpAddress::from_v4(uint32_t(b[0]) << 24 | uint32_t(b[1]) << 16 | uint32_t(b[2]) << 8 | b[3]);
  if (family == AF_INET6 && b.size() == 16) return IpAddress::from_bytes(b.data());
  return std::nullopt;
}

}  // namespace

std::span<const uint8_t> wire_bytes(const IpAddress& a) {
  return std::span<const uint8_t>(a.bytes()).subspan(a.is_v4() ? 12 : 0);
}

int family_of(const IpAddress& a) { return a.is_v4() ? AF_INET : AF_INET6; }

Result<> add_address(RouteSocket& s, int ifindex, const Ip& ip, bool with_route) {
  ifaddrmsg h{};
  h.ifa_family = uint8_t(family_of(ip.address));
  h.ifa_prefixlen = uint8_t(own_prefix(ip.address, ip.prefix));
  h.ifa_index = uint32_t(ifindex);
  RouteMessage m(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, h);
  m.put(IFA_LOCAL, wire_bytes(ip.address)).put(IFA_ADDRESS, wire_bytes(ip.address));
  m.put32(IFA_FLAGS, (ip.address.is_v4() ? 0u : uint32_t(IFA_F_NODAD)) | (with_route ? 0u : uint32_t(IFA_F_NOPREFIXROUTE)));
  return except(s.call(m, fmt::format("add address {}/{}", ip.address.text(), h.ifa_prefixlen)), EEXIST);
}

Result<> add_route(RouteSocket& s, int ifindex, const Route& r, const std::optional<IpAddress>& gateway, bool told) {
  rtmsg h{};
  h.rtm_family = uint8_t(family_of(r.dst.address));
  h.rtm_dst_len = uint8_t(own_prefix(r.dst.address, r.dst.prefix));
  h.rtm_table = RT_TABLE_MAIN;
  h.rtm_protocol = RTPROT_BOOT;
  h.rtm_scope = r.scope ? uint8_t(*r.scope) : uint8_t(gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
  h.rtm_type = RTN_UNICAST;
  if (gateway && told) h.rtm_flags = RTNH_F_ONLINK;
  RouteMessage m(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, h);
  if (h.rtm_dst_len) m.put(RTA_DST, wire_bytes(r.dst.address));
  if (gateway) m.put(RTA_GATEWAY, wire_bytes(*gateway));
  m.put32(RTA_OIF, uint32_t(ifindex));
  if (r.table) m.put32(RTA_TABLE, *r.table);
  if (r.priority) m.put32(RTA_PRIORITY, *r.priority);
  if (r.mtu || r.advmss) {
    m.begin(RTA_METRICS);
    if (r.mtu) m.put32(RTAX_MTU, *r.mtu);
    if (r.advmss) m.put32(RTAX_ADVMSS, *r.advmss);
    m.end();
  }
  auto doing = fmt::format("add route {}{}", r.dst.text(), gateway ? " via " + gateway->text() : "");
  return except(s.call(m, doing), EEXIST);
}

Result<> add_neighbour(RouteSocket& s, int ifindex, const IpAddress& a, const Mac& mac) {
  ndmsg h{};
  h.ndm_family = uint8_t(family_of(a));
  h.ndm_ifindex = ifindex;
  h.ndm_state = NUD_PERMANENT;
  RouteMessage m(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, h);
  m.put(NDA_DST, wire_bytes(a)).put(NDA_LLADDR, mac.data(), mac.size());
  return s.call(m, fmt::format("tell that {} is {}", a.text(), to_text(mac)));
}

Result<> remove_route(RouteSocket& s, int ifindex, const IpNetwork& dst) {
  rtmsg h{};
  h.rtm_family = uint8_t(family_of(dst.address));
  h.rtm_dst_len = uint8_t(own_prefix(dst.address, dst.prefix));
  h.rtm_table = RT_TABLE_MAIN;
  h.rtm_scope = RT_SCOPE_NOWHERE;  // whatever scope it has
  RouteMessage m(RTM_DELROUTE, 0, h);
  m.put(RTA_DST, wire_bytes(dst.address)).put32(RTA_OIF, uint32_t(ifindex));
  return except(s.call(m, fmt::format("remove route {}", dst.text())), ESRCH);
}

Result<std::vector<HeldAddress>> list_addresses(RouteSocket& s) {
  std::vector<HeldAddress> out;
  RouteMessage m(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{});
  LS_TRY(s.ask(m, "list addresses", [&](const nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof(ifaddrmsg))) return;
    auto* i = static_cast<const ifaddrmsg*>(NLMSG_DATA(h));
    auto found = netlink::attributes<IFA_MAX + 1>(i + 1, h->nlmsg_len - NLMSG_LENGTH(sizeof *i));
    auto a = address_from(i->ifa_family, found[IFA_LOCAL] ? found[IFA_LOCAL] : found[IFA_ADDRESS]);
    if (a) out.push_back({int(i->ifa_index), *a, uint8_t(i->ifa_prefixlen + (a->is_v4() ? 96 : 0))});
  }));
  return out;
}

Result<std::vector<HeldRoute>> list_routes(RouteSocket& s) {
  std::vector<HeldRoute> out;
  RouteMessage m(RTM_GETROUTE, NLM_F_DUMP, rtmsg{});
  LS_TRY(s.ask(m, "list routes", [&](const nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) return;
    auto* r = static_cast<const rtmsg*>(NLMSG_DATA(h));
    auto found = netlink::attributes<RTA_MAX + 1>(r + 1, h->nlmsg_len - NLMSG_LENGTH(sizeof *r));
    bool v4 = r->rtm_family == AF_INET;
    auto dst = address_from(r->rtm_family, found[RTA_DST]);
    if (!dst && r->rtm_dst_len) return;
    HeldRoute route;
    route.dst = {dst ? *dst : v4 ? IpAddress::from_v4(0) : IpAddress(), uint8_t(r->rtm_dst_len + (v4 ? 96 : 0))};
    route.gateway = address_from(r->rtm_family, found[RTA_GATEWAY]);
    route.ifindex = int(netlink::u32_of(found[RTA_OIF]));
    route.table = found[RTA_TABLE] ? netlink::u32_of(found[RTA_TABLE]) : r->rtm_table;
    out.push_back(std::move(route));
  }));
  return out;
}

int device_towards(RouteSocket& s, const IpAddress& to) {
  rtmsg h{};
  h.rtm_family = uint8_t(family_of(to));
  h.rtm_dst_len = to.is_v4() ? 32 : 128;
  RouteMessage m(RTM_GETROUTE, 0, h);
  m.put(RTA_DST, wire_bytes(to));
  int out = 0;
  auto r = s.ask(m, "look for a route", [&](const nlmsghdr* answer) {
    if (answer->nlmsg_type != RTM_NEWROUTE || answer->nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) return;
    auto* route = static_cast<const rtmsg*>(NLMSG_DATA(answer));
    if (route->rtm_type != RTN_UNICAST) return;
    out = int(netlink::u32_of(netlink::attributes<RTA_MAX + 1>(route + 1, answer->nlmsg_len - NLMSG_LENGTH(sizeof *route))[RTA_OIF]));
  });
  return r ? out : 0;
}

}  // namespace ls::cni
