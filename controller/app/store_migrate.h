#pragma once
/// loadstard store migrate --to zookeeper|file: copies what masters keep (docs/operate/cluster.md).
///
/// The side of ZooKeeper takes part in the election, so that no master leads meanwhile; the files are locked as a daemon locks them. Refused:
/// a daemon holds a file, a master leads, the target is not empty. Interrupted: store/migrate.h.
///
/// Thread: the caller's, which waits for disk and servers.
#include <string>
#include <vector>

#include "app/settings.h"
#include "store/migrate.h"

namespace ls {

enum class MigrateTo : uint8_t { kZookeeper, kFile };
/// Errors say what to do.
Result<std::vector<MigratedArea>> migrate_stores(const Config& config, MigrateTo to);
/// With texts on standard output and standard error; the exit code.
int store_migrate_command(const Config& config, const std::string& to);

}  // namespace ls
