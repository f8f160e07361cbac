#pragma once
/// CniKeeper: what the daemon does for containers that loadstar-cni attached. At each start the entries of
/// the maps that are missing are made again (after a reboot or another layout all are; those that are there stay); attachments of Mesos containers that are gone without a DEL are taken away, every five minutes, where
/// overlay.mesos_roots says how that is known.
///
/// Thread: control loop; the work has a thread of its own, for it waits for the networks' locks. Errors: told in warnings() and the log, tried
/// again in the next round. The plugin's files are root's: a daemon of another user leaves them to `loadstar-cni --restore`, which the unit
/// runs as root after each start.
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
  /// When the maps are pinned; later calls do nothing.
  void start();
  void stop();
  std::vector<std::string> warnings() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ls
