#pragma once
/// The `network` object of the allocator, checked: from JSON, or from the settings of loadstar.toml, into a Plan.
///
/// Thread: any; pure. Errors: the one fault that stands first in the list of reasons below, of several equal ones the first in the
/// text, with the field and the value. Cost: overlays squared (pools are compared with each other), start and reload only.
/// Source: spec/overlay-modules.md 2.2, 2.3 and 3; the order of reasons is that of spec/cases/overlay.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "overlay/model.h"
#include "overlay/number.h"

namespace ls::overlay {

inline constexpr size_t kMaxOverlays = 256;
inline constexpr size_t kMaxPlanText = 1 << 20;  ///< octets of JSON; a plan of 256 overlays has 50,000

/// In order of precedence: what is wrong first hides what is wrong later.
enum class PlanReason : uint8_t {
  kType,
  kVtepMissing,
  kOuiMissing,
  kNoOverlays,
  kNameMissing,
  kNameInvalid,
  kNameTooLong,
  kNameReserved,
  kNameDuplicate,
  kPoolMissing,
  kPoolSyntax,
  kPoolFamily,
  kPoolHostBits,
  kVtepTooLarge,
  kVtepTooSmall,
  kPoolNotUnicast,
  kPrefixMissing,
  kPrefixRange,
  kOuiSyntax,
  kOuiLowBits,
  kOuiMulticast,
  kMtuRange,
  kPoolOverlap,
  kPoolOverlapsVtep,
};
std::string_view to_text(PlanReason);  ///< "pool-host-bits"

struct PlanFault {
  PlanReason reason;
  std::optional<size_t> overlay;  ///< place in the list; nullopt: a field of the plan itself
  std::string key;                ///< "subnet6"; empty: the whole entry
  std::string value;              ///< as it was given; empty where it is missing
  std::string why;                ///< end of the sentence "FIELD: VALUE ..."
  std::string field() const;      ///< "overlays[1].subnet6"
  std::string sentence() const;   ///< "10.0.0.0/8 is IPv4, IPv6 is wanted (pool-family)"
  std::string text() const;       ///< field() and sentence()
};

/// The fields before anybody looked at what they say; types are right.
struct RawOverlay {
  std::optional<std::string> name, subnet, subnet6;
  std::optional<int64_t> prefix, prefix6;
  bool enabled = true;
};
struct RawPlan {
  std::optional<std::string> vtep_subnet, vtep_subnet6, vtep_mac_oui;
  std::optional<int64_t> vtep_mtu;
  std::vector<RawOverlay> overlays;
};

tl::expected<Plan, PlanFault> check_plan(const RawPlan&);

/// Pools that share addresses: what check_plan ends with, for a plan that was put together from two.
std::optional<PlanFault> pools_overlap(const Plan&);

struct ReadPlan {
  Plan plan;
  std::vector<std::string> unknown;  ///< fields nobody knows, to be reported: "overlays[0].colour"
};
/// The `network` object as JSON text. What is no JSON is a fault of kType on the whole.
tl::expected<ReadPlan, PlanFault> read_plan(std::string_view json);

/// What fits into a plan (spec section 5).
struct Capacity {
  Number agent_subnets = 0;        ///< of the overlay: the smaller of both families
  IpNetwork first, last;           ///< block; of IPv4 where there is IPv4
  Number containers_per_half = 0;  ///< of IPv4 where there is IPv4
};
Capacity capacity_of(const OverlayPlan&);
/// Nodes that the VTEP pools hold: the smaller of both families.
Number nodes_by_vtep(const Plan&);

}  // namespace ls::overlay
