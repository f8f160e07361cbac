#include "app/views.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <time.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "api/dns_event.h"
#include "loadstar/abi/dns.h"
#include "util/log.h"

namespace ls {
namespace {

/// Kinds and drivers are known here, so that the admin thread reads fixed maps.
constexpr std::array kKinds{"task_added", "task_updated", "agent_added", "agent_removed", "framework_added",
                            "framework_removed", "expired", "snapshot", "hub"};
constexpr std::array kDrivers{"lb", "attach", "dns"};

std::vector<double> seconds_buckets() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
}

int64_t clock_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

std::string device_name(uint32_t ifindex) {
  char name[IF_NAMESIZE];
  return if_indextoname(ifindex, name) ? name : "if" + std::to_string(ifindex);
}

Endpoint endpoint_of(const __be32* addr, __be16 port_be) {
  return {IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(addr)), be16toh(port_be)};
}

api::FlowState state_of(FlowState s) {
  switch (s) {
    case FlowState::kSyn: return api::FlowState::kSyn;
    case FlowState::kEstablished: return api::FlowState::kEstablished;
    case FlowState::kClosing: return api::FlowState::kClosing;
    case FlowState::kUdp: break;
  }
  return api::FlowState::kUdp;
}

/// Types without entries to list; and ls_dns_data, whose entries are a megabyte each of what ls_dns_bucket points into.
bool listable(const bpf::MapLayout& m) {
  constexpr uint32_t kLargest = 65536;
  return m.type != BPF_MAP_TYPE_RINGBUF && m.type != BPF_MAP_TYPE_SK_STORAGE && m.value_bytes <= kLargest;
}

std::string type_text(uint32_t type) {
  const char* text = libbpf_bpf_map_type_str(bpf_map_type(type));
  return text ? text : std::to_string(type);
}

bool per_cpu(uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

}  // namespace

DaemonViews::DaemonViews(std::function<void(uint32_t)> events_wanted)
    : hub_(std::move(events_wanted)), monotonic_to_real_ns_(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC)) {
  for (auto k : kKinds) convergence_[k] = std::make_unique<Histogram>(seconds_buckets());
  for (auto d : kDrivers) reconcile_[d] = std::make_unique<Histogram>(seconds_buckets());
}

Result<> DaemonViews::open(const MapOpener& opener, std::vector<datapath::MapInfo> maps) {
  LS_ASSIGN(auto tables, TablesReader::open(opener));
  LS_ASSIGN(auto counters, Counters::open(opener));
  kernel_.reset(new Kernel{std::move(tables), opener, std::move(counters), std::move(maps)});
  return {};
}

void DaemonViews::set_dns(api::DnsSource* dns, Registrations* registrations, const NodeList* nodes, const Config& config) {
  dns_ = dns;
  registrations_ = registrations;
  nodes_ = nodes;
  cluster_key_ = config.resolver.cluster_id;
  set_settings(config);
}

void DaemonViews::set_settings(const Config& config) {
  std::vector<std::pair<std::string, std::string>> all;
  for (auto& s : ls::settings()) all.emplace_back(s.name, s.print(config));
  settings_.publish(std::move(all));
}

void DaemonViews::services_changed(const VipDelta& delta) {
  std::vector<std::shared_ptr<const Service>> made;
  for (auto& s : delta.upsert) made.push_back(std::make_shared<const Service>(s));
  services_.with([&](Services& all) {
    for (auto& s : made) all[s->key] = s;
    for (auto& key : delta.remove) all.erase(key);
  });
}

void DaemonViews::services_replaced(const std::vector<Service>& all) {
  Services next;
  for (auto& s : all) next.emplace_hint(next.end(), s.key, std::make_shared<const Service>(s));
  services_.with([&](Services& old) { old.swap(next); });
}

void DaemonViews::converged(std::string_view kind, double seconds) {
  auto it = convergence_.find(std::string(kind));
  if (it != convergence_.end()) it->second->observe(seconds);
}

void DaemonViews::reconciled(std::string_view driver, double seconds) {
  auto it = reconcile_.find(std::string(driver));
  if (it != reconcile_.end()) it->second->observe(seconds);
}

std::shared_ptr<const Service> DaemonViews::service(const ServiceKey& key) {
  return services_.with([&](Services& all) -> std::shared_ptr<const Service> {
    auto it = all.find(key);
    return it == all.end() ? nullptr : it->second;
  });
}

std::vector<std::string> DaemonViews::service_origins(const std::string& name) {
  constexpr size_t kMostTasks = 100;
  std::vector<std::shared_ptr<const Service>> named;
  services_.with([&](Services& all) {
    for (auto& [key, s] : all) {
      if (s->name == name) named.push_back(s);
    }
  });
  std::vector<std::string> out;
  for (auto& s : named) {
    out.push_back("VIP " + s->label + " of " + s->framework + ": " + s->key.text() + ", " + std::to_string(s->backends.size()) + " backends");
    size_t shown = 0;
    for (auto& b : s->backends) {
      if (shown++ == kMostTasks) {
        out.push_back("  and " + std::to_string(s->backends.size() - kMostTasks) + " more");
        break;
      }
      out.push_back("  " + b.endpoint().text() + (b.task.empty() ? "" : " task " + b.task + " of " + b.framework));
    }
  }
  return out;
}

void DaemonViews::publish_event(std::span<const std::byte> record) {
  // Every kind of record begins with what is looked at here.
  constexpr size_t kType = offsetof(ls_event, type);
  static_assert(kType == offsetof(ls_dns_event, type) && offsetof(ls_event, ifindex) == offsetof(ls_dns_event, ifindex));
  if (record.size() <= kType) return;
  auto type = uint8_t(record[kType]);
  if (type >= LS_EVENT_MAX || !(hub_.wanted() & (1u << type))) return;
  if (type == LS_EVENT_DNS) {
    auto v = api::decode_dns_event(record, monotonic_to_real_ns_);
    if (!v) return;
    uint32_t ifindex;
    std::memcpy(&ifindex, record.data() + offsetof(ls_dns_event, ifindex), sizeof ifindex);
    if (ifindex) v->device = names_.get(ifindex, v->unix_ns);
    hub_.publish(*v);
    return;
  }
  ls_event e;
  if (record.size() < sizeof e) return;
  std::memcpy(&e, record.data(), sizeof e);
  publish_packet(e);
}

const std::string& DaemonViews::DeviceNames::get(uint32_t ifindex, int64_t now_unix_ns) {
  constexpr int64_t kSecond_ns = 1'000'000'000;
  if (now_unix_ns / kSecond_ns != second_) {
    second_ = now_unix_ns / kSecond_ns;
    known_.clear();
  }
  auto& name = known_[ifindex];
  if (name.empty()) name = device_name(ifindex);
  return name;
}

void DaemonViews::publish_packet(const ls_event& e) {
  api::EventView v;
  v.unix_ns = int64_t(e.time_ns) + monotonic_to_real_ns_;
  v.type = e.type;
  v.hook = e.hook;
  v.reason = e.reason;
  v.proto = e.proto;
  if (e.ifindex) v.device = names_.get(e.ifindex, v.unix_ns);
  v.src = endpoint_of(e.src_be, e.sport_be);
  v.dst = endpoint_of(e.dst_be, e.dport_be);
  ServiceKey key{v.dst.address, v.dst.port, Protocol(e.proto)};
  if (auto s = service(key)) {
    v.service = key;
    v.vip_name = s->name;
  }
  v.backend_number = e.be;
  if (kernel_) v.backend = kernel_->tables.backend(e.be);
  hub_.publish(v);
}

void DaemonViews::publish(api::StatusView status) {
  status_.publish(std::move(status));
  published_ = std::chrono::steady_clock::now();
}

bool DaemonViews::hub_followers(std::function<void(std::vector<api::HubFollowerView>)> done) {
  auto* hub = served_hub_.load();
  if (!hub) return false;
  hub->ask_followers([done = std::move(done)](std::vector<hub::FollowerView> all) {
    std::vector<api::HubFollowerView> out;
    out.reserve(all.size());
    for (auto& f : all) out.push_back({std::move(f.node), std::move(f.address), f.seq, f.behind, f.connected_s});
    done(std::move(out));
  });
  return true;
}

api::StatusView DaemonViews::status() {
  auto v = *status_.get();
  // What a loop last said of itself is as old as that.
  double since_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - published_.load()).count();
  for (auto& l : v.loops) l.beat_age_s += since_s;
  if (auto* hub = served_hub_.load()) {
    auto s = hub->status();
    v.loops.push_back({"hub", s.lag_s, s.beat_age_s});
  }
  if (auto m = maps()) v.maps = std::move(*m);
  return v;
}

std::vector<api::VipView> DaemonViews::vips() {
  std::map<ServiceKey, KernelService> held;
  if (kernel_) {
    if (auto all = kernel_->tables.services())
      for (auto& k : *all) held.emplace(k.key, std::move(k));
  }
  Services known = services_.with([](Services& all) { return all; });
  std::vector<api::VipView> out;
  auto add = [&](const ServiceKey& key, const Service* s, const KernelService* k) {
    api::VipView v;
    v.key = key;
    if (s) {
      v.name = s->name;
      v.dns_name = s->dns_name();
      v.label = s->label;
      v.framework = s->framework;
      for (auto& b : s->backends) {
        api::BackendView bv;
        bv.endpoint = b.endpoint();
        bv.agent = b.agent;
        bv.weight = b.weight;
        bv.state = b.weight ? api::BackendState::kActive : api::BackendState::kDraining;
        bv.task = b.task;
        bv.framework = b.framework;
        v.backends.push_back(std::move(bv));
      }
    }
    if (k) {
      v.number = k->id;
      v.ring_slots = k->ring_slots;
      for (auto& kb : k->backends) {
        auto it = std::find_if(v.backends.begin(), v.backends.end(), [&](auto& b) { return b.endpoint == kb.endpoint; });
        if (it == v.backends.end()) {
          v.backends.push_back({});
          it = v.backends.end() - 1;
          it->endpoint = kb.endpoint;
          it->weight = kb.state == "active";
        }
        it->state = kb.state == "active" ? api::BackendState::kActive : api::BackendState::kDraining;
        it->number = kb.number;
        it->flows_tc = kb.flows_tc;
        it->flows_sock = kb.flows_sock;
      }
    }
    out.push_back(std::move(v));
  };
  for (auto& [key, s] : known) {
    auto it = held.find(key);
    add(key, s.get(), it == held.end() ? nullptr : &it->second);
    if (it != held.end()) held.erase(it);
  }
  for (auto& [key, k] : held) add(key, nullptr, &k);
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return std::tie(a.name, a.key) < std::tie(b.name, b.key); });
  return out;
}

Result<api::FlowList> DaemonViews::flows(const api::FlowFilter& filter, size_t limit) {
  api::FlowList out;
  if (!kernel_) return out;
  LS_ASSIGN(auto flows, FlowReader::open(kernel_->opener));
  flows.for_each({}, [&](const Flow& f) {
    api::FlowView v;
    v.client = f.client;
    v.service = {f.service.address, f.service.port, f.protocol};
    if (auto s = service(v.service)) v.vip_name = s->name;
    v.backend = f.backend;
    v.backend_number = f.be;
    v.state = state_of(f.state);
    v.hairpin = f.hairpin;
    v.idle_s = f.age_s;
    if (!filter.matches(v)) return true;
    if (out.flows.size() == limit) {
      out.truncated = true;
      return false;
    }
    out.flows.push_back(std::move(v));
    return true;
  });
  return out;
}

Result<std::vector<api::MapView>> DaemonViews::maps() {
  std::vector<api::MapView> out;
  if (!kernel_) return out;
  auto used = usage_.get();
  LS_ASSIGN(auto reader, FlowReader::open(kernel_->opener));
  auto flows = reader.count();
  for (auto& m : kernel_->maps) {
    api::MapView v;
    v.name = m.layout.name;
    v.type = type_text(m.layout.type);
    v.capacity = m.layout.max_entries;
    v.key_size = m.layout.key_bytes;
    v.value_size = m.layout.value_bytes;
    v.bytes = m.memory_bytes;
    if (auto it = used->find(v.name); it != used->end()) v.entries = it->second;
    // Counted in flow entries, of which a bucket (what the kernel calls an entry) has several.
    for (auto& [name, fill] : {std::pair{"ls_flow4", &flows.ipv4}, std::pair{"ls_flow6", &flows.ipv6}}) {
      if (v.name != name) continue;
      v.entries = fill->used;
      v.capacity = fill->capacity;
    }
    out.push_back(std::move(v));
  }
  return out;
}

Result<> DaemonViews::map_dump(std::string_view name, const api::MapSink& sink) {
  const datapath::MapInfo* map = nullptr;
  if (kernel_) {
    for (auto& m : kernel_->maps)
      if (m.layout.name == name) map = &m;
  }
  if (!map) return fail(ENOENT, "find map " + std::string(name));
  if (!listable(map->layout)) return fail(ENOTSUP, "list map " + std::string(name));
  size_t cpus = per_cpu(map->layout.type) ? size_t(libbpf_num_possible_cpus()) : 1;
  size_t stride = (map->layout.value_bytes + 7) / 8 * 8;
  std::vector<std::byte> key(map->layout.key_bytes), next(map->layout.key_bytes), value(stride * cpus);
  const void* from = nullptr;
  while (bpf_map_get_next_key(map->fd, from, next.data()) == 0) {
    key = next;
    from = key.data();
    if (bpf_map_lookup_elem(map->fd, key.data(), value.data()) != 0) continue;  // deleted meanwhile
    api::RawEntry entry{key, {}};
    for (size_t cpu = 0; cpu < cpus; cpu++) entry.values.push_back({value.data() + cpu * stride, map->layout.value_bytes});
    if (!sink(entry)) break;
  }
  return {};
}

Result<std::vector<api::DropView>> DaemonViews::drops() {
  std::vector<api::DropView> out;
  if (!kernel_) return out;
  LS_ASSIGN(auto all, kernel_->counters.drops());
  for (auto& d : all) out.push_back({d.hook, d.reason, d.packets});
  return out;
}

Result<std::vector<api::StatView>> DaemonViews::stats() {
  std::vector<api::StatView> out;
  if (!kernel_) return out;
  LS_ASSIGN(auto all, kernel_->counters.verdicts());
  for (auto& v : all) out.push_back({v.hook, v.verdict, v.packets, v.bytes});
  return out;
}

api::MetricsView DaemonViews::metrics() {
  api::MetricsView v;
  for (auto& e : map_errors()) v.map_update_errors.push_back({e.map, strerrorname_np(e.error) ? strerrorname_np(e.error) : std::to_string(e.error), e.count});
  auto reader = kernel_ ? FlowReader::open(kernel_->opener) : Result<FlowReader>(fail("no kernel"));
  if (reader) {
    auto counts = reader->count();
    v.flows.emplace();
    for (size_t i = 0; i < counts.forward_by_state.size(); i++) (*v.flows)[size_t(state_of(FlowState(i)))] += counts.forward_by_state[i];
  }
  auto used = usage_.get();
  if (auto it = used->find("overflows"); it != used->end()) v.flow_overflows = it->second;
  if (auto it = used->find("events_lost"); it != used->end()) v.ring_events_lost = it->second;
  for (auto& [kind, h] : convergence_) v.convergence.push_back({kind, h->snapshot()});
  for (auto& [driver, h] : reconcile_) v.reconcile.push_back({driver, h->snapshot()});
  return v;
}

}  // namespace ls
