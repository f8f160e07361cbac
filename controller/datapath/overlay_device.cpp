#include "datapath/overlay_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "netlink/objects.h"
#include "netlink/vxlan.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

constexpr char kMark[] = "loadstar";

netlink::Vxlan wanted_device(const OverlayDeviceSpec& s) {
  netlink::Vxlan v;
  v.name = s.name;
  v.alias = kMark;
  v.metadata = true;
  v.udp_port = overlay::kUdpPort;
  v.learning = false;
  v.local = s.node;
  v.mac = s.vtep.mac;
  v.mtu = s.mtu;
  v.up = true;
  v.arp = false;
  return v;
}

/// What the kernel cannot change: its kind, mode and port, and a local address where there was none.
bool can_change(const netlink::Vxlan& now, const netlink::Vxlan& want) {
  return now.kind == "vxlan" && now.metadata && now.udp_port == want.udp_port && now.local.has_value();
}

IpAddress gateway(bool v4) { return *IpAddress::parse(v4 ? "169.254.1.1" : "fe80::1"); }

std::vector<netlink::DeviceAddress> wanted_addresses(const OverlayDeviceSpec& s) {
  std::vector<netlink::DeviceAddress> out;
  out.push_back({s.vtep.v4.address, uint8_t(s.vtep.v4.prefix + 96), false});
  if (s.vtep.v6) out.push_back({s.vtep.v6->address, s.vtep.v6->prefix, false});
  return out;
}

std::vector<netlink::DeviceRoute> wanted_routes(const OverlayDeviceSpec& s) {
  std::vector<netlink::DeviceRoute> out;
  for (auto& pool : s.pools) {
    netlink::DeviceRoute r;
    bool v4 = pool.address.is_v4();
    r.to = pool;
    r.via = gateway(v4);
    r.protocol = kOverlayRouteProtocol;
    r.onlink = v4;  // an IPv6 link-local gateway is on the link by itself
    if (v4) {
      r.source = s.vtep.v4.address;
    } else if (s.vtep.v6) {
      r.source = s.vtep.v6->address;
    }
    out.push_back(r);
  }
  return out;
}

std::vector<netlink::DeviceNeighbour> wanted_neighbours(const OverlayDeviceSpec& s) {
  std::vector<netlink::DeviceNeighbour> out{{gateway(true), s.vtep.mac}};
  if (s.has_v6()) out.push_back({gateway(false), s.vtep.mac});
  return out;
}

template <class T>
std::vector<T> without(const std::vector<T>& all, const std::vector<T>& others) {
  std::vector<T> out;
  for (auto& x : all) {
    if (std::find(others.begin(), others.end(), x) == others.end()) out.push_back(x);
  }
  return out;
}

/// True when it was another value. A kernel without the setting (no IPv6) has nothing to set.
Result<bool> set_sysctl(const std::string& path, const std::string& value) {
  std::string now;
  std::ifstream in(path);
  if (!(in >> now) || now == value) return false;
  std::ofstream out(path);
  out << value << std::flush;
  if (!out) return fail(EACCES, "write " + value + " to " + path);
  return true;
}

/// All in one transaction; the first that failed is the error.
Result<> run_all(const netlink::Transaction& t, const std::vector<std::string>& what, const std::string& device) {
  LS_ASSIGN(auto results, t.run());
  for (size_t i = 0; i < results.size(); i++) {
    if (results[i]) return fail(results[i], fmt::format("{} on {}", what[i], device));
  }
  return {};
}

/// Collects requests with their names.
struct Steps {
  netlink::Transaction transaction;
  std::vector<std::string> what;
  void add(const netlink::Request& r, std::string name) {
    transaction.add(r);
    what.push_back(std::move(name));
  }
};

std::vector<netlink::UnreachableRoute> wanted_ends(const OverlayDeviceSpec& s) {
  std::vector<netlink::UnreachableRoute> out;
  for (auto& pool : s.pools) out.push_back({pool, kOverlayRouteProtocol});
  return out;
}

/// True when something was missing or too much.
Result<bool> ensure_ends(const std::vector<netlink::UnreachableRoute>& want) {
  LS_ASSIGN(auto now, netlink::list_unreachable(kOverlayRouteProtocol));
  Steps steps;
  for (auto& r : without(want, now)) steps.add(netlink::put_unreachable(r), "set end " + r.to.text());
  for (auto& r : without(now, want)) steps.add(netlink::remove_unreachable(r), "remove end " + r.to.text());
  LS_TRY(run_all(steps.transaction, steps.what, "the routes of the pools"));
  return !steps.what.empty();
}

Result<OverlayDeviceReport> ensure_link(const OverlayDeviceSpec& spec) {
  OverlayDeviceReport out;
  auto want = wanted_device(spec);
  LS_ASSIGN(auto now, netlink::read_vxlan(spec.name));
  if (now && !can_change(*now, want)) {
    log::warn("overlay_device_replaced", {{"device", spec.name}, {"kind", now->kind}, {"metadata", now->metadata}, {"port", now->udp_port}});
    LS_TRY(netlink::remove_device(now->ifindex));
    now.reset();
  }
  if (!now) {
    LS_ASSIGN(out.ifindex, netlink::make_vxlan(want));
    out.made = true;
    out.repaired.push_back("device");
    return out;
  }
  out.ifindex = now->ifindex;
  LS_ASSIGN(int changed, netlink::change_vxlan(*now, want));
  if (changed) out.repaired.push_back("device");
  return out;
}

}  // namespace

bool OverlayDeviceSpec::has_v6() const {
  return vtep.v6 || std::any_of(pools.begin(), pools.end(), [](auto& p) { return !p.address.is_v4(); });
}

OverlayDeviceSpec device_spec(const overlay::Plan& plan, const overlay::Allocation& self, uint32_t underlay_mtu) {
  OverlayDeviceSpec s;
  s.node = self.node;
  s.vtep = self.vtep;
  s.mtu = plan.vtep_mtu.value_or(underlay_mtu - std::min(underlay_mtu, kOverlayOverhead));
  s.pools.push_back(plan.vtep4);
  if (plan.vtep6) s.pools.push_back(*plan.vtep6);
  for (auto& o : plan.overlays) {
    if (o.v4) s.pools.push_back(o.v4->network);
    if (o.v6) s.pools.push_back(o.v6->network);
  }
  return s;
}

Result<OverlayDeviceReport> ensure_overlay_device(const OverlayDeviceSpec& spec) {
  if (spec.name.empty() || spec.name.size() > 15 || spec.name.find('/') != spec.name.npos)
    return fail(EINVAL, fmt::format("overlay device \"{}\": not a device name", spec.name));
  LS_ASSIGN(bool ends, ensure_ends(wanted_ends(spec)));
  LS_ASSIGN(auto out, ensure_link(spec));
  if (ends) out.repaired.push_back("ends");
  auto repaired = [&out](const std::string& what) {
    if (std::find(out.repaired.begin(), out.repaired.end(), what) == out.repaired.end()) out.repaired.push_back(what);
  };
  if (spec.has_v6()) {
    LS_ASSIGN(bool changed, set_sysctl(fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", spec.name), "0"));
    if (changed) repaired("disable_ipv6");
  }
  // Packets of other nodes' own addresses come through the tunnel as well; a strict filter would have them come from the underlay.
  LS_ASSIGN(bool loose, set_sysctl(fmt::format("/proc/sys/net/ipv4/conf/{}/rp_filter", spec.name), "2"));
  if (loose) repaired("rp_filter");

  LS_ASSIGN(auto addresses, netlink::list_addresses(out.ifindex));
  Steps steps;
  for (auto& a : without(addresses, wanted_addresses(spec))) {
    steps.add(netlink::remove_address(out.ifindex, a), "remove address " + a.address.text());
    repaired("address");
  }
  for (auto& a : without(wanted_addresses(spec), addresses)) {
    steps.add(netlink::put_address(out.ifindex, a), "set address " + a.address.text());
    repaired("address");
  }
  LS_TRY(run_all(steps.transaction, steps.what, spec.name));

  // Read after the addresses: with an address the kernel takes away the routes that have it as source, with the last one the neighbours.
  LS_ASSIGN(auto neighbours, netlink::list_neighbours(out.ifindex));
  LS_ASSIGN(auto routes, netlink::list_routes(out.ifindex));
  std::erase_if(routes, [](auto& r) { return r.protocol != kOverlayRouteProtocol; });
  Steps last;
  for (auto& n : without(wanted_neighbours(spec), neighbours)) {
    last.add(netlink::put_neighbour(out.ifindex, n), "set neighbour " + n.address.text());
    repaired("neighbour");
  }
  for (auto& r : without(wanted_routes(spec), routes)) {
    last.add(netlink::put_route(out.ifindex, r), "set route " + r.to.text());
    repaired("route");
  }
  auto same_place = [](auto& a, auto& b) { return a.to == b.to && a.table == b.table; };
  auto want = wanted_routes(spec);
  for (auto& r : without(routes, want)) {
    // A route that only led another way was replaced just now.
    if (std::any_of(want.begin(), want.end(), [&](auto& w) { return same_place(w, r); })) continue;
    last.add(netlink::remove_route(out.ifindex, r), "remove route " + r.to.text());
    repaired("route");
  }
  LS_TRY(run_all(last.transaction, last.what, spec.name));
  return out;
}

Result<bool> remove_overlay_device(const std::string& name) {
  LS_TRY(ensure_ends({}));
  LS_ASSIGN(auto now, netlink::read_vxlan(name));
  if (!now || now->alias != kMark) return false;
  LS_TRY(netlink::remove_device(now->ifindex));
  return true;
}

}  // namespace ls::datapath
