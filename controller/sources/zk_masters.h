#pragma once
/// ZkMasters: the Mesos masters that a ZooKeeper directory names, the leader first, and each change of them.
///
/// What is read may be old: a directory names a dead leader until its session is over, and a server that is behind answers from its own
/// copy. So the list says whom to ask, never who leads; that the master itself is asked (sources/source.h). A list is only replaced by one
/// that was read whole and holds a master: an ensemble that is silent, an expired session, a directory that is empty or gone leave
/// the last list in force.
///
/// A read begins with a sync. A directory that is older than the one known all the same (by the number of its last change) is not believed,
/// unless every read of one `refresh` says so: then the ensemble has begun anew.
///
/// Watches are set with each read that has none; besides, everything is read again every `refresh`, because a watch can be missed between
/// two servers. The session is made anew when it expired (zk/session.h).
///
/// Threads: the session's own does all of it; `changed` is called on the control loop, also when the same masters have new nodes (they have
/// elected anew). stop() waits for that thread, at most as long as a look-up of names or an answer takes. Cost: one connection; a
/// change costs one read of each member. Log: zookeeper_masters, zookeeper_no_master, zookeeper_master_unreadable, zookeeper_read_failed.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sources/zk_members.h"
#include "util/clock.h"
#include "zk/session.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct ZkMastersOptions {
  zk::SessionOptions session;  ///< the path of its address is the masters' directory
  Millis refresh{60'000};
};

struct ZkMastersStatus {
  bool connected = false;
  Instant since{};         ///< when `connected` took its value
  std::string server;      ///< of the ensemble, "10.0.0.1:2181"; empty: none
  std::string last_error;  ///< empty while all is well; never holds the password
  std::vector<MasterAddress> masters;  ///< the list in force, leader first
  Instant leads_since{};   ///< when the first of them became the first, as it was seen here
  uint64_t sessions = 0, expired = 0, connects = 0;
  uint64_t reads = 0;      ///< of the whole directory, the failed ones too
  uint64_t old_reads = 0;  ///< of these, not believed
};

class ZkMasters {
 public:
  using Changed = std::function<void(const std::vector<MasterAddress>& masters)>;
  ZkMasters(boost::asio::io_context& io, ZkMastersOptions options, Changed changed);
  ~ZkMasters();
  void start();
  void stop();
  ZkMastersStatus status() const;  ///< any thread

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls
