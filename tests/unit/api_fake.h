#pragma once
/// A Provider with a small made-up node behind it, for the tests of the API and of the command line.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>

#include "api/provider.h"
#include "loadstar/abi/drop.h"
#include "loadstar/abi/event.h"
#include "loadstar/abi/lb.h"

namespace ls::api {

inline IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }
inline Endpoint ep(const char* text) { return Endpoint::parse(text).value(); }

/// A folder that goes away with its owner.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/ls_api_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline StatusView ready_status() {
  StatusView s;
  s.version = "1.2.3";
  s.uptime_s = 185;
  s.addresses = {"10.0.0.7"};
  s.roles = {"agent"};
  s.ready = true;
  for (auto* name : {"config_ok", "kernel_probed", "maps_adopted", "source_connected", "in_sync", "reconciled", "serving"}) {
    s.startup.push_back({name, true, 180});
  }
  s.source.kind = "mesos";
  s.source.endpoint = "10.0.0.1:5050";
  s.source.connected = true;
  s.source.since_s = 170;
  s.source.age_s = 2;
  s.source.events = {{"task_updated", 41}, {"subscribed", 1}};
  s.probes = {{"cgroup_link", true, ""}, {"tcx", false, "needs kernel 6.6"}};
  s.attachments = {{"eth0", "uplink_in", "clsact", 77, AttachState::kAttached, ""}};
  s.reconcile = {{"lb", 12, 1, 3, 1.25, 30.0, ""}};
  s.tables = {3, 3, 1, 0};
  s.maps = {{"ls_svc", "hash", 3, 65536, 20, 4, 4 << 20}};
  s.loops = {{"control", 0.001, 0.5}};
  return s;
}

inline std::vector<VipView> sample_vips() {
  BackendView b1{ep("10.0.0.7:31001"), ip("10.0.0.7"), 1, BackendState::kActive, 1, 10, 2, "web.1", "marathon"};
  BackendView b2{ep("10.0.0.8:31002"), ip("10.0.0.8"), 0, BackendState::kDraining, 2, 5, 0, "web.2", "marathon"};
  BackendView b6{ep("[fd00::8]:31002"), ip("10.0.0.8"), 1, BackendState::kActive, 3, 0, 0, "web.2", "marathon"};
  BackendView db{ep("10.0.0.9:5432"), ip("10.0.0.9"), 1, BackendState::kActive, 4, 0, 7, "db\x1b[31m\xff", "marathon"};
  auto name = std::string("web.marathon"), dns = name + ".l4lb.thisdcos.directory";
  return {
      {{ip("10.99.0.1"), 5432, Protocol::kTcp}, "", "", "10.99.0.1", "", 3, 251, {db}},
      {{ip("11.0.0.1"), 80, Protocol::kTcp}, name, dns, "web", "marathon", 1, 251, {b1, b2}},
      {{ip("fd01:c::1"), 80, Protocol::kTcp}, name, dns, "web", "marathon", 2, 251, {b6}},
  };
}

class FakeProvider : public Provider {
 public:
  StatusView status() override { return locked(status_); }
  std::vector<VipView> vips() override { return locked(vips_); }

  Result<FlowList> flows(const FlowFilter& filter, size_t limit) override {
    FlowList out;
    for (auto& f : flows_) {
      if (!filter.matches(f)) continue;
      if (out.flows.size() == limit) {
        out.truncated = true;
        break;
      }
      out.flows.push_back(f);
    }
    return out;
  }

  Result<std::vector<MapView>> maps() override {
    if (broken) return fail(EPERM, "list the maps");
    return std::vector<MapView>{{"ls_svc", "hash", 3, 65536, 20, 4, 4 << 20},
                                {"ls_be", "array", 90, 100, 4, 32, 3200},
                                {"ls_events", "ringbuf", std::nullopt, 1 << 20, 0, 0, 1 << 20}};
  }

  Result<> map_dump(std::string_view name, const MapSink& sink) override {
    if (name == "ls_events") return fail(ENOTSUP, "list ls_events: it is a ring buffer");
    if (name != "ls_be") return fail(ENOENT, "open the map");
    for (uint32_t i = 0; i < 5; i++) {
      ls_be be{};
      if (i == 1 || i == 3) {
        memcpy(be.addr_be, ip("10.0.0.7").bytes().data(), 16);
        be.port_be = htobe16(uint16_t(31000 + i));
        be.proto = 6;
        be.state = 7 << 8 | LS_BE_ACTIVE;
      }
      if (!sink({std::as_bytes(std::span(&i, 1)), {std::as_bytes(std::span(&be, 1))}})) break;
    }
    return {};
  }

  Result<std::vector<DropView>> drops() override {
    if (broken) return fail(EPERM, "read ls_drops");
    return std::vector<DropView>{{LS_HOOK_PORT_IN, LS_DROP_NO_BACKEND, 7}, {LS_HOOK_CONNECT, LS_DROP_SOCK_REFUSED, 0}};
  }
  Result<std::vector<StatView>> stats() override {
    if (broken) return fail(EPERM, "read ls_stats");
    return std::vector<StatView>{{LS_HOOK_PORT_IN, LS_VERDICT_FORWARD, 100, 64000}, {LS_HOOK_PORT_IN, LS_VERDICT_NEW, 0, 0}};
  }

  MetricsView metrics() override {
    MetricsView m;
    m.map_update_errors = {{"ls_svc", "E2BIG", 2}};
    m.flows = {1, 2, 3, 4};
    m.flow_overflows = 5;
    m.ring_events_lost = 6;
    m.convergence = {{"task", {{0.001, 0.01, 0.1}, {5, 4, 3, 2}, 1.5}}};
    m.reconcile = {{"lb", {{0.001, 0.01}, {1, 1, 0}, 0.005}}};
    return m;
  }

  EventHub& events() override { return hub; }

  void set(StatusView s) {
    std::lock_guard lock(mutex_);
    status_ = std::move(s);
  }
  void set(std::vector<VipView> v) {
    std::lock_guard lock(mutex_);
    vips_ = std::move(v);
  }

  std::atomic<bool> broken{false};
  std::atomic<uint32_t> wanted{0};
  EventHub hub{[this](uint32_t mask) { wanted = mask; }};

 private:
  template <class T>
  T locked(const T& value) {
    std::lock_guard lock(mutex_);
    return value;
  }

  std::mutex mutex_;
  StatusView status_ = ready_status();
  std::vector<VipView> vips_ = sample_vips();
  const std::vector<FlowView> flows_{
      {ep("10.1.0.2:40000"), {ip("11.0.0.1"), 80, Protocol::kTcp}, "web.marathon", ep("10.0.0.7:31001"), 1,
       FlowState::kEstablished, false, 0.5},
      {ep("10.1.0.2:40001"), {ip("11.0.0.1"), 80, Protocol::kTcp}, "web.marathon", ep("10.0.0.8:31002"), 2,
       FlowState::kClosing, true, 65},
      {ep("10.1.0.3:5353"), {ip("10.99.0.1"), 5432, Protocol::kUdp}, "", ep("10.0.0.9:5432"), 4, FlowState::kUdp, false, 3},
  };
};

inline EventView drop_event() {
  EventView e;
  e.unix_ns = 1'700'000'000'123'456'789;
  e.type = LS_EVENT_DROP;
  e.hook = LS_HOOK_PORT_IN;
  e.reason = LS_DROP_NO_BACKEND;
  e.proto = 6;
  e.device = "veth1";
  e.src = ep("10.1.0.2:40000");
  e.dst = ep("11.0.0.1:80");
  e.service = ServiceKey{ip("11.0.0.1"), 80, Protocol::kTcp};
  e.vip_name = "web.marathon";
  return e;
}

}  // namespace ls::api
