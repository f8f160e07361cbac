// ls-overlay-node: the overlay of one node, in the network namespace it is started in. For tests and benchmarks.
//
//   ls-overlay-node < commands        a JSON object a line in, one a line out; the first is "setup"
//
//   {"do":"setup", "self":"10.10.0.11", "underlay_mtu":1500, "peer":true, "static":false, "pin":"", "plan":PLAN, "nodes":[NODE..]}
//   {"do":"containers", "containers":[{"address","device","mac","gw_mac"}..]}     the shortcut's table
//   {"do":"ports", "ports":["r-a"..], "bridges":["b-a"..], "uplinks":["eth0"]}       devices that get ls_ovl_port, _bridge, _uplink
//   {"do":"put", "node":NODE}  {"do":"remove", "node":"10.10.0.12"}  {"do":"sync", "nodes":[NODE..]}
//   {"do":"counts"}  {"do":"check"}  {"do":"purge"}
//   PLAN  {"vtep":"44.128.0.0/20", "vtep6":.., "oui":"70:b3:d5:00:00:00", "mtu":.., "overlays":[{"name","v4","share4","v6","share6"}..]}
//   NODE  {"node","vtep","vtep6","mac","shares":[{"overlay","v4","v6"}..]}
//
//   "pin": folder with the maps of a daemon on this node; without one the maps are its own
//
// Every answer has "ms", the time the step took, and "error" when it failed. Links end with the process; the device stays.
#include <fmt/format.h>
#include <net/if.h>

#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "bpf/link.h"
#include "bpf/object.h"
#include "bpf/pin.h"
#include "datapath/abi_convert.h"
#include "datapath/counters.h"
#include "datapath/overlay_counters.h"
#include "datapath/overlay_device.h"
#include "datapath/overlay_static.h"
#include "datapath/overlay_tables.h"
#include "datapath/svc_tables.h"
#include "overlay_tc.skel.h"

namespace ls {
namespace {

using nlohmann::json;

IpAddress addr(const json& v) { return IpAddress::parse(v.get<std::string>()).value(); }
IpNetwork net(const json& v) { return IpNetwork::parse(v.get<std::string>()).value(); }
overlay::Mac mac_of(const json& v) {
  unsigned b[6] = {};
  if (std::sscanf(v.get<std::string>().c_str(), "%x:%x:%x:%x:%x:%x", b, b + 1, b + 2, b + 3, b + 4, b + 5) != 6)
    throw std::runtime_error("not a MAC: " + v.dump());
  overlay::Mac m{};
  for (size_t i = 0; i < 6; i++) m[i] = uint8_t(b[i]);
  return m;
}

overlay::Plan plan_of(const json& j) {
  overlay::Plan p;
  p.vtep4 = net(j.at("vtep"));
  if (j.contains("vtep6")) p.vtep6 = net(j["vtep6"]);
  p.oui = mac_of(j.at("oui"));
  if (j.contains("mtu")) p.vtep_mtu = j["mtu"].get<uint32_t>();
  for (auto& o : j.at("overlays")) {
    overlay::OverlayPlan one;
    one.name = o.at("name");
    if (o.contains("v4")) one.v4 = overlay::Pool{net(o["v4"]), o.at("share4")};
    if (o.contains("v6")) one.v6 = overlay::Pool{net(o["v6"]), o.at("share6")};
    p.overlays.push_back(one);
  }
  return p;
}

overlay::Allocation node_of(const json& j, const overlay::Plan& plan) {
  overlay::Allocation a;
  a.node = addr(j.at("node"));
  a.vtep.v4 = {addr(j.at("vtep")), uint8_t(plan.vtep4.prefix - 96)};
  if (j.contains("vtep6") && plan.vtep6) a.vtep.v6 = overlay::InterfaceAddress{addr(j["vtep6"]), plan.vtep6->prefix};
  a.vtep.mac = mac_of(j.at("mac"));
  for (auto& s : j.at("shares")) {
    overlay::Share share;
    share.overlay = s.at("overlay");
    if (s.contains("v4")) share.v4 = net(s["v4"]);
    if (s.contains("v6")) share.v6 = net(s["v6"]);
    a.shares.push_back(share);
  }
  return a;
}

template <class T>
T must(Result<T> r) {
  if (!r) throw std::runtime_error(r.error().text());
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

class Node {
 public:
  json handle(const json& c) {
    auto what = c.at("do").get<std::string>();
    if (what == "setup") return setup(c);
    if (what == "containers") return containers(c);
    if (what == "ports") return ports(c);
    if (what == "sync") return sync(c);
    if (what == "counts") return counts();
    if (what == "check") return check();
    if (what == "put") {
      must(tables_->put(node_of(c.at("node"), plan_)));
    } else if (what == "remove") {
      must(tables_->remove(addr(c.at("node"))));
    } else if (what == "purge") {
      links_.clear();
      return {{"removed", must(datapath::remove_overlay_device())}};
    } else {
      throw std::runtime_error("unknown command " + what);
    }
    return json::object();
  }

 private:
  MapOpener opener() const {
    return [this](std::string_view name) -> Result<UniqueFd> {
      int fd = object_->map_fd(std::string(name));
      if (fd < 0) return fail(ENOENT, "open " + std::string(name));
      return UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    };
  }

  std::vector<overlay::Allocation> nodes_of(const json& c) const {
    std::vector<overlay::Allocation> out;
    for (auto& n : c.at("nodes")) out.push_back(node_of(n, plan_));
    return out;
  }

  /// The maps of a daemon that runs on this node, as the daemon itself would have its programs use them.
  void share(const std::string& pin) {
    for (auto& m : object_->maps()) {
      auto fd = must(bpf::open_pinned(pin + "/" + m.name, bpf::PinKind::kMap));
      must(object_->share(m.name, fd.get()));
      auto layout = must(bpf::map_layout(fd.get()));
      auto constant = [&](const char* name, auto value) { (void)must(object_->set_constant(name, value)); };
      if (m.name == "ls_flow4") constant("ls_flow4_mask", layout.max_entries - 1);
      if (m.name == "ls_flow6") constant("ls_flow6_mask", layout.max_entries - 1);
      if (m.name == "ls_meta") {
        auto meta = must(must(Map<uint32_t, ls_meta>::adopt(UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 3)))).get(0)).value();
        constant("ls_seed0", uint64_t(meta.seed[0]));
        constant("ls_seed1", uint64_t(meta.seed[1]));
      }
      shared_.push_back(std::move(fd));
    }
  }

  void load(const std::string& pin) {
    size_t bytes = 0;
    auto* elf = static_cast<const std::byte*>(overlay_tc__elf_bytes(&bytes));
    object_ = must(bpf::Object::open("overlay_tc", {elf, bytes}));
    if (!pin.empty()) share(pin);
    for (auto& [map, entries] : pin.empty() ? std::map<std::string, uint32_t>{
             {"ls_ovl_block", 262144}, {"ls_ovl_hash", 262144}, {"ls_ovl_local", 65536}}
                                            : std::map<std::string, uint32_t>{})
      must(object_->resize(map, entries));
    must(object_->load({}));
    tables_ = must(datapath::OverlayTables::adopt(must(datapath::OverlayMaps::open(opener())), wait_for_programs));
  }

  json setup(const json& c) {
    plan_ = plan_of(c.at("plan"));
    auto all = nodes_of(c);
    auto self = std::find_if(all.begin(), all.end(), [&](auto& a) { return a.node == addr(c.at("self")); });
    if (self == all.end()) throw std::runtime_error("the own node is not among the nodes");
    self_ = *self;
    if (c.value("static", false)) {
      auto r = must(datapath::apply_static(plan_, self_, all));
      return {{"ifindex", r.ifindex}, {"put", r.put}, {"removed", r.removed}};
    }
    load(c.value("pin", ""));
    spec_ = datapath::device_spec(plan_, self_, c.value("underlay_mtu", 1500u));
    auto device = must(datapath::ensure_overlay_device(spec_));
    me_.node = self_.node;
    me_.mac = self_.vtep.mac;
    me_.vtep_ifindex = uint32_t(device.ifindex);
    me_.mtu = spec_.mtu;
    me_.redirect_peer = c.value("peer", true);
    must(tables_->configure(me_, plan_));
    attach(device.ifindex);
    return sync(c);
  }

  void attach(int ifindex) {
    links_["vtep in"] = must(bpf::Link::create_tcx(object_->program_fd("ls_ovl_in"), ifindex, bpf::TcSide::kIngress));
    links_["vtep out"] = must(bpf::Link::create_tcx(object_->program_fd("ls_ovl_out"), ifindex, bpf::TcSide::kEgress));
  }

  json sync(const json& c) {
    auto all = nodes_of(c);
    auto begin = std::chrono::steady_clock::now();
    auto done = must(tables_->sync(all));
    auto took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    return {{"changed", done.changed}, {"removed", done.removed}, {"problems", done.problems}, {"sync_ms", took}};
  }

  json containers(const json& c) {
    auto map = must(Map<ls_ovl_addr, ls_ovl_local>::adopt(must(opener()("ls_ovl_local"))));
    for (auto& one : c.at("containers")) {
      ls_ovl_addr key{};
      put_address(key.addr_be, addr(one.at("address")));
      ls_ovl_local value{};
      value.ifindex = if_nametoindex(one.at("device").get<std::string>().c_str());
      auto mac = mac_of(one.at("mac")), gateway = mac_of(one.at("gw_mac"));
      std::memcpy(value.mac, mac.data(), 6);
      std::memcpy(value.gw_mac, gateway.data(), 6);
      must(one.value("gone", false) ? map.erase(key) : map.put(key, value));
    }
    return json::object();
  }

  json ports(const json& c) {
    for (auto& [list, program] : {std::pair{"ports", "ls_ovl_port"}, std::pair{"bridges", "ls_ovl_bridge"},
                                   std::pair{"uplinks", "ls_ovl_uplink"}}) {
      for (auto& name : c.value(list, json::array())) {
        auto index = if_nametoindex(name.get<std::string>().c_str());
        links_[std::string(list) + " " + name.get<std::string>()] = must(bpf::Link::create_tcx(object_->program_fd(program), int(index), bpf::TcSide::kIngress));
      }
    }
    return json::object();
  }

  json counts() {
    static constexpr const char* kHooks[] = {"out", "in", "port"};
    static constexpr const char* kResults[] = {"tunnel", "local", "stack", "answered"};
    json out;
    auto all = must(must(OverlayCounters::open(opener())).read());
    for (size_t h = 0; h < all.size(); h++) {
      for (size_t r = 0; r < all[h].size(); r++) out[kHooks[h]][kResults[r]] = all[h][r].packets;
    }
#define LS_LABEL(name, number, label, text) {number, label},
    static const std::map<int, const char*> reasons = {LS_DROP_REASONS(LS_LABEL)}, hooks = {LS_HOOKS(LS_LABEL)};
#undef LS_LABEL
    out["drops"] = json::object();
    for (auto& d : must(must(Counters::open(opener())).drops())) {
      if (d.packets) out["drops"][hooks.at(d.hook)][reasons.at(d.reason)] = d.packets;
    }
    auto view = tables_->view();
    out["peers"] = view.peers;
    out["entries"] = view.entries;
    return out;
  }

  json check() {
    auto device = must(datapath::ensure_overlay_device(spec_));
    if (device.made) {
      me_.vtep_ifindex = uint32_t(device.ifindex);
      must(tables_->configure(me_, plan_));
      attach(device.ifindex);
    }
    return {{"repaired", device.repaired}, {"entries", must(tables_->check())}};
  }

  overlay::Plan plan_;
  overlay::Allocation self_;
  datapath::OverlayDeviceSpec spec_;
  datapath::OverlaySelf me_;
  std::optional<bpf::Object> object_;
  std::optional<datapath::OverlayTables> tables_;
  std::vector<UniqueFd> shared_;
  std::map<std::string, bpf::Link> links_;
};

}  // namespace
}  // namespace ls

int main() {
  ls::Node node;
  for (std::string line; std::getline(std::cin, line);) {
    nlohmann::json answer;
    auto begin = std::chrono::steady_clock::now();
    try {
      answer = node.handle(nlohmann::json::parse(line));
    } catch (const std::exception& e) {
      answer = {{"error", e.what()}};
    }
    answer["ms"] = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    std::cout << answer.dump() << std::endl;
  }
}
