#include "datapath/svc_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <unordered_set>

#include "datapath/abi_convert.h"
#include "datapath/maglev.h"
#include "datapath/svc_tables_impl.h"

namespace ls {

using namespace svc_detail;

namespace {

struct Wanted {
  Endpoint endpoint;
  bool active = false;
};

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
      leave_out(st, fmt::format("{}: backend {} left out, ls_be is full ({} backends, {} of them resting)",
                                want.key.text(), w.endpoint.text(), maps.be.size() - 1, resting.size()));
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

// ---------------------------------------------------------------- public

SvcTables::SvcTables(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SvcTables::SvcTables(SvcTables&&) noexcept = default;
SvcTables& SvcTables::operator=(SvcTables&&) noexcept = default;
SvcTables::~SvcTables() = default;

Result<SvcTables> SvcTables::adopt(SvcMaps maps, Options options) {
  auto impl = std::make_unique<Impl>(std::move(maps), std::move(options));
  if (auto r = impl->read_back(); !r) return pass(std::move(r.error()), "adopt the service tables");
  impl->keep_less();
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
uint32_t SvcTables::draining() const {
  uint32_t n = 0;
  for (auto& [key, h] : impl_->services)
    for (auto& m : h.members) n += LS_BE_STATE(m.word) == LS_BE_DRAINING;
  return n;
}
SvcTables::Usage SvcTables::ring_blocks() const {
  uint32_t capacity = impl_->maps.ring.size(), resting = impl_->blocks.retired();
  return {capacity - resting - impl_->blocks.left(), resting, capacity};
}

}  // namespace ls
