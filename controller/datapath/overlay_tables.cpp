#include "datapath/overlay_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
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

struct Record {
  uint32_t place = 0;
  uint16_t gen = 0;
  overlay::Mac mac{};
  std::vector<Target> targets;  ///< sorted
  uint64_t word() const { return LS_OVL_OWNER(place, gen); }
};

uint64_t peer_word(const overlay::Mac& mac, uint16_t gen) {
  ls_ovl_peer p{};
  std::memcpy(p.mac, mac.data(), 6);
  p.gen = gen;
  uint64_t word;
  std::memcpy(&word, p.mac, sizeof word);
  return word;
}
static_assert(offsetof(ls_ovl_peer, mac) == 16 && offsetof(ls_ovl_peer, gen) == 22);

}  // namespace

struct OverlayTables::Impl {
  OverlayMaps maps;
  void (*wait)() = nullptr;
  OverlaySelf self;
  std::vector<OverlayPoolSlot> slots;
  std::unordered_map<IpAddress, Record> nodes;
  std::deque<uint32_t> free;  ///< places given up, the longest free first
  uint32_t next = LS_OVL_FIRST_PEER;  ///< first place that was never used
  size_t entries = 0;
  uint64_t conflicts = 0;

  ls_ovl_conf& conf() { return maps.conf.edit(0, 1)[0]; }

  // ---- single entries ----
  Result<uint64_t> read(const Target& t) const;
  Result<> write(const Target& t, uint64_t word);
  Result<> clear(const Target& t, uint64_t word);
  Result<Words> read_all() const;

  // ---- peers ----
  Result<Record*> record_of(const IpAddress& node, const overlay::Mac& mac);
  void set_peer(uint32_t place, const IpAddress& node, uint64_t word);
  Result<> drop(const IpAddress& node);

  std::vector<Target> targets_of(const overlay::Allocation& a, std::vector<std::string>* problems);
  Result<bool> put(const overlay::Allocation& a, std::vector<std::string>* problems);
  void mark_mixed(const OverlayPoolSlot& slot);

  // ---- pools ----
  void take_away(const OverlayPoolSlot& slot);
  void forget_blocks(const OverlayPoolSlot& slot);
  Result<> add_pool(const OverlayPool& pool);
  void refresh() { slots = slots_of(maps.conf[0]); }

  Result<> read_back();
};

Result<OverlayMaps> OverlayMaps::open(const MapOpener& opener) {
  OverlayMaps m;
  LS_ASSIGN(auto conf, opener("ls_ovl_conf"));
  LS_ASSIGN(m.conf, MmapArray<ls_ovl_conf>::adopt(std::move(conf)));
  LS_ASSIGN(auto blocks, opener("ls_ovl_block"));
  LS_ASSIGN(m.blocks, MmapArray<ls_ovl_owner>::adopt(std::move(blocks)));
  LS_ASSIGN(auto peers, opener("ls_ovl_peer"));
  LS_ASSIGN(m.peers, MmapArray<ls_ovl_peer>::adopt(std::move(peers)));
  LS_ASSIGN(auto hash, opener("ls_ovl_hash"));
  LS_ASSIGN(m.hash, (ls::Map<ls_ovl_key, ls_ovl_owner>::adopt(std::move(hash))));
  LS_ASSIGN(auto nets, opener("ls_ovl_net"));
  LS_ASSIGN(m.nets, (ls::Map<ls_ovl_net_key, ls_ovl_owner>::adopt(std::move(nets))));
  return m;
}

// ---------------------------------------------------------------- single entries

Result<uint64_t> OverlayTables::Impl::read(const Target& t) const {
  std::optional<ls_ovl_owner> found;
  switch (t.map) {
    case Map::kBlock:
      return t.number < maps.blocks.size() ? maps.blocks.load(t.number, &ls_ovl_owner::word) : 0;
    case Map::kHash: {
      LS_ASSIGN(found, maps.hash.get(t.hash_key()));
      break;
    }
    case Map::kNet: {
      // A trie is searched for the longest match, so only an entry of this very length counts; the walk of check() sees it exactly.
      LS_ASSIGN(found, maps.nets.get(t.net_key()));
      break;
    }
  }
  return found ? found->word : 0;
}

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

/// Only while it still names that owner: a block that another node has by now stays.
Result<> OverlayTables::Impl::clear(const Target& t, uint64_t word) {
  LS_ASSIGN(uint64_t now, read(t));
  if (now != word) return {};
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

// ---------------------------------------------------------------- peers

void OverlayTables::Impl::set_peer(uint32_t place, const IpAddress& node, uint64_t word) {
  auto& peer = maps.peers.edit(place, 1)[0];
  put_address(peer.node_be, node);
  std::atomic_ref(*reinterpret_cast<uint64_t*>(peer.mac)).store(word, std::memory_order_release);
}

Result<Record*> OverlayTables::Impl::record_of(const IpAddress& node, const overlay::Mac& mac) {
  auto it = nodes.find(node);
  if (it == nodes.end()) {
    Record r;
    r.mac = mac;
    if (node == self.node) {
      r.place = LS_OVL_SELF;
    } else if (next < maps.peers.size()) {
      r.place = next++;
      r.gen = maps.peers[r.place].gen;
    } else if (!free.empty()) {
      r.place = free.front();
      free.pop_front();
      r.gen = maps.peers[r.place].gen;
    } else {
      return fail(E2BIG, fmt::format("add node {}: ls_ovl_peer has {} places", node.text(), maps.peers.size() - LS_OVL_FIRST_PEER));
    }
    set_peer(r.place, node, peer_word(mac, r.gen));
    it = nodes.emplace(node, std::move(r)).first;
  } else if (it->second.mac != mac) {
    it->second.mac = mac;
    set_peer(it->second.place, node, peer_word(mac, it->second.gen));
  }
  return &it->second;
}

/// Entries first, then the peer; its place gets another generation at once, so that a program that still holds an entry is led nowhere.
Result<> OverlayTables::Impl::drop(const IpAddress& node) {
  auto it = nodes.find(node);
  if (it == nodes.end()) return {};
  auto& r = it->second;
  while (!r.targets.empty()) {
    LS_TRY(clear(r.targets.back(), r.word()));
    r.targets.pop_back();
    entries--;
  }
  if (r.place == LS_OVL_SELF) {
    set_peer(r.place, {}, 0);
  } else {
    auto& peer = maps.peers.edit(r.place, 1)[0];
    std::atomic_ref(*reinterpret_cast<uint64_t*>(peer.mac)).store(peer_word({}, uint16_t(r.gen + 1)), std::memory_order_release);
    put_address(peer.node_be, IpAddress());
    free.push_back(r.place);
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
  if (!a.node.is_v4() || a.node.is_zero()) return fail(EINVAL, fmt::format("node {}: not an IPv4 address", a.node.text()));
  auto want = targets_of(a, problems);
  auto known = nodes.find(a.node);
  bool changed = known == nodes.end() || known->second.mac != a.vtep.mac;
  LS_ASSIGN(Record * r, record_of(a.node, a.vtep.mac));
  if (!changed && want == r->targets) return false;
  std::vector<Target> missing, left;
  std::set_difference(want.begin(), want.end(), r->targets.begin(), r->targets.end(), std::back_inserter(missing));
  std::set_difference(r->targets.begin(), r->targets.end(), want.begin(), want.end(), std::back_inserter(left));
  for (auto& t : missing) {
    if (t.map == Map::kBlock && maps.blocks[t.number].word) conflicts++;
    LS_TRY(write(t, r->word()));
    r->targets.insert(std::lower_bound(r->targets.begin(), r->targets.end(), t), t);
    entries++;
  }
  for (auto& t : left) {
    LS_TRY(clear(t, r->word()));
    r->targets.erase(std::lower_bound(r->targets.begin(), r->targets.end(), t));
    entries--;
  }
  return changed || !missing.empty() || !left.empty();
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
      (void)clear(t, r.word());  // what stays is found by the next check()
      r.targets.erase(r.targets.begin() + std::ptrdiff_t(i));
      entries--;
    }
  }
  if (!slot.array) return;
  auto rest = maps.blocks.edit(slot.first, uint32_t(slot.pool.blocks()));
  for (auto& o : rest) std::atomic_ref(o.word).store(0, std::memory_order_relaxed);
}

Result<> OverlayTables::Impl::add_pool(const OverlayPool& pool) {
  auto& c = conf();
  std::span<ls_ovl_pool> entries_of = pool.v4() ? std::span<ls_ovl_pool>(c.pool4) : std::span<ls_ovl_pool>(c.pool6);
  auto at = std::find_if(entries_of.begin(), entries_of.end(), [](auto& e) { return !e.flags; });
  if (at == entries_of.end()) return fail(E2BIG, fmt::format("pool {}: no place left in ls_ovl_conf", pool.network.text()));
  auto entry = pool_entry(pool);
  if (pool.v4()) {
    if (auto room = find_room(slots, pool.blocks(), maps.blocks.size())) {
      entry.first = *room;
      entry.flags |= LS_OVL_POOL_ARRAY;
    } else {
      log::info("overlay_pool_in_hash", {{"pool", pool.network.text()}, {"blocks", pool.blocks()}, {"places", maps.blocks.size()}});
    }
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

  std::vector<Record*> by_place(maps.peers.size());
  std::vector<std::pair<uint32_t, IpAddress>> used;
  for (uint32_t i = LS_OVL_SELF; i < maps.peers.size(); i++) {
    auto& peer = maps.peers[i];
    auto node = get_address(peer.node_be);
    if (node.is_zero()) {
      if (peer.gen) free.push_back(i);
      continue;
    }
    if (i >= LS_OVL_FIRST_PEER) next = i + 1;
    Record r{i, peer.gen, {}, {}};
    std::memcpy(r.mac.data(), peer.mac, 6);
    if (!nodes.emplace(node, std::move(r)).second) continue;  // named twice: the entries of the second are removed below
    used.emplace_back(i, node);
  }
  // Places below `next` that were never used, or were given up: all of them wait in `free`.
  std::erase_if(free, [&](uint32_t i) { return i >= next; });
  for (uint32_t i = LS_OVL_FIRST_PEER; i < next; i++) {
    if (get_address(maps.peers[i].node_be).is_zero() && !maps.peers[i].gen) free.push_back(i);
  }
  for (auto& [place, node] : used) by_place[place] = &nodes.at(node);

  LS_ASSIGN(auto words, read_all());
  for (auto& [target, word] : words) {
    uint32_t place = LS_OVL_OWNER_PEER(word);
    Record* r = place < by_place.size() ? by_place[place] : nullptr;
    if (!r || r->word() != word || !network_of(slots, target)) {
      LS_TRY(clear(target, word));
      bad++;
      continue;
    }
    r->targets.push_back(target);
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
  if (impl->maps.conf.size() < 1 || impl->maps.peers.size() <= LS_OVL_FIRST_PEER)
    return fail(EINVAL, "adopt the maps of the overlay: ls_ovl_conf or ls_ovl_peer has no place for a node");
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
    LS_ASSIGN(bool changed, impl_->put(a, &out.problems));
    out.changed += changed;
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
    for (auto& t : r.targets) {
      auto it = have.find(t);
      auto [slot, added] = want.emplace(t, r.word());
      // Claimed by two: the one that has it keeps it.
      if (!added && it != have.end() && it->second == r.word()) slot->second = r.word();
    }
    auto& peer = s.maps.peers[r.place];
    uint64_t word;
    std::memcpy(&word, peer.mac, sizeof word);
    if (word == peer_word(r.mac, r.gen) && get_address(peer.node_be) == node) continue;
    s.set_peer(r.place, node, peer_word(r.mac, r.gen));
    wrong++;
  }
  for (auto& [t, word] : want) {
    auto it = have.find(t);
    if (it != have.end() && it->second == word) continue;
    LS_TRY(s.write(t, word));
    wrong++;
  }
  for (auto& [t, word] : have) {
    if (want.contains(t)) continue;
    LS_TRY(s.clear(t, word));
    wrong++;
  }
  if (wrong) log::warn("overlay_entries_repaired", {{"entries", wrong}});
  return wrong;
}

Result<std::optional<OverlayTables::Owner>> OverlayTables::find(const IpAddress& address) const {
  auto& s = *impl_;
  uint64_t word = 0;
  auto slot = std::find_if(s.slots.begin(), s.slots.end(), [&](auto& p) { return p.pool.network.contains(address); });
  if (slot == s.slots.end()) {
    LS_ASSIGN(word, s.read(Target::exact({address, 128})));
  } else {
    // The address with the host part of a share cut off.
    auto entry = pool_entry(slot->pool);
    auto bytes = address.bytes();
    auto* mask = reinterpret_cast<const uint8_t*>(entry.share_be);
    for (size_t i = 0; i < 16; i++) bytes[i] &= mask[i];
    auto place = place_of(std::span(&*slot, 1), {IpAddress::from_bytes(bytes.data()), slot->pool.share});
    LS_ASSIGN(word, s.read(place->target));
    if (!word) {
      LS_ASSIGN(word, s.read(Target::longest({address, 128})));
    }
  }
  uint32_t number = LS_OVL_OWNER_PEER(word);
  if (number == LS_OVL_NOBODY || number >= s.maps.peers.size()) return std::optional<Owner>();
  auto& peer = s.maps.peers[number];
  if (number >= LS_OVL_FIRST_PEER && peer.gen != LS_OVL_OWNER_GEN(word)) return std::optional<Owner>();
  Owner o{number == LS_OVL_SELF, get_address(peer.node_be), {}};
  std::memcpy(o.mac.data(), peer.mac, 6);
  return std::optional(o);
}

OverlayTablesView OverlayTables::view() const {
  auto& s = *impl_;
  size_t peers = 0;
  for (auto& [node, r] : s.nodes) peers += r.place != LS_OVL_SELF;
  return {peers, s.maps.peers.size() - LS_OVL_FIRST_PEER, s.entries, s.conflicts};
}

std::vector<OverlayTables::Entry> OverlayTables::remote_shares() const {
  std::vector<Entry> out;
  for (auto& [node, r] : impl_->nodes) {
    if (r.place == LS_OVL_SELF) continue;
    for (auto& t : r.targets) {
      auto network = network_of(impl_->slots, t);
      if (network && network->prefix != 128) out.push_back({*network, node, r.mac});
    }
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return std::tie(a.network, a.node) < std::tie(b.network, b.node); });
  return out;
}

}  // namespace ls::datapath
