#pragma once
/// The cluster behind the hub: a ClusterState of so many tasks, and changes of tasks at random moments. Thread: one, as the control loop
/// of a master.
#include <cstdint>
#include <deque>
#include <functional>
#include <random>
#include <string>

#include "hub/server.h"
#include "measure.h"
#include "state/cluster_state.h"

namespace ls::converge {

class Feed {
 public:
  /// Five tasks make a service; `agents` machines. Each has a dotted discovery name, a virtual IP, a health check and two ports: 16 names in
  /// DNS. `plain`: a name and an address, 4 names. (The two shapes of zone_bench.)
  Feed(size_t tasks, size_t agents, Stamps& stamps, bool plain = false);

  /// Gives the hub the whole and opens its doors. Ends when the hub has it.
  void open(hub::Server& hub);
  /// Changes at random moments, `rate` a second in the middle, until `done`. In turn: a task is killed, another is launched, runs, is
  /// healthy. Each is one change.
  void run(hub::Server& hub, double rate, const std::function<bool()>& done);

  uint64_t seq() const { return seq_; }
  size_t tasks() const { return state_.task_count(); }
  uint64_t changes() const { return changes_; }  ///< made by run() so far
  double cpu_s() const { return cpu_s_; }        ///< of state and hand-over in run(), so far

 private:
  Task task(size_t n) const;
  TaskUpdated update(size_t n, MesosState state) const;
  void change(hub::Server& hub);

  const size_t agents_;
  const bool plain_;
  Stamps& stamps_;
  ClusterState state_;
  size_t oldest_ = 0, next_ = 0;  ///< numbers of tasks: those between are there
  uint64_t seq_ = 0, changes_ = 0;
  double cpu_s_ = 0;
  std::mt19937_64 random_{1};
};

}  // namespace ls::converge
