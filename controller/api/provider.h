#pragma once
/// What the API needs from the daemon. `app` implements it.
///
/// Thread: every function is called on the admin thread while the control loop works, so an implementation reads
/// Published snapshots and the kernel's maps, and never waits for the control loop.
/// Cost: a call may take milliseconds (a flow table is scanned); it then delays only other API calls.
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/cluster_views.h"
#include "api/dns_source.h"
#include "api/event_hub.h"
#include "api/filter.h"
#include "api/overlay_node.h"
#include "api/overlay_source.h"
#include "api/views.h"
#include "dns/registry.h"
#include "util/result.h"

namespace ls::api {

/// One entry of a BPF map as the kernel gives it. Per-CPU maps have one value a CPU.
struct RawEntry {
  std::span<const std::byte> key;
  std::vector<std::span<const std::byte>> values;
};
/// Gets each entry; false ends the dump.
using MapSink = std::function<bool(const RawEntry&)>;

class Provider {
 public:
  virtual ~Provider() = default;

  virtual StatusView status() = 0;
  /// Sorted by name, then key, so that two calls list alike.
  virtual std::vector<VipView> vips() = 0;
  /// At most `limit` flows that match; each flow once, not once a direction.
  virtual Result<FlowList> flows(const FlowFilter&, size_t limit) = 0;
  virtual Result<std::vector<MapView>> maps() = 0;
  /// ENOENT: there is no map of that name. ENOTSUP: a map of that type cannot be listed (ring buffer, socket storage).
  virtual Result<> map_dump(std::string_view name, const MapSink&) = 0;
  /// Sums over the CPUs; every (hook, reason) or (hook, verdict) that can occur, zeros too.
  virtual Result<std::vector<DropView>> drops() = 0;
  virtual Result<std::vector<StatView>> stats() = 0;
  virtual MetricsView metrics() = 0;
  virtual EventHub& events() = 0;

  // DNS: what /v1/dns, the DNS lines of the status and the DNS metrics are made from. Null: this node serves none.
  virtual DnsSource* dns() { return nullptr; }

  // The overlay: /overlay-master, /overlay-agent, /v1/overlay and its metrics. Null: this node has no overlay.
  virtual OverlaySource* overlay() { return nullptr; }
  /// What this node has of the overlay and does with it: /v1/overlay/node and below. Null: it takes no part.
  virtual OverlayNodeSource* overlay_node() { return nullptr; }

  // The hub of a master.
  /// Asks who follows; `done` is called once, on another thread, perhaps before this returns, or never when that thread is stuck. False: this node
  /// serves no hub.
  virtual bool hub_followers(std::function<void(std::vector<HubFollowerView>)> done) { return (void)done, false; }

  // Registrations and what the reference's node API showed (docs/operate/registration.md).
  /// Where names are registered; used on the admin thread only. Null: this node keeps none of its own.
  virtual dns::Registry* registry() { return nullptr; }
  /// The whole copy of another node's registrations (`full`); null: this node follows nobody, or has no copy yet.
  virtual std::shared_ptr<const dns::RegistrationFeed> followed() { return nullptr; }
  /// Masters take turns and this one does not lead: who does, "10.0.0.1:62080", empty while nobody is known to. nullopt: it leads, or there are
  /// no turns.
  virtual std::optional<std::string> other_leads() { return std::nullopt; }
  virtual std::vector<NodeView> nodes() { return {}; }
  /// Every setting with its value as TOML text. Secrets are in files, which settings only name.
  virtual std::vector<std::pair<std::string, std::string>> settings() { return {}; }
  /// Public half of the cluster's key in zbase32; empty until it is known.
  virtual std::string cluster_key() { return {}; }
};

}  // namespace ls::api
