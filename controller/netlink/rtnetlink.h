#pragma once
/// Inside of ls_netlink: an owned libnl socket, a dump, and the parsing both readers of links share. Thread:
/// the owner's.
/// (Not named socket.h: libnl has a <netlink/socket.h>, and ours would hide it.)
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <functional>
#include <memory>
#include <optional>

#include "netlink/links.h"

namespace ls::netlink {

struct FreeSocket {
  void operator()(nl_sock* s) const { nl_socket_free(s); }
};
struct FreeMessage {
  void operator()(nl_msg* m) const { nlmsg_free(m); }
};
using Socket = std::unique_ptr<nl_sock, FreeSocket>;
using Message = std::unique_ptr<nl_msg, FreeMessage>;

/// libnl's error numbers as an Error; they are not errno values, so the text is libnl's.
tl::unexpected<Error> nl_fail(int nl_error, std::string doing);

Result<Socket> connect_route();
/// Sends `request` and hands every answer to `each` until the kernel says done. A dump during which
/// the tables changed is taken as it is: whoever needs it exact also watches.
Result<> dump(Message request, const std::function<void(nlmsghdr*)>& each);
/// nullopt for messages that are not about a device itself (the bridge code's port notifications have
/// AF_BRIDGE; a "removed" of that family means that a port left its bridge).
std::optional<Device> parse_device(nlmsghdr* message);

}  // namespace ls::netlink
