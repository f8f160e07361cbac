// KernelMirror: the names of a zone.
#include <algorithm>

#include "dns/kernel_mirror_impl.h"

namespace ls::dns {

void KernelMirror::Impl::Zone::name_changed(std::string_view owner) {
  if (!filled) return;  // all of them come when the zone is loaded
  Epoch::Guard guard(impl.reader);
  impl.put_name(*this, std::string(owner));
  impl.answer_through(*this, owner);
}

void KernelMirror::Impl::Zone::change_ended() {
  if (!table->loaded()) return;
  Epoch::Guard guard(impl.reader);
  if (!filled) {
    impl.quiet = true;
    impl.fill(*this);
    impl.quiet = false;
    impl.show(*this);
    impl.sync();
    impl.answer_all();  // an alias may lead here
  } else {
    impl.show(*this);
    impl.sync();
    if (table->serial() != serial) {
      serial = table->serial();
      for (const std::string& owner : std::set<std::string, std::less<>>(dated)) impl.answer(*this, owner);
    }
  }
  impl.retry();
}

/// All names of a zone that is loaded. The view does not say "complete" yet.
void KernelMirror::Impl::fill(Zone& zone) {
  std::string owner;
  zone.table->for_each([&](const ZoneName& name) {
    owner = name.owner();
    put_name(zone, owner);
  });
  for (const std::string& name : zone.process) put_name(zone, name);
  if (!zone.partial.contains("")) zone.partial[""];  // name servers
  zone.serial = zone.table->serial();
  zone.filled = true;
}

/// Takes a zone out that no view leads to.
void KernelMirror::Impl::drop(Zone& zone) {
  while (!zone.partial.empty()) {
    const auto at = zone.partial.begin();
    for (const auto& [space, type] : at->second.ready) {
      remove({space, type, at->first});
      --ready_count;
    }
    forget_way(zone, at->first, at->second);
    zone.partial.erase(at);
  }
  if (!zone.filled) return;  // what is there is not from here
  zone.table->for_each([&](const ZoneName& name) { remove({zone.space, 0, name.owner()}); });
  for (const std::string& name : zone.process) remove({zone.space, 0, name});
}

bool KernelMirror::Impl::remove(const KernelKey& key) {
  if (!store.remove(key)) return false;
  removed = true;
  return true;
}

/// Brings one name to what the table has.
void KernelMirror::Impl::put_name(Zone& zone, const std::string& owner) {
  const ZoneName* name = zone.table->find(owner);
  bool partial = false;
  if (zone.process.contains(owner)) {
    body.octets.clear();
    body.flags = LS_DNS_UP;
    body.sets = 0;
  } else if (name) {
    kernel_name(*name, zone.hash_of, body);
    partial = body.partial();
  } else {
    remove({zone.space, 0, owner});
    zone.missing.erase(owner);
    return answer(zone, owner);
  }
  if (!put(zone, owner)) {
    lost(zone, owner);
    partial = false;
  } else if (!zone.missing.empty()) {
    zone.missing.erase(owner);
  }
  if (partial) zone.partial.try_emplace(owner);
  if (partial || !zone.partial.empty()) answer(zone, owner);
}

bool KernelMirror::Impl::put(Zone& zone, const std::string& owner) {
  const KernelKey key{zone.space, 0, owner};
  if (store.put(key, body.flags, body.sets, body.octets)) return true;
  constexpr size_t kGivenUp = 32;
  if (cached.size() == 0) return false;
  cached.make_room(kGivenUp);
  return store.put(key, body.flags, body.sets, body.octets);
}

/// There is no room for the name. The views stop saying "complete" before it is taken out.
void KernelMirror::Impl::lost(Zone& zone, const std::string& owner) {
  zone.missing.insert(owner);
  show(zone);
  sync();
  remove({zone.space, 0, owner});
}

/// Those without room once more, in turn, until it is clear that there still is none.
void KernelMirror::Impl::retry() {
  if (!std::exchange(removed, false)) return;
  sync();
  size_t failures = 0, tries = 0;
  for (auto& [table, zone] : zones) {
    bool got = false;
    for (size_t left = zone->missing.size(); left > 0 && failures < kMaxFailures && tries < kMaxRetries; --left, ++tries) {
      auto at = zone->missing.upper_bound(zone->tried);
      if (at == zone->missing.end()) at = zone->missing.begin();
      zone->tried = *at;
      put_name(*zone, zone->tried);
      if (zone->missing.contains(zone->tried)) ++failures;
      else got = true;
    }
    if (got && zone->missing.empty()) {
      show(*zone);
      sync();
    }
  }
  removed = false;
}

}  // namespace ls::dns
