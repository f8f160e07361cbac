#pragma once
/// The overlay as JSON in the shapes of the original, key by key (spec/overlay-modules.md 6, 8.3 and 10).
///
/// Thread: any; pure. Cost: linear in what is shown, about 0.8 kB a node with two overlays.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "overlay/plan.h"
#include "util/result.h"

namespace ls::overlay {

/// How a node fared with one overlay, as it said itself.
enum class ReportStatus : uint8_t { kOk, kFailed, kConfiguring };
std::string_view to_text(ReportStatus);  ///< STATUS_OK, STATUS_FAILED, STATUS_CONFIGURING
struct OverlayReport {
  std::string overlay;
  ReportStatus status = ReportStatus::kOk;
  std::string error;  ///< of kFailed
  bool operator==(const OverlayReport&) const = default;
};

struct NodeState {
  Allocation allocation;
  std::vector<OverlayReport> reports;  ///< one an overlay at most; none: it has not said yet
};

/// What one pool has given away.
struct PoolUsage {
  std::string overlay;  ///< empty: VTEP addresses
  IpNetwork pool;
  uint8_t share = 0;  ///< length of a block, of the family's own counting; 0 for VTEP addresses
  Number size = 0, used = 0, held = 0, free = 0;
};

/// Body of GET /overlay-master/state. A share that was not given is STATUS_FAILED with "exhausted: ..." or "conflict: ..."; one whose
/// node has not said anything has no status.
std::string master_state_json(const Plan&, std::span<const NodeState* const>);
/// Body of GET /overlay-agent/overlay.
std::string agent_overlay_json(const Plan&, const NodeState&, uint32_t configuration_attempts);
/// Body of POST /overlay-master/agents/delete: the addresses it names, in order. The error is one sentence for a 400.
Result<std::vector<IpAddress>> parse_delete_body(std::string_view body);

/// Capacities and what is used of them, for operators.
std::string capacity_json(const Plan&, std::span<const PoolUsage>);

/// The CNI file of compatibility mode (8.3), with its name. nullopt: this share gets none (no Mesos side, no IPv4).
struct CniFile {
  std::string name, text;
};
std::optional<CniFile> cni_file(const Share&, uint32_t mtu, std::string_view data_dir);

/// The CNI file of loadstar-cni (docs/operate/cni.md) in direct mode: no bridge, IPv4 and IPv6. nullopt: no Mesos side. What is
/// empty is left out: the plugin's default counts.
struct OwnCniOptions {
  uint32_t mtu = 0;  ///< 0: as much as the tunnel takes
  std::string data_dir, state_file, pin;
};
std::optional<CniFile> own_cni_file(const Share&, const OwnCniOptions&);

/// The plan as the `network` object; read_plan gives the same plan back.
std::string plan_json(const Plan&);

}  // namespace ls::overlay
