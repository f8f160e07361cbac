#pragma once
/// A Store in ZooKeeper: a node a record below <path>/<area>/, each write a compare-and-set that also checks the writer's term.
///
/// One writes: the leader of an election (zk/election.h). A ZkStore is the store of one term: it reads everything once, after a sync, answers all
/// reads from memory, and writes through. When a write's fate is not known (connection lost, time-out), or another term has begun, the
/// store is over: every later call fails with ESTALE, `on_over` is called once, and whoever leads next, perhaps the same process,
/// opens another one and reads what is true. So nobody works on from a guess.
///
/// Layout (docs/design/12-cluster.md), each value one line and what follows it:
///   <path>                  LS1 store <last version> <sum>
///   <path>/<area>/<key>     LS1 <version> <sum>, then the record's value
/// The version of a Store record never repeats (store.h), that of a ZooKeeper node begins anew after an erase: so it is counted in the
/// topmost node, which every write sets in the same step, over the version that was read; two writers can therefore never both succeed. Names are
/// escaped: all but letters, digits, '-', '_' and inner '.' as %XX, an empty one as "%". The sum is over area, key, value and version. A damaged record is
/// named (EILSEQ), and nothing is served then. No node comes near 1 MB: a value with its line above zk::kMaxValue, or an area or a key above
/// kMaxZkName octets, is refused with EMSGSIZE and changes nothing.
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

inline constexpr size_t kMaxZkName = 1024;

struct ZkStoreOptions {
  std::string path;     ///< "/loadstar/store"
  zk::Op fence;         ///< of Election::fence()
  Millis limit{3'000};  ///< of one call; open: of each step of it
  std::function<void(std::string why)> on_over;  ///< any thread
};

/// The session must live longer. Steps of open: the topmost node is made if it is not there, everything is read, and the fence checked
/// once more. Errors beside those above: ESTALE: another term has begun.
Result<std::unique_ptr<Store>> open_zk_store(zk::Session& session, ZkStoreOptions options);

}  // namespace ls
