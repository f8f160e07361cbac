// The `network` object from JSON: types only, what the values say is looked at in plan.cpp.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "overlay/json_text.h"
#include "overlay/plan.h"

namespace ls::overlay {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxUnknown = 32;  // reported fields nobody knows

/// Takes fields out of one object. The first wrong type is kept, everything after it is of no interest.
class Fields {
 public:
  Fields(const Json& object, std::optional<size_t> overlay, std::optional<PlanFault>& fault, std::vector<std::string>& unknown)
      : object_(object), overlay_(overlay), fault_(fault), unknown_(unknown) {}

  void take(const char* key, std::optional<std::string>& into) {
    if (auto* v = find(key)) {
      if (v->is_string()) {
        into = v->get<std::string>();
      } else {
        wrong(key, *v, "is not a string");
      }
    }
  }
  void take(const char* key, std::optional<int64_t>& into) {
    if (auto* v = find(key)) {
      if (v->is_number_unsigned()) {
        into = int64_t(std::min<uint64_t>(v->get<uint64_t>(), INT64_MAX));
      } else if (v->is_number_integer()) {
        into = v->get<int64_t>();
      } else {
        wrong(key, *v, "is not a whole number");
      }
    }
  }
  void take(const char* key, bool& into) {
    if (auto* v = find(key)) {
      if (v->is_boolean()) {
        into = v->get<bool>();
      } else {
        wrong(key, *v, "is neither true nor false");
      }
    }
  }
  const Json* find(const char* key) {
    known_.push_back(key);
    auto it = object_.find(key);
    return it == object_.end() ? nullptr : &*it;
  }
  void wrong(const char* key, const Json& v, std::string_view why) {
    if (!fault_) fault_ = PlanFault{PlanReason::kType, overlay_, key, json_text(v).substr(0, 100), std::string(why)};
  }
  void report_unknown() {
    for (auto& [key, value] : object_.items()) {
      if (unknown_.size() >= kMaxUnknown || std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      unknown_.push_back(PlanFault{PlanReason::kType, overlay_, key.substr(0, 64), "", ""}.field());
    }
  }

 private:
  const Json& object_;
  std::optional<size_t> overlay_;
  std::optional<PlanFault>& fault_;
  std::vector<std::string>& unknown_;
  std::vector<std::string_view> known_;
};

tl::unexpected<PlanFault> no_object(std::string_view why) { return tl::make_unexpected(PlanFault{PlanReason::kType, std::nullopt, "", "", std::string(why)}); }

}  // namespace

tl::expected<ReadPlan, PlanFault> read_plan(std::string_view text) {
  if (text.size() > kMaxPlanText) return no_object("is longer than a plan can be");
  auto json = parse_json(text);
  if (!json) return no_object("is no JSON");
  if (!json->is_object()) return no_object("is no JSON object");
  std::optional<PlanFault> fault;
  ReadPlan out;
  RawPlan raw;
  Fields fields(*json, std::nullopt, fault, out.unknown);
  fields.take("vtep_subnet", raw.vtep_subnet);
  fields.take("vtep_subnet6", raw.vtep_subnet6);
  fields.take("vtep_mac_oui", raw.vtep_mac_oui);
  fields.take("vtep_mtu", raw.vtep_mtu);
  auto* overlays = fields.find("overlays");
  fields.report_unknown();
  if (overlays && !overlays->is_array()) fields.wrong("overlays", *overlays, "is not an array");
  if (fault) return tl::make_unexpected(std::move(*fault));
  for (size_t i = 0; overlays && i < overlays->size() && i <= kMaxOverlays; i++) {
    auto& entry = (*overlays)[i];
    if (!entry.is_object()) return tl::make_unexpected(PlanFault{PlanReason::kType, i, "", json_text(entry).substr(0, 100), "is no JSON object"});
    RawOverlay o;
    Fields of_overlay(entry, i, fault, out.unknown);
    of_overlay.take("name", o.name);
    of_overlay.take("subnet", o.subnet);
    of_overlay.take("prefix", o.prefix);
    of_overlay.take("subnet6", o.subnet6);
    of_overlay.take("prefix6", o.prefix6);
    of_overlay.take("enabled", o.enabled);
    of_overlay.report_unknown();
    if (fault) return tl::make_unexpected(std::move(*fault));
    raw.overlays.push_back(std::move(o));
  }
  auto plan = check_plan(raw);
  if (!plan) return tl::make_unexpected(std::move(plan.error()));
  out.plan = std::move(*plan);
  return out;
}

}  // namespace ls::overlay
