#include "netlink/objects.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <cstring>

#include "netlink/rtnetlink.h"

namespace ls::netlink {
namespace {

constexpr uint8_t kV4Bits = 96;

uint8_t family_of(const IpAddress& a) { return a.is_v4() ? AF_INET : AF_INET6; }
std::span<const uint8_t> octets(const IpAddress& a) {
  return std::span(a.bytes()).subspan(a.is_v4() ? 12 : 0);
}
uint8_t kernel_prefix(const IpAddress& a, uint8_t prefix) { return uint8_t(a.is_v4() ? prefix - kV4Bits : prefix); }

std::optional<IpAddress> address_in(nlattr* a, uint8_t family) {
  if (!a) return std::nullopt;
  uint8_t wide[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (family == AF_INET && nla_len(a) == 4) {
    std::memcpy(wide + 12, nla_data(a), 4);
  } else if (family == AF_INET6 && nla_len(a) == 16) {
    std::memcpy(wide, nla_data(a), 16);
  } else {
    return std::nullopt;
  }
  return IpAddress::from_bytes(wide);
}
IpAddress any_of(uint8_t family) { return family == AF_INET ? IpAddress::from_v4(0) : IpAddress(); }

bool is_link_local(const IpAddress& a) { return !a.is_v4() && a.bytes()[0] == 0xfe && (a.bytes()[1] & 0xc0) == 0x80; }

Request address_request(uint16_t type, uint16_t flags, int ifindex, const DeviceAddress& a) {
  ifaddrmsg h{};
  h.ifa_family = family_of(a.address);
  h.ifa_prefixlen = kernel_prefix(a.address, a.prefix);
  h.ifa_index = unsigned(ifindex);
  Request r(type, flags, h);
  r.put(IFA_LOCAL, octets(a.address)).put(IFA_ADDRESS, octets(a.address));
  // Nobody else can have it, and a tentative address cannot be bound.
  uint32_t more = a.address.is_v4() ? 0 : IFA_F_NODAD;
  if (!a.prefix_route) more |= IFA_F_NOPREFIXROUTE;
  if (more) r.put_u32(IFA_FLAGS, more);
  return r;
}

Request route_request(uint16_t type, uint16_t flags, int ifindex, const DeviceRoute& route) {
  rtmsg h{};
  h.rtm_family = family_of(route.to.address);
  h.rtm_dst_len = kernel_prefix(route.to.address, route.to.prefix);
  h.rtm_table = route.table < 256 ? uint8_t(route.table) : uint8_t(RT_TABLE_UNSPEC);
  h.rtm_protocol = route.protocol;
  h.rtm_scope = route.via || !route.to.address.is_v4() ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  h.rtm_type = RTN_UNICAST;
  if (route.onlink) h.rtm_flags |= RTNH_F_ONLINK;
  Request r(type, flags, h);
  r.put(RTA_DST, octets(route.to.address)).put_u32(RTA_OIF, uint32_t(ifindex)).put_u32(RTA_TABLE, route.table);
  if (route.via) r.put(RTA_GATEWAY, octets(*route.via));
  if (route.source) r.put(RTA_PREFSRC, octets(*route.source));
  return r;
}

constexpr uint32_t kLastMetric = 0xfffffffe;  // after every other route to the same network

Request unreachable_request(uint16_t type, uint16_t flags, const UnreachableRoute& route) {
  rtmsg h{};
  h.rtm_family = family_of(route.to.address);
  h.rtm_dst_len = kernel_prefix(route.to.address, route.to.prefix);
  h.rtm_table = RT_TABLE_MAIN;
  h.rtm_protocol = route.protocol;
  h.rtm_scope = RT_SCOPE_UNIVERSE;
  h.rtm_type = RTN_UNREACHABLE;
  Request r(type, flags, h);
  r.put(RTA_DST, octets(route.to.address)).put_u32(RTA_PRIORITY, kLastMetric);
  return r;
}

Request neighbour_request(uint16_t type, uint16_t flags, int ifindex, const DeviceNeighbour& n) {
  ndmsg h{};
  h.ndm_family = family_of(n.address);
  h.ndm_ifindex = ifindex;
  h.ndm_state = NUD_PERMANENT;
  Request r(type, flags, h);
  r.put(NDA_DST, octets(n.address)).put(NDA_LLADDR, n.mac);
  return r;
}

Request forwarding_request(uint16_t type, uint16_t flags, int ifindex, const ForwardingEntry& e) {
  ndmsg h{};
  h.ndm_family = AF_BRIDGE;
  h.ndm_ifindex = ifindex;
  h.ndm_state = NUD_PERMANENT | NUD_NOARP;
  h.ndm_flags = NTF_SELF;
  Request r(type, flags, h);
  r.put(NDA_LLADDR, e.mac).put(NDA_DST, octets(e.to));
  return r;
}

Request rule_request(uint16_t type, uint16_t flags, const SourceRule& rule) {
  fib_rule_hdr h{};
  h.family = family_of(rule.from.address);
  h.src_len = kernel_prefix(rule.from.address, rule.from.prefix);
  h.table = rule.table < 256 ? uint8_t(rule.table) : uint8_t(RT_TABLE_UNSPEC);
  h.action = FR_ACT_TO_TBL;
  Request r(type, flags, h);
  r.put(FRA_SRC, octets(rule.from.address)).put_u32(FRA_TABLE, rule.table);
  return r;
}

constexpr uint16_t kReplace = NLM_F_CREATE | NLM_F_REPLACE;

/// Dumps one table and gives each message of `type` with its attributes.
template <class Header, size_t Max, class Each>
Result<> read_table(int request_type, uint16_t type, uint8_t family, Each each, int ifindex = 0) {
  Message m(nlmsg_alloc_simple(request_type, NLM_F_DUMP));
  Header header{};
  if constexpr (requires { header.ndm_family; }) {
    header.ndm_family = family;
    header.ndm_ifindex = ifindex;
  } else if constexpr (requires { header.rtm_family; }) {
    header.rtm_family = family;
  } else if constexpr (requires { header.ifa_family; }) {
    header.ifa_family = family;
  } else {
    header.family = family;
  }
  nlmsg_append(m.get(), &header, sizeof header, NLMSG_ALIGNTO);
  return dump(std::move(m), [&](nlmsghdr* h) {
    nlattr* tb[Max + 1];
    if (h->nlmsg_type != type || nlmsg_attrlen(h, sizeof(Header)) < 0) return;
    if (nlmsg_parse(h, sizeof(Header), tb, int(Max), nullptr) < 0) return;
    each(*static_cast<Header*>(nlmsg_data(h)), tb);
  });
}

}  // namespace

Request put_address(int ifindex, const DeviceAddress& a) { return address_request(RTM_NEWADDR, kReplace, ifindex, a); }
Request put_route(int ifindex, const DeviceRoute& r) { return route_request(RTM_NEWROUTE, kReplace, ifindex, r); }
Request put_neighbour(int ifindex, const DeviceNeighbour& n) { return neighbour_request(RTM_NEWNEIGH, kReplace, ifindex, n); }
Request put_forwarding(int ifindex, const ForwardingEntry& e) { return forwarding_request(RTM_NEWNEIGH, kReplace, ifindex, e); }
Request add_rule(const SourceRule& r) { return rule_request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, r); }

Request remove_address(int ifindex, const DeviceAddress& a) { return address_request(RTM_DELADDR, 0, ifindex, a); }
Request remove_route(int ifindex, const DeviceRoute& r) { return route_request(RTM_DELROUTE, 0, ifindex, r); }
Request put_unreachable(const UnreachableRoute& r) { return unreachable_request(RTM_NEWROUTE, kReplace, r); }
Request remove_unreachable(const UnreachableRoute& r) { return unreachable_request(RTM_DELROUTE, 0, r); }
Request remove_neighbour(int ifindex, const DeviceNeighbour& n) { return neighbour_request(RTM_DELNEIGH, 0, ifindex, n); }
Request remove_forwarding(int ifindex, const ForwardingEntry& e) { return forwarding_request(RTM_DELNEIGH, 0, ifindex, e); }
Request remove_rule(const SourceRule& r) { return rule_request(RTM_DELRULE, 0, r); }

Result<std::vector<DeviceAddress>> list_addresses(int ifindex) {
  std::vector<DeviceAddress> out;
  LS_TRY((read_table<ifaddrmsg, IFA_MAX>(RTM_GETADDR, RTM_NEWADDR, AF_UNSPEC, [&](const ifaddrmsg& h, nlattr** tb) {
    auto address = address_in(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], h.ifa_family);
    if (int(h.ifa_index) != ifindex || !address || is_link_local(*address)) return;
    uint32_t flags = tb[IFA_FLAGS] ? nla_get_u32(tb[IFA_FLAGS]) : h.ifa_flags;
    out.push_back({*address, uint8_t(h.ifa_prefixlen + (address->is_v4() ? kV4Bits : 0)), !(flags & IFA_F_NOPREFIXROUTE)});
  })));
  return out;
}

Result<std::vector<DeviceRoute>> list_routes(int ifindex) {
  std::vector<DeviceRoute> out;
  for (uint8_t family : {uint8_t(AF_INET), uint8_t(AF_INET6)}) {
    LS_TRY((read_table<rtmsg, RTA_MAX>(RTM_GETROUTE, RTM_NEWROUTE, family, [&](const rtmsg& h, nlattr** tb) {
      if (h.rtm_type != RTN_UNICAST || h.rtm_protocol == RTPROT_KERNEL || (h.rtm_flags & RTM_F_CLONED)) return;
      if (!tb[RTA_OIF] || int(nla_get_u32(tb[RTA_OIF])) != ifindex) return;
      auto to = tb[RTA_DST] ? address_in(tb[RTA_DST], family) : any_of(family);
      if (!to) return;
      DeviceRoute r;
      r.to = {*to, uint8_t(h.rtm_dst_len + (family == AF_INET ? kV4Bits : 0))};
      r.via = address_in(tb[RTA_GATEWAY], family);
      r.source = address_in(tb[RTA_PREFSRC], family);
      r.table = tb[RTA_TABLE] ? nla_get_u32(tb[RTA_TABLE]) : h.rtm_table;
      r.protocol = h.rtm_protocol;
      r.onlink = h.rtm_flags & RTNH_F_ONLINK;
      out.push_back(r);
    })));
  }
  return out;
}

Result<std::vector<UnreachableRoute>> list_unreachable(uint8_t protocol) {
  std::vector<UnreachableRoute> out;
  for (uint8_t family : {uint8_t(AF_INET), uint8_t(AF_INET6)}) {
    LS_TRY((read_table<rtmsg, RTA_MAX>(RTM_GETROUTE, RTM_NEWROUTE, family, [&](const rtmsg& h, nlattr** tb) {
      if (h.rtm_type != RTN_UNREACHABLE || h.rtm_protocol != protocol || !tb[RTA_DST]) return;
      if (!tb[RTA_PRIORITY] || nla_get_u32(tb[RTA_PRIORITY]) != kLastMetric) return;
      auto to = address_in(tb[RTA_DST], family);
      if (to) out.push_back({{*to, uint8_t(h.rtm_dst_len + (family == AF_INET ? kV4Bits : 0))}, protocol});
    })));
  }
  return out;
}

Result<std::vector<DeviceNeighbour>> list_neighbours(int ifindex) {
  std::vector<DeviceNeighbour> out;
  LS_TRY((read_table<ndmsg, NDA_MAX>(RTM_GETNEIGH, RTM_NEWNEIGH, AF_UNSPEC, [&](const ndmsg& h, nlattr** tb) {
    auto address = address_in(tb[NDA_DST], h.ndm_family);
    if (h.ndm_ifindex != ifindex || !(h.ndm_state & NUD_PERMANENT) || !address) return;
    if (!tb[NDA_LLADDR] || nla_len(tb[NDA_LLADDR]) != 6) return;
    DeviceNeighbour n{*address, {}};
    std::memcpy(n.mac.data(), nla_data(tb[NDA_LLADDR]), 6);
    out.push_back(n);
  }, ifindex)));
  return out;
}

Result<std::vector<ForwardingEntry>> list_forwarding(int ifindex) {
  std::vector<ForwardingEntry> out;
  // The bridge family's dump takes the device from a link header; all are read and sorted out here.
  Message m(nlmsg_alloc_simple(RTM_GETNEIGH, NLM_F_DUMP));
  ifinfomsg header{};
  header.ifi_family = AF_BRIDGE;
  nlmsg_append(m.get(), &header, sizeof header, NLMSG_ALIGNTO);
  LS_TRY(dump(std::move(m), [&](nlmsghdr* h) {
    nlattr* tb[NDA_MAX + 1];
    if (h->nlmsg_type != RTM_NEWNEIGH || nlmsg_attrlen(h, sizeof(ndmsg)) < 0) return;
    if (nlmsg_parse(h, sizeof(ndmsg), tb, NDA_MAX, nullptr) < 0) return;
    auto* n = static_cast<ndmsg*>(nlmsg_data(h));
    auto to = address_in(tb[NDA_DST], AF_INET);
    if (n->ndm_family != AF_BRIDGE || n->ndm_ifindex != ifindex || !(n->ndm_flags & NTF_SELF) || !to) return;
    if (!tb[NDA_LLADDR] || nla_len(tb[NDA_LLADDR]) != 6) return;
    ForwardingEntry e{{}, *to};
    std::memcpy(e.mac.data(), nla_data(tb[NDA_LLADDR]), 6);
    out.push_back(e);
  }));
  return out;
}

Result<std::vector<SourceRule>> list_rules() {
  std::vector<SourceRule> out;
  for (uint8_t family : {uint8_t(AF_INET), uint8_t(AF_INET6)}) {
    LS_TRY((read_table<fib_rule_hdr, FRA_MAX>(RTM_GETRULE, RTM_NEWRULE, family, [&](const fib_rule_hdr& h, nlattr** tb) {
      auto from = address_in(tb[FRA_SRC], family);
      if (h.action != FR_ACT_TO_TBL || !from || tb[FRA_DST] || tb[FRA_FWMARK] || tb[FRA_IIFNAME] || tb[FRA_OIFNAME]) return;
      uint32_t table = tb[FRA_TABLE] ? nla_get_u32(tb[FRA_TABLE]) : h.table;
      out.push_back({{*from, uint8_t(h.src_len + (family == AF_INET ? kV4Bits : 0))}, table});
    })));
  }
  return out;
}

}  // namespace ls::netlink
