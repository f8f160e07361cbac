#include "netlink/rtnetlink.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>

#include <cerrno>

namespace ls::netlink {

tl::unexpected<Error> nl_fail(int nl_error, std::string doing) {
  return fail(doing + ": " + nl_geterror(nl_error));
}

Result<Socket> connect_route() {
  Socket s(nl_socket_alloc());
  if (!s) return fail(ENOMEM, "make a netlink socket");
  if (int err = nl_connect(s.get(), NETLINK_ROUTE); err < 0) return nl_fail(err, "open rtnetlink");
  return s;
}

namespace {

struct DumpContext {
  const std::function<void(nlmsghdr*)>* each;
};

int on_valid(nl_msg* m, void* ctx) {
  (*static_cast<DumpContext*>(ctx)->each)(nlmsg_hdr(m));
  return NL_OK;
}

}  // namespace

Result<> dump(Message request, const std::function<void(nlmsghdr*)>& each) {
  LS_ASSIGN(auto s, connect_route());
  DumpContext ctx{&each};
  nl_socket_modify_cb(s.get(), NL_CB_VALID, NL_CB_CUSTOM, on_valid, &ctx);
  int err = nl_send_auto(s.get(), request.get());
  if (err >= 0) err = nl_recvmsgs_default(s.get());
  if (err == -NLE_DUMP_INTR) err = 0;
  if (err < 0) return nl_fail(err, "read from rtnetlink");
  return {};
}

std::optional<Device> parse_device(nlmsghdr* h) {
  if (nlmsg_attrlen(h, sizeof(ifinfomsg)) < 0) return std::nullopt;
  auto* info = static_cast<ifinfomsg*>(nlmsg_data(h));
  if (info->ifi_family != AF_UNSPEC) return std::nullopt;
  nlattr* tb[IFLA_MAX + 1];
  if (nlmsg_parse(h, sizeof *info, tb, IFLA_MAX, nullptr) < 0) return std::nullopt;
  Device d;
  d.ifindex = info->ifi_index;
  d.up = info->ifi_flags & IFF_UP;
  d.loopback = info->ifi_flags & IFF_LOOPBACK;
  if (tb[IFLA_IFNAME])
    d.name.assign(nla_get_string(tb[IFLA_IFNAME]),
                  strnlen(nla_get_string(tb[IFLA_IFNAME]), size_t(nla_len(tb[IFLA_IFNAME]))));
  if (tb[IFLA_IFALIAS])
    d.alias.assign(nla_get_string(tb[IFLA_IFALIAS]),
                   strnlen(nla_get_string(tb[IFLA_IFALIAS]), size_t(nla_len(tb[IFLA_IFALIAS]))));
  if (tb[IFLA_MTU]) d.mtu = nla_get_u32(tb[IFLA_MTU]);
  if (tb[IFLA_MASTER]) d.master = int(nla_get_u32(tb[IFLA_MASTER]));
  if (tb[IFLA_LINKINFO]) {
    nlattr* li[IFLA_INFO_MAX + 1];
    if (nla_parse_nested(li, IFLA_INFO_MAX, tb[IFLA_LINKINFO], nullptr) == 0 && li[IFLA_INFO_KIND]) {
      auto* kind = nla_get_string(li[IFLA_INFO_KIND]);
      d.kind.assign(kind, strnlen(kind, size_t(nla_len(li[IFLA_INFO_KIND]))));
    }
  }
  return d;
}

}  // namespace ls::netlink
