#pragma once
/// The old way to put a program on a device, for kernels without tcx (before 6.6): a direct-action filter in
/// a clsact qdisc. Such a filter lives until it is deleted or the device goes; it needs no pin. Who owns a
/// filter is told by its name, which netlink/filters.h reads; the calls here trust their caller. Thread: any.
/// Cost: a netlink round trip each. Errors: errno of the kernel.
#include <cstdint>
#include <optional>

#include "bpf/link.h"
#include "util/result.h"

namespace ls::bpf {

struct TcPlace {
  int ifindex = 0;
  TcSide side = TcSide::kIngress;
  uint32_t priority = 0;
  uint32_t handle = 0;
};

/// True when the qdisc was made by this call, false when there was one.
Result<bool> make_clsact(int ifindex);
/// Removes the qdisc with every filter in it. Absent is success.
Result<> remove_clsact(int ifindex);
/// With `replace` the kernel exchanges the program of an existing filter in one step; without, EEXIST.
Result<> attach_filter(const TcPlace& place, int program_fd, bool replace);
/// Program id, nullopt when there is no filter at that place.
Result<std::optional<uint32_t>> query_filter(const TcPlace& place);
/// Absent is success.
Result<> detach_filter(const TcPlace& place);

}  // namespace ls::bpf
