#pragma once
/// `loadstard import mesos-dns config.json`: the loadstar.toml that does what a Mesos-DNS with this configuration did.
///
/// Pure but for what the caller reads. Thread: any. Source: spec/mesos-dns.md section 2 (keys, defaults, types, order of checks) and
/// section 15 (B11, B16, B33 are said as warnings). No secret is ever printed: where there was one, the text says into which file
/// it goes.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/imported.h"

namespace ls {

/// `file` stands in messages.
Imported import_mesos_dns(std::string_view json, const std::string& file);

/// Reads the file, prints the result on the two outputs; the exit status.
int import_mesos_dns_command(std::string path);

}  // namespace ls
