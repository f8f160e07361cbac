#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "datapath/abi_convert.h"
#include "datapath/maglev.h"
#include "datapath/svc_tables_impl.h"

namespace ls {
namespace svc_detail {

/// Tells a ring that somebody changed. Four chains, so that it runs at the speed of memory (2 us a ring of
/// 7,001 slots).
uint64_t sum_of(std::span<const uint32_t> slots) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15ull;
  uint64_t h[4] = {1, 2, 3, slots.size()};
  size_t i = 0;
  for (; i + 8 <= slots.size(); i += 8) {
    for (size_t lane = 0; lane < 4; lane++) {
      uint64_t two;
      std::memcpy(&two, &slots[i + 2 * lane], 8);
      h[lane] = (h[lane] ^ two) * kOdd;
      h[lane] ^= h[lane] >> 32;
    }
  }
  for (; i < slots.size(); i++) h[0] = (h[0] ^ slots[i]) * kOdd;
  return ((h[0] * kOdd ^ h[1]) * kOdd ^ h[2]) * kOdd ^ h[3];
}

bool ring_size_valid(uint32_t slots) {
  if (slots == 1) return true;
  uint32_t per_cell = slots / kRingCells;
  return slots % kRingCells == 0 && per_cell && (per_cell & (per_cell - 1)) == 0 &&
         per_cell <= 1u << kRingMaxDoublings;
}

ls_be be_entry(const Endpoint& e, Protocol proto, uint32_t svc, uint32_t word) {
  ls_be b{};
  put_address(b.addr_be, e.address);
  b.port_be = htons(e.port);
  b.proto = uint8_t(proto);
  b.svc = svc;
  b.state = word;
  return b;
}

uint32_t count_active(const std::vector<Member>& members) {
  return uint32_t(std::count_if(members.begin(), members.end(),
                                [](auto& m) { return LS_BE_STATE(m.word) == LS_BE_ACTIVE; }));
}

ls_svc tab_entry(const ServiceKey& key, const Held& h) {
  ls_svc t{};
  t.key = to_abi(key);
  t.flags = LS_SVC_USED;
  t.ring = h.ring;
  t.backends = uint32_t(h.members.size());
  t.active = count_active(h.members);
  return t;
}

}  // namespace svc_detail

using namespace svc_detail;

Result<SvcMaps> SvcMaps::open(const MapOpener& opener, MapAccess access) {
  LS_ASSIGN(auto svc_fd, opener("ls_svc"));
  LS_ASSIGN(auto tab_fd, opener("ls_svc_tab"));
  LS_ASSIGN(auto ring_fd, opener("ls_ring"));
  LS_ASSIGN(auto be_fd, opener("ls_be"));
  LS_ASSIGN(auto stat_fd, opener("ls_be_stat"));
  SvcMaps m;
  LS_ASSIGN(m.be_stat, PerCpuArray<ls_be_stat>::adopt(std::move(stat_fd)));
  LS_ASSIGN(m.svc, (Map<ls_svc_key, ls_svc_ref>::adopt(std::move(svc_fd))));
  LS_ASSIGN(m.tab, MmapArray<ls_svc>::adopt(std::move(tab_fd), access));
  LS_ASSIGN(m.ring, MmapArray<ls_ring_block>::adopt(std::move(ring_fd), access));
  LS_ASSIGN(m.be, MmapArray<ls_be>::adopt(std::move(be_fd), access));
  return m;
}

Result<> SvcTables::Impl::read_back() {
  std::unordered_map<ServiceKey, uint32_t> listed;
  auto matches = [&](const ServiceKey& key, uint32_t id) {
    return id > 0 && id < maps.tab.size() && (maps.tab[id].flags & LS_SVC_USED) &&
           same_key(maps.tab[id].key, to_abi(key));
  };
  LS_TRY(maps.svc.for_each([&](const ls_svc_key& k, const ls_svc_ref& ref) {
    auto key = from_abi(k);
    if (key && matches(*key, ref.id)) listed.emplace(*key, ref.id);
  }));

  std::unordered_map<uint32_t, std::pair<const ServiceKey, Held>*> by_id;
  id_held.assign(maps.tab.size(), false);
  id_refs.assign(maps.tab.size(), 0);
  blocks = BlockPool(maps.ring.size());
  for (uint32_t id = 1; id < maps.tab.size(); id++) {
    auto& entry = maps.tab[id];
    if (!(entry.flags & LS_SVC_USED)) continue;
    auto key = from_abi(entry.key);
    if (!key) continue;
    // Of two entries with one key, the one that ls_svc names is the service; the other is left for sync() to
    // clear.
    auto l = listed.find(*key);
    if ((l != listed.end() && l->second != id) || services.contains(*key)) continue;
    Held h;
    h.id = id;
    h.listed = l != listed.end();
    h.tab_ok = true;
    uint64_t word = maps.tab.load(id, &ls_svc::ring);
    uint32_t slots = LS_RING_SLOTS(word);
    if (word && ring_size_valid(slots) && blocks.reserve(LS_RING_FIRST(word), blocks_of(slots))) {
      h.ring = word;
    }
    id_held[id] = true;
    auto at = services.emplace(*key, std::move(h)).first;
    by_id.emplace(id, &*at);
  }

  std::vector<bool> taken(maps.be.size(), false);
  adopt_backends(by_id, taken);
  numbers = NumberPool(taken);
  std::vector<bool> busy(id_held);
  for (uint32_t id = 1; id < busy.size(); id++) busy[id] = busy[id] || id_refs[id];
  ids = NumberPool(busy);
  // What looks unused now may have been given up the moment before the last controller ended.
  options.grace();
  return {};
}

void SvcTables::Impl::adopt_backends(std::unordered_map<uint32_t, std::pair<const ServiceKey, Held>*>& by_id,
                                     std::vector<bool>& taken) {
  std::unordered_map<uint32_t, std::unordered_set<Endpoint>> seen;
  for (uint32_t n = 1; n < maps.be.size(); n++) {
    auto& b = maps.be[n];
    uint32_t word = maps.be.load(n, &ls_be::state);
    if (LS_BE_STATE(word) == LS_BE_FREE) continue;
    taken[n] = true;
    if (b.svc < id_refs.size()) id_refs[b.svc]++;
    if (!be_is_live(word)) {
      resting.push_back({n, b.svc, now()});
      continue;
    }
    auto owner = by_id.find(b.svc);
    if (owner == by_id.end() || uint8_t(owner->second->first.protocol) != b.proto ||
        !seen[b.svc].insert(endpoint_of(b)).second) {
      orphans.push_back({n, b.svc, {}});
      continue;
    }
    owner->second->second.members.push_back({endpoint_of(b), n, word, false});
  }
  for (auto& [key, h] : services) {
    std::sort(h.members.begin(), h.members.end(), [](auto& a, auto& b) { return a.endpoint < b.endpoint; });
  }
}

/// Finds every difference between the kernel and what we last wrote, clears what belongs to nobody, marks the
/// rest for converge().
Result<> SvcTables::Impl::compare_with_kernel(ApplyStats& st) {
  std::vector<ls_svc_key> stale;
  std::unordered_set<ServiceKey> listed;
  LS_TRY(maps.svc.for_each([&](const ls_svc_key& k, const ls_svc_ref& ref) {
    auto key = from_abi(k);
    auto it = key ? services.find(*key) : services.end();
    if (it == services.end()) {
      stale.push_back(k);
    } else if (it->second.id == ref.id) {
      listed.insert(*key);
    }
  }));
  for (auto& k : stale) {
    LS_TRY(maps.svc.erase(k));
    st.repaired.stale++;
  }

  std::vector<bool> owned(maps.be.size(), false);
  for (auto& [key, h] : services) {
    h.listed = listed.contains(key);
    auto entry = tab_entry(key, h);
    h.tab_ok = std::memcmp(&entry, &maps.tab[h.id], sizeof entry) == 0;
    for (auto& m : h.members) {
      owned[m.number] = true;
      auto b = be_entry(m.endpoint, key.protocol, h.id, m.word);
      m.damaged = std::memcmp(&b, &maps.be[m.number], sizeof b) != 0;
    }
    if (LS_RING_SLOTS(h.ring) && h.ring_known && sum_of(slots_in_kernel(h.ring)) != h.ring_sum)
      h.ring_known = false;
    keep_little();
  }
  for (uint32_t id = 1; id < maps.tab.size(); id++) {
    if (id_held[id] || !maps.tab[id].flags) continue;
    maps.tab.publish(id, &ls_svc::ring, 0);
    maps.tab.publish(id, &ls_svc::flags, 0);
    st.repaired.stale++;
  }
  for (auto& o : orphans) {
    uint32_t word = maps.be.load(o.number, &ls_be::state);
    if (be_is_live(word)) st.repaired.stale++;
    kill(o.number, word, o.svc, st);
  }
  orphans.clear();
  for (uint32_t n = 1; n < maps.be.size(); n++) {
    uint32_t word = maps.be.load(n, &ls_be::state);
    if (owned[n] || !be_is_live(word)) continue;
    maps.be.publish(n, &ls_be::state, be_state_word(be_generation(word), LS_BE_DEAD));
    st.repaired.stale++;
  }
  return {};
}

void SvcTables::Impl::run(const std::vector<const Service*>& upsert, const std::vector<ServiceKey>& gone,
                          ApplyStats& st) {
  std::vector<const Service*> again;
  for (auto* s : upsert) {
    keep_little();
    uint32_t left_out = st.left_out;
    size_t problems = st.problems.size();
    if (converge(*s, st) || gone.empty()) continue;
    // The removals below may make room; only what still does not fit then is reported.
    st.left_out = left_out;
    st.problems.resize(problems);
    again.push_back(s);
  }
  for (auto& key : gone) remove(key, st);
  for (auto* s : again) converge(*s, st);
  keep_less();
}

}  // namespace ls
