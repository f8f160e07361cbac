#pragma once
/// Carries the content of a map over to another of the same key and value size, as when its configured size
/// changed. Thread: control loop. Cost: batches of 4096 for arrays, three system calls an entry for the
/// others.
#include "bpf/object.h"

namespace ls::datapath {

/// True for the map types copy_map knows.
bool can_copy(const bpf::MapLayout& layout);
/// Arrays: the common numbers. Hashes: entries as long as they fit; E2BIG when not all did.
Result<> copy_map(int from, int to);

}  // namespace ls::datapath
