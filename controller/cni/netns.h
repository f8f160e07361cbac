#pragma once
/// The container's network namespace, as CNI_NETNS names it. Thread: the calling thread moves into it and back; one thread.
#include <string>

#include "cni/failure.h"
#include "netlink/route_socket.h"
#include "util/unique_fd.h"

namespace ls::cni {

class Netns {
 public:
  /// Code 8: nothing there, no network namespace, or the plugin's own. `gone` (if given) is set when the path leads nowhere or to
  /// something that is no namespace any more.
  static Outcome<Netns> open(const std::string& path, bool* gone = nullptr);
  int fd() const { return fd_.get(); }
  /// An rtnetlink socket that stays in the namespace.
  Outcome<netlink::RouteSocket> connect() const;
  /// Writes a file below /proc/sys as the namespace sees it.
  Outcome<> write_sysctl(const std::string& path, const std::string& value) const;

 private:
  UniqueFd fd_, own_;
};

/// For the plugin's own namespace; writes only when the value is another one.
Outcome<> set_sysctl(const std::string& path, const std::string& value);

}  // namespace ls::cni
