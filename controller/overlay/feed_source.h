#pragma once
/// FeedSource: the changes of an Allocator since a position, for the nodes that follow it.
///
/// Thread: the allocator's owner. Cost: a change O(log nodes); a feed costs what changed, a full one all nodes. It remembers the last
/// kMaxRemembered removals: who is further behind gets everything.
#include <deque>
#include <map>

#include "overlay/node_wire.h"

namespace ls::overlay {

class FeedSource {
 public:
  static constexpr size_t kMaxRemembered = 4096;

  /// `run`: a text that no other run has. `term`: FeedPosition::term. Lives as long as the allocator does.
  FeedSource(Allocator& allocator, std::string run, uint64_t term = 0);

  FeedPosition position() const { return at_; }
  AllocationFeed since(const FeedPosition& after) const;
  /// After another plan came into force: everybody is told it.
  void plan_changed();

 private:
  void changed(Allocator::Event, const IpAddress& node);

  Allocator& allocator_;
  FeedPosition at_;
  std::map<uint64_t, IpAddress> by_version_;      ///< of each node its last change
  std::map<IpAddress, uint64_t> version_of_;
  std::deque<std::pair<uint64_t, IpAddress>> removed_;
  uint64_t forgotten_ = 0;  ///< removals up to this version are not known any more
};

}  // namespace ls::overlay
