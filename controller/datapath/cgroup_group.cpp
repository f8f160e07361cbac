#include "datapath/cgroup_group.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <cerrno>
#include <climits>
#include <fstream>
#include <sstream>

#include "bpf/object.h"

namespace ls::datapath {
namespace {

bool in_cgroup2(int fd) {
  struct statfs fs {};
  return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

std::string cgroup2_hint() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, where, type;
    if (words >> device >> where >> type && type == "cgroup2") return "; it is mounted at " + where;
  }
  return "; no cgroup2 is mounted";
}

std::string folder_of(int fd) {
  char path[PATH_MAX];
  ssize_t n = readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path, sizeof path);
  return n > 0 ? std::string(path, size_t(n)) : "?";
}

/// Names need CAP_SYS_ADMIN (the kernel opens foreign programs for nobody else); the number always works.
std::string describe(uint32_t id) {
  auto info = bpf::program_info_by_id(id);
  if (!info) return fmt::format("program {} (its name needs CAP_SYS_ADMIN: bpftool prog show id {})", id, id);
  return fmt::format("program {} \"{}\" (tag {})", id, info->name, info->tag);
}

}  // namespace

Result<CgroupGroup> CgroupGroup::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, "open the cgroup " + path);
  if (!in_cgroup2(fd.get())) return fail(ENOTSUP, path + " is not in a cgroup v2 tree" + cgroup2_hint());
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return fail(errno, "look at the cgroup " + path);
  CgroupGroup g;
  g.fd_ = std::move(fd);
  g.id_ = st.st_ino;  // kernfs on 64-bit machines: the inode number is the id
  g.path_ = path;
  return g;
}

bool CgroupGroup::is_current() const {
  struct stat st {};
  return fd_ && stat(path_.c_str(), &st) == 0 && st.st_ino == id_;
}

Result<> CgroupGroup::look(bpf_attach_type type) const {
  UniqueFd at(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3));
  ino_t before = 0;
  while (at && in_cgroup2(at.get())) {
    struct stat st {};
    if (fstat(at.get(), &st) != 0 || st.st_ino == before) break;  // ".." of a root may be itself
    before = st.st_ino;
    std::array<uint32_t, 64> ids;
    uint32_t count = ids.size(), flags = 0;
    if (bpf_prog_query(at.get(), type, 0, &flags, ids.data(), &count) != 0) {
      if (errno != ENOSPC) return fail(errno, "look for programs at " + folder_of(at.get()));
      count = ids.size();  // more than we name; so many can only be attached as multi
    }
    if (count > 0 && !(flags & BPF_F_ALLOW_MULTI)) {
      return fail(EBUSY,
                  fmt::format("{} is attached to {} {}; it must be attached with the multi flag or by link",
                              describe(ids[0]), folder_of(at.get()),
                              flags & BPF_F_ALLOW_OVERRIDE ? "and ours would switch it off" : "exclusively"));
    }
    at = UniqueFd(openat(at.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  return {};
}

}  // namespace ls::datapath
