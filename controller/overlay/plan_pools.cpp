#include "overlay/plan_pools.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace ls::overlay {
namespace {

template <class P>
bool any_used(const P& pool) {
  return pool.used() + pool.held() != 0;
}

bool step_fits(const PlacePool& pool, Number place, PlanPools::Step step) {
  switch (step) {
    case PlanPools::Step::kTake: return pool.is_free(place);
    case PlanPools::Step::kHold: return place < pool.size() && !pool.is_free(place) && !pool.is_held(place);
    case PlanPools::Step::kResume: return pool.is_held(place);
    case PlanPools::Step::kRelease: return place < pool.size() && !pool.is_free(place);
  }
  return false;
}

void do_step(PlacePool& pool, Number place, PlanPools::Step step) {
  switch (step) {
    case PlanPools::Step::kTake: pool.take(place); break;
    case PlanPools::Step::kHold: pool.hold(place); break;
    case PlanPools::Step::kResume: pool.resume(place); break;
    case PlanPools::Step::kRelease: pool.release(place); break;
  }
}

std::string describe(const OverlayPlan& o) {
  std::string out;
  for (auto* p : {&o.v4, &o.v6}) {
    if (*p) out += fmt::format("{}{} in /{}", out.empty() ? "" : " and ", (*p)->network.text(), (*p)->share);
  }
  return out;
}

}  // namespace

OverlayPools::OverlayPools(OverlayPlan p, bool is_retired) : plan(std::move(p)), retired(is_retired) {
  if (plan.v4) v4.emplace(*plan.v4);
  if (plan.v6) v6.emplace(*plan.v6);
}

bool OverlayPools::in_use() const { return (v4 && any_used(*v4)) || (v6 && any_used(*v6)); }

PlanPools::PlanPools(const Plan& plan, const std::set<std::string>& retired) : plan_(plan), vtep4_(plan.vtep4) {
  plan_.overlays.clear();
  if (plan.vtep6) vtep6_.emplace(*plan.vtep6);
  for (auto& o : plan.overlays) {
    order_.push_back(o.name);
    overlays_.try_emplace(o.name, o, retired.contains(o.name));
  }
}

Plan PlanPools::plan() const {
  Plan out = plan_;
  for (auto& name : order_) {
    auto& o = overlays_.at(name);
    out.overlays.push_back(o.plan);
    if (o.retired) out.overlays.back().enabled = false;
  }
  return out;
}

std::set<std::string> PlanPools::retired() const {
  std::set<std::string> out;
  for (auto& [name, o] : overlays_) {
    if (o.retired) out.insert(name);
  }
  return out;
}

const OverlayPools* PlanPools::find(std::string_view name) const {
  auto it = overlays_.find(name);
  return it == overlays_.end() ? nullptr : &it->second;
}

std::vector<PoolUsage> PlanPools::usage() const {
  std::vector<PoolUsage> out;
  auto add = [&](const std::string& overlay, const IpNetwork& network, uint8_t share, const PlacePool& pool) {
    out.push_back({overlay, network, share, pool.size(), pool.used(), pool.held(), pool.free()});
  };
  add("", vtep4_.network(), 0, vtep4_);
  if (vtep6_) add("", vtep6_->network(), 0, *vtep6_);
  for (auto& name : order_) {
    auto& o = overlays_.at(name);
    for (auto* pool : {&o.v4, &o.v6}) {
      if (*pool) add(name, (*pool)->pool().network, (*pool)->pool().share, **pool);
    }
  }
  return out;
}

std::optional<std::string> PlanPools::apply(Step step, const Allocation& a, const Allocation* except) {
  struct Item {
    PlacePool* pool;
    Number place;
  };
  std::vector<Item> items;
  std::optional<std::string> fault;
  auto add = [&](auto* pool, const auto& what) {
    auto place = pool ? pool->place(what) : std::nullopt;
    if (fault) return;
    if (!place) {
      fault = fmt::format("{} belongs to no pool of the plan", what.text());
    } else if (!step_fits(*pool, *place, step)) {
      fault = fmt::format("{} is {}", what.text(), pool->is_free(*place) ? "not taken" : "taken already");
    } else {
      items.push_back({pool, *place});
    }
  };
  if (!except || except->vtep.v4 != a.vtep.v4) add(&vtep4_, a.vtep.v4);
  if (a.vtep.v6 && !(except && except->vtep.v6 == a.vtep.v6)) add(vtep6_ ? &*vtep6_ : nullptr, *a.vtep.v6);
  static const Share kNone;
  for (auto& s : a.shares) {
    const Share* not_these = &kNone;
    if (except) {
      auto same = std::find_if(except->shares.begin(), except->shares.end(), [&](auto& e) { return e.overlay == s.overlay; });
      if (same != except->shares.end()) not_these = &*same;
    }
    auto it = overlays_.find(s.overlay);
    OverlayPools* o = it == overlays_.end() ? nullptr : &it->second;
    if (s.v4 && s.v4 != not_these->v4) add(o && o->v4 ? &*o->v4 : nullptr, *s.v4);
    if (s.v6 && s.v6 != not_these->v6) add(o && o->v6 ? &*o->v6 : nullptr, *s.v6);
  }
  if (fault) return fault;
  for (auto& i : items) do_step(*i.pool, i.place, step);
  return std::nullopt;
}

tl::expected<PlanPools, Refusal> PlanPools::under(const Plan& wanted) const {
  auto refuse = [](std::string_view reason, std::string detail) { return tl::make_unexpected(Refusal{std::string(reason), std::move(detail)}); };
  bool nodes = any_used(vtep4_);
  if (nodes && wanted.vtep4 != plan_.vtep4) {
    return refuse("pool-changed", fmt::format("vtep_subnet is {} for {} nodes, the new plan has {}", plan_.vtep4.text(), to_text(vtep4_.used() + vtep4_.held()), wanted.vtep4.text()));
  }
  if (vtep6_ && any_used(*vtep6_) && wanted.vtep6 != plan_.vtep6) {
    return refuse("pool-changed", fmt::format("vtep_subnet6 is {}, the new plan has {}", plan_.vtep6->text(), wanted.vtep6 ? wanted.vtep6->text() : "none"));
  }
  if (nodes && wanted.oui != plan_.oui) {
    return refuse("oui-changed", fmt::format("vtep_mac_oui is {}, the new plan has {}: the MACs of running nodes would change", to_text(plan_.oui), to_text(wanted.oui)));
  }
  Plan merged = wanted;
  std::set<std::string> retired;
  for (auto& name : order_) {
    auto& old = overlays_.at(name);
    auto now = std::find_if(wanted.overlays.begin(), wanted.overlays.end(), [&](auto& o) { return o.name == name; });
    if (!old.in_use()) continue;
    if (now == wanted.overlays.end()) {
      merged.overlays.push_back(old.plan);
      retired.insert(name);
    } else if (now->v4 != old.plan.v4 || now->v6 != old.plan.v6) {
      return refuse("pool-changed", fmt::format("overlay {} is {}, the new plan has {}", name, describe(old.plan), describe(*now)));
    }
  }
  if (auto fault = pools_overlap(merged)) {
    return refuse(to_text(fault->reason), fmt::format("overlay {}: {} {}", merged.overlays[*fault->overlay].name, fault->value, fault->why));
  }
  PlanPools out(merged, retired);
  if (wanted.vtep4 == plan_.vtep4) out.vtep4_ = vtep4_;
  if (vtep6_ && wanted.vtep6 == plan_.vtep6) out.vtep6_ = vtep6_;
  for (auto& [name, o] : out.overlays_) {
    auto* old = find(name);
    if (!old || !old->in_use()) continue;
    o.v4 = old->v4;
    o.v6 = old->v6;
  }
  return out;
}

void PlanPools::drop_unused() {
  std::erase_if(order_, [&](const std::string& name) {
    auto it = overlays_.find(name);
    if (!it->second.retired || it->second.in_use()) return false;
    overlays_.erase(it);
    return true;
  });
}

}  // namespace ls::overlay
