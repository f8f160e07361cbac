#pragma once
/// CniKeeper: what the daemon does for containers that loadstar-cni attached. When maps were made anew (a reboot, another layout) their entries
/// are made again; attachments of Mesos containers that are gone without a DEL are taken away, every five minutes, where
/// overlay.mesos_roots says how that is known.
///
/// Thread: control loop; the work has a thread of its own, for it waits for the networks' locks. Errors: told in warnings() and the log, tried
/// again in the next round.
#include <memory>
#include <string>
#include <vector>

#include "app/settings.h"
#include "util/clock.h"

namespace boost::asio {
class io_context;
}

namespace ls {

class CniKeeper {
 public:
  CniKeeper(boost::asio::io_context& io, const Config& config);
  ~CniKeeper();
  /// Once, when the maps are pinned. `maps_new`: ls_portmap or ls_ovl_local hold nothing of before.
  void start(bool maps_new);
  void stop();
  std::vector<std::string> warnings() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls
