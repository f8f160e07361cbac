#pragma once
/// The pools of the plan in force, with everything that is taken from them.
///
/// Thread: one (the allocator's). Errors: apply() names the first thing that does not fit and has then changed nothing. Cost:
/// logarithmic an address or block; a change of the plan copies the pools, whose size follows the runs that are not free.
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "overlay/overlay_json.h"
#include "overlay/plan.h"
#include "overlay/pool.h"

namespace ls::overlay {

/// Why something was not done: a word for machines and a sentence for people.
struct Refusal {
  std::string reason, detail;
  std::string text() const { return reason + ": " + detail; }
  bool operator==(const Refusal&) const = default;
};

struct OverlayPools {
  OverlayPlan plan;
  bool retired = false;  ///< gone from the file, kept for those who hold blocks of it
  std::optional<BlockPool> v4, v6;

  explicit OverlayPools(OverlayPlan p, bool is_retired = false);
  bool in_use() const;  ///< a block is used or held
  bool gives() const { return plan.enabled && !retired; }
};

class PlanPools {
 public:
  PlanPools(const Plan& plan, const std::set<std::string>& retired);

  /// The plan in force; retired overlays stand at its end, not enabled.
  Plan plan() const;
  std::set<std::string> retired() const;
  /// Sorted by name.
  const std::map<std::string, OverlayPools, std::less<>>& overlays() const { return overlays_; }
  const OverlayPools* find(std::string_view name) const;
  const AddressPool& vtep4() const { return vtep4_; }
  const std::optional<AddressPool>& vtep6() const { return vtep6_; }
  const Mac& oui() const { return plan_.oui; }
  std::vector<PoolUsage> usage() const;

  enum class Step { kTake, kHold, kResume, kRelease };
  /// Does it with everything the allocation holds and `except` does not, or with nothing: then the text says what does not fit.
  std::optional<std::string> apply(Step, const Allocation&, const Allocation* except = nullptr);

  /// These pools under another plan. Refused (pool-changed, oui-changed, pool-overlap, pool-overlaps-vtep): what is in use would
  /// change its meaning. Overlays that are gone from the plan stay, retired, while a block of theirs is in use.
  tl::expected<PlanPools, Refusal> under(const Plan& wanted) const;
  /// Forgets retired overlays of which nothing is in use any more.
  void drop_unused();

 private:
  Plan plan_;  ///< without its overlays
  std::vector<std::string> order_;
  std::map<std::string, OverlayPools, std::less<>> overlays_;
  AddressPool vtep4_;
  std::optional<AddressPool> vtep6_;
};

}  // namespace ls::overlay
