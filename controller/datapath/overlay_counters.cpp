#include "datapath/overlay_counters.h"

namespace ls {

Result<OverlayCounters> OverlayCounters::open(const MapOpener& opener) {
  OverlayCounters c;
  LS_ASSIGN(auto stats, opener("ls_ovl_stats"));
  LS_ASSIGN(c.stats_, PerCpuArray<ls_stat>::adopt(std::move(stats)));
  return c;
}

Result<OverlayCounts> OverlayCounters::read() const {
  LS_ASSIGN(auto sums, stats_.sums());
  OverlayCounts out{};
  for (size_t hook = 0; hook < out.size(); hook++) {
    for (size_t result = 0; result < out[hook].size(); result++) {
      size_t i = hook * LS_OVL_RESULT_MAX + result;
      if (i < sums.size()) out[hook][result] = sums[i];
    }
  }
  return out;
}

}  // namespace ls
