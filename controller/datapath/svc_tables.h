#pragma once
/// SvcTables: owner of ls_svc, ls_svc_tab, ls_ring, ls_be and ls_be_stat for the reconciler. Makes the kernel
/// hold a set of services.
///
/// Thread: control loop only. The maps may be read by anybody meanwhile; nobody else writes them.
/// Cost: apply() of one service is O(its backends + its ring), whatever the number of services; sync() of
/// what is already right reads everything once (5,000 services, 102 MB of rings: 25 ms of CPU) and writes
/// nothing. Order: backends, ring, the service's word, the ls_svc entry; removal in reverse. A program never
/// sees a ring that names a backend of another service, at no step and after a crash at any step.
///
/// Numbers and blocks that were given up are used again only after an RCU grace period
/// (membarrier(MEMBARRIER_CMD_GLOBAL) waits for every program that was running), asked for in bulk when free
/// space runs short. A backend's number also rests for `backend_quarantine`, so that flows see it DEAD with
/// the generation they remember; then its generation grows. A service's number rests as long as a dead
/// backend names it, because translating that backend's last packets needs it.
///
/// When something is full, the service (or the backend) that does not fit is left out and reported in
/// ApplyStats::problems, everything else goes on; the next sync() tries again. A change of a service that
/// finds no room for a second ring is done in place, slot by slot: flows meet old and new backends for some
/// microseconds, never a dead one after.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bpf/mmap_array.h"
#include "derive/vip_table.h"
#include "loadstar/abi/lb.h"
#include "util/clock.h"

namespace ls {

/// Handles of the five maps. The admin thread opens its own, for reading (datapath/tables_reader.h).
struct SvcMaps {
  Map<ls_svc_key, ls_svc_ref> svc;
  MmapArray<ls_svc> tab;
  MmapArray<ls_ring_block> ring;
  MmapArray<ls_be> be;
  PerCpuArray<ls_be_stat> be_stat;  ///< cleared when a number is given out again
  static Result<SvcMaps> open(const MapOpener& opener, MapAccess access = MapAccess::kReadWrite);
};

struct ApplyStats {
  uint32_t services_added = 0, services_changed = 0, services_removed = 0, services_unchanged = 0;
  uint32_t backends_added = 0, backends_removed = 0, backends_reweighted = 0;
  uint32_t rings_written = 0;
  uint32_t left_out = 0;  ///< services and backends that found no room
  /// What somebody else had changed, or a crash had left (sync only).
  struct Repaired {
    uint32_t svc_entries = 0;  ///< missing or wrong entries of ls_svc
    uint32_t tab_entries = 0;  ///< of ls_svc_tab
    uint32_t rings = 0;
    uint32_t backends = 0;
    uint32_t stale = 0;  ///< entries of any of the maps that belong to nothing
    uint32_t total() const { return svc_entries + tab_entries + rings + backends + stale; }
  } repaired;
  std::vector<uint32_t> died;         ///< backend numbers that went DEAD in this call, for the flow sweep
  std::vector<std::string> problems;  ///< one sentence for each thing left out; at most kMaxProblems.
                                      ///< Numbers that change from call to call stand in brackets at its end.
  static constexpr size_t kMaxProblems = 100;
  bool changed() const {
    return services_added || services_changed || services_removed || rings_written || repaired.total();
  }
};

/// Waits until every BPF program that was running has ended: membarrier(MEMBARRIER_CMD_GLOBAL), which is an
/// RCU grace period (8-20 ms). Kernels with nohz_full CPUs refuse it; there it sleeps 100 ms, thousands of
/// times a program's run.
void wait_for_programs();

class SvcTables {
 public:
  struct Options {
    const Clock* clock = nullptr;  ///< null: the system's
    Millis backend_quarantine{60'000};
    std::function<void()> grace = wait_for_programs;
  };
  /// Reads back what the kernel holds. Writes nothing: remains of a crash are cleared by the first sync().
  static Result<SvcTables> adopt(SvcMaps maps, Options options);

  SvcTables(SvcTables&&) noexcept;
  SvcTables& operator=(SvcTables&&) noexcept;
  ~SvcTables();

  /// Upserts, then removals; call it only after a first sync(). A removal of an unknown service is no error.
  Result<ApplyStats> apply(const VipDelta& delta);
  /// Makes the kernel hold exactly `want`, comparing with the kernel's content. Idempotent.
  Result<ApplyStats> sync(const std::vector<Service>& want);

  /// Fill levels, for alarms and `loadstar map usage`. `resting`: given up, not yet to be used again.
  struct Usage {
    uint32_t used = 0, resting = 0, capacity = 0;
  };
  Usage services() const;
  Usage backends() const;
  Usage ring_blocks() const;
  /// Backends of `backends().used` that take no new flows. Cost: O(backends).
  uint32_t draining() const;

 private:
  struct Impl;
  explicit SvcTables(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls
