#include "app/kernel_options.h"

#include <algorithm>

namespace ls {

datapath::Sizes sizes_of(const Config& config) {
  auto& lb = config.lb;
  auto& dns = config.dns;
  datapath::Sizes s;
  s.services = lb.services;
  s.backends = lb.backends;
  s.ring_slots = lb.ring_slots;
  s.flows = lb.flows;
  s.flows6 = lb.flows6;
  // Switched off, the tables are there all the same, but as small as they get.
  s.dns_names = dns.kernel ? dns.kernel_names : 0;
  s.dns_megabytes = dns.kernel ? dns.kernel_megabytes : 1;
  s.dns_cached = dns.kernel ? dns.kernel_cached : 0;
  // Also without an overlay: 2 MiB, and joining one later changes no map.
  s.overlay_blocks = config.overlay.kernel_blocks;
  s.overlay_nodes = config.overlay.kernel_nodes;
  return s;
}

namespace {

datapath::XdpChoice choice_of(KernelXdp k) {
  if (k == KernelXdp::kOff) return datapath::XdpChoice::kOff;
  return k == KernelXdp::kNative ? datapath::XdpChoice::kNative : datapath::XdpChoice::kAuto;
}

}  // namespace

datapath::AttachmentConfig attachments_of(const Config& config, bool tcx, std::span<const datapath::MapStory> stories) {
  auto& lb = config.lb;
  datapath::AttachmentConfig c;
  c.socket = lb.socket;
  c.cgroup = lb.cgroup;
  c.packet = lb.packet;
  c.uplinks = lb.uplinks;
  c.ports = lb.ports;
  c.bridges = lb.bridges;
  c.loopback = lb.loopback;
  c.dns = config.dns.kernel;
  c.dns_xdp = choice_of(config.dns.kernel_xdp);
  c.hold_dns = c.dns && std::any_of(stories.begin(), stories.end(), [](auto& m) {
    return m.name == "ls_dns_bucket" && m.origin == datapath::MapOrigin::kRebuilt;
  });
  // The names follow from the registration; until Attachments::set_overlay() the overlay goes on as it was left.
  c.hold_overlay = config.joins_overlay();
  c.tcx = tcx;
  return c;
}

}  // namespace ls
