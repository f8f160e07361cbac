#pragma once
/// BPF filters in clsact qdiscs, with the name their owner gave them: libbpf's query tells only the program's
/// number, and opening a program by number needs CAP_SYS_ADMIN. Thread: any. Cost: a dump. No product
/// knowledge.
#include <cstdint>
#include <string>
#include <vector>

#include "util/result.h"

namespace ls::netlink {

struct BpfFilter {
  int ifindex = 0;
  bool ingress = true;
  uint32_t priority = 0;
  uint32_t handle = 0;
  uint32_t program_id = 0;
  std::string name;  ///< TCA_BPF_NAME, libbpf writes "<program>:[<id>]"
};

/// Both sides of one device; a device without clsact, or one that is gone, has none.
Result<std::vector<BpfFilter>> list_bpf_filters(int ifindex);
/// Number of filters of any kind in both sides of a device's clsact.
Result<size_t> count_filters(int ifindex);

}  // namespace ls::netlink
