#pragma once
/// Registrations: names that operators and services registered, kept here (role master) or followed from another node
/// (`registration.follow`), told to the zones.
///
/// With store.kind = "zookeeper" masters take turns: lead() and let_go() on the admin thread, follow_leader() on the control loop. There the zones hear
/// of the copy alone, which follows whoever leads, this master's own registry too: so nothing is withdrawn when the turn changes, and the
/// copy on the disk is right in both cases.
///
/// Thread: control loop for construction, start and stop and for on_change; the Registry itself belongs to the admin thread once the
/// API runs, and its changes are posted here.
/// A store that cannot be opened takes nothing else down: no name can be registered then, and status says why.
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/settings.h"
#include "dns/registry.h"
#include "sources/registrations.h"
#include "store/store.h"
#include "util/published.h"

namespace ls {

class Registrations {
 public:
  using OnChange = std::function<void(const std::string& zone, const RecordDelta&)>;
  Registrations(boost::asio::io_context& io, const Config& config, OnChange on_change);
  ~Registrations();

  /// Loads what is kept and gives it to on_change. Before the API starts.
  Result<> start();
  void stop();

  /// This master's turn begins: reads what is in `store`, which nobody else writes. Gives the number of the turn, which is higher than
  /// any of this store and of every store that it was copied from. Errors: a name that this version cannot read; then nothing has changed for
  /// anybody, for another master may be able to. Admin thread.
  Result<uint64_t> lead(std::shared_ptr<Store> store);
  /// It is over. Admin thread.
  void let_go();
  /// Whose registrations to follow, "10.0.0.1:62080", most likely the first; empty: nobody else's. Control loop.
  void follow_leader(const std::vector<std::string>& leaders);

  dns::Registry* registry() { return registry_.get(); }
  std::shared_ptr<const dns::RegistrationFeed> followed() const { return followed_.get()->feed; }  ///< any thread
  /// What is registered for a name ("@": the zone's own), in words. Admin thread.
  std::vector<std::string> origins(const std::string& zone, const std::string& name) const;
  /// What is wrong with keeping or following, for status. Control loop.
  std::vector<std::string> warnings() const;

 private:
  struct Held {
    std::shared_ptr<const dns::RegistrationFeed> feed;
  };
  bool takes_turns() const { return config_.store.kind == StoreKind::kZookeeper; }
  FollowerOptions follower_options() const;
  Result<> make_follower(FollowerOptions options);
  Result<> load(const dns::Registry::OnChange& on_change);
  void trouble(std::string what);
  void push();

  boost::asio::io_context& io_;
  const Config& config_;
  const OnChange on_change_;
  std::shared_ptr<Store> store_;
  std::unique_ptr<dns::Registry> registry_;
  std::unique_ptr<RegistrationFollower> follower_;
  Published<Held> followed_;
  Published<std::string> problem_;
  bool loading_ = false;
  dns::RegistrationPosition pushed_;  ///< what the copy was given of the registry
};

}  // namespace ls
