#include "derive/task_vips.h"

#include <algorithm>

#include "derive/fold.h"
#include "derive/labels.h"

namespace ls {
namespace {

/// May the endpoint stand behind a VIP of this key?
bool usable(const Endpoint& e, const VipKey& key, const VipOptions& options) {
  if (e.port == 0 || e.address.is_zero()) return false;
  if (key.name.empty()) return e.address.is_v4() == key.address.is_v4();
  return e.address.is_v4() || options.ipv6;
}

}  // namespace

TaskVips task_vips(const Task& task, const VipOptions& options) {
  TaskVips out;
  TaskPhase phase = task.phase();
  if (task.waiting() || phase == TaskPhase::kTerminal) return out;
  out.standing = phase == TaskPhase::kKilling            ? Standing::kLeaving
                 : task.health == Health::kUnhealthy ? Standing::kUnhealthy
                                                         : Standing::kServing;
  bool offers = phase == TaskPhase::kRunning || phase == TaskPhase::kKilling;
  auto ports = task_ports(task, &out.problems);
  out.ports = ports.size();
  out.local = local_ports(task, ports, options.local_docker);
  std::string framework;
  for (auto& port : ports) {
    for (auto& vip : port.vips) {
      auto target = parse_vip(vip.value);
      if (!target) {
        out.problems.push_back({task_title(task), vip.field, target.error().doing});
        continue;
      }
      VipOffer offer;
      offer.key.port = target->port;
      offer.key.protocol = port.protocol;
      offer.label = target->label;
      if (target->address) {
        offer.key.address = *target->address;
      } else {
        if (framework.empty()) framework = fold_name(task.framework_name.view());
        if (!usable_name(framework)) {
          out.problems.push_back({task_title(task), vip.field, "the framework's name leaves no DNS name"});
          continue;
        }
        offer.key.name = target->folded + "." + framework;
      }
      if (!offers) continue;
      for (auto& e : port_endpoints(task, port))
        if (usable(e, offer.key, options)) offer.endpoints.push_back(e);
      out.offers.push_back(std::move(offer));
    }
  }
  std::sort(out.offers.begin(), out.offers.end(),
            [](auto& a, auto& b) { return std::tie(a.key, a.label) < std::tie(b.key, b.label); });
  std::vector<VipOffer> merged;
  for (auto& o : out.offers) {
    if (merged.empty() || merged.back().key != o.key) {
      merged.push_back(std::move(o));
    } else {
      auto& into = merged.back().endpoints;
      into.insert(into.end(), o.endpoints.begin(), o.endpoints.end());
    }
  }
  for (auto& o : merged) {
    std::sort(o.endpoints.begin(), o.endpoints.end());
    o.endpoints.erase(std::unique(o.endpoints.begin(), o.endpoints.end()), o.endpoints.end());
  }
  out.offers = std::move(merged);
  return out;
}

}  // namespace ls
