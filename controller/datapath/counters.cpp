#include "datapath/counters.h"

namespace ls {

Result<Counters> Counters::open(const MapOpener& opener) {
  Counters c;
  LS_ASSIGN(auto stats, opener("ls_stats"));
  LS_ASSIGN(c.stats_, PerCpuArray<ls_stat>::adopt(std::move(stats)));
  LS_ASSIGN(auto drops, opener("ls_drops"));
  LS_ASSIGN(c.drops_, PerCpuArray<Count>::adopt(std::move(drops)));
  return c;
}

Result<std::vector<VerdictCount>> Counters::verdicts() const {
  LS_ASSIGN(auto sums, stats_.sums());
  std::vector<VerdictCount> out;
  for (uint32_t hook = 1; hook < LS_HOOK_MAX; hook++) {
    for (uint32_t v = 0; v < LS_VERDICT_MAX; v++) {
      size_t i = hook * LS_VERDICT_MAX + v;
      if (i < sums.size())
        out.push_back({uint8_t(hook), uint8_t(v), sums[i].packets, sums[i].bytes});
    }
  }
  return out;
}

Result<std::vector<DropCount>> Counters::drops() const {
  LS_ASSIGN(auto sums, drops_.sums());
  std::vector<DropCount> out;
  for (uint32_t hook = 1; hook < LS_HOOK_MAX; hook++) {
    for (uint32_t reason = 1; reason < LS_DROP_MAX; reason++) {
      size_t i = hook * LS_DROP_SLOTS + reason;
      if (i < sums.size())
        out.push_back({uint8_t(hook), uint8_t(reason), sums[i].value});
    }
  }
  return out;
}

}  // namespace ls
