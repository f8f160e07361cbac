#include "datapath/svc_tables.h"

#include <fmt/format.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "datapath/abi_convert.h"
#include "datapath/maglev.h"
#include "datapath/svc_alloc.h"

namespace ls {
namespace {

struct Member {
  Endpoint endpoint;
  uint32_t number = 0;
  uint32_t word = 0;     // ls_be.state as the kernel holds it
  bool damaged = false;  // the kernel's entry is not what we wrote
};

/// A service as the kernel holds it.
struct Held {
  uint32_t id = 0;
  uint64_t ring = 0;            // ls_svc.ring
  uint64_t ring_sum = 0;        // of the slots, when ring_known
  bool ring_known = false;      // false: adopted and not compared yet, or found damaged
  bool listed = false;          // ls_svc has the entry
  bool tab_ok = false;          // ls_svc_tab has the entry as it should be
  std::vector<Member> members;  // by endpoint
};

struct Wanted {
  Endpoint endpoint;
  bool active = false;
};

struct Resting {
  uint32_t number, svc;
  Instant since;
};

uint32_t blocks_of(uint32_t slots) {
  return (slots + LS_RING_BLOCK_SLOTS - 1) / LS_RING_BLOCK_SLOTS;
}

/// Tells a ring that somebody changed. Four chains, so that it runs at the speed of memory (2 us a ring of
/// 5,101 slots).
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

std::vector<Wanted> distinct(const std::vector<Backend>& backends) {
  std::vector<Wanted> out;
  out.reserve(backends.size());
  for (auto& b : backends) out.push_back({b.endpoint(), b.weight > 0});
  // The same endpoint twice is one backend; it takes flows when one of the two does.
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) {
    return a.endpoint != b.endpoint ? a.endpoint < b.endpoint : a.active > b.active;
  });
  out.erase(std::unique(out.begin(), out.end(), [](auto& a, auto& b) { return a.endpoint == b.endpoint; }),
            out.end());
  return out;
}

}  // namespace

void wait_for_programs() {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

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

struct SvcTables::Impl {
  SvcMaps maps;
  Options options;
  SystemClock system_clock;

  std::unordered_map<ServiceKey, Held> services;
  NumberPool ids, numbers;
  BlockPool blocks;
  std::vector<bool> id_held;
  std::vector<uint32_t> id_refs;      // backends, live or dead, that name a service number
  std::vector<uint32_t> resting_ids;  // wait for a grace period
  std::deque<Resting> resting;        // dead backends, oldest first
  std::vector<Resting> orphans;       // live in the kernel at adoption, of no service
  std::vector<ls_ring_block> scratch;

  Impl(SvcMaps m, Options o) : maps(std::move(m)), options(std::move(o)) {}

  Instant now() const { return (options.clock ? options.clock : &system_clock)->now(); }

  // ---- adoption ----

  Result<> read_back();
  void adopt_backends(std::unordered_map<uint32_t, std::pair<const ServiceKey, Held>*>& by_id,
                      std::vector<bool>& taken);

  // ---- numbers and blocks ----

  enum class Need { kBlocks, kIds, kNumbers };
  bool reclaim(Need need);
  std::optional<uint32_t> take_id();
  std::optional<uint32_t> take_number();
  std::optional<uint32_t> take_blocks(uint32_t count);
  void compact();
  void release_id(uint32_t id);
  void retire_ring(uint64_t word) {
    if (LS_RING_SLOTS(word)) blocks.retire(LS_RING_FIRST(word), blocks_of(LS_RING_SLOTS(word)));
  }
  void kill(uint32_t number, uint32_t word, uint32_t svc, ApplyStats& st);

  // ---- changes ----

  bool converge(const Service& want, ApplyStats& st);
  bool place_ring(const ServiceKey& key, Held& h, const std::vector<Member>& next, bool same_set,
                  uint64_t& replaced, ApplyStats& st);
  void undo(Held& h, ApplyStats& st);
  void remove(const ServiceKey& key, ApplyStats& st);
  Result<> compare_with_kernel(ApplyStats& st);
  void run(const std::vector<const Service*>& upsert, const std::vector<ServiceKey>& gone, ApplyStats& st);

  std::span<const uint32_t> slots_in_kernel(uint64_t word) const {
    auto run = maps.ring.view().subspan(LS_RING_FIRST(word), blocks_of(LS_RING_SLOTS(word)));
    return {run.data()->be, LS_RING_SLOTS(word)};
  }
  std::span<uint32_t> build(const std::vector<Member>& members, uint32_t slots);
  bool ring_as_built(uint64_t word, std::span<const uint32_t> expect) const {
    auto have = slots_in_kernel(word);
    return std::equal(have.begin(), have.end(), expect.begin(), expect.end());
  }

  static void leave_out(ApplyStats& st, std::string why) {
    st.left_out++;
    if (st.problems.size() < ApplyStats::kMaxProblems) st.problems.push_back(std::move(why));
  }
};

// ---------------------------------------------------------------- adoption

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

// ---------------------------------------------------------------- numbers and blocks

/// One grace period for everything that waits. False: nothing of this kind was waiting, so trying again is
/// useless.
bool SvcTables::Impl::reclaim(Need need) {
  Instant rested = now() - options.backend_quarantine;
  bool numbers_ripe = need != Need::kBlocks && !resting.empty() && resting.front().since <= rested;
  bool blocks_wait = need == Need::kBlocks && blocks.retired();
  bool ids_wait = need == Need::kIds && !resting_ids.empty();
  if (!numbers_ripe && !blocks_wait && !ids_wait) return false;
  options.grace();
  blocks.settle();
  for (uint32_t id : resting_ids) ids.give(id);
  resting_ids.clear();
  while (numbers_ripe && !resting.empty() && resting.front().since <= rested) {
    auto r = resting.front();
    resting.pop_front();
    maps.be.publish(r.number, &ls_be::state,
                    be_state_word(be_generation(maps.be.load(r.number, &ls_be::state)), LS_BE_FREE));
    numbers.give(r.number);
    if (r.svc < id_refs.size() && --id_refs[r.svc] == 0 && !id_held[r.svc] && r.svc)
      resting_ids.push_back(r.svc);
  }
  return true;
}

std::optional<uint32_t> SvcTables::Impl::take_id() {
  // Freeing backends may free service numbers, which then need a grace period of their own: two rounds.
  for (int round = 0; round < 2 && !ids.left(); round++) {
    if (!reclaim(Need::kIds)) break;
  }
  auto id = ids.take();
  if (id) id_held[*id] = true;
  return id;
}

std::optional<uint32_t> SvcTables::Impl::take_number() {
  if (!numbers.left()) reclaim(Need::kNumbers);
  return numbers.take();
}

std::optional<uint32_t> SvcTables::Impl::take_blocks(uint32_t count) {
  if (auto at = blocks.take(count)) return at;
  if (reclaim(Need::kBlocks)) {
    if (auto at = blocks.take(count)) return at;
  }
  if (blocks.left() < count) return std::nullopt;
  compact();
  return blocks.take(count);
}

/// Moves rings towards the start until no more move, so that the free blocks become one run. Rare: only when
/// the array is nearly full and what is free lies scattered.
void SvcTables::Impl::compact() {
  std::vector<Held*> by_place;
  for (auto& [key, h] : services) {
    if (LS_RING_SLOTS(h.ring)) by_place.push_back(&h);
  }
  std::sort(by_place.begin(), by_place.end(), [](auto* a, auto* b) { return a->ring > b->ring; });
  for (auto* h : by_place) {
    uint32_t slots = LS_RING_SLOTS(h->ring), count = blocks_of(slots);
    auto to = blocks.take_below(count, LS_RING_FIRST(h->ring));
    if (!to) continue;
    maps.ring.write_run(*to, maps.ring.view().subspan(LS_RING_FIRST(h->ring), count));
    uint64_t old = h->ring;
    h->ring = LS_RING_WORD(*to, slots);
    maps.tab.publish(h->id, &ls_svc::ring, h->ring);
    retire_ring(old);
  }
  reclaim(Need::kBlocks);
}

void SvcTables::Impl::release_id(uint32_t id) {
  id_held[id] = false;
  if (!id_refs[id]) resting_ids.push_back(id);
}

/// Nothing is sent to the backend from now on; its number rests.
void SvcTables::Impl::kill(uint32_t number, uint32_t word, uint32_t svc, ApplyStats& st) {
  maps.be.publish(number, &ls_be::state, be_state_word(be_generation(word), LS_BE_DEAD));
  resting.push_back({number, svc, now()});
  st.died.push_back(number);
}

// ---------------------------------------------------------------- changes

std::span<uint32_t> SvcTables::Impl::build(const std::vector<Member>& members, uint32_t slots) {
  std::vector<RingMember> ring;
  ring.reserve(members.size());
  for (auto& m : members) {
    if (LS_BE_STATE(m.word) == LS_BE_ACTIVE) ring.push_back({ring_hash(m.endpoint), m.number});
  }
  scratch.assign(blocks_of(slots), ls_ring_block{});
  std::span<uint32_t> out(scratch.data()->be, slots);
  build_ring(ring, out);
  return out;
}

/// Sets h.ring to a ring of the active ones of `next`, in the kernel but not yet published. False: no room at
/// all. `same_set`: the ring there is should be right already. `replaced`: the ring that rests once the new
/// one is published.
bool SvcTables::Impl::place_ring(const ServiceKey& key, Held& h, const std::vector<Member>& next,
                                 bool same_set, uint64_t& replaced, ApplyStats& st) {
  uint32_t slots = ring_slots(count_active(next));
  bool same_size = LS_RING_SLOTS(h.ring) == slots;
  if (!slots) {
    replaced = std::exchange(h.ring, 0);
    h.ring_known = true;
    return true;
  }
  if (same_set && same_size && h.ring_known) return true;
  auto expect = build(next, slots);
  if (same_set && same_size && ring_as_built(h.ring, expect)) {
    h.ring_sum = sum_of(expect);
    h.ring_known = true;
    return true;
  }
  if (same_set && same_size) st.repaired.rings++;
  h.ring_known = true;
  if (auto first = take_blocks(blocks_of(slots))) {
    maps.ring.write_run(*first, scratch);
    replaced =
        std::exchange(h.ring, LS_RING_WORD(*first, slots));  // taking blocks may have moved the old ring
    h.ring_sum = sum_of(expect);
    st.rings_written++;
    return true;
  }
  leave_out(st, fmt::format("{}: ls_ring has no run of {} blocks ({} of {} free, {} resting)", key.text(),
                            blocks_of(slots), blocks.left(), maps.ring.size(), blocks.retired()));
  uint32_t old_slots = LS_RING_SLOTS(h.ring);
  if (!old_slots) return false;
  // In place, each slot with one store: every slot names a live backend of this service, the old one or the
  // new one.
  expect = build(next, old_slots);
  auto run = maps.ring.edit(LS_RING_FIRST(h.ring), blocks_of(old_slots));
  for (uint32_t i = 0; i < old_slots; i++) {
    auto& slot = run[i / LS_RING_BLOCK_SLOTS].be[i % LS_RING_BLOCK_SLOTS];
    if (slot != expect[i]) std::atomic_ref(slot).store(expect[i], std::memory_order_release);
  }
  h.ring_sum = sum_of(expect);
  st.rings_written++;
  return true;
}

/// A new service that could not be published: everything made for it is given up.
void SvcTables::Impl::undo(Held& h, ApplyStats& st) {
  if (maps.tab[h.id].flags) {
    maps.tab.publish(h.id, &ls_svc::ring, 0);
    maps.tab.publish(h.id, &ls_svc::flags, 0);
  }
  std::vector<uint32_t> died = std::move(st.died);
  for (auto& m : h.members) kill(m.number, m.word, h.id, st);
  st.died = std::move(died);  // no flow can know them
  retire_ring(h.ring);
  release_id(h.id);
}

/// True: the service is as wanted; false: it was left out, or a part of it.
bool SvcTables::Impl::converge(const Service& want, ApplyStats& st) {
  auto it = services.find(want.key);
  bool fresh = it == services.end();
  uint32_t left_out_before = st.left_out;
  Held made;
  if (fresh) {
    auto id = take_id();
    if (!id) {
      leave_out(st,
                fmt::format("{}: ls_svc_tab is full ({} services)", want.key.text(), maps.tab.size() - 1));
      return false;
    }
    made.id = *id;
  }
  Held& h = fresh ? made : it->second;
  bool changed = fresh, same_set = !fresh;

  // Backends: new ones are made and kept ones corrected before anything names them; what goes or drains waits
  // for the ring.
  std::vector<Member> next, gone;
  std::vector<std::pair<uint32_t, uint32_t>> to_drain;
  auto wanted = distinct(want.backends);
  next.reserve(wanted.size());
  auto have = h.members.begin();
  for (auto& w : wanted) {
    for (; have != h.members.end() && have->endpoint < w.endpoint; ++have) gone.push_back(*have);
    if (have != h.members.end() && have->endpoint == w.endpoint) {
      Member m = *have++;
      if (m.damaged) {
        maps.be.write(m.number, be_entry(m.endpoint, want.key.protocol, h.id, m.word));
        m.damaged = false;
        st.repaired.backends++;
        changed = true;
      }
      uint32_t word = be_state_word(be_generation(m.word), w.active ? LS_BE_ACTIVE : LS_BE_DRAINING);
      if (m.word != word) {
        same_set = false;
        st.backends_reweighted++;
        m.word = word;
        if (w.active) {
          maps.be.publish(m.number, &ls_be::state, word);
        } else {
          to_drain.emplace_back(m.number, word);
        }
      }
      next.push_back(m);
      continue;
    }
    auto number = take_number();
    if (!number) {
      leave_out(st, fmt::format("{}: ls_be is full ({} backends, {} of them resting), backend {} left out",
                                want.key.text(), maps.be.size() - 1, resting.size(), w.endpoint.text()));
      continue;
    }
    uint32_t generation = be_generation(maps.be.load(*number, &ls_be::state));
    uint32_t word = be_state_word(generation + 1, w.active ? LS_BE_ACTIVE : LS_BE_DRAINING);
    maps.be.write(*number,
                  be_entry(w.endpoint, want.key.protocol, h.id, be_state_word(generation, LS_BE_FREE)));
    // A count that cannot be cleared only misleads a reader; map_errors() has it.
    if (generation && *number < maps.be_stat.shape().capacity) (void)maps.be_stat.clear(*number);
    maps.be.publish(*number, &ls_be::state, word);
    id_refs[h.id]++;
    next.push_back({w.endpoint, *number, word, false});
    st.backends_added++;
    changed = true;
    if (w.active) same_set = false;
  }
  gone.insert(gone.end(), have, h.members.end());
  for (auto& m : gone) same_set = same_set && LS_BE_STATE(m.word) != LS_BE_ACTIVE;
  changed = changed || !same_set || !gone.empty();

  // Ring, then the word, then the entry.
  uint64_t replaced = 0;
  uint32_t rings_before = st.rings_written;
  bool nobody = next.empty() && !wanted.empty();
  bool placed = !(fresh && nobody) && place_ring(want.key, h, next, same_set, replaced, st);
  h.members = std::move(next);
  if (fresh && !placed) {
    undo(h, st);
    return false;
  }
  changed = changed || st.rings_written != rings_before;
  auto entry = tab_entry(want.key, h);
  if (fresh) {
    auto closed = entry;
    closed.ring = 0;
    maps.tab.write(h.id, closed);
    maps.tab.publish(h.id, &ls_svc::ring, h.ring);
  } else if (!h.tab_ok) {
    maps.tab.publish(h.id, &ls_svc::ring, h.ring);
    maps.tab.write(h.id, entry);
    st.repaired.tab_entries++;
    changed = true;
  } else {
    auto& old = maps.tab[h.id];
    if (entry.ring != old.ring) maps.tab.publish(h.id, &ls_svc::ring, entry.ring);
    if (entry.backends != old.backends) maps.tab.publish(h.id, &ls_svc::backends, entry.backends);
    if (entry.active != old.active) maps.tab.publish(h.id, &ls_svc::active, entry.active);
  }
  h.tab_ok = true;
  if (!h.listed) {
    auto put = maps.svc.put(entry.key, {h.id});
    if (!put) {
      leave_out(st, fmt::format("{}: {} (room for {})", want.key.text(), put.error().text(),
                                maps.svc.shape().capacity));
      if (fresh) {
        undo(h, st);
        return false;
      }
    } else {
      h.listed = true;
      if (!fresh) st.repaired.svc_entries++;
      changed = true;
    }
  }

  // Only now may backends drain, die, and the old ring rest.
  for (auto [number, word] : to_drain) maps.be.publish(number, &ls_be::state, word);
  for (auto& m : gone) kill(m.number, m.word, h.id, st);
  st.backends_removed += uint32_t(gone.size());
  retire_ring(replaced);
  if (fresh) {
    st.services_added++;
    services.emplace(want.key, std::move(made));
  } else {
    (changed ? st.services_changed : st.services_unchanged)++;
  }
  return st.left_out == left_out_before;
}

void SvcTables::Impl::remove(const ServiceKey& key, ApplyStats& st) {
  auto it = services.find(key);
  if (it == services.end()) return;
  Held& h = it->second;
  auto erased = maps.svc.erase(to_abi(key));
  uint64_t old_ring = std::exchange(h.ring, 0);
  maps.tab.publish(h.id, &ls_svc::ring, 0);
  for (auto& m : h.members) kill(m.number, m.word, h.id, st);
  st.backends_removed += uint32_t(h.members.size());
  h.members.clear();
  retire_ring(old_ring);
  if (!erased) {
    // The entry leads to a service without backends, which refuses; the next sync() tries again.
    maps.tab.publish(h.id, &ls_svc::backends, 0);
    maps.tab.publish(h.id, &ls_svc::active, 0);
    leave_out(st, fmt::format("{}: not removed, {}", key.text(), erased.error().text()));
    return;
  }
  maps.tab.publish(h.id, &ls_svc::flags, 0);
  release_id(h.id);
  services.erase(it);
  st.services_removed++;
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
}

// ---------------------------------------------------------------- public

SvcTables::SvcTables(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SvcTables::SvcTables(SvcTables&&) noexcept = default;
SvcTables& SvcTables::operator=(SvcTables&&) noexcept = default;
SvcTables::~SvcTables() = default;

Result<SvcTables> SvcTables::adopt(SvcMaps maps, Options options) {
  auto impl = std::make_unique<Impl>(std::move(maps), std::move(options));
  if (auto r = impl->read_back(); !r) return pass(std::move(r.error()), "adopt the service tables");
  return SvcTables(std::move(impl));
}

Result<ApplyStats> SvcTables::apply(const VipDelta& delta) {
  ApplyStats st;
  std::vector<const Service*> upsert;
  for (auto& s : delta.upsert) upsert.push_back(&s);
  impl_->run(upsert, delta.remove, st);
  return st;
}

Result<ApplyStats> SvcTables::sync(const std::vector<Service>& want) {
  ApplyStats st;
  if (auto r = impl_->compare_with_kernel(st); !r)
    return pass(std::move(r.error()), "compare the service tables with the kernel");
  std::vector<const Service*> upsert;
  std::unordered_set<ServiceKey> keys;
  for (auto& s : want) {
    if (keys.insert(s.key).second) upsert.push_back(&s);
  }
  std::vector<ServiceKey> gone;
  for (auto& [key, h] : impl_->services) {
    if (!keys.contains(key)) gone.push_back(key);
  }
  impl_->run(upsert, gone, st);
  // Ahead of need: what a restart finds dead has to rest all over again, so it should not pile up to the
  // brim.
  bool few_ids = impl_->ids.left() < impl_->maps.tab.size() / 4,
       few_numbers = impl_->numbers.left() < impl_->maps.be.size() / 4;
  if (few_ids || few_numbers) impl_->reclaim(Impl::Need::kIds);
  return st;
}

SvcTables::Usage SvcTables::services() const {
  uint32_t capacity = impl_->maps.tab.size() - 1, used = uint32_t(impl_->services.size());
  return {used, capacity - used - impl_->ids.left(), capacity};
}
SvcTables::Usage SvcTables::backends() const {
  uint32_t capacity = impl_->maps.be.size() - 1, resting = uint32_t(impl_->resting.size());
  return {capacity - resting - impl_->numbers.left(), resting, capacity};
}
SvcTables::Usage SvcTables::ring_blocks() const {
  uint32_t capacity = impl_->maps.ring.size(), resting = impl_->blocks.retired();
  return {capacity - resting - impl_->blocks.left(), resting, capacity};
}

}  // namespace ls
