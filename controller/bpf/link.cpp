#include "bpf/link.h"

#include <bpf/bpf.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "bpf/pin.h"

namespace ls::bpf {
namespace {

constexpr uint32_t kLinkTypeCgroup = 3;  // enum bpf_link_type
constexpr uint32_t kLinkTypeXdp = 6;
constexpr uint32_t kLinkTypeTcx = 11;
constexpr uint32_t kXdpDriverMode = 1 << 2;  // XDP_FLAGS_DRV_MODE of linux/if_link.h

/// The part of struct bpf_link_info that we read; the tcx arm is newer than Debian 12's header.
struct RawInfo {
  uint32_t type, id, prog_id, pad;
  union {
    struct {
      uint64_t cgroup_id;
      uint32_t attach_type;
    } cgroup;
    struct {
      uint32_t ifindex, attach_type;
    } tcx;
    struct {
      uint32_t ifindex;
    } xdp;
  };
};
static_assert(sizeof(RawInfo) == 32);

constexpr uint32_t kBefore = 1 << 3, kRelativeIsLink = 1 << 13;  // BPF_F_BEFORE, BPF_F_LINK
constexpr uint32_t kMaxPrograms = 64;                               // BPF_MPROG_MAX of kernel/bpf/mprog.c

/// The arm of union bpf_attr for BPF_LINK_CREATE at a place of tcx; newer than Debian 12's header.
struct TcxCreate {
  uint32_t program_fd, ifindex, attach_type, flags;
  uint32_t relative_fd, pad;
  uint64_t expected_revision;
};
static_assert(sizeof(TcxCreate) == 32);

/// Raw, because libbpf 1.1 does not know the attach types of tcx.
int link_create(int program_fd, int target, int type, uint32_t flags = 0) {
  bpf_attr attr;
  std::memset(&attr, 0, sizeof attr);
  attr.link_create.prog_fd = uint32_t(program_fd);
  attr.link_create.target_fd = uint32_t(target);
  attr.link_create.attach_type = uint32_t(type);
  attr.link_create.flags = flags;
  return int(syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof attr));
}

}  // namespace

Result<Link> Link::create_tcx(int program_fd, int ifindex, TcSide side) {
  int fd = link_create(program_fd, ifindex, tcx_type(side));
  if (fd < 0) return fail(errno, "attach by tcx");
  return Link(UniqueFd(fd));
}

Result<Link> Link::create_tcx_before(int program_fd, int ifindex, TcSide side, const Link& next) {
  TcxCreate attr{};
  attr.program_fd = uint32_t(program_fd);
  attr.ifindex = uint32_t(ifindex);
  attr.attach_type = uint32_t(tcx_type(side));
  attr.flags = kBefore | kRelativeIsLink;
  attr.relative_fd = uint32_t(next.fd());
  int fd = int(syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof attr));
  if (fd < 0) return fail(errno, "attach by tcx before another program");
  return Link(UniqueFd(fd));
}

Result<std::vector<uint32_t>> list_tcx(int ifindex, TcSide side) {
  std::vector<uint32_t> ids(kMaxPrograms);
  uint32_t count = kMaxPrograms;
  if (bpf_prog_query(ifindex, bpf_attach_type(tcx_type(side)), 0, nullptr, ids.data(), &count) != 0)
    return fail(errno, "list the programs of a device");
  ids.resize(count);
  return ids;
}

Result<Link> Link::create_cgroup(int program_fd, int cgroup_fd, bpf_attach_type type) {
  int fd = link_create(program_fd, cgroup_fd, type);
  if (fd < 0) return fail(errno, "attach to the cgroup");
  return Link(UniqueFd(fd));
}

Result<Link> Link::create_xdp(int program_fd, int ifindex) {
  int fd = link_create(program_fd, ifindex, BPF_XDP, kXdpDriverMode);
  if (fd < 0) return fail(errno, "attach by native XDP");
  return Link(UniqueFd(fd));
}

Result<Link> Link::open_pinned(const std::string& path) {
  LS_ASSIGN(auto fd, bpf::open_pinned(path, PinKind::kLink));
  return Link(std::move(fd), path);
}

Result<> Link::pin(const std::string& path, mode_t mode) {
  LS_TRY(bpf::pin(fd_.get(), path, mode));
  path_ = path;
  return {};
}

Result<> Link::unpin() {
  if (!path_.empty()) LS_TRY(bpf::unpin(path_));
  path_.clear();
  return {};
}

Result<> Link::update(int program_fd) {
  if (bpf_link_update(fd_.get(), program_fd, nullptr) != 0)
    return fail(errno, "exchange the program of a link");
  return {};
}

Result<> Link::detach() {
  if (bpf_link_detach(fd_.get()) != 0) return fail(errno, "detach a link");
  return {};
}

Result<LinkInfo> Link::info() const {
  RawInfo raw;
  std::memset(&raw, 0, sizeof raw);
  uint32_t len = sizeof raw;
  if (bpf_obj_get_info_by_fd(fd_.get(), &raw, &len) != 0) return fail(errno, "read a link");
  LinkInfo out;
  out.id = raw.id;
  out.program_id = raw.prog_id;
  if (raw.type == kLinkTypeTcx) {
    out.kind = LinkInfo::Kind::kTcx;
    out.target = raw.tcx.ifindex;
    out.attach_type = raw.tcx.attach_type;
  } else if (raw.type == kLinkTypeCgroup) {
    out.kind = LinkInfo::Kind::kCgroup;
    out.target = raw.cgroup.cgroup_id;
    out.attach_type = raw.cgroup.attach_type;
  } else if (raw.type == kLinkTypeXdp) {
    out.kind = LinkInfo::Kind::kXdp;
    out.target = raw.xdp.ifindex;
    out.attach_type = BPF_XDP;
  }
  return out;
}

}  // namespace ls::bpf
