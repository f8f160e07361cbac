#pragma once
/// What the programs and their attachments take from the settings. Pure; the configuration was checked before.
#include <span>

#include "app/settings.h"
#include "datapath/attachments.h"

namespace ls {

datapath::Sizes sizes_of(const Config& config);

/// `tcx`: whether the kernel has it. `stories`: what became of the maps. Where the answers of DNS begin anew, its hooks wait
/// (AttachmentConfig::hold_dns): the programs of the process before go on with their maps until the zones are complete again.
datapath::AttachmentConfig attachments_of(const Config& config, bool tcx, std::span<const datapath::MapStory> stories);

}  // namespace ls
