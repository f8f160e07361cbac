#pragma once
/// The files by which containers learn of the overlay: what this node was given, for loadstar-cni, and a CNI configuration for each
/// overlay. Thread: any; write_overlay_files waits for the disk. Errors name the file. Files that are as they should be are not written.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "app/settings.h"
#include "overlay/overlay_json.h"

namespace ls {

/// Where loadstar-cni looks by default for what this node was given: beside store.path.
std::filesystem::path overlay_state_file(const Config& config);

struct OverlayFiles {
  std::filesystem::path state;  ///< the body of /overlay-agent/overlay
  std::string state_text;
  struct Cni {
    std::string overlay;
    std::filesystem::path path;
    std::string text;
  };
  std::vector<Cni> cni;
  /// Configurations of overlays of which this node has no block: taken away if they are ours, or containers would be started in a block
  /// that is another node's.
  std::vector<Cni> gone;
};
/// What has to be there for a node's shares. `mtu`: of containers.
OverlayFiles overlay_files(const Config& config, const overlay::Allocation& self, std::string state_text, uint32_t mtu);

struct OverlayFilesWritten {
  std::string state_error;                     ///< empty: it is there
  std::map<std::string, std::string> by_name;  ///< of each overlay with a CNI file: what went wrong, empty: it is there
  size_t written = 0;
};
/// Each file beside its place and renamed there; folders are made. The state goes first: a configuration never names what it lacks.
OverlayFilesWritten write_overlay_files(const OverlayFiles& files);

}  // namespace ls
