// How an Allocator begins: what the store holds first, then the plan of the configuration.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "overlay/allocation_record.h"
#include "overlay/allocator.h"

namespace ls::overlay {
namespace {

tl::unexpected<Error> damaged(const std::string& key, std::string_view why) {
  return fail(EILSEQ, fmt::format("overlay record '{}': {}", key, why));
}

}  // namespace

Result<std::unique_ptr<Allocator>> Allocator::open(Store& store, const Clock& clock, std::optional<Plan> wanted, AllocatorOptions options) {
  auto listed = store.list(kStoreArea);
  if (!listed) return pass(std::move(listed.error()), "read the allocations of the overlay");
  std::optional<PlanRecord> stored;
  uint64_t plan_version = 0;
  for (auto& r : *listed) {
    if (r.key != kPlanKey) continue;
    auto parsed = parse_plan_record(r.value);
    if (!parsed) return pass(std::move(parsed.error()), fmt::format("overlay record '{}'", r.key));
    stored = std::move(*parsed);
    plan_version = r.version;
  }
  if (!stored && !wanted) return fail(ENOENT, "neither the store nor the configuration has a plan of the overlay");
  // Without a stored plan the records of nodes, if there are any, have to fit the wanted one.
  PlanRecord base = stored ? *stored : PlanRecord{*wanted, {}, options.id};
  std::unique_ptr<Allocator> out(new Allocator(store, clock, options, PlanPools(base.plan, base.retired)));
  out->plan_version_ = plan_version;
  out->id_ = base.allocator;
  LS_TRY(out->recover(*listed));
  if (!stored) {
    auto put = store.put(kStoreArea, kPlanKey, record_text(base), 0);
    if (!put) return pass(std::move(put.error()), "keep the plan of the overlay");
    out->plan_version_ = *put;
  } else if (base.allocator.empty() && !options.id.empty()) {
    base.allocator = options.id;
    // Without a place on the disk it has none until the next start.
    if (auto put = store.put(kStoreArea, kPlanKey, record_text(base), plan_version)) {
      out->plan_version_ = *put;
      out->id_ = options.id;
    }
  }
  if (stored && wanted) {
    out->rejected_ = out->set_plan(*wanted);
    if (out->rejected_ && out->rejected_->reason == "store-failed") return fail(EIO, out->rejected_->detail);
  }
  out->forget_lost_overlays();
  out->release_due();
  return out;
}

Result<> Allocator::recover(const std::vector<StoredRecord>& records) {
  auto now = clock_.now();
  for (auto& r : records) {
    if (r.key == kPlanKey) continue;
    if (!r.key.starts_with("node/")) return damaged(r.key, "nobody knows what this is");
    auto parsed = parse_node_record(r.value, pools_.oui());
    if (!parsed) return pass(std::move(parsed.error()), fmt::format("overlay record '{}'", r.key));
    auto& a = parsed->allocation;
    if (node_key(a.node) != r.key) return damaged(r.key, fmt::format("it is that of {}", a.node.text()));
    if (auto fault = pools_.apply(PlanPools::Step::kTake, a)) {
      std::string also;
      for (auto& [address, other] : nodes_) {
        auto& theirs = other.state.allocation;
        auto shared = [&](const Share& s) {
          return std::any_of(theirs.shares.begin(), theirs.shares.end(), [&](auto& t) { return (s.v4 && s.v4 == t.v4) || (s.v6 && s.v6 == t.v6); });
        };
        if (theirs.vtep.v4 == a.vtep.v4 || (a.vtep.v6 && theirs.vtep.v6 == a.vtep.v6) || std::any_of(a.shares.begin(), a.shares.end(), shared)) {
          also = fmt::format(", see record '{}'", node_key(address));
          break;
        }
      }
      return damaged(r.key, *fault + also);
    }
    if (parsed->removed) {
      must(pools_.apply(PlanPools::Step::kHold, a));
      due_.emplace(now + options_.hold_down, a.node);
      removed_++;
    }
    auto node = a.node;
    nodes_.emplace(node, Node{NodeState{std::move(a), {}}, r.version, parsed->removed, now});
  }
  return {};
}

std::optional<Refusal> Allocator::set_plan(const Plan& wanted) {
  auto next = pools_.under(wanted);
  if (!next) return std::move(next.error());
  if (next->plan() != pools_.plan() || next->retired() != pools_.retired()) {
    auto put = store_.put(kStoreArea, kPlanKey, record_text(PlanRecord{next->plan(), next->retired(), id_}), plan_version_);
    if (!put) {
      counters_.store_failures++;
      return Refusal{"store-failed", "keep the plan of the overlay: " + put.error().text()};
    }
    plan_version_ = *put;
  }
  pools_ = std::move(*next);
  rejected_.reset();
  forget_lost_overlays();
  return std::nullopt;
}

/// Drops what is said about overlays that are gone and of which nobody holds a block. Records still have it until they are written
/// again; the next start drops it again.
void Allocator::forget_lost_overlays() {
  for (auto& [address, node] : nodes_) {
    auto gone = [&](const Share& s) { return !s.v4 && !s.v6 && !pools_.find(s.overlay); };
    auto& shares = node.state.allocation.shares;
    if (std::none_of(shares.begin(), shares.end(), gone)) continue;
    std::erase_if(shares, gone);
    std::erase_if(node.state.reports, [&](auto& r) { return !pools_.find(r.overlay); });
    if (!node.removed) tell(Event::kChanged, node.state.allocation);
  }
}

}  // namespace ls::overlay
