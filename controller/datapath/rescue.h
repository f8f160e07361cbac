#pragma once
/// purge: takes away everything loadstar ever left in the kernel of this machine: links, clsact filters,
/// maps, pins, folders. Needs no daemon and no memory: all of it is found by its place or name. Idempotent;
/// half a purge or half a start is fine. A daemon that is running would put things back: stop it first.
/// Programs, filters and pins of others stay. Thread: any. Rights: those of the daemon. Cost: milliseconds.
#include <string>
#include <vector>

namespace ls::datapath {

struct PurgeReport {
  std::vector<std::string> removed;   ///< one line each, in the order it was done
  bool refused = false;               ///< a daemon runs; nothing was touched
  std::vector<std::string> problems;  ///< what could not be removed, and what is there that is not ours
};

PurgeReport purge(const std::string& pin);

}  // namespace ls::datapath
