#pragma once
/// What the agent was given of an overlay, from the file in which loadstard keeps it: the body of /overlay-agent/overlay (spec/overlay-modules.md,
/// 10.3). It stays when the daemon stops, so that containers can be attached meanwhile. Thread: any.
#include <filesystem>
#include <string>
#include <vector>

#include "cni/config.h"

namespace ls::cni {

struct OverlayHalf {
  std::vector<Range> ranges;  ///< IPv4 first
  std::string bridge;
};

/// Code 11: no file yet, or the share is not configured yet; 7: the overlay is unknown, has no half for Mesos, or too small a one;
/// 5 and 6: the file cannot be read.
Outcome<OverlayHalf> read_overlay_half(const std::filesystem::path& file, const std::string& overlay);
/// The same from the text of the file.
Outcome<OverlayHalf> parse_overlay_half(std::string_view text, const std::string& what, const std::string& overlay);

}  // namespace ls::cni
