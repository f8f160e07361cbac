#include "cni/netns.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace ls::cni {
namespace {

tl::unexpected<Failure> io(int error, std::string doing) {
  return refuse(Code::kIo, Error{std::error_code(error, std::generic_category()), std::move(doing)});
}

/// In the namespace while it lives. Not being able to come back would do the rest of the work in the container, so that ends the process.
class Visit {
 public:
  Visit(int to, int own) : own_(own) { error_ = setns(to, CLONE_NEWNET) == 0 ? 0 : errno; }
  ~Visit() {
    if (error_ == 0 && setns(own_, CLONE_NEWNET) != 0) std::abort();
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;
  int error() const { return error_; }

 private:
  int own_, error_;
};

}  // namespace

Outcome<Netns> Netns::open(const std::string& path, bool* gone) {
  if (gone) *gone = true;
  Netns out;
  out.fd_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!out.fd_) return refuse(Code::kNamespace, fmt::format("CNI_NETNS {}: {}", path, std::strerror(errno)));
  struct statfs fs {};
  if (fstatfs(out.fd_.get(), &fs) != 0 || fs.f_type != NSFS_MAGIC) return refuse(Code::kNamespace, fmt::format("CNI_NETNS {} is no namespace", path));
  if (ioctl(out.fd_.get(), NS_GET_NSTYPE) != CLONE_NEWNET) return refuse(Code::kNamespace, fmt::format("CNI_NETNS {} is a namespace, but not of the network", path));
  out.own_.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!out.own_) return io(errno, "open the plugin's own network namespace");
  struct stat a {}, b {};
  if (fstat(out.fd_.get(), &a) != 0 || fstat(out.own_.get(), &b) != 0) return io(errno, "look at " + path);
  if (gone) *gone = false;
  if (a.st_ino == b.st_ino && a.st_dev == b.st_dev) return refuse(Code::kNamespace, fmt::format("CNI_NETNS {} is the plugin's own namespace", path));
  return out;
}

Outcome<netlink::RouteSocket> Netns::connect() const {
  Visit visit(fd_.get(), own_.get());
  if (visit.error()) return io(visit.error(), "enter the container's network namespace");
  auto s = netlink::RouteSocket::open();
  if (!s) return refuse(Code::kIo, s.error());
  return std::move(*s);
}

Outcome<> Netns::write_sysctl(const std::string& path, const std::string& value) const {
  Visit visit(fd_.get(), own_.get());
  if (visit.error()) return io(visit.error(), "enter the container's network namespace");
  return set_sysctl(path, value);
}

Outcome<> set_sysctl(const std::string& path, const std::string& value) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char have[32] = {};
  ssize_t n = fd ? read(fd.get(), have, sizeof have - 1) : -1;
  if (n < 0) return io(errno, "read " + path);
  if (std::string_view(have, size_t(n)).substr(0, value.size()) == value) return {};
  fd.reset(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || write(fd.get(), value.data(), value.size()) < 0) return io(errno, fmt::format("write {} to {}", value, path));
  return {};
}

}  // namespace ls::cni
