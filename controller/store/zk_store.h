#pragma once
/// A Store in ZooKeeper: a node a record below <path>/<area>/, each write a compare-and-set that also checks the writer's term.
///
/// One writes: the leader of an election (zk/election.h). A ZkStore is the store of one term: it reads everything once, after a sync, answers all
/// reads from memory, and writes through. When a write's fate is not known (connection lost, time-out), or another term has begun, the
/// store is over: every later call fails with ESTALE, `on_over` is called once, and whoever leads next, perhaps the same process,
/// opens another one and reads what is true. So nobody works on from a guess.
///
/// Layout: <path>/<area>/<key, escaped>, value: one line `LS1 <version> <crc or sha>` and the value; docs/design/12-cluster.md. The version of a
/// Store record never repeats (store.h), that of a ZooKeeper node begins anew after an erase: so it is kept in the value, taken from a
/// counter of the area. No node comes near 1 MB: a value above kMaxValue is refused with EMSGSIZE and changes nothing.
///
/// Thread: the owner's; calls wait for the servers, at most `limit`. Errors beside those of store.h: ENOTCONN (nothing was written), ESTALE (the
/// store is over), EILSEQ (a record is damaged; it is named). Cost: open reads all; a write is one round trip of the ensemble.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/store.h"
#include "zk/election.h"
#include "zk/session.h"

namespace ls {

struct ZkStoreOptions {
  std::string path;     ///< "/loadstar/store"
  zk::Op fence;         ///< of Election::fence()
  Millis limit{3'000};  ///< of one call
  std::function<void(std::string why)> on_over;  ///< any thread
};

Result<std::unique_ptr<Store>> open_zk_store(zk::Session& session, ZkStoreOptions options);

/// Copies every record of `from` to `to`, whose areas must be empty, and compares afterwards. Numbers of records by area.
struct MigratedArea {
  std::string area;
  size_t records = 0;
};
Result<std::vector<MigratedArea>> migrate_store(Store& from, Store& to, const std::vector<std::string>& areas);

}  // namespace ls
