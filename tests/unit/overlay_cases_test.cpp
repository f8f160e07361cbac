// spec/cases/navstar and the node-state cases of spec/cases/overlay: what a node does for its own overlay and for each other node, in
// the static wiring and in the tables.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "datapath/overlay_static.h"
#include "overlay_world.h"

namespace ls::test {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

json read_json(const fs::path& path) {
  std::ifstream in(path);
  return json::parse(in, nullptr, false);
}

overlay::Mac mac_of(const std::string& text) {
  overlay::Mac m{};
  unsigned v[6] = {};
  EXPECT_EQ(std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", v, v + 1, v + 2, v + 3, v + 4, v + 5), 6) << text;
  for (size_t i = 0; i < 6; i++) m[i] = uint8_t(v[i]);
  return m;
}
std::string text_of(const overlay::Mac& m) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5]);
}
overlay::InterfaceAddress interface_of(const std::string& text) {
  auto slash = text.find('/');
  return {addr(text.substr(0, slash)), uint8_t(std::stoi(text.substr(slash + 1)))};
}
std::string text_of(const netlink::DeviceAddress& a) { return IpNetwork{a.address, a.prefix}.text(); }

// ---------------------------------------------------------------- navstar

json as_json(const datapath::StaticObject& o) {
  if (auto* n = std::get_if<netlink::DeviceNeighbour>(&o))
    return {{"do", "neigh-replace"}, {"address", n->address.text()}, {"mac", text_of(n->mac)}, {"state", {"permanent"}}};
  if (auto* e = std::get_if<netlink::ForwardingEntry>(&o))
    return {{"do", "fdb-replace"}, {"mac", text_of(e->mac)}, {"dst", e->to.text()}, {"state", {"permanent", "noarp"}}, {"self", true}};
  auto& r = std::get<netlink::DeviceRoute>(o);
  return {{"do", "route-replace"},
          {"dst", r.to.text()},
          {"via", r.via.value().text()},
          {"table", r.table == netlink::kMainTable ? "main" : std::to_string(r.table)}};
}

json as_json(const datapath::StaticNode& node) {
  json out = json::array();
  if (!node.wanted) return out;
  auto& d = node.device;
  json create = {{"do", "link-create"}, {"name", d.name}, {"kind", "vxlan"}, {"vni", d.vni}, {"udp_port", d.udp_port}};
  if (d.mtu) create["mtu"] = d.mtu;
  out.push_back(create);
  out.push_back({{"do", "link-set"}, {"up", d.up}, {"mac", text_of(d.mac)}});
  for (auto& a : node.addresses) {
    if (!a.address.is_v4() && node.enable_ipv6)
      out.push_back({{"do", "sysctl"}, {"key", "net.ipv6.conf.<vtep>.disable_ipv6"}, {"value", 0}});
    out.push_back({{"do", "address-replace"}, {"address", text_of(a)}});
  }
  for (auto& r : node.rules) out.push_back({{"do", "rule-add"}, {"from", r.from.text()}, {"table", r.table}});
  return out;
}

/// What the agent's overlay endpoint says, as a plan and an allocation.
struct Agent {
  overlay::Plan plan;
  overlay::Allocation self;
};
Agent agent_of(const json& in) {
  Agent a;
  auto ip = in.at("ip").get<std::string>();
  a.self.node = addr(ip.substr(0, ip.find(':')));
  for (auto& o : in.at("overlays")) {
    auto& info = o.at("info");
    overlay::OverlayPlan p;
    p.name = info.at("name");
    if (info.contains("subnet")) p.v4 = overlay::Pool{net(info["subnet"]), info.at("prefix")};
    if (info.contains("subnet6")) p.v6 = overlay::Pool{net(info["subnet6"]), info.at("prefix6")};
    a.plan.overlays.push_back(p);
    auto vxlan = o.value("backend", json::object()).value("vxlan", json::object());
    overlay::Share s;
    s.overlay = p.name;
    s.state = o.at("state").at("status") == "STATUS_OK" && !vxlan.empty() ? overlay::ShareState::kOk : overlay::ShareState::kExhausted;
    if (s.state == overlay::ShareState::kOk) {
      a.self.vtep.v4 = interface_of(vxlan.at("vtep_ip"));
      if (vxlan.contains("vtep_ip6")) a.self.vtep.v6 = interface_of(vxlan["vtep_ip6"]);
      a.self.vtep.mac = mac_of(vxlan.at("vtep_mac"));
      if (vxlan.contains("vtep_mtu")) a.plan.vtep_mtu = vxlan["vtep_mtu"].get<uint32_t>();
    }
    a.self.shares.push_back(s);
  }
  return a;
}

json without_learning(json actions) {
  for (auto& a : actions) a.erase("learning");  // off here, see the file's own words
  return actions;
}

class NavstarCases : public testing::Test {
 protected:
  static json suite(const char* name) {
    return read_json(fs::path(LS_SHARED_DIR) / "spec/cases/navstar" / (std::string(name) + ".json"));
  }
};

TEST_F(NavstarCases, LocalDevice) {
  auto s = suite("local-device");
  if (!s.is_object()) GTEST_SKIP() << "no cases at " LS_SHARED_DIR;
  int run = 0;
  for (auto& c : s["cases"]) {
    auto agent = agent_of(c["input"]["agent"]);
    auto node = datapath::static_node(agent.plan, agent.self);
    EXPECT_EQ(as_json(node), without_learning(c["expect"]["actions"])) << c["id"];
    EXPECT_EQ(agent.self.node.text(), c["expect"]["agent_ip"]) << c["id"];
    EXPECT_FALSE(node.device.learning);
    run++;
  }
  RecordProperty("cases", run);
  EXPECT_GT(run, 0);
}

TEST_F(NavstarCases, RemoteEntry) {
  auto s = suite("remote-entry");
  if (!s.is_object()) GTEST_SKIP() << "no cases at " LS_SHARED_DIR;
  int run = 0;
  for (auto& c : s["cases"]) {
    auto& in = c["input"];
    json out = json::array();
    for (auto& o : datapath::static_entry(addr(in["agent_ip"]), addr(in["vtep_ip"]), mac_of(in["vtep_mac"]), net(in["subnet"])))
      out.push_back(as_json(o));
    EXPECT_EQ(out, c["expect"]["actions"]) << c["id"];
    run++;
  }
  RecordProperty("cases", run);
  EXPECT_GT(run, 0);
}

// ---------------------------------------------------------------- node state

/// Allocations by the rules that the cases assume: lowest free block and address, in the order of the agents' numbers (the last octet).
std::vector<overlay::Allocation> allocate(const json& c, overlay::Plan& plan) {
  auto& n = c["network"];
  plan.vtep4 = net(n["vtep_subnet"]);
  if (n.contains("vtep_subnet6")) plan.vtep6 = net(n["vtep_subnet6"]);
  plan.oui = mac_of(n["vtep_mac_oui"]);
  for (auto& o : n["overlays"]) {
    overlay::OverlayPlan p;
    p.name = o["name"];
    if (o.contains("subnet")) p.v4 = overlay::Pool{net(o["subnet"]), o["prefix"]};
    if (o.contains("subnet6")) p.v6 = overlay::Pool{net(o["subnet6"]), o["prefix6"]};
    plan.overlays.push_back(p);
  }
  std::vector<std::string> order;
  for (auto& a : c["agents"]) order.push_back(a);
  for (auto& d : c["deleted"]) order.push_back(d);
  std::sort(order.begin(), order.end(), [](auto& a, auto& b) { return addr(a) < addr(b); });
  auto shifted = [](const IpAddress& base, unsigned bit, uint32_t by) {  // base + by << (128 - bit)
    auto b = base.bytes();
    for (int i = 31; i >= 0; i--) {
      int at = int(bit) - 1 - i;
      if (at >= 0 && (by >> i & 1)) b[size_t(at / 8)] = uint8_t(b[size_t(at / 8)] | 0x80 >> (at % 8));
    }
    return IpAddress::from_bytes(b.data());
  };
  std::vector<overlay::Allocation> out;
  for (uint32_t i = 0; i < order.size(); i++) {
    overlay::Allocation a;
    a.node = addr(order[i]);
    a.vtep.v4 = {IpAddress::from_v4(plan.vtep4.address.v4() + i + 1), uint8_t(plan.vtep4.prefix - 96)};
    if (plan.vtep6) a.vtep.v6 = overlay::InterfaceAddress{shifted(plan.vtep6->address, 128, i + 1), plan.vtep6->prefix};
    auto v4 = a.vtep.v4.address.bytes();
    a.vtep.mac = {plan.oui[0], plan.oui[1], plan.oui[2], v4[13], v4[14], v4[15]};
    for (auto& o : plan.overlays) {
      overlay::Share s;
      s.overlay = o.name;
      if (o.v4) s.v4 = IpNetwork{shifted(o.v4->network.address, o.v4->share + 96u, i), uint8_t(o.v4->share + 96)};
      if (o.v6) s.v6 = IpNetwork{shifted(o.v6->network.address, o.v6->share, i), o.v6->share};
      a.shares.push_back(s);
    }
    if (std::find(c["deleted"].begin(), c["deleted"].end(), order[i]) == c["deleted"].end()) out.push_back(a);
  }
  return out;
}

json sorted(json list) {
  std::sort(list.begin(), list.end());
  return list;
}

TEST(NodeStateCases, StaticObjectsAndMapEntries) {
  LS_NEED_BPF();
  auto folder = fs::path(LS_SHARED_DIR) / "spec/cases/overlay";
  if (!fs::exists(folder)) GTEST_SKIP() << "no cases at " << folder;
  int run = 0;
  for (auto& file : fs::directory_iterator(folder)) {
    auto c = file.path().extension() == ".json" ? read_json(file.path()) : json();
    if (!c.is_object() || c.value("kind", "") != "node-state") continue;
    run++;
    overlay::Plan plan;
    auto all = allocate(c, plan);
    auto local = addr(c["local"]);
    auto self = std::find_if(all.begin(), all.end(), [&](auto& a) { return a.node == local; });
    ASSERT_NE(self, all.end()) << file.path();

    json have = {{"neigh", json::array()}, {"route_main", json::array()}, {"fdb", json::array()}, {"route_42", json::array()}};
    for (auto& a : all) {
      if (a.node == local) continue;
      for (auto& o : datapath::static_peer(*self, a)) {
        if (auto* n = std::get_if<netlink::DeviceNeighbour>(&o)) {
          have["neigh"].push_back({{"ip", n->address.text()}, {"mac", text_of(n->mac)}});
        } else if (auto* e = std::get_if<netlink::ForwardingEntry>(&o)) {
          have["fdb"].push_back({{"mac", text_of(e->mac)}, {"dst", e->to.text()}});
        } else {
          auto& r = std::get<netlink::DeviceRoute>(o);
          have[r.table == datapath::kOverlayTable ? "route_42" : "route_main"].push_back(
              {{"dst", r.to.text()}, {"via", r.via.value().text()}});
        }
      }
    }
    for (auto& [key, want] : c["expect"]["static_mode"].items()) EXPECT_EQ(sorted(have[key]), sorted(want)) << file.path() << " " << key;

    OverlayWorld w;
    auto t = w.adopt();
    auto me = OverlayWorld::self();
    me.node = local;
    me.mac = self->vtep.mac;
    ASSERT_TRUE(t.configure(me, plan));
    // Also by way of what was deleted since.
    json before = c;
    before["deleted"] = json::array();
    for (auto& d : c["deleted"]) before["agents"].push_back(d);
    overlay::Plan same;
    ASSERT_TRUE(t.sync(allocate(before, same)));
    ASSERT_TRUE(t.sync(all));
    json entries = json::array();
    for (auto& e : t.remote_shares())
      entries.push_back({{"prefix", e.network.text()}, {"agent", e.node.text()}, {"mac", text_of(e.mac)}, {"vni", w.maps().conf[0].vni}});
    EXPECT_EQ(sorted(entries), sorted(c["expect"]["map_mode"])) << file.path();
  }
  RecordProperty("cases", run);
  EXPECT_GT(run, 0);
}

}  // namespace
}  // namespace ls::test
