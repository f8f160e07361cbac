#pragma once
/// The sockets of listeners, opened the way a DNS server wants them. Thread: any. Ports in host order.
#include <netinet/in.h>
#include <sys/socket.h>

#include "util/address.h"
#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::dns {

/// Non-blocking, SO_REUSEPORT (one socket a worker), bound also to an address that no interface has yet
/// (IP_FREEBIND). Wildcard addresses report the address that was asked (IP_PKTINFO). Path MTU messages, which
/// anybody can forge, do not make answers disappear (IP_PMTUDISC_OMIT, Linux 3.15); answers are small enough
/// not to be fragmented.
Result<UniqueFd> open_udp(const Endpoint& at);
Result<UniqueFd> open_tcp(const Endpoint& at);  ///< listening

Result<uint16_t> local_port(int fd);
socklen_t to_sockaddr(const Endpoint& e, sockaddr_storage& out);
Endpoint from_sockaddr(const sockaddr_storage& in);

}  // namespace ls::dns
