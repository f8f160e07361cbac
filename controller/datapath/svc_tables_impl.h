#pragma once
/// The inside of SvcTables, shared by its three parts only: svc_tables.cpp (changes), svc_kernel.cpp (reading
/// back and comparing), svc_space.cpp (numbers and blocks). Thread: control loop, as SvcTables.
#include <algorithm>
#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "datapath/svc_alloc.h"
#include "datapath/svc_tables.h"

namespace ls {
namespace svc_detail {

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

struct Resting {
  uint32_t number, svc;
  Instant since;
};

inline uint32_t blocks_of(uint32_t slots) {
  return (slots + LS_RING_BLOCK_SLOTS - 1) / LS_RING_BLOCK_SLOTS;
}

uint64_t sum_of(std::span<const uint32_t> slots);  ///< tells a ring that somebody changed
bool ring_size_valid(uint32_t slots);
ls_be be_entry(const Endpoint& e, Protocol proto, uint32_t svc, uint32_t word);
uint32_t count_active(const std::vector<Member>& members);
ls_svc tab_entry(const ServiceKey& key, const Held& h);  ///< what ls_svc_tab should hold

}  // namespace svc_detail

struct SvcTables::Impl {
  using Member = svc_detail::Member;
  using Held = svc_detail::Held;
  using Resting = svc_detail::Resting;

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
    if (LS_RING_SLOTS(word)) blocks.retire(LS_RING_FIRST(word), svc_detail::blocks_of(LS_RING_SLOTS(word)));
  }
  void kill(uint32_t number, uint32_t word, uint32_t svc, ApplyStats& st);

  // ---- what is mapped of the tables ----

  /// Between two services, and no reference into a table is held there.
  void keep_little() { maps.ring.let_go(4 << 20); }
  /// At the end of a change. What was mapped for one is often what the next one needs.
  void keep_less() {
    keep_little();
    maps.tab.let_go(1 << 20);
    maps.be.let_go(1 << 20);
  }

  // ---- changes ----

  bool converge(const Service& want, ApplyStats& st);
  bool place_ring(const ServiceKey& key, Held& h, const std::vector<Member>& next, bool same_set,
                  uint64_t& replaced, ApplyStats& st);
  void undo(Held& h, ApplyStats& st);
  void remove(const ServiceKey& key, ApplyStats& st);
  Result<> compare_with_kernel(ApplyStats& st);
  void run(const std::vector<const Service*>& upsert, const std::vector<ServiceKey>& gone, ApplyStats& st);

  std::span<const uint32_t> slots_in_kernel(uint64_t word) const {
    auto run = maps.ring.view(LS_RING_FIRST(word), svc_detail::blocks_of(LS_RING_SLOTS(word)));
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

}  // namespace ls
