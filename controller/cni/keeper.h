#pragma once
/// What the daemon does for attachments that loadstar-cni made: the plugin itself only runs when a runtime starts it.
/// Thread: any, one call at a time; waits for the networks' locks, so not the control loop. Needs to write below the data folder.
#include <filesystem>
#include <string>
#include <vector>

#include "cni/failure.h"

namespace ls::cni {

/// Networks with a state file, sorted. An absent folder has none.
Outcome<std::vector<std::string>> list_networks(const std::filesystem::path& data_dir);

struct Restored {
  size_t attachments = 0;
  size_t problems = 0;          ///< attachments of which an entry could not be made
  std::string first_problem;
};
/// Makes the entries of ls_portmap and ls_ovl_local of every attachment, for maps that were made anew. Entries that are there stay.
Outcome<Restored> restore_entries(const std::filesystem::path& data_dir, const std::string& pin);

struct OrphanSearch {
  std::filesystem::path data_dir = "/var/lib/cni/networks";
  std::string network;                          ///< one that only Mesos uses
  std::vector<std::filesystem::path> roots;     ///< of the isolator network/cni: <runtime or work dir>/isolators/network/cni
  std::string pin = "/sys/fs/bpf/loadstar";
};
struct Collected {
  size_t kept = 0, removed = 0, problems = 0;
  std::string first_problem;
};
/// Mesos never calls GC (spec/cni.md, 2.3): an attachment is an orphan when no root has <container>/<network>. Mesos makes that folder
/// before it calls ADD. Nothing is removed when none of the roots is there: that says nothing about containers.
Outcome<Collected> collect_orphans(const OrphanSearch& s);

}  // namespace ls::cni
