#pragma once
/// Agents as the daemon has them: the follower (sources/hub.h) and a ClusterState that everything is applied to, on a thread of their own.
#include <memory>
#include <string>

#include "measure.h"
#include "sources/hub.h"

namespace ls::converge {

class WholeAgents {
 public:
  WholeAgents(size_t agents, const HubConfig& config, const Stamps& stamps);
  ~WholeAgents();

  bool in_sync() const;  ///< all had a snapshot
  size_t faults() const;  ///< streams that ended
  /// Tasks of each; only after end().
  bool all_have(size_t tasks) const;
  void end();

  Lags lags;  ///< until the change is in the ClusterState
  std::atomic<bool> measuring{false};

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::converge
