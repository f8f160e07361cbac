#pragma once
/// One program on one device by clsact, for kernels without tcx, with the book-keeping that tcx links do not
/// need: whose filter is in our place, and whether the qdisc is ours to remove. The latter is remembered as a
/// folder <pin>/clsact/<ifindex>-<name>, because bpffs is the only thing here that lives exactly as long as
/// the kernel's state. Thread: control loop. Cost: netlink round trips.
#include <span>
#include <string>
#include <vector>

#include "bpf/tc_filter.h"
#include "datapath/hooks.h"
#include "netlink/filters.h"

namespace ls::datapath {

bpf::TcPlace clsact_place(int ifindex, const HookSpec& spec);
/// Ours by place and name; the name alone could be a copy somebody made by hand for a test.
bool is_own_filter(const netlink::BpfFilter& f);

/// In the place of the overlay, whoever's it is.
bool is_overlay_place(const netlink::BpfFilter& f);

/// Puts the program there, in one step in place of an older one of ours. EBUSY when a filter that is not ours
/// has the place.
Result<> attach_clsact(const std::string& pin, int ifindex, const std::string& device, const HookSpec& spec,
                       int program_fd);
/// Removes our filters except those of the hooks in `keep` (numbers in kHooks); and the qdisc, if we made it and it is
/// empty. Returns how many filters.
Result<int> remove_clsact_filters(const std::string& pin, int ifindex, const std::string& device,
                                  std::span<const size_t> keep);
/// What is remembered: qdiscs we made.
struct ClsactMark {
  int ifindex;
  std::string device;  ///< as bpf::pin_name writes it
};
Result<std::vector<ClsactMark>> list_clsact(const std::string& pin);
/// For a device that is gone, and its qdisc with it.
void forget_clsact(const std::string& pin, const ClsactMark& mark);

}  // namespace ls::datapath
