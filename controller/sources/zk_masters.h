#pragma once
/// ZkMasters: the Mesos masters that a ZooKeeper directory names, the leader first, and each change of them.
///
/// What is read may be old: a server that is behind answers from its own copy, and a directory names a dead leader until its session is
/// over. So the list says whom to ask, never who leads; that the master itself is asked (sources/mesos.h). A list is only replaced by one that was
/// read whole and holds a master: an ensemble that is silent, an expired session, a directory that is empty or gone leave the last list
/// in force.
///
/// The session: made anew when it expired, with the same pause as after an error (`retry`, a random half of it left out). Watches are
/// set with each read; besides, everything is read again every `refresh`, because a watch can be missed between two servers.
/// Authentication: digest, as the address says.
///
/// Threads: a thread of its own does all of it (the client library resolves names, which waits); `changed` is called on the control loop.
/// stop() waits for that thread, at most as long as a look-up of names takes. Cost: one connection; a change costs one read of each member.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sources/zk_url.h"
#include "util/clock.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct ZkMastersOptions {
  ZkUrl url;
  Millis session{10'000};  ///< asked for; the servers may give another
  Millis retry{1'000};     ///< after an error of a session or a read
  Millis refresh{60'000};
};

struct ZkMastersStatus {
  bool connected = false;
  std::string server;      ///< of the ensemble, "10.0.0.1:2181"; empty: none
  std::string last_error;  ///< empty while all is well
  std::vector<MasterAddress> masters;  ///< the last list
  uint64_t sessions = 0, expired = 0, reads = 0;
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
