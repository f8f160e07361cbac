#include "app/config_overlay.h"

#include <fmt/format.h>

namespace ls {

overlay::RawPlan Config::Overlay::plan() const {
  overlay::RawPlan out;
  out.vtep_subnet = vtep_subnet;
  if (!vtep_subnet6.empty()) out.vtep_subnet6 = vtep_subnet6;
  out.vtep_mac_oui = vtep_mac_oui;
  if (vtep_mtu != 0) out.vtep_mtu = vtep_mtu;
  for (auto& n : network) out.overlays.push_back(n.values);
  return out;
}

void check_overlay_settings(const Config& c, const std::function<Where(std::string_view)>& where, const std::function<void(Problem)>& add) {
  if (c.joins_overlay() && (!c.node.address || !c.node.address->is_v4())) {
    add({where("node.address"), "node.address: an IPv4 address is wanted, by which this machine is known in the overlay and which the tunnel leaves from "
                                "(or overlay.join = false)"});
  }
  constexpr uint32_t kLeastMtu = 552;  // of overlay.vtep_mtu too
  if (c.overlay.mtu != 0 && c.overlay.mtu < kLeastMtu)
    add({where("overlay.mtu"), fmt::format("overlay.mtu: {} is below {}", c.overlay.mtu, kLeastMtu)});
  if (!c.overlay.configured()) return;
  auto plan = overlay::check_plan(c.overlay.plan());
  if (plan) return;
  auto& fault = plan.error();
  if (!fault.overlay) {
    auto name = "overlay." + (fault.key == "overlays" ? std::string("network") : fault.key);
    return add({where(name), fmt::format("{}: {}", name, fault.sentence())});
  }
  auto& network = c.overlay.network[*fault.overlay];
  auto at = network.at.find(fault.key);
  add({at == network.at.end() ? network.where : at->second, fmt::format("overlay.network[{}].{}: {}", *fault.overlay, fault.key, fault.sentence())});
}

}  // namespace ls
