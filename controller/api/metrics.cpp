#include "api/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include "api/labels.h"
#include "api/metrics_cluster.h"
#include "api/metrics_dns.h"
#include "api/metrics_family.h"
#include "api/metrics_overlay.h"
#include "api/metrics_overlay_node.h"

namespace ls::api {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

/// One scrape: the list of families, in the order of docs/operate/metrics.md.
class Scrape final : public prometheus::Collectable {
 public:
  Scrape(Provider& provider, const std::vector<LoopView>& own_loops, std::map<std::string, uint64_t>& errors)
      : provider_(provider), own_loops_(own_loops), errors_(errors) {}

  std::vector<MetricFamily> Collect() const override {
    Families out;
    auto status = provider_.status();
    daemon(out, status);
    source(out, status.source);
    auto more = provider_.metrics();
    cluster_families(out, status);
    reconcile(out, status, more);
    maps(out, more);
    packets(out);
    tables(out, status, more);
    if (auto* source = provider_.dns()) dns_families(out, *source);
    if (auto* source = provider_.overlay()) overlay_families(out, *source);
    if (auto* source = provider_.overlay_node()) overlay_node_families(out, *source);
    gauge(out, "loadstar_loop_lag_seconds", "How late the last one-second timer of an event loop came.",
          [&](Family& f) {
            for (const auto* loops : {&std::as_const(status.loops), &own_loops_}) {
              for (auto& l : *loops) f.add(l.lag_s, {label("loop", l.name)});
            }
          });
    counter(out, "loadstar_scrape_errors_total", "Parts of a scrape that could not be read and were left out.",
            [&](Family& f) {
              for (auto& [part, count] : errors_) f.add(double(count), {label("part", part)});
            });
    return out;
  }

 private:
  using Families = std::vector<MetricFamily>;

  void daemon(Families& out, const StatusView& s) const {
    gauge(out, "loadstar_build_info", "Always 1; the version is in the label.",
          [&](Family& f) { f.add(1, {label("version", s.version)}); });
    gauge(out, "loadstar_ready", "1 when the daemon serves (GET /readyz).", [&](Family& f) { f.add(s.ready); });
    gauge(out, "loadstar_startup_state", "1 for each start-up state that is reached.", [&](Family& f) {
      for (auto& st : s.startup) f.add(st.reached, {label("state", st.name)});
    });
    gauge(out, "loadstar_attachments", "Programs by the state of their attachment.", [&](Family& f) {
      for (auto state : kAttachStates) {
        uint64_t n = 0;
        for (auto& a : s.attachments) n += a.state == state;
        f.add(double(n), {label("state", to_text(state))});
      }
    });
  }

  void source(Families& out, const SourceView& s) const {
    if (s.kind.empty()) return;  // before the configuration is read there is none
    auto kind = label("source", s.kind);
    gauge(out, "loadstar_source_connected", "1 while the source of cluster state is connected.",
          [&](Family& f) { f.add(s.connected, {kind}); });
    gauge(out, "loadstar_source_age_seconds", "Since the last message of the source, heartbeats included.",
          [&](Family& f) { f.add(s.age_s, {kind}); });
    counter(out, "loadstar_source_events_total", "Events of the source by kind.", [&](Family& f) {
      for (auto& e : s.events) f.add(double(e.count), {kind, label("kind", e.kind)});
    });
  }

  void reconcile(Families& out, const StatusView& s, const MetricsView& more) const {
    counter(out, "loadstar_reconcile_runs_total", "Runs of a reconciler.", [&](Family& f) {
      for (auto& r : s.reconcile) f.add(double(r.runs), {label("driver", r.driver)});
    });
    counter(out, "loadstar_reconcile_errors_total", "Runs of a reconciler that failed.", [&](Family& f) {
      for (auto& r : s.reconcile) f.add(double(r.errors), {label("driver", r.driver)});
    });
    counter(out, "loadstar_drift_repaired_total", "Things of ours that somebody else changed and that were repaired.",
            [&](Family& f) {
              for (auto& r : s.reconcile) f.add(double(r.drift_repaired), {label("driver", r.driver)});
            });
    Family seconds(out, MetricType::Histogram, "loadstar_reconcile_seconds", "How long a run of a reconciler took.");
    for (auto& h : more.reconcile) seconds.add(h.values, {label("driver", h.label)});
    Family convergence(out, MetricType::Histogram, "loadstar_convergence_seconds",
                       "From an event to the kernel holding its effect; kind hub: from its receipt at the master that is followed.");
    for (auto& h : more.convergence) convergence.add(h.values, {label("kind", h.label)});
  }

  void maps(Families& out, const MetricsView& more) const {
    auto maps = provider_.maps();
    if (!maps) {
      errors_["maps"]++;
    } else {
      gauge(out, "loadstar_map_entries", "Entries in use of a BPF map.", [&](Family& f) {
        for (auto& m : *maps) {
          if (m.entries) f.add(double(*m.entries), {label("map", m.name)});
        }
      });
      gauge(out, "loadstar_map_capacity", "Entries a BPF map has room for.", [&](Family& f) {
        for (auto& m : *maps) f.add(double(m.capacity), {label("map", m.name)});
      });
      gauge(out, "loadstar_map_memory_bytes", "Kernel memory of a BPF map.", [&](Family& f) {
        for (auto& m : *maps) f.add(double(m.bytes), {label("map", m.name)});
      });
    }
    counter(out, "loadstar_map_update_errors_total", "Updates of a BPF map that the kernel refused.", [&](Family& f) {
      for (auto& e : more.map_update_errors) f.add(double(e.count), {label("map", e.map), label("errno", e.error)});
    });
  }

  void packets(Families& out) const {
    if (auto stats = provider_.stats()) {
      counter(out, "loadstar_packets_total", "Packets (socket calls on socket hooks) by what became of them.",
              [&](Family& f) {
                for (auto& s : *stats) f.add(double(s.packets), hook_and("verdict", s.hook, verdict_label(s.verdict)));
              });
      counter(out, "loadstar_bytes_total", "Bytes of those packets.", [&](Family& f) {
        for (auto& s : *stats) f.add(double(s.bytes), hook_and("verdict", s.hook, verdict_label(s.verdict)));
      });
    } else {
      errors_["stats"]++;
    }
    if (auto drops = provider_.drops()) {
      counter(out, "loadstar_drops_total", "Packets and calls dropped or answered with an error, by reason.",
              [&](Family& f) {
                for (auto& d : *drops) f.add(double(d.count), hook_and("reason", d.hook, reason_label(d.reason)));
              });
    } else {
      errors_["drops"]++;
    }
  }

  void tables(Families& out, const StatusView& s, const MetricsView& more) const {
    gauge(out, "loadstar_flows", "Open flows of the packet path.", [&](Family& f) {
      if (!more.flows) return;
      for (size_t i = 0; i < kFlowStates.size(); i++) {
        f.add(double((*more.flows)[i]), {label("state", to_text(kFlowStates[i]))});
      }
    });
    counter(out, "loadstar_flow_overflows_total", "New flows that found no free entry and were forwarded by hash alone.",
            [&](Family& f) { f.add(double(more.flow_overflows)); });
    gauge(out, "loadstar_vips", "Services in the VIP table.", [&](Family& f) { f.add(double(s.tables.vips)); });
    gauge(out, "loadstar_vip_backends", "Backends of all services by state.", [&](Family& f) {
      f.add(double(s.tables.active), {label("state", "active")});
      f.add(double(s.tables.draining), {label("state", "draining")});
      f.add(double(s.tables.dead), {label("state", "dead")});
    });
    gauge(out, "loadstar_vip_problems", "Labels and tasks that were left out, see `loadstar status`.",
          [&](Family& f) { f.add(double(s.problem_count)); });
    counter(out, "loadstar_events_lost_total", "Events of the data path that no monitor got, by where they were lost.",
            [&](Family& f) {
              f.add(double(more.ring_events_lost), {label("at", "ring")});
              f.add(double(provider_.events().lost()), {label("at", "subscriber")});
            });
  }

  static Labels hook_and(const char* name, uint8_t hook, std::string_view value) {
    return {label("hook", hook_label(hook)), label(name, value)};
  }

  Provider& provider_;
  const std::vector<LoopView>& own_loops_;
  std::map<std::string, uint64_t>& errors_;
};

}  // namespace

std::string Metrics::text(const std::vector<LoopView>& own_loops) {
  return prometheus::TextSerializer().Serialize(Scrape(provider_, own_loops, scrape_errors_).Collect());
}

}  // namespace ls::api
