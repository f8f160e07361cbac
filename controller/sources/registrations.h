#pragma once
/// RegistrationFollower: keeps this node's copy of the registrations equal to a master's (GET /v1/registrations, which answers
/// when there is something new).
///
/// Masters are asked in the order of the list; the first is the one to register at. While a later one is followed, the first is
/// tried again every `retry_first`. A master that keeps another store than the copy comes from is believed only when it is the first
/// or when there is no copy yet, so that a master with an empty store does not empty every node; and never an older
/// state of the same store. Of masters that take turns (RegistrationFeed::elected) the first is not believed either with an older epoch: it is
/// one whose turn is over and who does not know it yet. What is lost is not forgotten: without any master the copy stays, and over a restart it is in `file`.
///
/// Thread: the control loop; the file is written by a thread of its own, for a disk may be slow. Errors: a file that is damaged in any
/// octet, or missing, is no copy (a warning); a full disk costs the copy on the disk only. Registrations that do not parse are left
/// out and counted. Cost: a change costs what it changes, plus one write of the file at most every `save_every`.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "derive/records.h"
#include "dns/registration_feed.h"
#include "sources/master_times.h"
#include "util/clock.h"
#include "util/result.h"

namespace boost::asio {
class io_context;
}

namespace ls {

struct FollowerOptions {
  std::vector<std::string> masters;  ///< "10.0.0.1:62080", "[fd01::1]:62080", "master1"; port 62080 when left out
  bool told = false;                 ///< masters may be none: set_masters() tells them
  std::filesystem::path file;        ///< empty: no copy on the disk
  MasterTimes times;
  Millis save_every{5'000};
};

struct FollowerStatus {
  bool connected = false;
  std::string endpoint;    ///< of the current or the last master
  std::string last_error;  ///< empty after a success
  dns::RegistrationPosition at;
  bool from_file = false;  ///< the copy is the one of the disk, nobody has confirmed it yet
  size_t registrations = 0, left_out = 0;
  uint64_t failures = 0, updates = 0, refused = 0;  ///< refused: answers of another store or of an older state
  std::string save_error;  ///< why the last write of the file failed
};

class RegistrationFollower {
 public:
  /// Changes of one zone (its name without trailing dot).
  using OnChange = std::function<void(const std::string& zone, RecordDelta)>;
  /// The whole copy, new after each change; for Provider::followed.
  using OnCopy = std::function<void(std::shared_ptr<const dns::RegistrationFeed>)>;

  /// Errors: no master, or one that cannot be read.
  static Result<std::unique_ptr<RegistrationFollower>> make(boost::asio::io_context& io, FollowerOptions options, OnChange on_change,
                                                            OnCopy on_copy = {});
  ~RegistrationFollower();
  /// Reads the file and gives what it holds to on_change, at once; then begins to ask. Call once.
  void start();
  /// Ends; no call after it. Waits for a write of the file that is under way.
  void stop();
  FollowerStatus status() const;

  /// Others from now on, after start(); the copy stays. None: nobody is asked. Errors: one that cannot be read (nothing changes).
  Result<> set_masters(const std::vector<std::string>& masters);
  /// As if the first master had answered this. For the registry of this process.
  Result<> give(dns::RegistrationFeed&& feed);

 private:
  struct Impl;
  explicit RegistrationFollower(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

/// The copy on the disk: one line with format, length and checksum, then the feed's text. Written beside and renamed.
Result<> save_feed(const std::filesystem::path& file, const dns::RegistrationFeed& feed);
/// ENOENT: there is none. EILSEQ: damaged.
Result<dns::RegistrationFeed> load_feed(const std::filesystem::path& file);

}  // namespace ls
