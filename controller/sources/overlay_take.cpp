#include "sources/overlay_take.h"

#include <fmt/format.h>

#include "util/log.h"

namespace ls {

using overlay::AllocationFeed;

namespace {

constexpr size_t kMaxName = 64;  // of a run and of an allocator; ours have 16

}  // namespace

OverlayTake::OverlayTake(const Clock& clock, Millis settle, std::optional<OverlayHeld> held) : clock_(clock), settle_(settle) {
  if (!held) return;
  held_ = true;
  at_ = std::move(held->at);
  plan_ = std::move(held->plan);
  // Kept in the minute after the allocator had changed: it begins anew, for the node has no more than it had then.
  if (at_.run.empty() && !at_.allocator.empty()) settle_until_ = clock_.now() + settle_;
}

Result<std::optional<AllocationFeed>> OverlayTake::take(bool first, AllocationFeed&& feed) {
  if (feed.at.run.empty()) return fail("its answer names no run");
  if (feed.at.run.size() > kMaxName || feed.at.allocator.size() > kMaxName) return fail(fmt::format("its run or its allocator has more than {} octets", kMaxName));
  bool same_run = feed.at.run == at_.run;
  bool same = feed.at.allocator == at_.allocator && (same_run || !at_.allocator.empty());
  if (held_ && !same && !first) return fail("it keeps other allocations than the ones followed");
  // One without terms is a master of its own that was given the store back; as with another store, the first is believed.
  if (held_ && same && feed.at.term < at_.term && (feed.at.term || !first)) return fail(fmt::format("its allocations are of term {}, and there was a term {}", feed.at.term, at_.term));
  if (!feed.full && (!same || !same_run || feed.at.version < at_.version)) return fail("it sent changes of allocations we do not have");

  if (held_ && !same) {
    log::warn("overlay_allocator_changed", {{"from", at_.allocator}, {"to", feed.at.allocator}});
    settle_until_.reset();
    if (feed.plan == plan_) settle_until_ = clock_.now() + settle_;
  }
  bool news = feed.full || feed.at != at_;
  if (feed.full && settle_until_) {
    if (clock_.now() < *settle_until_) feed.full = false;
    else settle_until_.reset();
  }
  held_ = true;
  at_ = feed.at;
  if (!news) return std::nullopt;
  plan_ = feed.plan;
  if (settle_until_) feed.at = {.run = "", .version = 0, .allocator = at_.allocator, .term = at_.term};
  return std::move(feed);
}

overlay::FeedPosition OverlayTake::from() const {
  if (settle_until_ && clock_.now() >= *settle_until_) return {};
  return at_;
}

Millis OverlayTake::settling() const {
  if (!settle_until_) return Millis(0);
  return std::max(Millis(0), std::chrono::ceil<Millis>(*settle_until_ - clock_.now()));
}

}  // namespace ls
