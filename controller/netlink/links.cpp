#include "netlink/links.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include <map>

#include "netlink/rtnetlink.h"

namespace ls::netlink {
namespace {

void add_address(nlmsghdr* h, std::map<int, Device>& devices) {
  if (nlmsg_attrlen(h, sizeof(ifaddrmsg)) < 0) return;
  auto* info = static_cast<ifaddrmsg*>(nlmsg_data(h));
  nlattr* tb[IFA_MAX + 1];
  if (nlmsg_parse(h, sizeof *info, tb, IFA_MAX, nullptr) < 0) return;
  // On point-to-point links IFA_ADDRESS is the other end and IFA_LOCAL ours; IPv6 without a peer has only
  // IFA_ADDRESS.
  nlattr* a = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
  auto it = devices.find(int(info->ifa_index));
  if (!a || it == devices.end()) return;
  auto* bytes = static_cast<const uint8_t*>(nla_data(a));
  if (info->ifa_family == AF_INET && nla_len(a) == 4) {
    it->second.addresses.push_back(IpAddress::from_v4(uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 |
                                                      uint32_t(bytes[2]) << 8 | bytes[3]));
  } else if (info->ifa_family == AF_INET6 && nla_len(a) == 16) {
    it->second.addresses.push_back(IpAddress::from_bytes(bytes));
  }
}

}  // namespace

Result<std::vector<Device>> list_devices() {
  std::map<int, Device> found;
  Message links(nlmsg_alloc_simple(RTM_GETLINK, NLM_F_DUMP));
  ifinfomsg link_header{};
  nlmsg_append(links.get(), &link_header, sizeof link_header, NLMSG_ALIGNTO);
  LS_TRY(dump(std::move(links), [&](nlmsghdr* h) {
    if (h->nlmsg_type != RTM_NEWLINK) return;
    if (auto d = parse_device(h)) found[d->ifindex] = std::move(*d);
  }));
  Message addresses(nlmsg_alloc_simple(RTM_GETADDR, NLM_F_DUMP));
  ifaddrmsg address_header{};
  nlmsg_append(addresses.get(), &address_header, sizeof address_header, NLMSG_ALIGNTO);
  LS_TRY(dump(std::move(addresses), [&](nlmsghdr* h) {
    if (h->nlmsg_type == RTM_NEWADDR) add_address(h, found);
  }));
  std::vector<Device> out;
  for (auto& [index, d] : found) out.push_back(std::move(d));
  return out;
}

}  // namespace ls::netlink
