#pragma once
/// What a node last heard of the allocator, on its disk, so that a node that restarts without any master has its own share and its peers.
///
/// The file ("overlay-nodes" beside store.path) holds the last answer to a registration and all allocations with their plan and position,
/// in the texts of overlay/node_wire.h, under a checksum (sources/checked_file.h): damage in any octet, a half-written file and an older
/// format are errors and nothing of it is used. A crash between two writes leaves the one before.
///
/// Threads: all calls on the control loop; texts are made and written by a thread of its own, at most every `every`. Cost: a change costs
/// what it changes; a write one pointer a node on the control loop.
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "overlay/node_wire.h"
#include "sources/copy_saver.h"
#include "sources/overlay_link.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls {

struct OverlayMemory {
  std::optional<overlay::RegistrationAnswer> answer;
  std::optional<overlay::AllocationFeed> feed;  ///< full
  /// For OverlayLinkOptions::held.
  std::optional<OverlayHeld> held() const;
};

/// ENOENT: there is none. EILSEQ: damaged.
Result<OverlayMemory> load_overlay_memory(const std::filesystem::path& file);
Result<> save_overlay_memory(const std::filesystem::path& file, const OverlayMemory& memory);

class OverlayMemoryWriter {
 public:
  /// `begin`: what was loaded; changes are made to it.
  OverlayMemoryWriter(boost::asio::io_context& io, std::filesystem::path file, OverlayMemory begin = {}, Millis every = Millis(5'000));

  /// Both are given what OverlayLinkEvents bring, as it comes.
  void allocated(const overlay::RegistrationAnswer& answer);
  void fed(const overlay::AllocationFeed& feed);

  /// Waits for a write that is under way and writes what is new.
  void stop() { saver_.stop(); }
  /// Why the last write failed; empty after a success.
  const std::string& error() const { return saver_.error(); }

 private:
  /// What one write needs: values that do not change any more.
  struct Snapshot {
    std::shared_ptr<const overlay::RegistrationAnswer> answer;
    std::optional<overlay::FeedPosition> at;
    std::shared_ptr<const overlay::Plan> plan;
    std::vector<std::shared_ptr<const overlay::Allocation>> nodes;
  };
  Snapshot snapshot() const;

  const std::filesystem::path file_;
  std::shared_ptr<const overlay::RegistrationAnswer> answer_;
  std::optional<overlay::FeedPosition> at_;  ///< nullopt: no feed yet
  std::shared_ptr<const overlay::Plan> plan_;
  std::map<IpAddress, std::shared_ptr<const overlay::Allocation>> nodes_;
  CopySaver saver_;  ///< last: ends first
};

}  // namespace ls
