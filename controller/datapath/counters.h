#pragma once
/// The programs' counters, summed over CPUs. The numbers are those of abi/drop.h; api/labels.h has their names.
/// Thread: any one thread with its own reader. Cost: two syscalls. Counts never go back while the maps live.
#include <cstdint>
#include <vector>

#include "bpf/map.h"
#include "loadstar/abi/drop.h"

namespace ls {

struct VerdictCount {
  uint8_t hook = 0, verdict = 0;  ///< enum ls_hook, ls_verdict
  uint64_t packets = 0, bytes = 0;
};
struct DropCount {
  uint8_t hook = 0, reason = 0;  ///< enum ls_hook, ls_drop_reason
  uint64_t packets = 0;
};

class Counters {
 public:
  /// Opens ls_stats and ls_drops.
  static Result<Counters> open(const MapOpener& opener);
  /// Every hook (but "none") with every verdict, zeros too, so that a metric exists before it counts.
  Result<std::vector<VerdictCount>> verdicts() const;
  /// Every hook (but "none") with every reason (but "none"), zeros too.
  Result<std::vector<DropCount>> drops() const;

 private:
  struct Count {
    uint64_t value;
  };
  PerCpuArray<ls_stat> stats_;
  PerCpuArray<Count> drops_;
};

}  // namespace ls
