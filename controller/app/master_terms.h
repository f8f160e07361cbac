#pragma once
/// MasterTerms: this master's turns at the store in ZooKeeper (store.kind = "zookeeper"). Owns the session, the election and the store of the
/// present term.
///
///   election won --> store opened (a thread of its own) --> gained(store)           on the admin thread
///   connection or session lost, store over, resigned    --> lost()                  on the admin thread
///   another leader is known, or none, or another line   --> leader(address)         on the admin thread
///
/// gained and lost alternate. Between the two the store belongs to who was given it, who must have let go when lost() returns, but may hold it
/// until MasterTerms ends. A store that cannot be opened, or whose write was refused or not answered, gives the place up: another master, or
/// this one after a pause that doubles from `retry` to 30 s, reads what is true.
///
/// Threads: construction, start and stop: the owner's; status() and leads(): any; other_leads(): the admin thread. Nothing here is waited for but at
/// the end. Errors are shown in status() and logged once. Counters: MasterTermsStatus.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/store.h"
#include "zk/election.h"
#include "zk/session.h"

namespace ls {

struct MasterTermsOptions {
  zk::SessionOptions session;
  std::string path;       ///< "/loadstar": the election is in <path>/leader, the store in <path>/store
  std::string advertise;  ///< "10.0.0.1:62080"
  Millis retry{1'000};
};

struct MasterTermsStatus {
  zk::SessionStatus session;
  zk::ElectionState election;
  bool leading = false;   ///< with an open store
  std::string problem{};  ///< why the last store could not be opened, or was over; empty while this master leads
  uint64_t terms = 0;     ///< led since the start
  Instant leader_since{}; ///< when election.leader became what it is
};

class MasterTerms {
 public:
  struct Hooks {
    /// An error gives the place up: lost() follows at once.
    std::function<Result<>(std::shared_ptr<Store>)> gained;
    std::function<void()> lost;
    std::function<void(const std::string& leader)> leader;  ///< empty: nobody is known to lead. Also when somebody else stands in line or no longer
  };
  /// `post`: api::Server::poster().
  MasterTerms(MasterTermsOptions options, std::function<void(std::function<void()>)> post, Hooks hooks);
  ~MasterTerms();
  void start();
  /// Gives the place up in good order. After it no hook is called, and the store fails.
  void stop();
  MasterTermsStatus status() const;
  /// api::Provider::other_leads().
  std::optional<std::string> other_leads() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// <path>/leader and <path>/store.
std::string election_folder(const std::string& path);
std::string store_path(const std::string& path);

}  // namespace ls
