#pragma once
/// ZoneKeeper: writes zones to disk in the background (last_good.h), soon after a change but at most every kPause, and once more at
/// the end. A write that failed is tried again after kRetry. Thread: owner's; the writing is done by a thread of its own with its own Epoch::Reader.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dns/zone_table.h"
#include "util/epoch.h"

namespace ls {

class ZoneKeeper {
 public:
  static constexpr std::chrono::seconds kPause{30}, kRetry{2}, kLook{1};

  /// Files are `folder`/<name>; the folder is made when only its last level is missing.
  ZoneKeeper(std::filesystem::path folder, Epoch& epoch, std::map<std::string, std::shared_ptr<const dns::ZoneTable>> zones);
  ~ZoneKeeper();  ///< writes what changed

  /// The kept records; nullopt when there are none or they are damaged (logged). Before start().
  std::optional<std::vector<Record>> load(const std::string& name) const;
  void start();
  std::string problem() const;  ///< of the last write; empty when it went well. Any thread

 private:
  void run();
  /// How long until the next write may be: nothing had changed, zero.
  std::chrono::seconds write_changed();

  std::filesystem::path folder_;
  Epoch::Reader reader_;
  std::map<std::string, std::shared_ptr<const dns::ZoneTable>> zones_;
  std::map<std::string, uint64_t> written_;
  std::shared_ptr<struct ZoneKeeperShared> shared_;
  std::thread thread_;
};

}  // namespace ls
