#include "api/metrics_overlay.h"

namespace ls::api {

void overlay_families(Families& out, OverlaySource& source) {
  if (!source.allocates()) return;
  auto v = source.master_view();
  gauge(out, "loadstar_overlay_allocator_up", "1 while the allocator of the overlay serves.", [&](Family& f) { f.add(v.problem.empty()); });
  if (!v.problem.empty()) return;
  gauge(out, "loadstar_overlay_plan_rejected", "1 while the plan of the configuration is refused and an older one is in force.", [&](Family& f) { f.add(!v.rejected.empty()); });
  gauge(out, "loadstar_overlay_nodes", "Nodes with an allocation.", [&](Family& f) { f.add(double(v.nodes)); });
  counter(out, "loadstar_overlay_registrations_total", "Registrations of nodes by what became of them.", [&](Family& f) {
    f.add(double(v.registered), {label("result", "accepted")});
    f.add(double(v.refused), {label("result", "refused")});
  });
  counter(out, "loadstar_overlay_shares_refused_total", "Overlays that a node did not get, each time it was told so.", [&](Family& f) {
    f.add(double(v.exhausted), {label("reason", "exhausted")});
    f.add(double(v.conflicts), {label("reason", "conflict")});
  });
  counter(out, "loadstar_overlay_adopted_total", "Addresses and blocks taken over from what a node held.", [&](Family& f) { f.add(double(v.adopted)); });
  counter(out, "loadstar_overlay_removed_total", "Nodes removed by operators.", [&](Family& f) { f.add(double(v.removed)); });
  counter(out, "loadstar_overlay_store_failures_total", "Records that could not be written; what they were for did not happen.", [&](Family& f) { f.add(double(v.store_failures)); });
  auto pools = [&](const char* name, const char* help, double OverlayPoolView::* what) {
    gauge(out, name, help, [&](Family& f) {
      for (auto& p : v.pools) f.add(p.*what, {label("overlay", p.overlay), label("pool", p.pool)});
    });
  };
  pools("loadstar_overlay_pool_size", "Blocks of a pool, or addresses of the VTEP pool (overlay=\"\").", &OverlayPoolView::size);
  pools("loadstar_overlay_pool_used", "Of those, given to nodes.", &OverlayPoolView::used);
  pools("loadstar_overlay_pool_held", "Of those, kept back after a removal.", &OverlayPoolView::held);
}

}  // namespace ls::api
