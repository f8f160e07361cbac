#include "netlink/watch.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "netlink/rtnetlink.h"

namespace ls::netlink {
namespace {

/// A burst of a thousand veth pairs fits; the kernel doubles it and counts the memory only while it is used.
constexpr int kReceiveBufferBytes = 1 << 20;
constexpr size_t kDatagramBytes =
    32768;  // NLMSG_GOODSIZE is 8 KiB, dumps are 32 KiB: the largest the kernel sends

void translate(nlmsghdr* h, const std::function<void(const Event&)>& each) {
  switch (h->nlmsg_type) {
    case RTM_NEWLINK:
      if (auto d = parse_device(h)) each(DeviceChanged{std::move(*d)});
      break;
    case RTM_DELLINK:
      if (auto d = parse_device(h)) each(DeviceRemoved{d->ifindex});
      break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
      if (nlmsg_datalen(h) >= int(sizeof(ifaddrmsg))) {
        each(AddressChanged{int(static_cast<ifaddrmsg*>(nlmsg_data(h))->ifa_index)});
      }
      break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      each(RouteChanged{});
      break;
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      if (nlmsg_datalen(h) >= int(sizeof(ndmsg))) {
        each(NeighbourChanged{static_cast<ndmsg*>(nlmsg_data(h))->ndm_ifindex});
      }
      break;
    default:
      break;
  }
}

}  // namespace

struct Watch::Impl {
  Socket socket;
  std::vector<char> buffer = std::vector<char>(kDatagramBytes);
};

Watch::Watch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&&) noexcept = default;
Watch::~Watch() = default;

Result<Watch> Watch::open() {
  auto impl = std::make_unique<Impl>();
  LS_ASSIGN(impl->socket, connect_route());
  nl_sock* s = impl->socket.get();
  for (int group : {RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR,
                    RTNLGRP_IPV6_IFADDR}) {
    if (int err = nl_socket_add_membership(s, group); err < 0) return nl_fail(err, "watch rtnetlink");
  }
  if (int err = nl_socket_set_nonblocking(s); err < 0) return nl_fail(err, "watch rtnetlink");
  int bytes = kReceiveBufferBytes;
  // Past the limit of net.core.rmem_max with CAP_NET_ADMIN; without it the plain request is cut to the limit,
  // which is fine.
  if (setsockopt(nl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(nl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  return Watch(std::move(impl));
}

int Watch::fd() const {
  return nl_socket_get_fd(impl_->socket.get());
}

Result<> Watch::drain(const std::function<void(const Event&)>& each) {
  for (;;) {
    // Not nl_recv: it turns ENOBUFS, which is ordinary here, into "out of memory".
    sockaddr_nl from{};
    iovec iov{impl_->buffer.data(), impl_->buffer.size()};
    msghdr msg{};
    msg.msg_name = &from;
    msg.msg_namelen = sizeof from;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    ssize_t n = recvmsg(fd(), &msg, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
      if (errno != ENOBUFS) return fail(errno, "read rtnetlink events");
      each(ResyncNeeded{});
      continue;
    }
    if (from.nl_pid != 0) continue;  // only the kernel is believed
    if (msg.msg_flags & MSG_TRUNC) {
      each(ResyncNeeded{});
      continue;
    }
    int left = int(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(impl_->buffer.data()); nlmsg_ok(h, left);
         h = nlmsg_next(h, &left)) {
      translate(h, each);
    }
  }
}

}  // namespace ls::netlink
