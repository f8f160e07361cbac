#pragma once
/// The resolver file (resolv.conf(5)): what is to stand in it, and how it is written.
///
/// Thread: any; blocks on the disk. Never leaves an empty or half file: a new one is made beside, forced to disk and renamed over
/// the old one. Through a symbolic link its target is replaced and the link stays. Where that cannot be done (a bind mount, a
/// folder that is read-only around a writable file) the file is written in place, longer text first, and put back when that fails.
/// What somebody else had written there is kept in another file first; without that copy nothing is replaced.
/// Errors: say which file and why; the old file is then still there.
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/address.h"
#include "util/result.h"

namespace ls::watchdog {

inline constexpr size_t kMaxServers = 3;  ///< MAXNS of resolv.h: further lines are ignored by every C library

/// The text of the file, or nullopt when there is nothing usable to write (the old file stays). `local`: those of the machine's own
/// addresses that answer, best first; when there is none, `upstreams` in the order given. Only port 53 can be written.
std::optional<std::string> resolv_conf_text(std::span<const Endpoint> local, std::span<const Endpoint> upstreams,
                                            std::string_view search);
/// True for a text that resolv_conf_text made.
bool is_ours(std::string_view text);

struct Written {
  bool changed = false;
  bool in_place = false;
  std::string removed, added;  ///< lines that differ, joined by " | "
};

class ResolvConf {
 public:
  /// `before`: where the file of somebody else is kept.
  ResolvConf(std::filesystem::path file, std::filesystem::path before) : file_(std::move(file)), before_(std::move(before)) {}

  Result<Written> write(const std::string& text) const;
  /// Brings back what was kept, and forgets it. False: there is nothing to bring back, or the file is somebody else's already.
  Result<bool> restore() const;

 private:
  std::filesystem::path file_, before_;
};

}  // namespace ls::watchdog
