#pragma once
/// Real BPF maps for unit tests, without programs, pins or namespaces. Tests that use them have the label
/// `kernel` and skip themselves where BPF is not permitted.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>

#include "bpf/map.h"
#include "loadstar/abi/lb.h"

namespace ls::test {

inline int make_map(bpf_map_type type, const char* name, uint32_t key, uint32_t value, uint32_t entries,
                    uint32_t flags = 0) {
  LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
  return bpf_map_create(type, name, key, value, entries, &opts);
}

/// Empty when BPF maps can be made here, else why not.
inline std::string bpf_missing() {
  UniqueFd fd(make_map(BPF_MAP_TYPE_ARRAY, "ls_probe", 4, 8, 1, BPF_F_MMAPABLE));
  return fd ? "" : std::string("BPF maps cannot be made here: ") + std::strerror(errno);
}
#define LS_NEED_BPF() \
  if (auto why = ::ls::test::bpf_missing(); !why.empty()) GTEST_SKIP() << why

/// A set of maps by name, as if pinned: handles are opened again and again, the maps stay.
class MapSet {
 public:
  void add(const std::string& name, int fd) {
    ASSERT_GE(fd, 0) << name << ": " << std::strerror(errno);
    fds_[name] = UniqueFd(fd);
  }
  MapOpener opener() const {
    return [this](std::string_view name) -> Result<UniqueFd> {
      auto it = fds_.find(std::string(name));
      if (it == fds_.end()) return fail(ENOENT, "open " + std::string(name));
      return UniqueFd(fcntl(it->second.get(), F_DUPFD_CLOEXEC, 0));
    };
  }

 private:
  std::map<std::string, UniqueFd> fds_;
};

struct LbSizes {
  uint32_t svc = 64, tab = 64, ring_blocks = 4096, be = 256;
};
/// The four maps of SvcTables and ls_be_stat.
inline void add_lb_maps(MapSet& set, LbSizes n = {}) {
  set.add("ls_svc", make_map(BPF_MAP_TYPE_HASH, "ls_svc", sizeof(ls_svc_key), sizeof(ls_svc_ref), n.svc));
  set.add("ls_svc_tab", make_map(BPF_MAP_TYPE_ARRAY, "ls_svc_tab", 4, sizeof(ls_svc), n.tab, BPF_F_MMAPABLE));
  set.add("ls_ring",
          make_map(BPF_MAP_TYPE_ARRAY, "ls_ring", 4, sizeof(ls_ring_block), n.ring_blocks, BPF_F_MMAPABLE));
  set.add("ls_be", make_map(BPF_MAP_TYPE_ARRAY, "ls_be", 4, sizeof(ls_be), n.be, BPF_F_MMAPABLE));
  set.add("ls_be_stat", make_map(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_be_stat", 4, sizeof(ls_be_stat), n.be));
}

}  // namespace ls::test
