#include "hub/image.h"

namespace ls::hub {

uint64_t LiveImage::apply(const StateDelta& delta) {
  for (auto& a : delta.agents) {
    if (a.removed) agents_.erase(a.agent.id.str());
    else agents_.insert_or_assign(a.agent.id.str(), a);
  }
  for (auto& f : delta.frameworks) {
    if (f.removed) frameworks_.erase(f.framework.id.str());
    else frameworks_.insert_or_assign(f.framework.id.str(), f.framework);
  }
  for (auto& r : delta.recovered) {
    if (r.waited_for) recovered_.insert(r.id.str());
    else recovered_.erase(r.id.str());
  }
  for (auto& t : delta.tasks) {
    tasks_.erase(t.after);
    if (!t.removed) tasks_.insert(t.after);
  }
  return count(delta);
}

Image LiveImage::copy(uint64_t seq) const {
  Image out;
  out.seq = seq;
  out.agents.reserve(agents_.size());
  for (auto& [id, a] : agents_) out.agents.push_back(a);
  for (auto& id : recovered_) out.recovered.emplace_back(id);
  for (auto& [id, f] : frameworks_) out.frameworks.push_back(f);
  out.tasks.assign(tasks_.begin(), tasks_.end());
  return out;
}

}  // namespace ls::hub
