#pragma once
/// DockerKeeper: keeps the Docker networks of this node's overlays, and the packet filter around them, on a thread of its own.
///
/// Thread: want() and the destructor from one thread, the control loop; neither waits for Docker (the destructor ends what runs and joins,
/// which takes milliseconds). `report` is called on the keeper's own thread after each pass that was not stopped: post it to the control loop.
/// Order: a pass goes through the networks in order, then the filter. After the first network that says there is no Docker, or that it does not
/// answer, the others are not asked: they would only wait as long.
/// Time: a pass at once when something else is wanted; after one with something to retry again in 5 s, doubling up to 5 min; else every
/// 5 min (Docker's networks and rules change behind us, and nothing tells of it). Conflicts wait for the 5 min: only an operator ends them.
/// Nothing is taken back: a network that is wanted no more stays, its containers may run. remove_docker_filter() takes the rules away.
#include <functional>
#include <memory>
#include <vector>

#include "overlay/docker.h"
#include "overlay/docker_filter.h"

namespace ls::overlay {

struct DockerWanted {
  std::vector<DockerNetwork> networks;
  DockerFilter filter;  ///< without shares: left alone
  bool empty() const { return networks.empty() && filter.shares.empty(); }  ///< then nothing is looked at
  auto operator<=>(const DockerWanted&) const = default;
};

struct DockerReport {
  std::vector<DockerResult> networks;  ///< in the order of what is wanted
  std::vector<std::string> warnings;   ///< about the filter
  uint64_t failures = 0;               ///< commands that failed, since the start
  uint64_t repaired = 0;               ///< times that the filter was written, since the start; the first time is one
  bool retrying = false;               ///< another attempt comes within 5 min
};

struct DockerKeeperOptions {
  DockerOptions docker;
  DockerFilterOptions filter;
  Millis retry_min{5'000}, retry_max{300'000}, again{300'000};
};

class DockerKeeper {
 public:
  using Report = std::function<void(DockerReport&&)>;

  DockerKeeper(DockerKeeperOptions options, std::unique_ptr<CommandRunner> runner, Report report);
  /// With a ProcessRunner. Errors: no descriptor is left.
  static Result<std::unique_ptr<DockerKeeper>> make(DockerKeeperOptions options, Report report);
  ~DockerKeeper();
  DockerKeeper(const DockerKeeper&) = delete;
  DockerKeeper& operator=(const DockerKeeper&) = delete;

  /// Replaces what is wanted. The same once more changes nothing.
  void want(DockerWanted);
  /// A pass now, for instance after an operator removed a conflict.
  void look_again();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One pass over everything, synchronously: what the thread does.
DockerReport run_docker_pass(CommandRunner&, const DockerKeeperOptions&, const DockerWanted&);
/// When the next one is due. `last` is the delay before the previous retry, 0 after a pass with nothing to retry.
Millis next_docker_delay(const DockerKeeperOptions&, const DockerReport&, Millis last);

}  // namespace ls::overlay
