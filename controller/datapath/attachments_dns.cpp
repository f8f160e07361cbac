// What is special about the hooks that answer DNS: XDP or tc, and waiting for the tables.
#include <fmt/format.h>

#include "bpf/object.h"
#include "datapath/attachments.h"
#include "datapath/xdp_choice.h"
#include "netlink/driver.h"
#include "util/log.h"

namespace ls::datapath {

bool Attachments::use_xdp(const netlink::Device& d) const {
  if (!config_.dns || config_.dns_xdp == XdpChoice::kOff) return false;
  if (programs_.program(kHooks[kDnsXdpHook].program) < 0 || xdp_refused_.contains(d.ifindex)) return false;
  return config_.dns_xdp == XdpChoice::kNative || xdp_objection(d, netlink::driver_of(d.name)).empty();
}

std::string Attachments::xdp_note(const Key& key) const {
  if (key.hook != kDnsUplinkHook || config_.dns_xdp == XdpChoice::kOff) return {};
  std::string why;
  auto refused = xdp_refused_.find(int(key.target));
  auto d = devices_.find(int(key.target));
  if (refused != xdp_refused_.end()) {
    why = refused->second;
  } else if (programs_.program(kHooks[kDnsXdpHook].program) < 0) {
    why = programs_.load_error(ProgramObject::kDnsXdp);
  } else if (d != devices_.end()) {
    why = xdp_objection(d->second, netlink::driver_of(d->second.name));
  }
  return why.empty() ? why : fmt::format("native XDP: {}; tc instead", why);
}

void Attachments::fall_back_to_tc(const Key& key, const std::string& device, const std::string& why) {
  xdp_refused_[int(key.target)] = why;
  log::info("xdp_refused", {{"device", device}, {"why", why}, {"instead", "tc"}});
  Key tc{kDnsUplinkHook, key.target};
  auto it = entries_.find(tc);
  if (it == entries_.end() || !it->second.attached) attach(tc, device);
}

std::vector<size_t> Attachments::wanted_filters(const netlink::Device& d) const {
  std::vector<size_t> out;
  if (!config_.tcx) {
    for (auto& [key, name] : wanted(d)) {
      if (!kHooks[key.hook].is_xdp()) out.push_back(key.hook);
    }
  }
  auto kind = role(d);
  for (size_t i = 0; kind && i < kHooks.size(); i++) {
    if (kHooks[i].kind == *kind && !kHooks[i].is_xdp() && held({i, 0})) out.push_back(i);
  }
  return out;
}

Result<> Attachments::release_dns() {
  if (!config_.hold_dns) return {};
  config_.hold_dns = false;
  return exchange_held(&HookSpec::is_dns);
}

Result<> Attachments::exchange_held(bool (HookSpec::*which)() const) {
  if (!watch_) return {};  // start() is still to come
  for (auto& [key, e] : entries_) {
    if (!(kHooks[key.hook].*which)() || !e.link) continue;
    auto ours = our_program(key);
    programs_.step(fmt::format("exchange the program of {} on {}", kHooks[key.hook].name, e.device));
    auto updated = ours ? e.link.update(programs_.program(kHooks[key.hook].program))
                        : Result<>(tl::make_unexpected(std::move(ours.error())));
    if (updated) {
      e.program_id = *ours;
    } else {
      // The device may be gone, its event is on the way; else the next check tries again.
      log::warn("program_not_exchanged",
                {{"hook", kHooks[key.hook].name}, {"device", e.device}, {"error", updated.error().text()}});
    }
  }
  reconcile_all();
  sweep_clsact();
  return {};
}

}  // namespace ls::datapath
