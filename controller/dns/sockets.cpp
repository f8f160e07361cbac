#include "dns/sockets.h"

#include <cerrno>
#include <cstring>

namespace ls::dns {
namespace {

// Octets, of which the kernel grants double and charges 768 and more a datagram: what arrives in the second or two that a worker
// is not scheduled on an overloaded machine. Clients wait longer than that.
constexpr int kReceiveBuffer = 4 << 20;
constexpr int kSendBuffer = 1 << 20;
constexpr int kBacklog = 512;

struct Option {
  int level, name, value;
  const char* doing;
};

Result<UniqueFd> open_bound(const Endpoint& at, int type) {
  bool v4 = at.address.is_v4();
  UniqueFd fd(socket(v4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno, "open a socket");
  auto set = [&](const Option& o) -> Result<> {
    if (setsockopt(fd.get(), o.level, o.name, &o.value, sizeof o.value) != 0) return fail(errno, o.doing);
    return {};
  };
  LS_TRY(set({SOL_SOCKET, SO_REUSEPORT, 1, "share the port between workers"}));
  if (v4) {
    LS_TRY(set({IPPROTO_IP, IP_FREEBIND, 1, "allow an address that comes later"}));
  } else {
    LS_TRY(set({IPPROTO_IPV6, IPV6_V6ONLY, 1, "keep IPv4 out of an IPv6 socket"}));
    LS_TRY(set({IPPROTO_IPV6, IPV6_FREEBIND, 1, "allow an address that comes later"}));
  }
  if (type == SOCK_STREAM) {
    LS_TRY(set({SOL_SOCKET, SO_REUSEADDR, 1, "reuse the address"}));
  } else {
    // Past net.core.rmem_max, 208 KiB as a rule, with CAP_NET_ADMIN; without it cut to that.
    if (!set({SOL_SOCKET, SO_RCVBUFFORCE, kReceiveBuffer, ""}))
      LS_TRY(set({SOL_SOCKET, SO_RCVBUF, kReceiveBuffer, "size the receive buffer"}));
    if (!set({SOL_SOCKET, SO_SNDBUFFORCE, kSendBuffer, ""}))
      LS_TRY(set({SOL_SOCKET, SO_SNDBUF, kSendBuffer, "size the send buffer"}));
    if (v4)
      LS_TRY(set({IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT, "ignore path MTU messages"}));
    else
      LS_TRY(set({IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT, "ignore path MTU messages"}));
    if (at.address.is_zero() || (v4 && at.address.v4() == 0)) {
      if (v4)
        LS_TRY(set({IPPROTO_IP, IP_PKTINFO, 1, "learn the address that is asked"}));
      else
        LS_TRY(set({IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "learn the address that is asked"}));
    }
  }
  sockaddr_storage address;
  socklen_t size = to_sockaddr(at, address);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0)
    return fail(errno, "bind " + at.text());
  return fd;
}

}  // namespace

Result<UniqueFd> open_udp(const Endpoint& at) {
  return open_bound(at, SOCK_DGRAM);
}

Result<UniqueFd> open_tcp(const Endpoint& at) {
  LS_ASSIGN(UniqueFd fd, open_bound(at, SOCK_STREAM));
  if (listen(fd.get(), kBacklog) != 0) return fail(errno, "listen at " + at.text());
  return fd;
}

Result<uint16_t> local_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return fail(errno, "read a socket's port");
  return from_sockaddr(address).port;
}

socklen_t to_sockaddr(const Endpoint& e, sockaddr_storage& out) {
  std::memset(&out, 0, sizeof out);
  if (e.address.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(out);
    in.sin_family = AF_INET;
    in.sin_port = htons(e.port);
    in.sin_addr.s_addr = htonl(e.address.v4());
    return sizeof in;
  }
  auto& in6 = reinterpret_cast<sockaddr_in6&>(out);
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(e.port);
  std::memcpy(&in6.sin6_addr, e.address.bytes().data(), 16);
  return sizeof in6;
}

Endpoint from_sockaddr(const sockaddr_storage& in) {
  if (in.ss_family == AF_INET) {
    auto& v4 = reinterpret_cast<const sockaddr_in&>(in);
    return {IpAddress::from_v4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
  }
  auto& v6 = reinterpret_cast<const sockaddr_in6&>(in);
  return {IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(&v6.sin6_addr)), ntohs(v6.sin6_port)};
}

}  // namespace ls::dns
