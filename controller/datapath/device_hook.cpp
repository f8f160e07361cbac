#include "datapath/device_hook.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "bpf/pin.h"

namespace ls::datapath {
namespace {

std::string marker(const std::string& pin, const ClsactMark& m) {
  return fmt::format("{}/clsact/{}-{}", pin, m.ifindex, m.device);
}

Result<> need_clsact(const std::string& pin, int ifindex, const std::string& device) {
  auto mark = marker(pin, {ifindex, bpf::pin_name(device)});
  bool known = bpf::exists(mark);
  // The mark first: dying in between leaves a mark too many, and purge removes only an empty qdisc.
  if (!known) LS_TRY(bpf::make_pin_dir(mark, 0750));
  LS_ASSIGN(bool made, bpf::make_clsact(ifindex));
  if (!made && !known) LS_TRY(bpf::remove_pin_dir(mark));
  return {};
}

bool is_at(const netlink::BpfFilter& f, const bpf::TcPlace& place) {
  return f.ingress == (place.side == bpf::TcSide::kIngress) && f.priority == place.priority && f.handle == place.handle;
}

}  // namespace

bpf::TcPlace clsact_place(int ifindex, const HookSpec& spec) {
  if (spec.is_dns()) return {ifindex, spec.side(), kDnsTcPriority, kDnsTcHandle};
  if (spec.object == ProgramObject::kOverlay) return {ifindex, spec.side(), kOverlayTcPriority, kOverlayTcHandle};
  return {ifindex, spec.side(), kTcPriority, kTcHandle};
}

bool is_overlay_place(const netlink::BpfFilter& f) {
  return f.priority == kOverlayTcPriority && f.handle == kOverlayTcHandle;
}

bool is_own_filter(const netlink::BpfFilter& f) {
  bool lb = f.priority == kTcPriority && f.handle == kTcHandle;
  bool dns = f.priority == kDnsTcPriority && f.handle == kDnsTcHandle;
  return (lb || dns || is_overlay_place(f)) && f.name.starts_with(kOwnPrefix);
}

Result<> attach_clsact(const std::string& pin, int ifindex, const std::string& device, const HookSpec& spec,
                       int program_fd) {
  LS_TRY(need_clsact(pin, ifindex, device));
  LS_ASSIGN(auto filters, netlink::list_bpf_filters(ifindex));
  auto place = clsact_place(ifindex, spec);
  bool replace = false;
  for (auto& f : filters) {
    if (!is_at(f, place)) continue;
    if (!is_own_filter(f)) {
      return fail(EBUSY, fmt::format("filter \"{}\" (program {}) has priority {} handle {}", f.name,
                                     f.program_id, f.priority, f.handle));
    }
    replace = true;
  }
  return bpf::attach_filter(place, program_fd, replace);
}

Result<int> remove_clsact_filters(const std::string& pin, int ifindex, const std::string& device,
                                  std::span<const size_t> keep) {
  int removed = 0;
  LS_ASSIGN(auto filters, netlink::list_bpf_filters(ifindex));
  for (auto& f : filters) {
    bool kept = std::any_of(keep.begin(), keep.end(),
                            [&](size_t hook) { return is_at(f, clsact_place(ifindex, kHooks[hook])); });
    if (!is_own_filter(f) || kept) continue;
    LS_TRY(bpf::detach_filter(
        {ifindex, f.ingress ? bpf::TcSide::kIngress : bpf::TcSide::kEgress, f.priority, f.handle}));
    removed++;
  }
  auto mark = marker(pin, {ifindex, bpf::pin_name(device)});
  if (!keep.empty() || !bpf::exists(mark)) return removed;
  LS_ASSIGN(size_t left, netlink::count_filters(ifindex));
  if (left == 0) LS_TRY(bpf::remove_clsact(ifindex));
  LS_TRY(bpf::remove_pin_dir(mark));
  return removed;
}

Result<std::vector<ClsactMark>> list_clsact(const std::string& pin) {
  std::vector<ClsactMark> out;
  LS_ASSIGN(auto names, bpf::list_pins(pin + "/clsact"));
  for (auto& name : names) {
    auto dash = name.find('-');
    int ifindex = 0;
    auto [end, err] = std::from_chars(name.data(), name.data() + std::min(dash, name.size()), ifindex);
    if (err == std::errc() && dash != name.npos) out.push_back({ifindex, name.substr(dash + 1)});
  }
  return out;
}

void forget_clsact(const std::string& pin, const ClsactMark& mark) {
  // A mark too many does no harm, see need_clsact; the next start tries again.
  (void)bpf::remove_pin_dir(marker(pin, mark));
}

}  // namespace ls::datapath
