#pragma once
/// The zones of resolver.static_zones and resolver.zone_files, read into records. Blocks on the disk: start, reload and --check.
/// Thread: any. Errors: all of them, as `loadstard --check` prints them; `zones` is only to be used when there is none.
#include <map>
#include <string>
#include <vector>

#include "app/config.h"
#include "derive/records.h"

namespace ls {

struct StaticZones {
  std::map<std::string, std::vector<Record>> zones;  ///< by name in lower case without a dot at the end
  std::vector<Problem> problems;
};

/// One zone may stand in several places; its records come together. TTL of records without one: 5 s (spec/spartan-dns.md section 4).
StaticZones read_static_zones(const Config& config, const std::string& config_file);

}  // namespace ls
