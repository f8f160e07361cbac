#pragma once
/// What became of packets at the hooks of the overlay: ls_ovl_stats, summed over the CPUs. Drops are in ls_drops with those of all
/// hooks (datapath/counters.h). Thread: any. Cost: one batch read. Counts never go back while the map lives; it outlives the daemon.
#include <array>
#include <cstdint>

#include "bpf/map.h"
#include "loadstar/abi/drop.h"
#include "loadstar/abi/overlay.h"

namespace ls {

/// Packets and bytes by [enum ls_ovl_hook][enum ls_ovl_result].
using OverlayCounts = std::array<std::array<ls_stat, LS_OVL_RESULT_MAX>, LS_OVL_HOOK_MAX>;

class OverlayCounters {
 public:
  static Result<OverlayCounters> open(const MapOpener& opener);
  Result<OverlayCounts> read() const;

 private:
  PerCpuArray<ls_stat> stats_;
};

}  // namespace ls
