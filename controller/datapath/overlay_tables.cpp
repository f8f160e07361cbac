#include "datapath/overlay_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "datapath/overlay_targets.h"
#include "util/log.h"

namespace ls::datapath {
namespace {

using Target = OverlayTarget;
using Map = OverlayTarget::Map;

struct HashTarget {
  size_t operator()(const Target& t) const {
    return hash_bytes(&t.number, sizeof t.number, std::hash<IpAddress>{}(t.address) + size_t(t.map));
  }
};
using Words = std::unordered_map<Target, uint64_t, HashTarget>;

/// What is in the maps for one node.
struct Record {
  uint64_t word = 0;  ///< of all its entries; 0: they differ, a change was cut short
  std::vector<Target> targets;  ///< sorted
};

uint64_t word_of(const IpAddress& node, const overlay::Mac& mac, bool self) {
  return LS_OVL_OWNER(node.v4(), uint32_t(mac[3]) << 16 | uint32_t(mac[4]) << 8 | mac[5], LS_OVL_OWNED | (self ? LS_OVL_SELF : 0u));
}
IpAddress node_of(uint64_t word) { return IpAddress::from_v4(LS_OVL_OWNER_NODE(word)); }
bool is_self(uint64_t word) { return word & LS_OVL_SELF; }
bool same_node(uint64_t a, uint64_t b) { return LS_OVL_OWNER_NODE(a) == LS_OVL_OWNER_NODE(b); }

Result<uint64_t> read_word(const OverlayMaps& maps, const Target& t) {
  std::optional<ls_ovl_owner> found;
  switch (t.map) {
    case Map::kBlock:
      return t.number < maps.blocks.size() ? maps.blocks.load(t.number, &ls_ovl_owner::word) : 0;
    case Map::kHash: {
      LS_ASSIGN(found, maps.hash.get(t.hash_key()));
    } break;
    case Map::kNet: {
      // A trie is searched for the longest match, so only an entry of this very length counts; the walk of check() sees it exactly.
      LS_ASSIGN(found, maps.nets.get(t.net_key()));
    } break;
  }
  return found ? found->word : 0;
}

overlay::Mac mac_of_word(const OverlayMaps& maps, uint64_t word) {
  uint32_t low = LS_OVL_OWNER_MAC(word);
  auto& oui = maps.conf[0].oui;
  return {oui[0], oui[1], oui[2], uint8_t(low >> 16), uint8_t(low >> 8), uint8_t(low)};
}

}  // namespace

struct OverlayTables::Impl {
  OverlayMaps maps;
  void (*wait)() = nullptr;
  OverlaySelf self;
  std::vector<OverlayPoolSlot> slots;
  std::unordered_map<IpAddress, Record> nodes;
  size_t entries = 0;
  uint64_t conflicts = 0;

  ls_ovl_conf& conf() { return maps.conf.edit(0, 1)[0]; }

  Result<uint64_t> read(const Target& t) const;
  Result<> write(const Target& t, uint64_t word);
  Result<> clear(const Target& t, uint64_t word);
  Result<> erase(const Target& t);
  Result<Words> read_all() const;
  Result<> drop(const IpAddress& node);
  overlay::Mac mac_of(uint64_t word) const;

  std::vector<Target> targets_of(const overlay::Allocation& a, std::vector<std::string>* problems);
  Result<bool> put(const overlay::Allocation& a, std::vector<std::string>* problems);
  void mark_mixed(const OverlayPoolSlot& slot);
  void take_away(const OverlayPoolSlot& slot);
  void forget_blocks(const OverlayPoolSlot& slot);
  Result<> add_pool(const OverlayPool& pool);
  void refresh() { slots = slots_of(maps.conf[0]); }

  Result<> read_back();
};

Result<OverlayMaps> OverlayMaps::open(const MapOpener& opener, MapAccess access) {
  OverlayMaps m;
  LS_ASSIGN(auto conf, opener("ls_ovl_conf"));
  LS_ASSIGN(m.conf, MmapArray<ls_ovl_conf>::adopt(std::move(conf), access));
  LS_ASSIGN(auto blocks, opener("ls_ovl_block"));
  LS_ASSIGN(m.blocks, MmapArray<ls_ovl_owner>::adopt(std::move(blocks), access));
  LS_ASSIGN(auto hash, opener("ls_ovl_hash"));
  LS_ASSIGN(m.hash, (ls::Map<ls_ovl_key, ls_ovl_owner>::adopt(std::move(hash))));
  LS_ASSIGN(auto nets, opener("ls_ovl_net"));
  LS_ASSIGN(m.nets, (ls::Map<ls_ovl_net_key, ls_ovl_owner>::adopt(std::move(nets))));
  return m;
}

// ---------------------------------------------------------------- single entries

Result<uint64_t> OverlayTables::Impl::read(const Target& t) const { return read_word(maps, t); }

Result<> OverlayTables::Impl::write(const Target& t, uint64_t word) {
  switch (t.map) {
    case Map::kBlock:
      maps.blocks.publish(t.number, &ls_ovl_owner::word, word);
      return {};
    case Map::kHash:
      return maps.hash.put(t.hash_key(), ls_ovl_owner{word});
    case Map::kNet:
      break;
  }
  return maps.nets.put(t.net_key(), ls_ovl_owner{word});
}

/// Only while it still names that node: a block that another one has by now stays.
Result<> OverlayTables::Impl::clear(const Target& t, uint64_t word) {
  LS_ASSIGN(uint64_t now, read(t));
  if (!now || !same_node(now, word)) return {};
  return erase(t);
}

Result<> OverlayTables::Impl::erase(const Target& t) {
  switch (t.map) {
    case Map::kBlock:
      maps.blocks.publish(t.number, &ls_ovl_owner::word, 0);
      return {};
    case Map::kHash:
      return maps.hash.erase(t.hash_key());
    case Map::kNet:
      break;
  }
  return maps.nets.erase(t.net_key());
}

Result<Words> OverlayTables::Impl::read_all() const {
  Words out;
  auto blocks = maps.blocks.view();
  for (uint32_t i = 0; i < blocks.size(); i++) {
    if (blocks[i].word) out.emplace(Target::block(i), blocks[i].word);
  }
  LS_TRY(maps.hash.for_each([&](const ls_ovl_key& k, const ls_ovl_owner& o) {
    out.emplace(Target{Map::kHash, k.prefix, get_address(k.addr_be)}, o.word);
  }));
  LS_TRY(maps.nets.for_each([&](const ls_ovl_net_key& k, const ls_ovl_owner& o) {
    out.emplace(Target{Map::kNet, k.prefix, get_address(k.addr_be)}, o.word);
  }));
  return out;
}

// ---------------------------------------------------------------- nodes

overlay::Mac OverlayTables::Impl::mac_of(uint64_t word) const { return mac_of_word(maps, word); }

Result<> OverlayTables::Impl::drop(const IpAddress& node) {
  auto it = nodes.find(node);
  if (it == nodes.end()) return {};
  auto& r = it->second;
  while (!r.targets.empty()) {
    LS_TRY(clear(r.targets.back(), word_of(node, {}, false)));
    r.targets.pop_back();
    entries--;
  }
  nodes.erase(it);
  return {};
}

void OverlayTables::Impl::mark_mixed(const OverlayPoolSlot& slot) {
  auto& c = conf();
  auto& e = slot.pool.v4() ? c.pool4[slot.number] : c.pool6[slot.number];
  if (!(e.flags & LS_OVL_POOL_MIXED)) std::atomic_ref(e.flags).store(e.flags | LS_OVL_POOL_MIXED, std::memory_order_release);
}

std::vector<Target> OverlayTables::Impl::targets_of(const overlay::Allocation& a, std::vector<std::string>* problems) {
  std::vector<Target> out;
  auto add = [&](const IpNetwork& network, std::string_view what) {
    auto place = place_of(slots, network);
    if (!place) {
      if (problems)
        problems->push_back(fmt::format("node {}: {} {} is in no pool and is left out", a.node.text(), what, network.text()));
      return;
    }
    if (place->target.map == Map::kNet) mark_mixed(*place->slot);
    out.push_back(place->target);
  };
  add({a.node, 128}, "address");
  add({a.vtep.v4.address, 128}, "VTEP address");
  if (a.vtep.v6) add({a.vtep.v6->address, 128}, "VTEP address");
  for (auto& s : a.shares) {
    if (s.state != overlay::ShareState::kOk) continue;
    if (s.v4) add(*s.v4, "share");
    if (s.v6) add(*s.v6, "share");
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<bool> OverlayTables::Impl::put(const overlay::Allocation& a, std::vector<std::string>* problems) {
  if (!a.node.is_v4() || a.node.is_zero() || !a.node.v4()) return fail(EINVAL, fmt::format("node {}: not an IPv4 address", a.node.text()));
  auto& oui = maps.conf[0].oui;
  if (!std::equal(a.vtep.mac.begin(), a.vtep.mac.begin() + 3, oui))
    return fail(EINVAL, fmt::format("node {}: the MAC of its VTEP begins with {:02x}:{:02x}:{:02x}, the plan's OUI is {:02x}:{:02x}:{:02x}",
                                    a.node.text(), a.vtep.mac[0], a.vtep.mac[1], a.vtep.mac[2], oui[0], oui[1], oui[2]));
  auto want = targets_of(a, problems);
  uint64_t word = word_of(a.node, a.vtep.mac, a.node == self.node);
  auto& r = nodes[a.node];
  if (r.word == word && want == r.targets) return false;
  std::vector<Target> missing, left;
  if (r.word == word) {
    std::set_difference(want.begin(), want.end(), r.targets.begin(), r.targets.end(), std::back_inserter(missing));
  } else {
    missing = want;
  }
  std::set_difference(r.targets.begin(), r.targets.end(), want.begin(), want.end(), std::back_inserter(left));
  if (r.word != word) r.word = 0;  // until all are written
  for (auto& t : missing) {
    if (t.map == Map::kBlock && maps.blocks[t.number].word && !same_node(maps.blocks[t.number].word, word)) conflicts++;
    LS_TRY(write(t, word));
    auto at = std::lower_bound(r.targets.begin(), r.targets.end(), t);
    if (at != r.targets.end() && *at == t) continue;
    r.targets.insert(at, t);
    entries++;
  }
  r.word = word;
  for (auto& t : left) {
    LS_TRY(clear(t, word));
    r.targets.erase(std::lower_bound(r.targets.begin(), r.targets.end(), t));
    entries--;
  }
  return true;
}

// ---------------------------------------------------------------- pools

/// No program takes it from here on. The caller waits for those that run.
void OverlayTables::Impl::take_away(const OverlayPoolSlot& slot) {
  auto& c = conf();
  auto& e = slot.pool.v4() ? c.pool4[slot.number] : c.pool6[slot.number];
  std::atomic_ref(e.flags).store(0, std::memory_order_release);
}

void OverlayTables::Impl::forget_blocks(const OverlayPoolSlot& slot) {
  for (auto& [node, r] : nodes) {
    for (size_t i = 0; i < r.targets.size();) {
      auto t = r.targets[i];
      bool inside = t.map == Map::kBlock ? slot.array && t.number >= slot.first && t.number - slot.first < slot.pool.blocks()
                                         : t.number >= slot.pool.network.prefix && slot.pool.network.contains(t.address);
      if (!inside) {
        i++;
        continue;
      }
      (void)clear(t, word_of(node, {}, false));  // what stays is found by the next check()
      r.targets.erase(r.targets.begin() + std::ptrdiff_t(i));
      entries--;
    }
  }
  if (!slot.array) return;
  for (auto& o : maps.blocks.edit(slot.first, uint32_t(slot.pool.blocks()))) std::atomic_ref(o.word).store(0, std::memory_order_relaxed);
}

Result<> OverlayTables::Impl::add_pool(const OverlayPool& pool) {
  auto& c = conf();
  std::span<ls_ovl_pool> entries_of = pool.v4() ? std::span<ls_ovl_pool>(c.pool4) : std::span<ls_ovl_pool>(c.pool6);
  auto at = std::find_if(entries_of.begin(), entries_of.end(), [](auto& e) { return !e.flags; });
  if (at == entries_of.end()) return fail(E2BIG, fmt::format("pool {}: no place left in ls_ovl_conf", pool.network.text()));
  auto entry = pool_entry(pool);
  if (auto room = find_room(slots, pool.blocks(), maps.blocks.size())) {
    entry.first = *room;
    entry.last = uint32_t(pool.blocks() - 1);
    entry.flags |= LS_OVL_POOL_ARRAY;
  } else {
    log::debug("overlay_pool_in_hash", {{"pool", pool.network.text()}, {"places", maps.blocks.size()}});
  }
  uint32_t flags = std::exchange(entry.flags, 0);
  std::memcpy(&*at, &entry, sizeof entry);
  std::atomic_ref(at->flags).store(flags, std::memory_order_release);
  auto used = uint8_t(at - entries_of.begin() + 1);
  auto& count = pool.v4() ? c.pools4 : c.pools6;
  if (count < used) std::atomic_ref(count).store(used, std::memory_order_release);
  refresh();
  return {};
}

// ---------------------------------------------------------------- start

Result<> OverlayTables::Impl::read_back() {
  auto& c = conf();
  refresh();
  // Pools that make no sense, or whose blocks lie outside of the array, are not ours.
  auto sound = [&](bool v4, uint32_t number) {
    return std::any_of(slots.begin(), slots.end(), [&](auto& s) {
      return s.pool.v4() == v4 && s.number == number && (!s.array || s.first + s.pool.blocks() <= maps.blocks.size());
    });
  };
  size_t bad = 0;
  for (uint32_t i = 0; i < LS_OVL_POOLS; i++) {
    if (c.pool4[i].flags && !sound(true, i)) c.pool4[i].flags = 0, bad++;
    if (c.pool6[i].flags && !sound(false, i)) c.pool6[i].flags = 0, bad++;
  }
  refresh();
  self.node = get_address(c.node_be);
  std::memcpy(self.mac.data(), c.mac, 6);
  self.vtep_ifindex = c.vtep_ifindex;
  self.mtu = c.mtu;
  self.redirect_peer = c.flags & LS_OVL_PEER;

  LS_ASSIGN(auto words, read_all());
  for (auto& [target, word] : words) {
    bool owned = (word & LS_OVL_OWNED) && LS_OVL_OWNER_NODE(word) && is_self(word) == (node_of(word) == self.node);
    if (!owned || !network_of(slots, target)) {
      LS_TRY(erase(target));
      bad++;
      continue;
    }
    auto [r, first] = nodes.try_emplace(node_of(word));
    if (first) r->second.word = word;
    if (r->second.word != word) r->second.word = 0;
    r->second.targets.push_back(target);
    entries++;
  }
  for (auto& [node, r] : nodes) std::sort(r.targets.begin(), r.targets.end());
  if (bad) log::warn("overlay_entries_cleared", {{"entries", bad}, {"kept", entries}});
  return {};
}

// ---------------------------------------------------------------- public

OverlayTables::OverlayTables(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OverlayTables::OverlayTables(OverlayTables&&) noexcept = default;
OverlayTables& OverlayTables::operator=(OverlayTables&&) noexcept = default;
OverlayTables::~OverlayTables() = default;

Result<OverlayTables> OverlayTables::adopt(OverlayMaps maps, void (*wait_readers)()) {
  auto impl = std::make_unique<Impl>();
  impl->maps = std::move(maps);
  impl->wait = wait_readers;
  if (impl->maps.conf.size() < 1) return fail(EINVAL, "adopt the maps of the overlay: ls_ovl_conf has no entry");
  LS_TRY(impl->read_back());
  return OverlayTables(std::move(impl));
}

Result<bool> OverlayTables::configure(const OverlaySelf& self, const overlay::Plan& plan) {
  auto& s = *impl_;
  LS_ASSIGN(auto want, pools_of(plan));
  bool changed = false;
  if (s.self.node != self.node) {
    // What was this node's is not any more, and what is now may have been another's.
    LS_TRY(s.drop(s.self.node));
    LS_TRY(s.drop(self.node));
    changed = true;
  }
  if (!std::equal(plan.oui.begin(), plan.oui.begin() + 3, s.maps.conf[0].oui)) {
    if (!s.nodes.empty()) {
      disable();
      s.wait();
      while (!s.nodes.empty()) LS_TRY(s.drop(s.nodes.begin()->first));
    }
    std::copy_n(plan.oui.begin(), 3, s.conf().oui);
    changed = true;
  }
  std::vector<OverlayPoolSlot> gone;
  for (auto& slot : s.slots) {
    if (std::find(want.begin(), want.end(), slot.pool) == want.end()) gone.push_back(slot);
  }
  if (!gone.empty()) {
    for (auto& slot : gone) s.take_away(slot);
    s.wait();
    for (auto& slot : gone) s.forget_blocks(slot);
    s.refresh();
    changed = true;
  }
  for (auto& pool : want) {
    bool there = std::any_of(s.slots.begin(), s.slots.end(), [&](auto& slot) { return slot.pool == pool; });
    if (!there) LS_TRY(s.add_pool(pool));
    changed |= !there;
  }
  auto& c = s.conf();
  c.vni = overlay::kVni;
  c.mtu = self.mtu;
  c.vtep_ifindex = self.vtep_ifindex;
  put_address(c.node_be, self.node);
  std::memcpy(c.mac, self.mac.data(), 6);
  std::atomic_ref(c.flags).store(LS_OVL_ENABLED | (self.redirect_peer ? uint32_t(LS_OVL_PEER) : 0), std::memory_order_release);
  s.self = self;
  return changed;
}

void OverlayTables::disable() {
  std::atomic_ref(impl_->conf().flags).store(0, std::memory_order_release);
}

Result<> OverlayTables::put(const overlay::Allocation& allocation, std::vector<std::string>* problems) {
  LS_ASSIGN([[maybe_unused]] bool changed, impl_->put(allocation, problems));
  return {};
}

Result<> OverlayTables::remove(const IpAddress& node) { return impl_->drop(node); }

Result<OverlaySync> OverlayTables::sync(std::span<const overlay::Allocation> all) {
  OverlaySync out;
  std::unordered_map<IpAddress, bool> wanted;
  wanted.reserve(all.size());
  impl_->nodes.reserve(all.size());
  for (auto& a : all) {
    auto changed = impl_->put(a, &out.problems);
    if (!changed && changed.error().code.value() == EINVAL) {  // one node that cannot be harms no other
      out.problems.push_back(changed.error().doing);
      continue;
    }
    if (!changed) return tl::make_unexpected(std::move(changed.error()));
    out.changed += *changed;
    wanted.emplace(a.node, true);
  }
  std::vector<IpAddress> gone;
  for (auto& [node, r] : impl_->nodes) {
    if (!wanted.contains(node)) gone.push_back(node);
  }
  for (auto& node : gone) LS_TRY(impl_->drop(node));
  out.removed = gone.size();
  return out;
}

Result<size_t> OverlayTables::check() {
  auto& s = *impl_;
  LS_ASSIGN(auto have, s.read_all());
  Words want;
  size_t wrong = 0;
  for (auto& [node, r] : s.nodes) {
    if (!r.word) continue;  // a change was cut short; the next put() writes all of it
    for (auto& t : r.targets) {
      auto it = have.find(t);
      auto [slot, added] = want.emplace(t, r.word);
      // Claimed by two: the one that has it keeps it.
      if (!added && it != have.end() && it->second == r.word) slot->second = r.word;
    }
  }
  for (auto& [t, word] : want) {
    auto it = have.find(t);
    if (it != have.end() && it->second == word) continue;
    LS_TRY(s.write(t, word));
    wrong++;
  }
  for (auto& [t, word] : have) {
    auto node = s.nodes.find(node_of(word));
    if (want.contains(t) || (node != s.nodes.end() && !node->second.word)) continue;
    LS_TRY(s.erase(t));
    wrong++;
  }
  if (wrong) log::warn("overlay_entries_repaired", {{"entries", wrong}});
  return wrong;
}

Result<std::optional<OverlayOwner>> find_owner(const OverlayMaps& maps, const IpAddress& address) {
  auto slots = slots_of(maps.conf[0]);
  uint64_t word = 0;
  auto slot = std::find_if(slots.begin(), slots.end(), [&](auto& p) { return p.pool.network.contains(address); });
  if (slot == slots.end()) {
    LS_ASSIGN(word, read_word(maps, Target::exact({address, 128})));
  } else {
    // The address with the host part of a share cut off.
    auto entry = pool_entry(slot->pool);
    auto bytes = address.bytes();
    auto* mask = reinterpret_cast<const uint8_t*>(entry.share_be);
    for (size_t i = 0; i < 16; i++) bytes[i] &= mask[i];
    auto place = place_of(std::span(&*slot, 1), {IpAddress::from_bytes(bytes.data()), slot->pool.share});
    LS_ASSIGN(word, read_word(maps, place->target));
    if (!word) {
      LS_ASSIGN(word, read_word(maps, Target::longest({address, 128})));
    }
  }
  if (!(word & LS_OVL_OWNED)) return std::optional<OverlayOwner>();
  return std::optional(OverlayOwner{is_self(word), node_of(word), mac_of_word(maps, word)});
}

Result<std::optional<OverlayOwner>> OverlayTables::find(const IpAddress& address) const { return find_owner(impl_->maps, address); }

OverlayTablesView OverlayTables::view() const {
  auto& s = *impl_;
  return {s.nodes.size() - s.nodes.contains(s.self.node), s.entries, s.maps.blocks.size(), s.conflicts};
}

std::vector<OverlayTables::Entry> OverlayTables::remote_shares() const {
  std::vector<Entry> out;
  for (auto& [node, r] : impl_->nodes) {
    if (node == impl_->self.node) continue;
    for (auto& t : r.targets) {
      auto network = network_of(impl_->slots, t);
      if (network && network->prefix != 128) out.push_back({*network, node, impl_->mac_of(r.word)});
    }
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return std::tie(a.network, a.node) < std::tie(b.network, b.node); });
  return out;
}

}  // namespace ls::datapath
