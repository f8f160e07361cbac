#pragma once
/// Carries open flows from one flow table into another of a different size.
/// Thread: control loop, while no program writes the new table. Cost: one pass over the old table.
/// Entries that another CPU is writing, or that find no place, are left out: such a flow goes by the hash afterwards.
#include <cstdint>

#include "util/result.h"

namespace ls::datapath {

struct FlowSeed {
  uint64_t seed0 = 0, seed1 = 0;  ///< ls_meta.seed
};

/// Both are mmap-able arrays of ls_flow4_bucket or ls_flow6_bucket, told apart by their value size. Returns how many entries
/// were carried over.
Result<uint64_t> migrate_flows(int old_fd, int new_fd, FlowSeed seed);

}  // namespace ls::datapath
