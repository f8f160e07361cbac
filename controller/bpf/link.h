#pragma once
/// Link: move-only owner of one attachment by bpf_link. A link lives as long as a descriptor or a pin of it
/// does: dropping a Link that is pinned leaves the program attached, dropping one that is not detaches it.
/// Thread: plain value. Errors: errno of bpf(2) and what was tried. Cost: one system call each.
#include <linux/bpf.h>

#include <cstdint>
#include <string>
#include <vector>

#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::bpf {

enum class TcSide { kIngress, kEgress };

struct LinkInfo {
  enum class Kind { kTcx, kCgroup, kXdp, kOther };
  Kind kind = Kind::kOther;
  uint32_t id = 0;
  uint32_t program_id = 0;
  uint32_t attach_type = 0;  ///< enum bpf_attach_type, also the values newer than our headers
  uint64_t target =
      0;  ///< ifindex or cgroup id; 0: detached (device or group gone, or detached from outside)
  bool attached() const { return target != 0; }
};

/// Numbers of enum bpf_attach_type since kernel 6.6; Debian 12's headers are older.
inline constexpr int kTcxIngress = 46;
inline constexpr int kTcxEgress = 47;
constexpr int tcx_type(TcSide side) {
  return side == TcSide::kIngress ? kTcxIngress : kTcxEgress;
}

/// Numbers of the programs at a place of tcx, in the order they run in. EINVAL on kernels before 6.6; more than 64 at one
/// place cannot be (BPF_MPROG_MAX).
Result<std::vector<uint32_t>> list_tcx(int ifindex, TcSide side);

class Link {
 public:
  Link() = default;
  /// Appends to the device's tcx list; programs of others stay. EINVAL on kernels before 6.6.
  static Result<Link> create_tcx(int program_fd, int ifindex, TcSide side);
  /// The same directly before `next`, which is of the same place.
  static Result<Link> create_tcx_before(int program_fd, int ifindex, TcSide side, const Link& next);
  /// Runs beside other programs of the group (a link is always multi). EPERM when the group or one above it
  /// holds a program that was attached exclusively.
  static Result<Link> create_cgroup(int program_fd, int cgroup_fd, bpf_attach_type type);
  /// In the driver of the device (native XDP); never the generic one. EBUSY or EEXIST when a program of somebody else is
  /// there, EOPNOTSUPP and others as the driver likes. Some drivers set their rings up anew, which takes them off the
  /// network for a moment.
  static Result<Link> create_xdp(int program_fd, int ifindex);
  static Result<Link> open_pinned(const std::string& path);

  Result<> pin(const std::string& path, mode_t mode);
  /// Removes the name; the program stays attached while this object lives.
  Result<> unpin();
  /// Atomically runs another program at the same place; no packet meets neither or both.
  Result<> update(int program_fd);
  /// Takes the program off at once, whoever else holds the link.
  Result<> detach();
  Result<LinkInfo> info() const;

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return bool(fd_); }
  const std::string& pin_path() const { return path_; }  ///< empty: not pinned

 private:
  explicit Link(UniqueFd fd, std::string path = {}) : fd_(std::move(fd)), path_(std::move(path)) {}
  UniqueFd fd_;
  std::string path_;
};

}  // namespace ls::bpf
