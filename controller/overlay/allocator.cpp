#include "overlay/allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "overlay/allocation_record.h"
#include "util/log.h"

namespace ls::overlay {
namespace {

constexpr Millis kRetry{5'000};  // after a record that could not be erased

}  // namespace

void Allocator::must(const std::optional<std::string>& fault) {
  if (!fault) return;
  log::error("overlay_pools_inconsistent", {{"what", *fault}});
  std::abort();  // to go on could give one block to two nodes
}

void Allocator::tell(Event e, const Allocation& a) {
  for (auto& o : observers_) o(e, a);
}

const NodeState* Allocator::find(const IpAddress& node) const {
  auto it = nodes_.find(node);
  return it == nodes_.end() || it->second.removed ? nullptr : &it->second.state;
}

std::vector<const NodeState*> Allocator::nodes() const {
  std::vector<const NodeState*> out;
  out.reserve(size());
  for (auto& [address, node] : nodes_) {
    if (!node.removed) out.push_back(&node.state);
  }
  return out;
}

std::string Allocator::owner_of(const IpNetwork& block) const {
  for (auto& [address, node] : nodes_) {
    for (auto& s : node.state.allocation.shares) {
      if (s.v4 == block || s.v6 == block) return address.text();
    }
  }
  return "nobody";
}

tl::expected<Registered, Refusal> Allocator::refuse(std::string_view reason, std::string detail) {
  counters_.refused++;
  return tl::make_unexpected(Refusal{std::string(reason), std::move(detail)});
}

std::optional<Refusal> Allocator::fault_of(const RegisterRequest& q, const Node* known) const {
  bool unicast = q.node.is_v4() && !q.node.is_zero() && q.node.v4() < 0xe0000000;
  if (!unicast) return Refusal{"node-address", fmt::format("{} is no IPv4 address of a node", q.node.text())};
  bool printable = std::all_of(q.id.begin(), q.id.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (q.id.size() > kMaxNodeId || !printable) return Refusal{"id-invalid", fmt::format("an id has at most {} printable characters, this has {}", kMaxNodeId, q.id.size())};
  if (q.holding.blocks.size() > kMaxHeldBlocks) return Refusal{"holding-too-long", fmt::format("{} blocks are more than {}", q.holding.blocks.size(), kMaxHeldBlocks)};
  if (!known) return std::nullopt;
  auto& id = known->state.allocation.id;
  if (!id.empty() && id != q.id && clock_.now() - known->heard < options_.takeover) {
    return Refusal{"identity", fmt::format("{} is node '{}', which was heard of lately; this is '{}'", q.node.text(), id, q.id)};
  }
  return std::nullopt;
}

Result<> Allocator::save(Node& node, const Allocation& a, bool removed) {
  auto put = store_.put(kStoreArea, node_key(a.node), record_text(NodeRecord{a, removed}), node.version);
  if (!put) {
    counters_.store_failures++;
    return pass(std::move(put.error()), "keep the allocation of " + a.node.text());
  }
  node.version = *put;
  return {};
}

tl::expected<Registered, Refusal> Allocator::register_node(const RegisterRequest& q) {
  release_due();
  auto it = nodes_.find(q.node);
  Node* known = it == nodes_.end() ? nullptr : &it->second;
  if (auto fault = fault_of(q, known)) return refuse(fault->reason, std::move(fault->detail));
  auto drafted = draft(pools_, known ? &known->state.allocation : nullptr, q, [&](const IpNetwork& block) { return owner_of(block); });
  if (!drafted) return refuse(drafted.error().reason, std::move(drafted.error().detail));
  auto& next = drafted->allocation;

  bool returns = known && known->removed;
  bool changed = !known || returns || next != known->state.allocation;
  Node fresh;
  Node& node = known ? *known : fresh;
  if (changed) {
    if (auto saved = save(node, next, false); !saved) return refuse("store-failed", saved.error().text());
    if (returns) must(pools_.apply(PlanPools::Step::kResume, node.state.allocation));
    must(pools_.apply(PlanPools::Step::kTake, next, known ? &node.state.allocation : nullptr));
    std::erase_if(node.state.reports, [&](auto& r) {
      auto same = [&](const Allocation& a) { return std::find_if(a.shares.begin(), a.shares.end(), [&](auto& s) { return s.overlay == r.overlay; }); };
      auto now = same(next), was = same(node.state.allocation);
      return now == next.shares.end() || was == node.state.allocation.shares.end() || *now != *was;
    });
    node.state.allocation = next;
    node.removed = false;
    if (returns) removed_--;
  }
  node.heard = clock_.now();
  if (!known) nodes_.emplace(q.node, std::move(fresh));
  counters_.registered++;
  counters_.adopted += drafted->adopted;
  for (auto& s : next.shares) {
    counters_.exhausted += s.state == ShareState::kExhausted;
    counters_.conflicts += s.state == ShareState::kConflict;
  }
  if (changed) tell(!known || returns ? Event::kAdded : Event::kChanged, next);
  return Registered{std::move(next), std::move(drafted->notes)};
}

std::optional<Refusal> Allocator::report(const IpAddress& address, std::vector<OverlayReport> reports) {
  auto it = nodes_.find(address);
  if (it == nodes_.end() || it->second.removed) return Refusal{"node-unknown", fmt::format("{} has no allocation", address.text())};
  auto& state = it->second.state;
  auto has = [&](const OverlayReport& r) { return std::any_of(state.allocation.shares.begin(), state.allocation.shares.end(), [&](auto& s) { return s.overlay == r.overlay; }); };
  for (auto& r : reports) {
    if (!has(r)) return Refusal{"overlay-unknown", fmt::format("{} has no overlay '{}'", address.text(), r.overlay.substr(0, 64))};
  }
  for (auto& r : reports) {
    if (r.error.size() > kMaxReportError) r.error.resize(kMaxReportError);
    auto same = std::find_if(state.reports.begin(), state.reports.end(), [&](auto& old) { return old.overlay == r.overlay; });
    if (same == state.reports.end()) {
      state.reports.push_back(std::move(r));
    } else {
      *same = std::move(r);
    }
  }
  it->second.heard = clock_.now();
  return std::nullopt;
}

void Allocator::heard(const IpAddress& address, std::string_view id) {
  auto it = nodes_.find(address);
  if (it != nodes_.end() && it->second.state.allocation.id == id) it->second.heard = clock_.now();
}

Result<size_t> Allocator::remove_nodes(std::span<const IpAddress> addresses) {
  release_due();
  size_t done = 0;
  for (auto& address : addresses) {
    auto it = nodes_.find(address);
    if (it == nodes_.end() || it->second.removed) continue;
    Node& node = it->second;
    Allocation gone = node.state.allocation;
    if (options_.hold_down > Millis(0)) {
      if (auto saved = save(node, gone, true); !saved) return pass(std::move(saved.error()), fmt::format("remove {}", address.text()));
      must(pools_.apply(PlanPools::Step::kHold, gone));
      node.removed = true;
      node.state.reports.clear();
      removed_++;
      node.heard = clock_.now();
      due_.emplace(node.heard + options_.hold_down, address);
    } else {
      if (auto erased = store_.erase(kStoreArea, node_key(address), node.version); !erased) {
        counters_.store_failures++;
        return pass(std::move(erased.error()), fmt::format("remove {}", address.text()));
      }
      must(pools_.apply(PlanPools::Step::kRelease, gone));
      pools_.drop_unused();
      nodes_.erase(it);
    }
    counters_.removed++;
    done++;
    tell(Event::kRemoved, gone);
  }
  return done;
}

void Allocator::release_due() {
  auto now = clock_.now();
  while (!due_.empty() && due_.begin()->first <= now) {
    auto address = due_.begin()->second;
    due_.erase(due_.begin());
    auto it = nodes_.find(address);
    if (it == nodes_.end() || !it->second.removed) continue;
    Node& node = it->second;
    if (node.heard + options_.hold_down > now) {  // it still says something: its containers may run
      due_.emplace(node.heard + options_.hold_down, address);
      continue;
    }
    if (auto erased = store_.erase(kStoreArea, node_key(address), node.version); !erased) {
      counters_.store_failures++;
      log::warn("overlay_release_failed", {{"node", address.text()}, {"error", erased.error().text()}});
      due_.emplace(now + kRetry, address);
      break;  // the others would fail alike
    }
    must(pools_.apply(PlanPools::Step::kRelease, node.state.allocation));
    pools_.drop_unused();
    nodes_.erase(it);
    removed_--;
  }
}

}  // namespace ls::overlay
