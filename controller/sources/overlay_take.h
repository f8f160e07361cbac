#pragma once
/// OverlayTake: which feeds of allocations are believed, and what of them is handed on. Internal to the overlay's link.
///
/// A feed belongs to an allocator (FeedPosition::allocator, the identity of its store), and to a run of it.
/// * Nothing is held: the first full feed is taken over, of whichever master.
/// * The allocator that is followed: everything. A feed of another run is full and replaces all; one that is not full and does not begin
///   where this node stands is an error.
/// * The same allocator with an earlier term than the copy's (FeedPosition::term): refused, from the first master too: its turn is over.
///   Without a term (no turns any more) only from others.
/// * Another allocator, or one without an identity and of another run: refused, unless the master is the first of the list. Two masters
///   with stores of their own would otherwise give this node two allocations, and an empty one would take all peers away.
/// * Another allocator at the first master (its store was lost, or made anew): taken over, but for `settle` nobody is removed because it
///   is not named: what comes is handed on as a change. In that time the nodes register there and it adopts what they hold. Then
///   everything is asked for once more and replaces all. Until then the position that is handed on has no run, so that a copy that is kept
///   begins with everything. With another plan there is no such time: what was held belongs to other pools.
///
/// Thread: its owner's; pure but for the clock. Cost: O(1) beside the feed itself.
#include <optional>

#include "overlay/node_wire.h"
#include "sources/overlay_link.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls {

class OverlayTake {
 public:
  OverlayTake(const Clock& clock, Millis settle, std::optional<OverlayHeld> held);

  /// What to hand on; nullopt: there is nothing new. `first`: it comes from the first master of the list.
  Result<std::optional<overlay::AllocationFeed>> take(bool first, overlay::AllocationFeed&& feed);

  /// Position to ask from; empty when everything is wanted.
  overlay::FeedPosition from() const;
  /// Where the copy stands.
  const overlay::FeedPosition& at() const { return at_; }
  /// How much longer nobody is removed for not being named; 0: there is no such time.
  Millis settling() const;

 private:
  const Clock& clock_;
  const Millis settle_;
  bool held_ = false;
  overlay::FeedPosition at_;
  overlay::Plan plan_;
  std::optional<Instant> settle_until_;
};

}  // namespace ls
