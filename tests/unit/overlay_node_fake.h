#pragma once
/// A node of the overlay, and a master, that are made up: for the tests of the API and of the command line.
#include <atomic>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>

#include "api_fake.h"

namespace ls::api {

inline OverlayNodeView sample_overlay_node() {
  OverlayNodeView v;
  v.enabled = true;
  v.state = "ok";
  v.master = "10.0.0.9:62080";
  v.heard_s = 2;
  v.registrations = 5;
  v.failures = 1;
  v.updates = 7;
  v.node = "10.0.0.3";
  v.id = "node-3";
  v.vtep4 = "44.128.0.3/16";
  v.vtep6 = "fd01:a::3/64";
  v.mac = "70:b3:d5:80:00:03";
  v.device = "vtep1024";
  v.ifindex = 12;
  v.mtu = 1450;
  v.underlay_mtu = 1500;
  v.offload = v.offload_state = "good";
  v.talks_good = 6;
  v.talks_lost_there = 1;
  v.shares = {{{"dcos", "9.0.3.0/24", "", "ok", "", true, true}, "9.0.0.0/8", "", "ok", "", "/etc/loadstar/cni/dcos.conflist", "dcos: made"},
              {{"dcos6", "", "fd01:b:0:0:3::/80", "ok", "", true, false}, "", "fd01:b::/64", "failed", "write /etc/loadstar/cni/dcos6.conflist: Permission denied", "", "off"}};
  v.peers = 2;
  v.entries = 9;
  v.repaired = 4;
  v.docker_failures = 3;
  v.hooks = {{"overlay_out", "tunnel", 1000, 64000}, {"overlay_in", "stack", 3, 180}};
  return v;
}

inline OverlayPeerView sample_peer(uint32_t number) {
  auto low = std::to_string(number / 256 % 256) + "." + std::to_string(number % 256);
  OverlayPeerView p;
  p.node = "10.0." + low;
  p.id = "node-" + std::to_string(number);
  p.vtep4 = "44.128." + low + "/16";
  p.mac = "70:b3:d5:80:00:01";
  p.shares = {{"dcos", "9." + low + ".0/24", "", "ok", "", true, true}};
  return p;
}

class FakeOverlayNode : public OverlayNodeSource {
 public:
  std::shared_ptr<const OverlayNodeView> view() const override {
    std::lock_guard lock(mutex_);
    return view_;
  }
  std::vector<OverlayPeerView> nodes(const std::string& after, size_t most) const override {
    calls++;
    if (most > largest) largest = most;
    std::vector<OverlayPeerView> out;
    auto from = after.empty() ? peers.begin() : peers.upper_bound(IpAddress::parse(after).value());
    for (; from != peers.end() && out.size() < most; ++from) out.push_back(from->second);
    return out;
  }
  Result<OverlayTraceView> trace(const std::string& address) const override {
    if (address == "9.0.3.7") {
      return OverlayTraceView{address, "container", "dcos", "9.0.0.0/8", "9.0.3.0/25", "10.0.0.3", "70:b3:d5:80:00:03", true, {"9.0.3.7 is in the share of this node", "its device is known"}, "to the container's device"};
    }
    if (address == "9.0.200.1") return OverlayTraceView{address, "unallocated", "dcos", "9.0.0.0/8", "", "", "", false, {"nobody has \x1b[31m it"}, "dropped: overlay_unallocated"};
    if (address == "9.9.9.9") return fail(EIO, "read ls_ovl_conf");
    return fail(EINVAL, "'" + address + "' is no address");
  }
  void check(const std::string& node, std::function<void(OverlayCheckView)> done) override {
    asked_for = node;
    if (on_check) on_check(std::move(done));
    else done(answer);
  }

  void set(std::optional<OverlayNodeView> v) {
    std::lock_guard lock(mutex_);
    view_ = v ? std::make_shared<const OverlayNodeView>(std::move(*v)) : nullptr;
  }
  void fill(uint32_t count) {
    for (uint32_t i = 1; i <= count; i++) {
      auto p = sample_peer(i);
      peers[IpAddress::parse(p.node).value()] = p;
    }
  }

  std::map<IpAddress, OverlayPeerView> peers;
  OverlayCheckView answer;
  std::function<void(std::function<void(OverlayCheckView)>)> on_check;
  std::string asked_for;
  mutable std::atomic<size_t> largest{0}, calls{0};

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const OverlayNodeView> view_ = std::make_shared<const OverlayNodeView>(sample_overlay_node());
};

class FakeMaster : public OverlaySource {
 public:
  OverlayBody master_state() override { return "{}\n"; }
  OverlayBody delete_agents(std::string_view body, std::string_view) override {
    deleted = body;
    if (failure) return tl::make_unexpected(*failure);
    std::lock_guard lock(mutex_);
    auto asked = nlohmann::json::parse(body);
    for (auto& a : asked["agents"]) nodes_ -= a.get<std::string>() == "10.0.0.1";
    return "{\"network\":{}}\n";
  }
  OverlayBody adopt(std::string_view body, std::string_view) override {
    adopted.emplace_back(body);
    nlohmann::json out{{"adopted", nlohmann::json::parse(body)["agents"].size()}, {"there_already", 0}, {"problems", nlohmann::json::array()}};
    if (adopted.size() == 1) out["problems"].push_back({{"node", "10.0.0.7"}, {"why", "VTEP address 1 is taken"}});
    return out.dump() + "\n";
  }
  OverlayBody capacity() override {
    if (failure) return tl::make_unexpected(*failure);
    return R"({"pools":[{"pool":"44.128.0.0/16","vtep":true,"size":65534,"used":3,"held":1,"free":65530},)"
           R"({"pool":"9.0.0.0/8","overlay":"dcos","prefix":24,"size":65536,"used":3,"held":0,"free":65533},)"
           R"({"pool":"fd01:b::/32","overlay":"dcos6","prefix":80,"size":"281474976710656","used":0,"held":0,"free":"281474976710656"}]})"
           "\n";
  }
  OverlayBody register_node(std::string_view, std::string_view, const std::optional<IpAddress>&) override { return "{}"; }
  tl::expected<std::shared_ptr<const std::string>, OverlayFailure> feed(const std::string&, uint64_t) override { return std::make_shared<const std::string>("{}"); }
  std::pair<std::string, uint64_t> feed_position() const override { return {}; }
  OverlayBody agent_overlay() override { return "{}"; }
  bool allocates() const override { return !failure; }
  OverlayMasterView master_view() override {
    std::lock_guard lock(mutex_);
    OverlayMasterView v;
    v.nodes = nodes_;
    v.pools = {{"dcos", "9.0.0.0/8", 65536, 3, 1}};
    return v;
  }
  std::vector<OverlayPeerView> nodes(const std::string& after, size_t) override {
    return after.empty() ? std::vector{sample_peer(77)} : std::vector<OverlayPeerView>{};
  }

  std::optional<OverlayFailure> failure;
  std::string deleted;
  std::vector<std::string> adopted;

 private:
  std::mutex mutex_;
  uint64_t nodes_ = 3;
};

class FakeOverlayProvider : public FakeProvider {
 public:
  OverlayNodeSource* overlay_node() override { return takes_part ? &node : nullptr; }
  OverlaySource* overlay() override { return gives ? &master : nullptr; }
  FakeOverlayNode node;
  FakeMaster master;
  std::atomic<bool> takes_part{true}, gives{false};
};

}  // namespace ls::api
