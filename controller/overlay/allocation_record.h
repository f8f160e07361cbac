#pragma once
/// What the allocator keeps in the store, area "overlay": one record a node ("node/10.0.0.1") and one of the plan in force ("plan").
///
/// Thread: any; pure. Errors: a text that is no record of ours says what is wrong with it; whoever read it adds the key. EPROTO: written
/// by a newer loadstar. The form is JSON, so that an operator can read a record that is named in an error. A record is bounded: about
/// 150 octets and 120 an overlay.
#include <set>
#include <string>
#include <string_view>

#include "overlay/model.h"
#include "util/result.h"

namespace ls::overlay {

inline constexpr char kStoreArea[] = "overlay";
inline constexpr char kPlanKey[] = "plan";
std::string node_key(const IpAddress& node);

struct NodeRecord {
  Allocation allocation;
  bool removed = false;  ///< an operator removed the node; what it had is not given to others yet
};
std::string record_text(const NodeRecord&);
/// `oui`: the plan's; the MAC is made from it, not stored.
Result<NodeRecord> parse_node_record(std::string_view text, const Mac& oui);

struct PlanRecord {
  Plan plan;
  std::set<std::string> retired;  ///< overlays gone from the file, kept for those who hold blocks of them
  std::string allocator{};        ///< identity of these records: AllocatorOptions::id of who made them; empty: made before there was one
};
std::string record_text(const PlanRecord&);
Result<PlanRecord> parse_plan_record(std::string_view text);

/// Bytes 1 to 3 of the OUI, then bytes 2 to 4 of the address (spec 4.3).
Mac mac_of(const Mac& oui, const IpAddress& vtep4);

}  // namespace ls::overlay
