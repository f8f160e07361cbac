#include "derive/vips.h"

#include <algorithm>
#include <tuple>

#include "derive/reachability.h"

namespace ls {

/// What one task contributes now.
struct VipDeriver::Record {
  std::string framework;  ///< name
  std::string task;       ///< id
  std::string owner;      ///< key in records_, unique
  IpAddress agent;
  bool own_agent = false;
  TaskVips vips;
  auto rank() const { return std::tie(vips.standing, framework, task, owner); }
};

struct VipDeriver::Vip {
  std::map<Endpoint, std::vector<Record*>> endpoints;
  std::map<std::pair<std::string, std::string>, unsigned> titles;  ///< (label, framework) -> tasks that write it so
  unsigned offers = 0;
  bool dirty = false;
  bool counted = false;                       ///< in address_vips_
  bool counted_v4 = false, counted_v6 = false;  ///< in Family::vips_of_name
  std::vector<ServiceKey> services;           ///< published
};

VipDeriver::VipDeriver(VipOptions options)
    : options_(std::move(options)),
      v4_(options_.named_min, options_.named_max),
      v6_(options_.named_min6, options_.named_max6) {}
VipDeriver::~VipDeriver() = default;

bool VipDeriver::own(const IpAddress& address) const {
  return std::find(options_.own_addresses.begin(), options_.own_addresses.end(), address) !=
         options_.own_addresses.end();
}

// ---- marking ----

void VipDeriver::mark(Vips::iterator vip) {
  if (vip->second.dirty) return;
  vip->second.dirty = true;
  dirty_.push_back(vip);
}

void VipDeriver::mark_name(const std::string& name) {
  VipKey first;
  first.name = name;
  for (auto it = vips_.lower_bound(first); it != vips_.end() && it->first.name == name; ++it) mark(it);
}

void VipDeriver::mark_users(Protocol protocol, uint16_t host_port) {
  for (auto& address : options_.own_addresses) {
    auto users = users_of_own_.find({protocol, Endpoint{address, host_port}});
    if (users == users_of_own_.end()) continue;
    for (auto& key : users->second) mark(vips_.find(key));
  }
}

// ---- tasks ----

void VipDeriver::offer(Record& r) {
  for (auto& o : r.vips.offers) {
    auto it = vips_.try_emplace(o.key).first;
    Vip& vip = it->second;
    mark(it);
    vip.offers++;
    vip.titles[{o.label, o.key.name.empty() ? "" : r.framework}]++;
    for (auto& e : o.endpoints) {
      vip.endpoints[e].push_back(&r);
      if (own(e.address)) users_of_own_[{o.key.protocol, e}].insert(o.key);
    }
  }
  if (r.own_agent)
    for (auto& p : r.vips.local)
      if (local_.add(p, r.owner, r.vips.standing != Standing::kLeaving)) mark_users(p.protocol, p.host_port);
  by_agent_[r.agent].insert(&r);
}

void VipDeriver::retract(Record& r) {
  for (auto& o : r.vips.offers) {
    auto it = vips_.find(o.key);
    Vip& vip = it->second;
    mark(it);
    vip.offers--;
    auto title = vip.titles.find({o.label, o.key.name.empty() ? "" : r.framework});
    if (--title->second == 0) vip.titles.erase(title);
    for (auto& e : o.endpoints) {
      auto claims = vip.endpoints.find(e);
      std::erase(claims->second, &r);
      if (!claims->second.empty()) continue;
      vip.endpoints.erase(claims);
      if (!own(e.address)) continue;
      auto users = users_of_own_.find({o.key.protocol, e});
      users->second.erase(o.key);
      if (users->second.empty()) users_of_own_.erase(users);
    }
  }
  if (r.own_agent)
    for (auto& p : r.vips.local)
      if (local_.remove(p, r.owner, r.vips.standing != Standing::kLeaving)) mark_users(p.protocol, p.host_port);
  auto on_agent = by_agent_.find(r.agent);
  on_agent->second.erase(&r);
  if (on_agent->second.empty()) by_agent_.erase(on_agent);
}

void VipDeriver::change(const TaskChange& c) {
  const Task& t = *c.after;
  std::string owner = task_identity(t);
  TaskVips now;
  if (!c.removed) now = task_vips(t, options_);
  work_.tasks++;
  work_.ports += now.ports;
  auto it = records_.find(owner);
  if (it != records_.end()) {
    Record& r = *it->second;
    if (r.vips == now && r.agent == t.agent_address && r.framework == t.framework_name.view()) return;
    retract(r);
    if (now.empty()) records_.erase(it);
  }
  if (now.empty()) return;
  auto& record = records_[owner];
  if (!record) record = std::make_unique<Record>();
  *record = Record{t.framework_name.str(), t.id, owner, t.agent_address, own(t.agent_address), std::move(now)};
  offer(*record);
}

// ---- services ----

/// Brings the sets of names and of addresses in line with the marked VIPs; what moves by that is marked as well.
void VipDeriver::place_names() {
  std::set<std::string> moved;
  auto take = [&](std::vector<std::string> names) {
    for (auto& n : names) moved.insert(std::move(n));
  };
  for (auto& it : dirty_) {
    const VipKey& key = it->first;
    Vip& vip = it->second;
    if (key.name.empty()) {
      bool wanted = vip.offers > 0;
      if (wanted == vip.counted) continue;
      vip.counted = wanted;
      unsigned& count = address_vips_[key.address];
      count += wanted ? 1 : -1;
      auto& family = key.address.is_v4() ? v4_ : v6_;
      if (wanted && count == 1) take(family.addresses.avoid(key.address));
      if (count == 0) {
        take(family.addresses.release(key.address));
        address_vips_.erase(key.address);
      }
      continue;
    }
    bool has_v4 = false, has_v6 = false;
    // IPv4 addresses sort as one block (all are ::ffff:0:0/96), so three looks suffice.
    static const Endpoint v4_first{IpAddress::from_v4(0), 0};
    auto first_v4 = vip.endpoints.lower_bound(v4_first);
    has_v4 = first_v4 != vip.endpoints.end() && first_v4->first.address.is_v4();
    has_v6 = !vip.endpoints.empty() &&
             (!vip.endpoints.begin()->first.address.is_v4() || !vip.endpoints.rbegin()->first.address.is_v4());
    auto count_in = [&](Family& family, bool& counted, bool wanted) {
      if (counted == wanted) return;
      counted = wanted;
      unsigned& count = family.vips_of_name[key.name];
      count += wanted ? 1 : -1;
      if (wanted && count == 1) take(family.addresses.insert(key.name));
      if (count == 0) {
        take(family.addresses.erase(key.name));
        family.vips_of_name.erase(key.name);
      }
    };
    count_in(v4_, vip.counted_v4, has_v4);
    count_in(v6_, vip.counted_v6, has_v6);
  }
  for (auto& name : moved) mark_name(name);
}

VipView VipDeriver::view(const VipKey& key, const Vip& vip, std::vector<Standing>* standings) const {
  VipView out;
  out.key = key;
  if (!vip.titles.empty()) std::tie(out.label, out.framework) = vip.titles.begin()->first;
  out.backends.reserve(vip.endpoints.size());
  for (auto& [endpoint, claims] : vip.endpoints) {
    const Record* best = *std::min_element(claims.begin(), claims.end(),
                                           [](auto* a, auto* b) { return a->rank() < b->rank(); });
    out.backends.push_back({.agent = best->agent,
                            .address = endpoint.address,
                            .port = endpoint.port,
                            .weight = weight_of(best->vips.standing),
                            .task = best->task,
                            .framework = best->framework});
    if (standings) standings->push_back(best->vips.standing);
  }
  return out;
}

std::vector<Service> VipDeriver::render(const VipKey& key, const Vip& vip) {
  std::vector<Standing> standings;
  VipView v = view(key, vip, &standings);
  work_.vips++;
  work_.backends += v.backends.size();
  std::vector<Service> out;
  for (bool v4 : {true, false}) {
    std::optional<IpAddress> address;
    if (!key.name.empty()) {
      address = (v4 ? v4_ : v6_).addresses.find(key.name);
    } else if (key.address.is_v4() == v4) {
      address = key.address;
    }
    if (!address) continue;
    std::vector<Backend> backends;
    std::vector<Standing> kept;
    for (size_t i = 0; i < v.backends.size(); i++) {
      if (v.backends[i].address.is_v4() != v4) continue;
      backends.push_back(v.backends[i]);
      kept.push_back(standings[i]);
    }
    if (backends.empty()) continue;
    set_weights(backends, kept, options_);
    if (!unreachable_.empty()) set_aside(backends, [&](auto& agent) { return !unreachable_.contains(agent); });
    backends = rewrite_local(std::move(backends), key.protocol, options_.own_addresses, local_);
    out.push_back({.key = {*address, key.port, key.protocol},
                   .name = key.name,
                   .label = v.label,
                   .framework = v.framework,
                   .backends = std::move(backends)});
  }
  return out;
}

VipDelta VipDeriver::finish() {
  place_names();
  // All old services leave before the new ones come: an address may pass from one name to another.
  std::map<ServiceKey, Service> former;
  for (auto& it : dirty_) {
    for (auto& key : it->second.services) former.insert(services_.extract(key));
    it->second.services.clear();
  }
  VipDelta delta;
  for (auto& it : dirty_) {
    Vip& vip = it->second;
    vip.dirty = false;
    if (vip.offers == 0) {
      vips_.erase(it);
      continue;
    }
    for (auto& service : render(it->first, vip)) {
      vip.services.push_back(service.key);
      auto old = former.find(service.key);
      if (old == former.end() || old->second != service) delta.upsert.push_back(service);
      if (old != former.end()) former.erase(old);
      services_.emplace(service.key, std::move(service));
    }
  }
  for (auto& [key, service] : former) delta.remove.push_back(key);
  dirty_.clear();
  std::sort(delta.upsert.begin(), delta.upsert.end(), [](auto& a, auto& b) { return a.key < b.key; });
  return delta;
}

VipDelta VipDeriver::apply(const StateDelta& delta) {
  for (auto& c : delta.tasks) change(c);
  return finish();
}

VipDelta VipDeriver::set_reachable(const IpAddress& agent, bool reachable) {
  bool changed = reachable ? unreachable_.erase(agent) > 0 : unreachable_.insert(agent).second;
  if (auto records = by_agent_.find(agent); changed && records != by_agent_.end())
    for (Record* r : records->second)
      for (auto& o : r->vips.offers) mark(vips_.find(o.key));
  return finish();
}

// ---- views ----

const Service* VipDeriver::find(const ServiceKey& key) const {
  auto it = services_.find(key);
  return it == services_.end() ? nullptr : &it->second;
}

std::vector<VipView> VipDeriver::vips() const {
  std::vector<VipView> out;
  for (auto& [key, vip] : vips_) out.push_back(view(key, vip, nullptr));
  return out;
}

std::vector<VipProblem> VipDeriver::problems() const {
  std::vector<VipProblem> out;
  for (auto& [owner, record] : records_)
    out.insert(out.end(), record->vips.problems.begin(), record->vips.problems.end());
  for (auto* family : {&v4_, &v6_})
    for (auto& name : family->addresses.unplaced()) out.push_back(no_address(name, family->addresses));
  std::sort(out.begin(), out.end());
  return out;
}

VipTable VipDeriver::full() const {
  VipTable out;
  for (auto& [key, service] : services_) out.services.push_back(service);
  out.problems = problems();
  return out;
}

VipWork VipDeriver::work() const {
  VipWork w = work_;
  w.probes = v4_.addresses.probes() + v6_.addresses.probes();
  return w;
}

}  // namespace ls
