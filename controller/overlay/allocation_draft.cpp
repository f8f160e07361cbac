#include "overlay/allocation_draft.h"

#include <fmt/format.h>

#include <algorithm>

#include "overlay/allocation_record.h"
#include "overlay/parse.h"

namespace ls::overlay {
namespace {

/// What a node wrote, fit to stand in a sentence, a record and JSON.
std::string in_quotes(std::string_view text) {
  std::string out(text.substr(0, 64));
  std::replace_if(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

class Drafter {
 public:
  Drafter(const PlanPools& pools, const Allocation* known, const RegisterRequest& q, const OwnerOf& owner)
      : pools_(pools), known_(known), q_(q), owner_(owner) {}

  tl::expected<Draft, Refusal> run() {
    auto& a = out_.allocation;
    if (known_) a = *known_;
    a.node = q_.node;
    a.id = q_.id;
    if (!known_) {
      auto v4 = address(pools_.vtep4(), q_.holding.vtep4);
      if (!v4) return refuse("vtep-exhausted", pools_.vtep4().network());
      a.vtep.v4 = *v4;
    } else {
      compare("VTEP address", q_.holding.vtep4, a.vtep.v4.text());
    }
    if (pools_.vtep6() && !a.vtep.v6) {
      a.vtep.v6 = address(*pools_.vtep6(), q_.holding.vtep6);
      if (!a.vtep.v6) return refuse("vtep6-exhausted", pools_.vtep6()->network());
    } else if (a.vtep.v6) {
      compare("VTEP address", q_.holding.vtep6, a.vtep.v6->text());
    }
    a.vtep.mac = mac_of(pools_.oui(), a.vtep.v4.address);
    shares();
    remarks();
    return std::move(out_);
  }

 private:
  static tl::unexpected<Refusal> refuse(std::string_view reason, const IpNetwork& pool) {
    return tl::make_unexpected(Refusal{std::string(reason), fmt::format("no address of {} is free", pool.text())});
  }

  /// What the node holds where it is free, else the lowest free one.
  std::optional<InterfaceAddress> address(const AddressPool& pool, const std::string& held) {
    if (!held.empty()) {
      auto wanted = parse_interface_address(held);
      auto place = wanted ? pool.place(*wanted) : std::nullopt;
      if (place && pool.is_free(*place)) {
        out_.adopted++;
        return pool.address(*place);
      }
      out_.notes.push_back(fmt::format("VTEP address {} is {}: another one is given", in_quotes(held), place ? "taken" : fmt::format("none of {}", pool.network().text())));
    }
    auto place = pool.lowest_free();
    return place ? std::optional(pool.address(*place)) : std::nullopt;
  }

  void compare(std::string_view what, const std::string& held, const std::string& has) {
    if (!held.empty() && held != has) out_.notes.push_back(fmt::format("{} {} is not what the node has: {} stays", what, in_quotes(held), has.empty() ? "nothing" : has));
  }

  const Holding::Block* held_of(std::string_view overlay) const {
    for (auto& b : q_.holding.blocks) {
      if (b.overlay == overlay && !(b.v4.empty() && b.v6.empty())) return &b;
    }
    return nullptr;
  }

  void shares() {
    std::vector<Share> before = std::move(out_.allocation.shares), after;
    for (auto& [name, pools] : pools_.overlays()) {
      auto& o = pools;
      auto it = std::find_if(before.begin(), before.end(), [&o](auto& s) { return s.overlay == o.plan.name; });
      auto* held = held_of(name);
      // A node that asked for no block before, a master that has become an agent, is given one.
      bool has = it != before.end() && it->state == ShareState::kOk && (it->v4 || it->v6 || !q_.allocate_subnet);
      if (has) {
        if (held) {
          compare(fmt::format("overlay {}: block", name), held->v4, it->v4 ? it->v4->text() : "");
          compare(fmt::format("overlay {}: block", name), held->v6, it->v6 ? it->v6->text() : "");
        }
        after.push_back(std::move(*it));
        continue;
      }
      // What a node runs already is adopted from an overlay that gives nothing new too: it exists, whoever knows of it.
      if (!o.gives() && !held) continue;
      after.push_back(share(o, held));
    }
    out_.allocation.shares = std::move(after);
  }

  Share share(const OverlayPools& o, const Holding::Block* held) {
    Share s;
    s.overlay = o.plan.name;
    if (!q_.allocate_subnet) {
      if (held) out_.notes.push_back(fmt::format("overlay {}: the node holds a block and asks for none; none is given", s.overlay));
      return s;
    }
    unsigned adopted = 0;
    // A conflict says more than an empty pool, so both families are compared before one is searched.
    if (held && (!adopt(o.v4, held->v4, s.v4, s, adopted) || !adopt(o.v6, held->v6, s.v6, s, adopted))) return without(s, ShareState::kConflict);
    if (!lowest(o.v4, s.v4, s) || !lowest(o.v6, s.v6, s)) return without(s, ShareState::kExhausted);
    out_.adopted += adopted;
    s.mesos_bridge = q_.mesos_bridge;
    s.docker_bridge = q_.docker_bridge;
    return s;
  }

  static Share without(Share& s, ShareState state) {
    s.state = state;
    s.v4.reset();
    s.v6.reset();
    return std::move(s);
  }

  bool adopt(const std::optional<BlockPool>& pool, const std::string& text, std::optional<IpNetwork>& into, Share& s, unsigned& adopted) {
    if (text.empty()) return true;
    auto block = parse_block(text);
    auto place = pool && block ? pool->place(*block) : std::nullopt;
    if (!place) {
      s.detail = pool ? fmt::format("{} is no /{} block of {}", in_quotes(text), pool->pool().share, pool->pool().network.text())
                      : fmt::format("{} is of a family that the overlay has not", in_quotes(text));
      return false;
    }
    if (!pool->is_free(*place)) {
      s.detail = fmt::format("{} {} {}", text, pool->is_held(*place) ? "is kept back after the removal of" : "belongs to", owner_(*block));
      return false;
    }
    into = *block;
    adopted++;
    return true;
  }

  static bool lowest(const std::optional<BlockPool>& pool, std::optional<IpNetwork>& into, Share& s) {
    if (!pool || into) return true;
    auto place = pool->lowest_free();
    if (!place) {
      s.detail = fmt::format("no /{} block of {} is free", pool->pool().share, pool->pool().network.text());
      return false;
    }
    into = pool->block(*place);
    return true;
  }

  void remarks() {
    for (auto& b : q_.holding.blocks) {
      if (!pools_.find(b.overlay)) out_.notes.push_back(fmt::format("overlay {} is not known", in_quotes(b.overlay)));
    }
    auto inside = [&](const IpNetwork& pool) {
      if (pool.contains(q_.node)) out_.notes.push_back(fmt::format("the node's own address lies in the pool {}", pool.text()));
    };
    inside(pools_.vtep4().network());
    for (auto& [name, o] : pools_.overlays()) {
      if (o.v4) inside(o.v4->pool().network);
    }
  }

  const PlanPools& pools_;
  const Allocation* known_;
  const RegisterRequest& q_;
  const OwnerOf& owner_;
  Draft out_;
};

}  // namespace

tl::expected<Draft, Refusal> draft(const PlanPools& pools, const Allocation* known, const RegisterRequest& q, const OwnerOf& owner) {
  return Drafter(pools, known, q, owner).run();
}

}  // namespace ls::overlay
