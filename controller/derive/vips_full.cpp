// The VIP table from scratch: grouping and placing without any history. Shares with the incremental deriver only what is a rule
// (a task's offers, weights, the local rewrite), so that a test can hold the two against each other.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "derive/vips.h"

namespace ls {
namespace {

struct Claim {
  Standing standing = Standing::kServing;
  std::string framework, task, owner;
  IpAddress agent;
  auto rank() const { return std::tie(standing, framework, task, owner); }
};

struct Group {
  std::pair<std::string, std::string> title;
  bool titled = false;
  std::map<Endpoint, Claim> endpoints;
};

struct Collected {
  std::map<VipKey, Group> vips;
  std::vector<VipProblem> problems;
  LocalPortTable local;
};

Collected collect(const ClusterState& state, const VipOptions& options) {
  Collected out;
  state.for_each_task([&](const TaskPtr& t) {
    TaskVips v = task_vips(*t, options);
    out.problems.insert(out.problems.end(), v.problems.begin(), v.problems.end());
    Claim claim{v.standing, t->framework_name.str(), t->id, task_identity(*t), t->agent_address};
    auto& own = options.own_addresses;
    if (std::find(own.begin(), own.end(), t->agent_address) != own.end())
      for (auto& p : v.local) out.local.add(p, claim.owner, v.standing != Standing::kLeaving);
    for (auto& o : v.offers) {
      Group& g = out.vips[o.key];
      std::pair title{o.label, o.key.name.empty() ? std::string() : claim.framework};
      if (!g.titled || title < g.title) g.title = title;
      g.titled = true;
      for (auto& e : o.endpoints) {
        auto [it, fresh] = g.endpoints.try_emplace(e, claim);
        if (!fresh && claim.rank() < it->second.rank()) it->second = claim;
      }
    }
  });
  return out;
}

VipView view(const VipKey& key, const Group& g, std::vector<Standing>* standings) {
  VipView out{key, g.title.first, g.title.second, {}};
  for (auto& [e, c] : g.endpoints) {
    out.backends.push_back({c.agent, e.address, e.port, weight_of(c.standing), c.task, c.framework});
    if (standings) standings->push_back(c.standing);
  }
  return out;
}

/// Addresses for `names`, one after the other in rank order, as the rule in vip_addresses.h is worded.
std::map<std::string, IpAddress> place(const std::set<std::string, NameRank>& names, const std::set<IpAddress>& avoid,
                                       const IpAddress& min, const IpAddress& max, std::vector<VipProblem>& problems) {
  Address128 base = to_number(min), last = to_number(max) - base;
  std::map<std::string, IpAddress> out;
  std::set<IpAddress> taken = avoid;
  for (auto& name : names) {
    Address128 start = min.is_v4() ? start_offset_v4(name, last) : start_offset_v6(name, last);
    Address128 cell = start;
    bool placed = false;
    do {
      IpAddress address = to_address(base + cell);
      placed = taken.insert(address).second;
      if (placed) out.emplace(name, address);
      cell = cell == last ? 0 : cell + 1;
    } while (!placed && cell != start);
    if (!placed) problems.push_back(no_address(name, VipAddresses(min, max)));
  }
  return out;
}

using Finish = std::function<void(const VipView& view, bool v4, std::vector<Backend>& backends)>;

VipTable assemble(const std::vector<VipView>& views, const VipOptions& options, const Finish& finish) {
  VipTable out;
  std::set<std::string, NameRank> names4, names6;
  std::set<IpAddress> avoid;
  for (auto& v : views) {
    if (v.key.name.empty()) avoid.insert(v.key.address);
    for (auto& b : v.backends)
      if (!v.key.name.empty()) (b.address.is_v4() ? names4 : names6).insert(v.key.name);
  }
  auto v4 = place(names4, avoid, options.named_min, options.named_max, out.problems);
  auto v6 = place(names6, avoid, options.named_min6, options.named_max6, out.problems);
  for (auto& v : views) {
    for (bool want_v4 : {true, false}) {
      std::optional<IpAddress> address;
      if (v.key.name.empty()) {
        if (v.key.address.is_v4() == want_v4) address = v.key.address;
      } else {
        auto& placed = want_v4 ? v4 : v6;
        if (auto it = placed.find(v.key.name); it != placed.end()) address = it->second;
      }
      if (!address) continue;
      std::vector<Backend> backends;
      for (auto& b : v.backends)
        if (b.address.is_v4() == want_v4) backends.push_back(b);
      if (backends.empty()) continue;
      finish(v, want_v4, backends);
      out.services.push_back(
          {{*address, v.key.port, v.key.protocol}, v.key.name, v.label, v.framework, std::move(backends)});
    }
  }
  std::sort(out.services.begin(), out.services.end(), [](auto& a, auto& b) { return a.key < b.key; });
  return out;
}

}  // namespace

VipProblem no_address(const std::string& name, const VipAddresses& a) {
  return {"", "name " + name, "no address left between " + a.min().text() + " and " + a.max().text()};
}

void set_weights(std::vector<Backend>& backends, const std::vector<Standing>& standings, const VipOptions& options) {
  bool serving = false;
  for (auto s : standings) serving = serving || s == Standing::kServing;
  for (size_t i = 0; i < backends.size(); i++) {
    bool rescued = options.fail_open_unhealthy && !serving && standings[i] == Standing::kUnhealthy;
    backends[i].weight = rescued ? 1 : weight_of(standings[i]);
  }
}

VipTable place_vips(const std::vector<VipView>& views, const VipOptions& options) {
  return assemble(views, options, [](auto&, bool, auto& backends) { normalise(backends); });
}

std::vector<VipView> derive_vips(const ClusterState& state, const VipOptions& options) {
  std::vector<VipView> out;
  for (auto& [key, group] : collect(state, options).vips) out.push_back(view(key, group, nullptr));
  return out;
}

VipTable derive_all(const ClusterState& state, const VipOptions& options) {
  Collected c = collect(state, options);
  std::vector<VipView> views;
  for (auto& [key, group] : c.vips) views.push_back(view(key, group, nullptr));
  VipTable out = assemble(views, options, [&](const VipView& v, bool v4, std::vector<Backend>& backends) {
    std::vector<Standing> standings;
    for (auto& [e, claim] : c.vips.at(v.key).endpoints)
      if (e.address.is_v4() == v4) standings.push_back(claim.standing);
    set_weights(backends, standings, options);
    backends = rewrite_local(std::move(backends), v.key.protocol, options.own_addresses, c.local);
  });
  out.problems.insert(out.problems.end(), c.problems.begin(), c.problems.end());
  std::sort(out.problems.begin(), out.problems.end());
  return out;
}

}  // namespace ls
