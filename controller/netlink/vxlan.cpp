#include "netlink/vxlan.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include <cerrno>
#include <cstring>

#include "netlink/rtnetlink.h"
#include "netlink/transaction.h"

namespace ls::netlink {
namespace {

std::string text_of(nlattr* a) { return std::string(nla_get_string(a), strnlen(nla_get_string(a), size_t(nla_len(a)))); }

/// All vxlan attributes that are read here are older than our headers' last one; newer ones are skipped.
void read_data(nlattr* data, Vxlan& v) {
  nlattr* tb[IFLA_VXLAN_MAX + 1];
  if (nla_parse_nested(tb, IFLA_VXLAN_MAX, data, nullptr) < 0) return;
  if (tb[IFLA_VXLAN_ID]) v.vni = nla_get_u32(tb[IFLA_VXLAN_ID]);
  if (tb[IFLA_VXLAN_PORT]) v.udp_port = ntohs(nla_get_u16(tb[IFLA_VXLAN_PORT]));
  v.learning = tb[IFLA_VXLAN_LEARNING] && nla_get_u8(tb[IFLA_VXLAN_LEARNING]);
  v.metadata = tb[IFLA_VXLAN_COLLECT_METADATA] && nla_get_u8(tb[IFLA_VXLAN_COLLECT_METADATA]);
  if (tb[IFLA_VXLAN_LOCAL]) v.local = IpAddress::from_v4(ntohl(nla_get_u32(tb[IFLA_VXLAN_LOCAL])));
}

std::optional<Vxlan> parse(nlmsghdr* h, const std::string& name) {
  if (h->nlmsg_type != RTM_NEWLINK || nlmsg_attrlen(h, sizeof(ifinfomsg)) < 0) return std::nullopt;
  auto* info = static_cast<ifinfomsg*>(nlmsg_data(h));
  nlattr* tb[IFLA_MAX + 1];
  if (info->ifi_family != AF_UNSPEC || nlmsg_parse(h, sizeof *info, tb, IFLA_MAX, nullptr) < 0) return std::nullopt;
  if (!tb[IFLA_IFNAME] || text_of(tb[IFLA_IFNAME]) != name) return std::nullopt;
  Vxlan v;
  v.name = name;
  v.ifindex = info->ifi_index;
  v.up = info->ifi_flags & IFF_UP;
  v.arp = !(info->ifi_flags & IFF_NOARP);
  if (tb[IFLA_MTU]) v.mtu = nla_get_u32(tb[IFLA_MTU]);
  if (tb[IFLA_IFALIAS]) v.alias = text_of(tb[IFLA_IFALIAS]);
  if (tb[IFLA_ADDRESS] && nla_len(tb[IFLA_ADDRESS]) == 6) std::memcpy(v.mac.data(), nla_data(tb[IFLA_ADDRESS]), 6);
  nlattr* li[IFLA_INFO_MAX + 1] = {};
  if (tb[IFLA_LINKINFO] && nla_parse_nested(li, IFLA_INFO_MAX, tb[IFLA_LINKINFO], nullptr) == 0) {
    if (li[IFLA_INFO_KIND]) v.kind = text_of(li[IFLA_INFO_KIND]);
    if (v.kind == "vxlan" && li[IFLA_INFO_DATA]) read_data(li[IFLA_INFO_DATA], v);
  }
  return v;
}

void put_local(Request& r, const IpAddress& local) { r.put(IFLA_VXLAN_LOCAL, local.bytes().data() + 12, 4); }

}  // namespace

Result<std::optional<Vxlan>> read_vxlan(const std::string& name) {
  std::optional<Vxlan> found;
  Message links(nlmsg_alloc_simple(RTM_GETLINK, NLM_F_DUMP));
  ifinfomsg header{};
  nlmsg_append(links.get(), &header, sizeof header, NLMSG_ALIGNTO);
  LS_TRY(dump(std::move(links), [&](nlmsghdr* h) {
    if (auto v = parse(h, name)) found = std::move(v);
  }));
  return found;
}

Result<int> make_vxlan(const Vxlan& w) {
  Request r(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
  r.put_text(IFLA_IFNAME, w.name).put(IFLA_ADDRESS, w.mac);
  if (w.mtu) r.put_u32(IFLA_MTU, w.mtu);
  r.begin(IFLA_LINKINFO).put_text(IFLA_INFO_KIND, "vxlan").begin(IFLA_INFO_DATA);
  if (w.metadata) {
    r.put_u8(IFLA_VXLAN_COLLECT_METADATA, 1);
  } else {
    r.put_u32(IFLA_VXLAN_ID, w.vni);
  }
  r.put_u16(IFLA_VXLAN_PORT, htons(w.udp_port)).put_u8(IFLA_VXLAN_LEARNING, w.learning).put_u8(IFLA_VXLAN_UDP_CSUM, 0);
  if (w.local) put_local(r, *w.local);
  r.end().end();
  LS_TRY(request(r, "make the device " + w.name));
  LS_ASSIGN(auto now, read_vxlan(w.name));
  if (!now) return fail(ENODEV, "find the device " + w.name + " that was just made");
  LS_ASSIGN([[maybe_unused]] int changed, change_vxlan(*now, w));
  return now->ifindex;
}

Result<int> change_vxlan(const Vxlan& now, const Vxlan& w) {
  ifinfomsg header{};
  header.ifi_index = now.ifindex;
  if (now.up != w.up) header.ifi_change |= IFF_UP;
  if (now.arp != w.arp) header.ifi_change |= IFF_NOARP;
  header.ifi_flags = (w.up ? unsigned(IFF_UP) : 0u) | (w.arp ? 0u : unsigned(IFF_NOARP));
  int changed = (now.up != w.up) + (now.arp != w.arp);
  Request r(RTM_NEWLINK, 0, header);
  if (now.mac != w.mac) r.put(IFLA_ADDRESS, w.mac), changed++;
  if (w.mtu && now.mtu != w.mtu) r.put_u32(IFLA_MTU, w.mtu), changed++;
  if (now.alias != w.alias) r.put_text(IFLA_IFALIAS, w.alias), changed++;
  bool local = w.local && now.local != w.local, learning = now.learning != w.learning;
  if (local || learning) {
    r.begin(IFLA_LINKINFO).put_text(IFLA_INFO_KIND, "vxlan").begin(IFLA_INFO_DATA);
    if (learning) r.put_u8(IFLA_VXLAN_LEARNING, w.learning), changed++;
    if (local) put_local(r, *w.local), changed++;
    r.end().end();
  }
  if (!changed) return 0;
  LS_TRY(request(r, "change the device " + w.name));
  return changed;
}

Result<> remove_device(int ifindex) {
  ifinfomsg header{};
  header.ifi_index = ifindex;
  auto r = request(Request(RTM_DELLINK, 0, header), "remove the device " + std::to_string(ifindex));
  if (!r && r.error().code.value() == ENODEV) return {};
  return r;
}

}  // namespace ls::netlink
