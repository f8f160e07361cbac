#pragma once
/// `loadstard import overlay FILE...`: the [overlay] section that gives addresses as the overlay modules of Mesos did.
///
/// Taken are the allocator's file, the bare `network` object, and the configuration of DC/OS with `dcos_overlay_network` as an object or
/// as JSON in a text. Further files of the agents' side only say what becomes of their settings. Pure but for what the caller reads.
/// Thread: any. Source: spec/overlay-modules.md section 2; strict types, no field is passed over silently.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/imported.h"

namespace ls {

struct OverlayFile {
  std::string name, text;
};
/// Exactly one of the files has to hold a network.
Imported import_overlay(std::span<const OverlayFile> files);

/// Reads the files, prints the result on the two outputs; the exit status.
int import_overlay_command(const std::vector<std::string>& paths);

}  // namespace ls
