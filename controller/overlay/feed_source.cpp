#include "overlay/feed_source.h"

#include <set>

namespace ls::overlay {

FeedSource::FeedSource(Allocator& allocator, std::string run, uint64_t term)
    : allocator_(allocator), at_{.run = std::move(run), .version = 0, .allocator = allocator.id(), .term = term} {
  allocator_.observe([this](Allocator::Event e, const Allocation& a) { changed(e, a.node); });
}

void FeedSource::changed(Allocator::Event e, const IpAddress& node) {
  at_.version++;
  if (auto it = version_of_.find(node); it != version_of_.end()) {
    by_version_.erase(it->second);
    version_of_.erase(it);
  }
  if (e != Allocator::Event::kRemoved) {
    by_version_[at_.version] = node;
    version_of_[node] = at_.version;
    return;
  }
  removed_.emplace_back(at_.version, node);
  if (removed_.size() > kMaxRemembered) {
    forgotten_ = removed_.front().first;
    removed_.pop_front();
  }
}

void FeedSource::plan_changed() { at_.version++; }

AllocationFeed FeedSource::since(const FeedPosition& after) const {
  AllocationFeed out;
  out.at = at_;
  out.plan = allocator_.plan();
  out.full = after.run != at_.run || after.version > at_.version || after.version < forgotten_;
  if (out.full) {
    for (auto* n : allocator_.nodes()) out.nodes.push_back(n->allocation);
    return out;
  }
  for (auto it = by_version_.upper_bound(after.version); it != by_version_.end(); ++it) {
    if (auto* n = allocator_.find(it->second)) out.nodes.push_back(n->allocation);
  }
  std::set<IpAddress> named;
  for (auto& [version, node] : removed_) {
    // One that came back stands among the nodes; one that was removed twice is named once.
    if (version > after.version && !version_of_.contains(node) && named.insert(node).second) out.removed.push_back(node);
  }
  return out;
}

}  // namespace ls::overlay
