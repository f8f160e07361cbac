#pragma once
/// MapSet: the maps of all programs as pinned files, one set at a time, across restarts, upgrades and changed
/// sizes.
///
///   <pin>/maps        the set that counts; complete, or absent
///   <pin>/maps_next   a set being built; worthless until it has been renamed
///   <pin>/maps_old    the set before, between two renames
///
/// When nothing changed the pinned maps are used as they are. When one map must be made anew a whole new set
/// is pinned beside the old one: maps that stay are pinned a second time, so both folders are complete.
/// commit() then renames maps to maps_old and maps_next to maps. Whoever starts after a kill -9 at any moment
/// finds one of
///   maps_next and no maps_old:   the set was not finished: thrown away, `maps` (if there is one) counts
///   maps_old and no maps:        the first rename was done: the second follows
///   maps_old and maps:           both were done: maps_old is removed
/// Programs that run keep their own maps alive whatever the names say, so traffic never notices.
///
/// Which maps stay: those of equal type, key size, value size, number of entries and flags, made for the same
/// LS_ABI_VERSION. The numbers that flow entries hold (ls_be, ls_svc_tab) and the flow tables themselves ask
/// for the same LS_FLOW_VERSION instead. A map of another size only is carried over by copying; all others
/// start empty, and the story says why. The maps of DNS answers are never copied, because places in them follow from their
/// sizes and from keys in ls_dns_conf; when one of ls_dns_{conf,bucket,data} starts empty, all of them and ls_dns_listen do.
///
/// Thread: control loop. Errors: what was tried, with the path. Cost: milliseconds; a resize copies its maps.
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "bpf/object.h"
#include "util/unique_fd.h"

namespace ls::datapath {

/// Told before each step that leaves something in the kernel. The daemon logs it (debug); the restart tests
/// die in it.
using Steps = std::function<void(std::string_view)>;

/// Copies the flows of `old_fd` into `new_fd`, an empty table of the same entry layout and another number of
/// buckets, by the rule the programs place entries with (bpf/lib/flow.h), under the same seed; entries for
/// which there is no room are left out. Called at commit, when no program writes `new_fd` yet, while programs
/// may still write `old_fd` (an entry with an odd version is being written: read it again or leave it). Flows
/// made between this and the exchange of the links find no entry afterwards and go by the hash. Called once
/// for ls_flow4 and once for ls_flow6, if their size changed.
using MigrateFlows = std::function<Result<>(int old_fd, int new_fd)>;

enum class MapOrigin { kReused, kCreated, kCopied, kRebuilt };
std::string_view to_text(MapOrigin o);

struct MapStory {
  std::string name;
  MapOrigin origin = MapOrigin::kReused;
  std::string why;  ///< for kCopied and kRebuilt: what was different
};

class MapSet {
 public:
  MapSet(std::string pin, Steps steps);

  /// Finds or makes a map for each of `want`. `elf` is any object that defines them all. Maps that were made
  /// are pinned in maps_next and filled by copying, except the flow tables; nothing of the old set has
  /// changed.
  Result<> build(std::span<const std::byte> elf, const std::map<std::string, uint32_t>& entries);
  /// True when a new set waits for commit().
  bool pending() const { return pending_; }
  /// Carries the flows over and makes the new set the one that counts. No-op when nothing is pending.
  Result<> commit(const MigrateFlows& migrate);
  /// Gives the half-made set up.
  void abandon();
  /// Pins again what somebody removed; returns how many. Cheap look by name unless `full`, which compares
  /// identities.
  Result<int> check(bool full);

  const std::map<std::string, UniqueFd>& maps() const { return maps_; }
  const std::vector<MapStory>& stories() const { return stories_; }
  /// False when service tables start empty or with less than before, so that attaching at once would lose
  /// services.
  bool tables_kept() const { return tables_kept_; }
  /// True when ls_dns_{conf,bucket,data,listen} are what the daemon before wrote.
  bool dns_kept() const;
  std::string dir() const { return pin_ + "/maps"; }

 private:
  struct Old {
    UniqueFd fd;
    bpf::MapLayout layout;
  };
  Result<> recover();
  Result<> read_old();
  bool version_ok(const std::string& name) const;
  Result<> plan(const std::vector<bpf::MapLayout>& want);
  Result<> pin_new();
  Result<> carry_tables();
  bool compare_tables() const;
  void plan_dns();
  Result<> fill_meta();
  bool carries_flows() const;
  void step(std::string_view what) const;

  std::string pin_;
  Steps steps_;
  std::map<std::string, Old> old_;
  bool same_abi_ = false, same_flow_ = false;
  std::vector<std::byte> old_meta_;
  std::map<std::string, UniqueFd> maps_;
  std::vector<MapStory> stories_;
  bool pending_ = false;
  bool tables_kept_ = false;
};

/// The three folders that may exist below a pin folder.
std::vector<std::string> map_folders(const std::string& pin);

}  // namespace ls::datapath
