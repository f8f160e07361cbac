#pragma once
/// The cgroup v2 group whose sockets we serve, and who else has programs in the way.
///
/// A program attached without BPF_F_ALLOW_MULTI at the group or above it excludes ours: the kernel refuses
/// (EPERM), and where the other one allowed to be overridden, ours would silently switch it off for the whole
/// group (kernel/bpf/cgroup.c, compute_effective_progs). Neither is for us to do: we look first, and say
/// whose program it is. Thread: control loop. Cost: a system call a level and hook.
#include <linux/bpf.h>

#include <cstdint>
#include <string>

#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::datapath {

class CgroupGroup {
 public:
  CgroupGroup() = default;
  /// ENOTSUP with a hint where the cgroup2 mount is when `path` is not in one.
  static Result<CgroupGroup> open(const std::string& path);
  /// EBUSY, naming the program and the folder it is attached to, when ours must not be attached for `type`.
  Result<> look(bpf_attach_type type) const;
  /// False when the folder was removed, or removed and made again: the name then means another group.
  bool is_current() const;
  int fd() const { return fd_.get(); }
  uint64_t id() const { return id_; }  ///< as bpf_link_info shows it
  const std::string& path() const { return path_; }

 private:
  UniqueFd fd_;
  uint64_t id_ = 0;
  std::string path_;
};

}  // namespace ls::datapath
