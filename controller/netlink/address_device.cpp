#include "netlink/address_device.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>

#include <algorithm>

#include "netlink/rtnetlink.h"

namespace ls::netlink {
namespace {

struct PutLink {
  void operator()(rtnl_link* l) const { rtnl_link_put(l); }
};
struct PutAddress {
  void operator()(rtnl_addr* a) const { rtnl_addr_put(a); }
};
struct PutNlAddress {
  void operator()(nl_addr* a) const { nl_addr_put(a); }
};
using Link = std::unique_ptr<rtnl_link, PutLink>;

Result<Device*> find(std::vector<Device>& all, const std::string& name) {
  auto it = std::find_if(all.begin(), all.end(), [&](auto& d) { return d.name == name; });
  return it == all.end() ? nullptr : &*it;
}

/// 0, or libnl's error.
int make(nl_sock* socket, const std::string& name, const std::string& kind) {
  Link link(rtnl_link_alloc());
  rtnl_link_set_name(link.get(), name.c_str());
  if (int e = rtnl_link_set_type(link.get(), kind.c_str()); e < 0) return e;
  return rtnl_link_add(socket, link.get(), NLM_F_CREATE | NLM_F_EXCL);
}

/// `mark`: the device is new and ours. The kernel takes no alias while it makes a device.
Result<> set_up(nl_sock* socket, int ifindex, const std::string& mark) {
  Link change(rtnl_link_alloc()), original(rtnl_link_alloc());
  rtnl_link_set_ifindex(original.get(), ifindex);
  rtnl_link_set_flags(change.get(), IFF_UP);
  if (!mark.empty()) rtnl_link_set_ifalias(change.get(), mark.c_str());
  if (int e = rtnl_link_change(socket, original.get(), change.get(), 0); e < 0) return nl_fail(e, "set the device up");
  return {};
}

Result<> add_address(nl_sock* socket, int ifindex, const IpAddress& address) {
  auto bytes = address.bytes();
  std::unique_ptr<nl_addr, PutNlAddress> local(address.is_v4() ? nl_addr_build(AF_INET, bytes.data() + 12, 4)
                                                               : nl_addr_build(AF_INET6, bytes.data(), 16));
  nl_addr_set_prefixlen(local.get(), address.is_v4() ? 32 : 128);
  std::unique_ptr<rtnl_addr, PutAddress> a(rtnl_addr_alloc());
  rtnl_addr_set_ifindex(a.get(), ifindex);
  if (int e = rtnl_addr_set_local(a.get(), local.get()); e < 0) return nl_fail(e, "set address " + address.text());
  // Nobody else has these addresses on this device, and a tentative address cannot be bound.
  if (!address.is_v4()) rtnl_addr_set_flags(a.get(), IFA_F_NODAD);
  if (int e = rtnl_addr_add(socket, a.get(), 0); e < 0 && e != -NLE_EXIST) return nl_fail(e, "add address " + address.text());
  return {};
}

}  // namespace

Result<AddressDevice> ensure_address_device(const std::string& name, std::span<const IpAddress> addresses, const std::string& mark) {
  AddressDevice out;
  LS_ASSIGN(auto all, list_devices());
  LS_ASSIGN(Device * there, find(all, name));
  LS_ASSIGN(auto socket, connect_route());
  if (!there) {
    int e = make(socket.get(), name, "dummy");
    if (e == -NLE_OPNOTSUPP) e = make(socket.get(), name, "bridge");
    if (e < 0 && e != -NLE_EXIST) return nl_fail(e, "make the device " + name);
    out.made = e == 0;
    LS_ASSIGN(all, list_devices());
    LS_ASSIGN(there, find(all, name));
    if (!there) return fail(ENODEV, "find the device " + name + " that was just made");
  }
  out.ifindex = there->ifindex;
  out.kind = there->kind;
  if (!there->up) LS_TRY(set_up(socket.get(), there->ifindex, out.made ? mark : ""));
  for (auto& a : addresses) {
    if (std::find(there->addresses.begin(), there->addresses.end(), a) != there->addresses.end()) continue;
    // An address that another device of this machine has works as well, and two would confuse.
    bool elsewhere = std::any_of(all.begin(), all.end(), [&](auto& d) {
      return std::find(d.addresses.begin(), d.addresses.end(), a) != d.addresses.end();
    });
    if (elsewhere) continue;
    LS_TRY(add_address(socket.get(), there->ifindex, a));
    out.added++;
  }
  return out;
}

Result<bool> remove_address_device(const std::string& name, const std::string& mark) {
  LS_ASSIGN(auto socket, connect_route());
  rtnl_link* found = nullptr;
  int e = rtnl_link_get_kernel(socket.get(), 0, name.c_str(), &found);
  if (e == -NLE_OBJ_NOTFOUND || e == -NLE_NODEV) return false;
  if (e < 0) return nl_fail(e, "look at the device " + name);
  Link link(found);
  const char* alias = rtnl_link_get_ifalias(link.get());
  if (!alias || mark != alias) return false;
  if (e = rtnl_link_delete(socket.get(), link.get()); e < 0) return nl_fail(e, "remove the device " + name);
  return true;
}

}  // namespace ls::netlink
