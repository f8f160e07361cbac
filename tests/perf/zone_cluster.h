#pragma once
/// A made-up cluster for benchmarks: a `/master/state` document of so many tasks, and everything between it and the tables that DNS
/// answers from, as DnsNode wires it.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "derive/dcos_zone.h"
#include "derive/mesos_masters.h"
#include "derive/mesos_zone.h"
#include "derive/vips.h"
#include "dns/zone_table.h"
#include "state/cluster_state.h"

namespace ls {

/// kPlain: four names a task. kHard: dotted discovery name, VIP, two ports and two statuses a task, 16 names.
enum class Shape { kPlain, kHard };

/// Ten frameworks, a hundred tasks an agent, addresses in the newest status.
std::string state_text(size_t tasks, Shape shape);

/// Everything between a decoded event and a DNS worker, as DnsNode wires it.
struct Cluster {
  FakeClock clock;
  ClusterState state;
  VipDeriver vips;
  MesosZone zone{MesosZoneOptions{}};
  Epoch epoch;
  dns::ZoneTable mesos{epoch}, dcos{epoch}, l4lb{epoch};
  std::map<ServiceKey, std::vector<Record>> named;

  void name(const VipDelta& delta) {
    RecordDelta out;
    for (auto& s : delta.upsert) {
      auto records = l4lb_records(s);
      auto& before = named[s.key];
      if (records == before) continue;
      out.add.insert(out.add.end(), records.begin(), records.end());
      out.remove.insert(out.remove.end(), before.begin(), before.end());
      before = std::move(records);
    }
    for (auto& key : delta.remove)
      if (auto it = named.find(key); it != named.end()) {
        out.remove.insert(out.remove.end(), it->second.begin(), it->second.end());
        named.erase(it);
      }
    if (!out.empty()) l4lb.apply(out);
  }
  void load(const StateDelta& delta) {
    zone.apply(delta, [&](RecordDelta&& piece) { mesos.apply_unloaded(piece); });
    mesos.apply({});
  }
  void load_dcos(const StateDelta& delta) {
    dcos_records(delta, [&](RecordDelta&& piece) { dcos.apply_unloaded(piece); });
    dcos.apply({});
  }
  /// Not inlined, so that a profiler can count what is inside (callgrind --toggle-collect).
  [[gnu::noinline]] size_t change(Event&& event) {
    StateDelta delta = state.apply(std::move(event), clock.now());
    name(vips.apply(delta));
    RecordDelta a = zone.apply(delta), b = dcos_records(delta);
    if (!a.empty()) mesos.apply(a);
    if (!b.empty()) dcos.apply(b);
    return a.add.size() + a.remove.size() + b.add.size() + b.remove.size();
  }
};

}  // namespace ls
