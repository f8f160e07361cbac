// Which role a device has and what goes with it, and what is special about the hooks of the overlay: that they run before
// our other programs, and that the overlay is known only some time after the start.
#include <fnmatch.h>

#include <algorithm>

#include "datapath/attachments.h"
#include "datapath/device_hook.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

/// How the aliases of loadstar-cni's devices begin (cni/plugin.cpp). The kernel lets only a holder of CAP_NET_ADMIN set one.
constexpr std::string_view kCniAlias = "loadstar-cni ";

bool contains(const std::vector<std::string>& list, const std::string& s) {
  return std::find(list.begin(), list.end(), s) != list.end();
}

}  // namespace

std::optional<HookKind> Attachments::role(const netlink::Device& d) const {
  if (d.loopback) return config_.loopback ? std::optional(HookKind::kLoopback) : std::nullopt;
  if (!config_.vtep.empty() && d.name == config_.vtep) return HookKind::kVtep;
  if (contains(config_.uplinks, d.name)) return HookKind::kUplink;
  auto bridge = devices_.find(d.master);
  if (bridge != devices_.end()) {
    bool overlays = !config_.vtep.empty() && contains(config_.overlay_bridges, bridge->second.name);
    if (overlays || contains(config_.bridges, bridge->second.name)) return HookKind::kBridgePort;
  }
  bool port = d.alias.starts_with(kCniAlias) || std::any_of(config_.ports.begin(), config_.ports.end(), [&](auto& glob) {
                return fnmatch(glob.c_str(), d.name.c_str(), 0) == 0;
              });
  if (!port) return std::nullopt;
  return d.master ? HookKind::kBridgePort : HookKind::kPort;
}

/// Of the hooks of the device's kind.
bool Attachments::applies(const HookSpec& spec, const netlink::Device& d) const {
  if (spec.object != ProgramObject::kOverlay) return spec.is_dns() ? config_.dns : config_.packet;
  if (config_.vtep.empty()) return false;
  if (spec.kind == HookKind::kPort) return d.alias.starts_with(kCniAlias);
  if (spec.kind != HookKind::kBridgePort) return true;
  auto bridge = devices_.find(d.master);
  return bridge != devices_.end() && contains(config_.overlay_bridges, bridge->second.name);
}

std::map<Attachments::Key, std::string> Attachments::wanted(const netlink::Device& d) const {
  std::map<Key, std::string> out;
  auto kind = role(d);
  for (size_t i = 0; kind && i < kHooks.size(); i++) {
    if (kHooks[i].kind != *kind || !applies(kHooks[i], d)) continue;
    if ((i == kDnsXdpHook && !use_xdp(d)) || (i == kDnsUplinkHook && use_xdp(d))) continue;
    out[{i, uint64_t(d.ifindex)}] = d.name;
  }
  return out;
}

const Attachments::Entry* Attachments::first_of_others(const Key& key) const {
  auto& spec = kHooks[key.hook];
  auto order = bpf::list_tcx(int(key.target), spec.side());
  if (!order) return nullptr;
  for (uint32_t id : *order) {
    for (auto& [other, e] : entries_) {
      auto& theirs = kHooks[other.hook];
      if (other.target == key.target && theirs.attach_type == spec.attach_type && theirs.object != ProgramObject::kOverlay &&
          e.attached && e.link && e.program_id == id)
        return &e;
    }
  }
  return nullptr;
}

/// True also when the kernel does not tell.
bool Attachments::runs_first(const Key& key, const Entry& e) const {
  auto& spec = kHooks[key.hook];
  if (spec.object != ProgramObject::kOverlay) return true;
  auto* first = first_of_others(key);
  auto order = bpf::list_tcx(int(key.target), spec.side());
  if (!first || !order) return true;
  auto at = [&](uint32_t id) { return std::find(order->begin(), order->end(), id); };
  return at(e.program_id) <= at(first->program_id);
}

bool Attachments::held_device(const Key& key) const {
  if (!config_.hold_overlay || kHooks[key.hook].is_cgroup() || !devices_.contains(int(key.target))) return false;
  return std::any_of(entries_.begin(), entries_.end(), [&](auto& o) {
    return o.first.target == key.target && kHooks[o.first.hook].is_overlay() && o.second.attached;
  });
}

bool Attachments::has_held_filters(int ifindex) const {
  if (!config_.hold_overlay) return false;
  auto filters = netlink::list_bpf_filters(ifindex);
  return filters && std::any_of(filters->begin(), filters->end(),
                                [](auto& f) { return is_overlay_place(f) && is_own_filter(f); });
}

Result<> Attachments::set_overlay(std::string vtep, std::vector<std::string> bridges) {
  bool same = config_.vtep == vtep && config_.overlay_bridges == bridges && !config_.hold_overlay;
  if (same) return {};
  config_.vtep = std::move(vtep);
  config_.overlay_bridges = std::move(bridges);
  bool held = std::exchange(config_.hold_overlay, false);
  if (held) return exchange_held(&HookSpec::is_overlay);
  if (!watch_) return {};  // start() is still to come
  reconcile_all();
  return {};
}

}  // namespace ls::datapath
