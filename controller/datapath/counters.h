#pragma once
/// The programs' counters, summed over CPUs, with the names of util/abi_labels.h.
/// Thread: any one thread with its own reader. Cost: two syscalls. Counts never go back while the maps live.
#include <string_view>
#include <vector>

#include "bpf/map.h"
#include "loadstar/abi/drop.h"

namespace ls {

struct VerdictCount {
  std::string_view hook, verdict;
  uint64_t packets = 0, bytes = 0;
};
struct DropCount {
  std::string_view hook, reason, text;
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
