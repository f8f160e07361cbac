#include "sources/leader_identity.h"

#include <nlohmann/json.hpp>

namespace ls {

std::optional<LeaderIdentity> parse_get_master(std::string_view json) {
  auto doc = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!doc.is_object()) return std::nullopt;
  auto answer = doc.find("get_master");
  if (answer == doc.end() || !answer->is_object()) return std::nullopt;
  auto info = answer->find("master_info");
  if (info == answer->end() || !info->is_object()) return std::nullopt;
  auto id = info->find("id");
  if (id == info->end() || !id->is_string() || id->get_ref<const std::string&>().empty()) return std::nullopt;
  LeaderIdentity out{id->get<std::string>(), std::nullopt};
  auto elected = answer->find("elected_time");
  // Below 2^33 s (year 2242) it fits every clock; anything else is not a time.
  if (elected != answer->end() && elected->is_number()) {
    double s = elected->get<double>();
    if (s > 0 && s < 8589934592.0) out.elected_s = s;
  }
  return out;
}

LeaderChange LeaderMemory::seen(const std::optional<LeaderIdentity>& now) {
  bool first = !any_;
  any_ = true;
  // A leader that hid its name keeps last_: if the one before it comes back, nothing was missed that its
  // own snapshot does not say; kUnknown in between made the consumer careful anyway.
  if (!now) return first ? LeaderChange::kFirst : LeaderChange::kUnknown;
  bool same = last_ == now;
  bool had = last_.has_value();
  last_ = now;
  if (first) return LeaderChange::kFirst;
  if (!had) return LeaderChange::kUnknown;
  return same ? LeaderChange::kSame : LeaderChange::kChanged;
}

}  // namespace ls
