#include "datapath/overlay_static.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <set>

namespace ls::datapath {
namespace {

constexpr char kMark[] = "loadstar static";

bool has_overlay(const overlay::Allocation& a, const std::string& name) {
  return std::any_of(a.shares.begin(), a.shares.end(),
                     [&](auto& s) { return s.overlay == name && s.state == overlay::ShareState::kOk; });
}

void add_once(std::vector<StaticObject>& to, const std::vector<StaticObject>& more) {
  for (auto& o : more) {
    if (std::find(to.begin(), to.end(), o) == to.end()) to.push_back(o);
  }
}

netlink::Request put(int ifindex, const netlink::DeviceNeighbour& n) { return netlink::put_neighbour(ifindex, n); }
netlink::Request put(int ifindex, const netlink::DeviceRoute& r) { return netlink::put_route(ifindex, r); }
netlink::Request put(int ifindex, const netlink::ForwardingEntry& e) { return netlink::put_forwarding(ifindex, e); }
netlink::Request take(int ifindex, const netlink::DeviceNeighbour& n) { return netlink::remove_neighbour(ifindex, n); }
netlink::Request take(int ifindex, const netlink::DeviceRoute& r) { return netlink::remove_route(ifindex, r); }
netlink::Request take(int ifindex, const netlink::ForwardingEntry& e) { return netlink::remove_forwarding(ifindex, e); }

std::string text_of(const StaticObject& o) {
  if (auto* n = std::get_if<netlink::DeviceNeighbour>(&o)) return "neighbour " + n->address.text();
  if (auto* r = std::get_if<netlink::DeviceRoute>(&o)) return fmt::format("route {} of table {}", r->to.text(), r->table);
  return "forwarding entry to " + std::get<netlink::ForwardingEntry>(o).to.text();
}

Result<int> ensure_link(const netlink::Vxlan& want) {
  LS_ASSIGN(auto now, netlink::read_vxlan(want.name));
  if (now && (now->kind != "vxlan" || now->metadata || now->vni != want.vni || now->udp_port != want.udp_port || !now->local)) {
    LS_TRY(netlink::remove_device(now->ifindex));
    now.reset();
  }
  if (!now) return netlink::make_vxlan(want);
  LS_ASSIGN([[maybe_unused]] int changed, netlink::change_vxlan(*now, want));
  return now->ifindex;
}

Result<> add_addresses(int ifindex, const StaticNode& node) {
  if (node.enable_ipv6) {
    std::ofstream out(fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", node.device.name));
    out << "0" << std::flush;
  }
  LS_ASSIGN(auto have, netlink::list_addresses(ifindex));
  for (auto& a : node.addresses) {
    if (std::find(have.begin(), have.end(), a) == have.end())
      LS_TRY(netlink::request(netlink::put_address(ifindex, a), "set address " + a.address.text()));
  }
  LS_ASSIGN(auto rules, netlink::list_rules());
  for (auto& r : node.rules) {
    if (std::find(rules.begin(), rules.end(), r) == rules.end())
      LS_TRY(netlink::request(netlink::add_rule(r), "add the rule from " + r.from.text()));
  }
  return {};
}

Result<std::set<StaticObject>> read_objects(int ifindex) {
  std::set<StaticObject> out;
  LS_ASSIGN(auto neighbours, netlink::list_neighbours(ifindex));
  LS_ASSIGN(auto routes, netlink::list_routes(ifindex));
  LS_ASSIGN(auto forwarding, netlink::list_forwarding(ifindex));
  out.insert(neighbours.begin(), neighbours.end());
  out.insert(routes.begin(), routes.end());
  out.insert(forwarding.begin(), forwarding.end());
  return out;
}

}  // namespace

StaticNode static_node(const overlay::Plan& plan, const overlay::Allocation& self) {
  StaticNode out;
  auto& d = out.device;
  d.name = overlay::kVtepName;
  d.alias = kMark;
  d.vni = overlay::kVni;
  d.udp_port = overlay::kUdpPort;
  d.learning = false;
  d.local = self.node;
  d.mac = self.vtep.mac;
  d.mtu = plan.vtep_mtu.value_or(0);
  d.up = true;
  out.addresses.push_back({self.vtep.v4.address, uint8_t(self.vtep.v4.prefix + 96), true});
  if (self.vtep.v6) {
    out.enable_ipv6 = true;
    out.addresses.push_back({self.vtep.v6->address, self.vtep.v6->prefix, true});
  }
  for (auto& o : plan.overlays) {
    if (!has_overlay(self, o.name)) continue;
    out.wanted = true;
    if (o.v4) out.rules.push_back({o.v4->network, kOverlayTable});
  }
  return out;
}

std::vector<StaticObject> static_entry(const IpAddress& node, const IpAddress& vtep, const overlay::Mac& mac, const IpNetwork& share) {
  std::vector<StaticObject> out;
  netlink::DeviceRoute route;
  route.to = share;
  route.via = vtep;
  out.push_back(netlink::DeviceNeighbour{vtep, mac});
  out.push_back(route);
  if (!share.address.is_v4()) return out;
  out.push_back(netlink::ForwardingEntry{mac, node});
  route.to = {node, 128};
  route.table = kOverlayTable;
  out.push_back(route);
  return out;
}

std::vector<StaticObject> static_peer(const overlay::Allocation& self, const overlay::Allocation& peer) {
  std::vector<StaticObject> out;
  bool any = false;
  for (auto& s : peer.shares) {
    if (s.state != overlay::ShareState::kOk || !has_overlay(self, s.overlay)) continue;
    any = true;
    if (s.v4) add_once(out, static_entry(peer.node, peer.vtep.v4.address, peer.vtep.mac, *s.v4));
    if (s.v6 && peer.vtep.v6) add_once(out, static_entry(peer.node, peer.vtep.v6->address, peer.vtep.mac, *s.v6));
  }
  if (any) add_once(out, {netlink::ForwardingEntry{peer.vtep.mac, peer.node}});
  return out;
}

Result<StaticReport> apply_static(const overlay::Plan& plan, const overlay::Allocation& self, std::span<const overlay::Allocation> all) {
  StaticReport out;
  auto node = static_node(plan, self);
  if (!node.wanted) return out;
  LS_ASSIGN(out.ifindex, ensure_link(node.device));
  LS_TRY(add_addresses(out.ifindex, node));
  LS_ASSIGN(auto have, read_objects(out.ifindex));
  netlink::Transaction t;
  std::vector<std::string> what;
  std::set<StaticObject> wanted;
  for (auto& a : all) {
    if (a.node == self.node) continue;
    for (auto& o : static_peer(self, a)) {
      if (!wanted.insert(o).second || have.contains(o)) continue;
      t.add(std::visit([&](auto& x) { return put(out.ifindex, x); }, o));
      what.push_back("set " + text_of(o));
      out.put++;
    }
  }
  for (auto& o : have) {
    if (wanted.contains(o)) continue;
    // Replaced just now by one for the same destination.
    bool replaced = std::any_of(wanted.begin(), wanted.end(), [&](auto& w) {
      auto *a = std::get_if<netlink::DeviceRoute>(&w), *b = std::get_if<netlink::DeviceRoute>(&o);
      if (a && b) return a->to == b->to && a->table == b->table;
      auto *n = std::get_if<netlink::DeviceNeighbour>(&w), *m = std::get_if<netlink::DeviceNeighbour>(&o);
      if (n && m) return n->address == m->address;
      auto *e = std::get_if<netlink::ForwardingEntry>(&w), *f = std::get_if<netlink::ForwardingEntry>(&o);
      return e && f && e->mac == f->mac;
    });
    if (replaced) continue;
    t.add(std::visit([&](auto& x) { return take(out.ifindex, x); }, o));
    what.push_back("remove " + text_of(o));
    out.removed++;
  }
  LS_ASSIGN(auto results, t.run());
  for (size_t i = 0; i < results.size(); i++) {
    if (results[i] && !(what[i].starts_with("remove") && (results[i] == ENOENT || results[i] == ESRCH)))
      return fail(results[i], what[i]);
  }
  return out;
}

}  // namespace ls::datapath
