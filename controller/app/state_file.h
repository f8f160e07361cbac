#pragma once
/// The cluster's state on the disk, so that a node that starts without a source (after a reboot, with all masters away) serves what it
/// last knew (lessons.md 35, faults.md 32, 33).
///
/// The file is checked (sources/checked_file.h): damage at any octet, an older format or a half written file count as no file. Its text is
/// one line of JSON about the whole, then the text of a hub's snapshot (hub/record.h), which is how this state would have come from a master.
///
/// Thread: functions any, they wait for the disk; StateKeeper the control loop, its writing is done by a thread of its own.
/// Cost: a save takes the pointers of all tasks on the control loop (10 ms at 100,000 tasks, at most once in `every`), the rest elsewhere.
#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hub/record.h"
#include "sources/copy_saver.h"
#include "sources/source.h"

namespace ls {

struct SavedState {
  std::chrono::system_clock::time_point saved{};  ///< whole seconds
  /// Whom this node asked for it, by host alone: what tells one cluster from another.
  std::vector<std::string> hosts;
  std::string leader;                ///< leading Mesos master, "10.0.0.1:5050"; empty: not known
  std::vector<std::string> masters;  ///< all that are known, the leader first
  std::string leader_id;             ///< of the master whose own stream it came from; empty when it came from a hub
  std::optional<std::chrono::system_clock::time_point> elected;  ///< of the same
  hub::Image image;
};

/// Everything a ClusterState holds (ClusterState::everything), as a hub would tell it.
hub::Image image_of(StateDelta&& everything);

Result<> save_state(const std::filesystem::path& file, SavedState state);
/// ENOENT: there is none. EILSEQ: it cannot be used, and why.
Result<SavedState> load_state(const std::filesystem::path& file);

/// A cluster is the same as long as one of its hosts stays.
bool same_cluster(const std::vector<std::string>& a, const std::vector<std::string>& b);

class StateKeeper {
 public:
  /// `take`: control loop; what is to be written, its `saved` is filled in here.
  StateKeeper(boost::asio::io_context& io, std::filesystem::path file, Millis every, std::function<SavedState()> take);

  void changed() { saver_.changed(); }
  /// Writes what is new, and waits for it. No call after it.
  void stop() { saver_.stop(); }
  /// Why the last write failed; empty after a success.
  const std::string& error() const { return saver_.error(); }

 private:
  CopySaver saver_;
};

}  // namespace ls
