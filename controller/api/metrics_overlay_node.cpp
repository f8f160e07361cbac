#include "api/metrics_overlay_node.h"

namespace ls::api {
namespace {

constexpr const char* kStates[] = {"registering", "last known", "configuring", "ok", "failed"};

constexpr const char* kOffloads[] = {"not_probed", "good", "mended", "off", "broken"};

void one(Families& out, const char* name, const char* help, uint64_t value) {
  gauge(out, name, help, [&](Family& f) { f.add(double(value)); });
}
void total(Families& out, const char* name, const char* help, uint64_t value) {
  counter(out, name, help, [&](Family& f) { f.add(double(value)); });
}

void agreement(Families& out, const OverlayNodeView& v) {
  gauge(out, "loadstar_overlay_node_state", "1 for the state that this node's overlay is in.", [&](Family& f) {
    for (auto* state : kStates) f.add(v.state == state, {label("state", state)});
  });
  if (v.heard_s >= 0) gauge(out, "loadstar_overlay_master_age_seconds", "Since the last good answer of a master.", [&](Family& f) { f.add(v.heard_s); });
  total(out, "loadstar_overlay_register_sent_total", "Registrations that this node sent.", v.registrations);
  total(out, "loadstar_overlay_register_failures_total", "Of what this node asked the masters, what failed or was refused.", v.failures);
  total(out, "loadstar_overlay_updates_received_total", "Changes of allocations that this node was told.", v.updates);
}

void tables(Families& out, const OverlayNodeView& v) {
  one(out, "loadstar_overlay_peers", "Other nodes that this one can reach over the overlay.", v.peers);
  one(out, "loadstar_overlay_entries", "Entries of nodes and their shares in the kernel.", v.entries);
  one(out, "loadstar_overlay_entry_conflicts", "Allocations that contradict another one and are left out.", v.conflicts);
  total(out, "loadstar_overlay_repaired_total", "Things of the device and its tables that were wrong and were put right.", v.repaired);
  one(out, "loadstar_overlay_mtu_bytes", "Largest packet of a container.", v.mtu);
  one(out, "loadstar_overlay_underlay_mtu_bytes", "Largest packet of the device below the tunnel.", v.underlay_mtu);
  one(out, "loadstar_overlay_warnings", "Warnings about this node's overlay, which `loadstar status` prints.", v.warnings.size());
}

void offload(Families& out, const OverlayNodeView& v) {
  if (v.offload_state.empty()) return;
  gauge(out, "loadstar_overlay_offload", "1 for what was found about checksum offload of the tunnel.", [&](Family& f) {
    for (auto* state : kOffloads) f.add(v.offload_state == state, {label("state", state)});
  });
  counter(out, "loadstar_overlay_probe_talks_total", "TCP with other nodes through the tunnel to probe checksums, by what became of it.", [&](Family& f) {
    f.add(double(v.talks_good), {label("result", "good")});
    f.add(double(v.talks_lost_here), {label("result", "lost_here")});
    f.add(double(v.talks_lost_there), {label("result", "lost_there")});
  });
}

void shares(Families& out, const OverlayNodeView& v) {
  gauge(out, "loadstar_overlay_config_failed", "1 while an overlay could not be brought about on this node.", [&](Family& f) {
    for (auto& l : v.shares) f.add(l.status == "failed", {label("overlay", l.share.overlay)});
  });
  uint64_t without = 0;
  for (auto& l : v.shares) without += l.share.state != "ok";
  one(out, "loadstar_overlay_without_share", "Overlays of which this node did not get a share.", without);
  total(out, "loadstar_overlay_docker_failures_total", "Commands to Docker that failed.", v.docker_failures);
}

void packets(Families& out, const OverlayNodeView& v) {
  auto by_hook = [&](const char* name, const char* help, uint64_t OverlayNodeView::Hook::* what) {
    counter(out, name, help, [&](Family& f) {
      for (auto& h : v.hooks) f.add(double(h.*what), {label("hook", h.hook), label("result", h.result)});
    });
  };
  by_hook("loadstar_overlay_packets_total", "Packets by what became of them at a hook of the overlay; drops are in loadstar_drops_total.", &OverlayNodeView::Hook::packets);
  by_hook("loadstar_overlay_bytes_total", "Bytes of those packets.", &OverlayNodeView::Hook::bytes);
}

}  // namespace

void overlay_node_families(Families& out, OverlayNodeSource& source) {
  auto v = source.view();
  if (!v || !v->enabled) return;
  agreement(out, *v);
  tables(out, *v);
  offload(out, *v);
  shares(out, *v);
  packets(out, *v);
}

}  // namespace ls::api
