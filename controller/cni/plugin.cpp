#include "cni/plugin.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "cni/deadline.h"
#include "cni/delegate.h"
#include "cni/fields.h"
#include "cni/overlay_state.h"
#include "cni/plugin_parts.h"
#include "cni/port_maps.h"

namespace ls::cni {

Outcome<> resolve_overlay(Config& c) {
  if (c.overlay.empty()) {
    if (c.bridge.empty()) c.bridge = "cni0";  // the reference plugin's own default
  } else {
    auto half = read_overlay_half(c.overlay_state, c.overlay);
    if (!half) return tl::make_unexpected(half.error());
    c.ranges = std::move(half->ranges);
    if (c.bridge.empty()) c.bridge = half->bridge;
  }
  if (!c.default_route) return {};
  for (auto& r : c.ranges) {
    bool v4 = r.network.address.is_v4();
    IpNetwork everything{v4 ? IpAddress::from_v4(0) : IpAddress(), uint8_t(v4 ? 96 : 0)};
    if (std::none_of(c.routes.begin(), c.routes.end(), [&](auto& have) { return have.dst == everything; }))
      c.routes.push_back({everything, r.gateway, {}, {}, {}, {}, {}});
  }
  return {};
}

Outcome<uint32_t> choose_mtu(const Config& c, Attacher& attacher) {
  // VXLAN over IPv4 takes 50 octets of the underlay's packet, over IPv6 70 (spec/cni.md, 4).
  constexpr uint32_t kOver4 = 50, kOver6 = 70, kDefault = 1450;
  std::optional<uint32_t> limit = tunnel_mtu(c.pin);
  if (!limit) {
    bool v6 = false;
    auto underlay = attacher.underlay_mtu(v6);
    uint32_t overhead = v6 ? kOver6 : kOver4;
    if (underlay && *underlay > overhead + kMinMtu) limit = *underlay - overhead;
  }
  uint32_t mtu = c.mtu.value_or(limit.value_or(kDefault));
  if (limit) mtu = std::min(mtu, *limit);
  bool v6 = std::any_of(c.ranges.begin(), c.ranges.end(), [](auto& r) { return !r.network.address.is_v4(); });
  if (v6 && mtu < kMinMtu6) return refuse(Code::kConfig, fmt::format("mtu {} is below {}, the least for IPv6", mtu, kMinMtu6));
  return std::min(mtu, kMaxMtu);
}

std::string alias_prefix(const std::string& network) { return fmt::format("loadstar-cni {} ", network); }

std::string device_alias(const std::string& network, const std::string& container, const std::string& ifname) {
  return (alias_prefix(network) + container + " " + ifname).substr(0, 255);  // IFALIASZ - 1
}

Outcome<std::optional<Leases>> open_existing_leases(const Config& c) { return Leases::open({c.data_dir, c.network, false, 0}); }

Outcome<Leases> open_leases(const Config& c) {
  auto leases = Leases::open({c.data_dir, c.network, true, 0});
  if (!leases) return tl::make_unexpected(leases.error());
  return std::move(**leases);
}

namespace {

/// Of a container that the reference plugins attached: only its own end is known.
Outcome<> remove_inner(const std::string& netns, const std::string& ifname) {
  if (netns.empty() || ifname.empty()) return {};
  auto ns = Netns::open(netns);
  if (!ns) return {};  // gone, and the device with it
  auto container = ns->connect();
  if (!container) return tl::make_unexpected(container.error());
  auto device = Attacher::find_device(*container, ifname);
  if (!device) return tl::make_unexpected(device.error());
  if (!*device || (*device)->kind != "veth") return {};
  ifinfomsg i{};
  i.ifi_index = (*device)->ifindex;
  netlink::RouteMessage m(RTM_DELLINK, 0, i);
  auto r = container->call(m, "remove device " + ifname);
  if (!r && r.error().code.value() != ENODEV) return refuse(Code::kIo, r.error());
  return {};
}

/// Without a record: a device that is marked as this attachment's is ours, one that only has the name in the container may be anybody's.
Outcome<> remove_marked(Attacher& attacher, const std::string& alias) {
  auto devices = attacher.devices_of(alias);
  if (!devices) return tl::make_unexpected(devices.error());
  for (auto& d : *devices)
    if (d.alias == alias) LS_CNI_TRY(attacher.remove(d.name));
  return {};
}

}  // namespace

Outcome<> tear_down(const Config& c, const Attachment& a, const std::string& netns) {
  std::vector<IpAddress> addresses;
  for (auto& address : {a.v4, a.v6})
    if (address) addresses.push_back(*address);
  auto attacher = Attacher::open();
  if (!attacher) return tl::make_unexpected(attacher.error());
  if (a.mode == Mode::kDirect) {
    LS_CNI_TRY(remove_local_devices(c.pin, addresses));
    LS_CNI_TRY(attacher->stop(a.host_device, addresses));
  }
  LS_CNI_TRY(remove_port_mappings(c.pin, a.mappings, {a.v4, a.v6, 0}));
  if (a.mode != Mode::kChained) {
    LS_CNI_TRY(attacher->remove(a.host_device));
    if (a.imported) LS_CNI_TRY(remove_inner(netns, a.ifname));
    else if (a.host_device.empty()) LS_CNI_TRY(remove_marked(*attacher, device_alias(c.network, a.container, a.ifname)));
  }
  auto leases = open_existing_leases(c);
  if (!leases) return tl::make_unexpected(leases.error());
  if (!*leases) return {};
  auto released = (*leases)->release(a.container, a.ifname);
  if (!released) return tl::make_unexpected(released.error());
  return {};
}

Outcome<std::string> run_request(const Request& q, std::string_view program) {
  if (q.command == Command::kVersion) return version_document(q.asked_version);
  auto config = parse_config(q, program);
  if (!config) return tl::make_unexpected(config.error());
  Deadline::set(config->timeout);
  auto silent = [](Outcome<> r) -> Outcome<std::string> {
    if (!r) return tl::make_unexpected(std::move(r.error()));
    return std::string();
  };
  switch (q.command) {
    case Command::kAdd: return run_add(q, *config);
    case Command::kDel: return silent(run_del(q, *config));
    case Command::kCheck: return silent(run_check(q, *config));
    case Command::kGc: return silent(run_gc(q, *config));
    case Command::kStatus: return silent(run_status(q, *config));
    case Command::kVersion: break;
  }
  return std::string();
}

int run_plugin(const Environment& e, std::string_view input, std::string_view program, std::string& out) {
  auto q = parse_request(e, input);
  if (!q) {
    out = error_document(version_of(input), q.error()) + "\n";
    return 1;
  }
  auto r = run_request(*q, program);
  if (!r) {
    out = error_document(to_text(q->command == Command::kVersion ? kNewest : q->version), r.error()) + "\n";
    return 1;
  }
  out = r->empty() ? "" : *r + "\n";
  return 0;
}

}  // namespace ls::cni
