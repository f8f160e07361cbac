#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "datapath/abi_convert.h"
#include "datapath/svc_tables_impl.h"

namespace ls {

using namespace svc_detail;

void wait_for_programs() {
  if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0) return;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

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
    maps.ring.write_run(*to, maps.ring.view(LS_RING_FIRST(h->ring), count));
    keep_little();
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

}  // namespace ls
