#include "dns/kernel_mirror.h"

#include <algorithm>
#include <cstring>

#include "dns/kernel_mirror_impl.h"
#include "util/log.h"

namespace ls::dns {
namespace {

constexpr uint32_t kSpaceBits = 0x3fffffff;

/// The same in every process: what a daemon before wrote is found again.
uint32_t space_hash(std::string_view text, uint32_t attempt) {
  uint64_t h = 0xcbf29ce484222325ull + attempt;  // FNV-1a
  for (const char c : text) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93ull;
  return static_cast<uint32_t>(h >> 32) & kSpaceBits;
}

std::string folded(const DnsName& name) { return std::string(name.folded().wire()); }

bool has_wire(const Routes& routes, const ZoneView& view) { return routes.find(folded(view.apex)).zone == &view; }

bool begins_below(const DnsName& name, const DnsName& apex) { return name.wire().size() > apex.wire().size() && name.is_within(apex); }

/// Another route begins below the apex.
bool is_nested(const Routes& routes, const DnsName& apex) {
  return std::any_of(routes.views().begin(), routes.views().end(), [&](const ZoneView& v) { return begins_below(v.apex, apex); }) ||
         std::any_of(routes.groups().begin(), routes.groups().end(), [&](const ForwardGroup& g) { return begins_below(g.zone, apex); });
}

/// The name a zone's space is made from: the first in the order of text, further names of other zones last.
std::string zone_name(const std::array<std::shared_ptr<const Routes>, kServices>& all, const ZoneTable* table) {
  std::pair<bool, std::string> best;
  for (const auto& routes : all) {
    if (!routes) continue;
    for (const ZoneView& v : routes->views()) {
      if (v.table.get() != table || !has_wire(*routes, v)) continue;
      std::pair<bool, std::string> name{v.is_alias, v.apex.folded().text()};
      if (best.second.empty() || name < best) best = std::move(name);
    }
  }
  return best.second;
}

}  // namespace

KernelMirror::Impl::Impl(KernelStore& s, Epoch& e, std::vector<DnsName> names)
    : store(s), reader(e), process_answers(std::move(names)),
      views{KernelViews(s, LS_DNS_SPACE_VIEW), KernelViews(s, LS_DNS_SPACE_VIEW + 1)}, cached(s), message(65535) {
  static_assert(kServices == 2 && kServices == LS_DNS_SERVICES);
  store.mark();
}

KernelMirror::Impl::~Impl() = default;

KernelMirror::Impl::Zone::Zone(Impl& i, std::shared_ptr<const ZoneTable> t, uint32_t s)
    : impl(i), table(std::move(t)), space(s),
      hash_of([this](std::string_view relative) { return impl.store.hash({space, 0, relative}); }) {
  table->follow(this);
}

/// With a number behind the name when another zone has the space already.
uint32_t KernelMirror::Impl::free_space(uint32_t kind, const std::string& name) const {
  for (uint32_t attempt = 0;; ++attempt) {
    const uint32_t space = kind | space_hash(name, attempt);
    const bool taken =
        kind == LS_DNS_SPACE_ZONE
            ? std::any_of(zones.begin(), zones.end(), [&](const auto& z) { return z.second->space == space; })
            : std::any_of(ready_spaces.begin(), ready_spaces.end(), [&](const auto& r) { return r.second == space; });
    if (!taken) return space;
    log::info("dns_kernel_space_taken", {{"space", space}, {"attempt", attempt}});
  }
}

/// Another zone under the same suffix gets another space, so answers of the one are never taken for those of the other.
uint32_t KernelMirror::Impl::ready_space(size_t service, const std::string& suffix, const Zone& zone) {
  const std::string name = std::to_string(service) + "/" + std::to_string(zone.space) + "/" + suffix;
  const auto at = ready_spaces.find(name);
  if (at != ready_spaces.end()) return at->second;
  return ready_spaces[name] = free_space(LS_DNS_SPACE_READY, name);
}

void KernelMirror::Impl::add_zones(size_t service) {
  if (!routes[service]) return;
  for (const ZoneView& v : routes[service]->views()) {
    if (zones.contains(v.table.get()) || !has_wire(*routes[service], v)) continue;
    const uint32_t space = free_space(LS_DNS_SPACE_ZONE, zone_name(routes, v.table.get()));
    zones[v.table.get()] = std::make_unique<Zone>(*this, v.table, space);
  }
}

/// The views of each zone, in both services, and the names in it that the process answers.
void KernelMirror::Impl::gather_views(size_t service) {
  for (auto& [table, zone] : zones) std::erase_if(zone->seen, [&](const KernelSeen& s) { return s.service == service; });
  if (routes[service]) {
    for (const ZoneView& v : routes[service]->views()) {
      if (!has_wire(*routes[service], v)) continue;
      Zone& zone = *zones.at(v.table.get());
      KernelSeen seen{service, &v, v, folded(v.apex), 0, is_nested(*routes[service], v.apex)};
      seen.still.rules.rotation = Rotation::kNone;
      seen.ready = ready_space(service, seen.suffix, zone);
      zone.seen.push_back(std::move(seen));
    }
  }
  std::set<uint32_t> used;
  for (auto& [table, zone] : zones)
    for (const KernelSeen& s : zone->seen) used.insert(s.ready);
  std::erase_if(ready_spaces, [&](const auto& r) { return !used.contains(r.second); });

  for (auto& [table, zone] : zones) {
    std::set<std::string, std::less<>> names;
    for (const DnsName& name : process_answers)
      for (const KernelSeen& s : zone->seen)
        if (name.is_within(s.view->apex) && routes[s.service]->find(folded(name)).zone == s.view) names.insert(name.relative_to(s.view->apex));
    std::swap(zone->process, names);
    if (!zone->filled) continue;
    for (const std::string& name : zone->process)
      if (!names.contains(name)) put_name(*zone, name);
    for (const std::string& name : names)
      if (!zone->process.contains(name)) put_name(*zone, name);
  }
}

void KernelMirror::Impl::drop_unused() {
  for (auto at = zones.begin(); at != zones.end();) {
    if (!at->second->seen.empty()) {
      ++at;
      continue;
    }
    drop(*at->second);
    at = zones.erase(at);
  }
}

void KernelMirror::Impl::set_routes(size_t service, std::shared_ptr<const Routes> fresh) {
  const auto before = std::exchange(routes[service], std::move(fresh));  // views point into it until gather_views()
  Epoch::Guard guard(reader);
  quiet = true;
  add_zones(service);
  gather_views(service);
  for (auto& [table, zone] : zones)
    if (!zone->filled && table->loaded()) fill(*zone);
  std::set<std::string> suffixes;
  if (routes[service]) {
    for (const ZoneView& v : routes[service]->views()) suffixes.insert(folded(v.apex));
    for (const ForwardGroup& g : routes[service]->groups()) {
      const std::string suffix = folded(g.zone);
      // A zone wins against a group of the same name, and the first of two groups.
      if (!suffixes.insert(suffix).second) continue;
      kernel_view(g, body);
      views[service].set(suffix, body);
    }
  }
  show_all();
  views[service].sync();
  views[service].retain(suffixes);
  drop_unused();
  quiet = false;
  answer_all();
  removed = true;
  retry();
}

void KernelMirror::Impl::show(Zone& zone) {
  const bool loaded = zone.table->loaded();
  for (const KernelSeen& s : zone.seen) {
    if (!loaded && !is_settled && views[s.service].foreign(s.suffix)) {
      views[s.service].keep(s.suffix);
      continue;
    }
    kernel_view(*s.view, zone.space, s.ready, loaded && zone.filled && zone.missing.empty(), s.nested, body);
    if (!loaded) {
      ls_dns_view up;
      std::memcpy(&up, body.octets.data(), sizeof up);
      up.flags |= LS_DNS_VIEW_UP;
      std::memcpy(body.octets.data(), &up, sizeof up);
    }
    views[s.service].set(s.suffix, body);
  }
}

void KernelMirror::Impl::show_all() {
  for (auto& [table, zone] : zones) show(*zone);
}

void KernelMirror::Impl::sync() {
  for (KernelViews& v : views) v.sync();
}

/// Views first: one that is no more must not go on saying "complete" while its names go.
void KernelMirror::Impl::settled() {
  if (std::exchange(is_settled, true)) return;
  Epoch::Guard guard(reader);
  show_all();
  sync();
  for (uint32_t service = 0; service < kServices; ++service) store.sweep(LS_DNS_SPACE_VIEW + service);
  const size_t gone = store.sweep_all();
  log::info("dns_kernel_settled", {{"zones", zones.size()}, {"removed", gone}});
  removed = true;
  retry();
}

KernelMirrorView KernelMirror::Impl::view() const {
  KernelMirrorView out;
  for (const KernelViews& v : views) out.views += v.size();
  for (const auto& [table, zone] : zones) {
    if (zone->filled) {
      out.names += table->all_names() - zone->missing.size();
      for (const std::string& name : zone->process) out.names += table->find(name) ? 0 : 1;
    }
    out.no_room += zone->missing.size();
    out.incomplete_zones += !zone->filled || !zone->missing.empty() ? 1 : 0;
  }
  out.ready = ready_count;
  out.cached = cached.size();
  return out;
}

KernelMirror::KernelMirror(KernelStore& store, Epoch& epoch, std::vector<DnsName> process_answers)
    : impl_(std::make_unique<Impl>(store, epoch, std::move(process_answers))) {}
KernelMirror::~KernelMirror() = default;

void KernelMirror::set_routes(ServiceKind service, std::shared_ptr<const Routes> routes) {
  impl_->set_routes(static_cast<size_t>(service), std::move(routes));
}

std::array<uint64_t, 4> KernelMirror::suffixes(ServiceKind service) const {
  std::array<uint64_t, 4> bits{};
  const auto& routes = impl_->routes[static_cast<size_t>(service)];
  if (!routes) return bits;
  const auto add = [&bits](const DnsName& name) { bits[name.wire().size() / 64] |= uint64_t{1} << name.wire().size() % 64; };
  for (const ZoneView& v : routes->views()) add(v.apex);
  for (const ForwardGroup& g : routes->groups()) add(g.zone);
  return bits;
}

void KernelMirror::settled() { impl_->settled(); }

/// Names of zones have the first call on what room there is.
void KernelMirror::set_max_cached(size_t max) { impl_->cached.set_max(max); }

void KernelMirror::put_cached(std::span<const uint8_t> message, uint64_t stored_ns, uint64_t expires_ns) {
  for (const auto& [table, zone] : impl_->zones)
    if (!zone->missing.empty()) return;
  impl_->cached.put(message, stored_ns, expires_ns);
}

/// What a daemon before kept is in no index: before settled() it goes as a whole.
size_t KernelMirror::flush_cached(const DnsName& suffix) {
  const size_t before = impl_->is_settled ? 0 : impl_->store.sweep(LS_DNS_SPACE_CACHE);
  impl_->removed = true;
  return before + impl_->cached.flush(suffix);
}

void KernelMirror::expire_cached(uint64_t now_ns) {
  Epoch::Guard guard(impl_->reader);
  impl_->cached.expire(now_ns);
  impl_->removed = true;
  impl_->retry();
}

KernelMirrorView KernelMirror::view() const { return impl_->view(); }

}  // namespace ls::dns
