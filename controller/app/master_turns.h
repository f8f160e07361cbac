#pragma once
/// MasterTurns: hands the turns of this master (app/master_terms.h) to what works with the store: registrations, the overlay's allocator, and the link
/// of this machine's own node. Without store.kind = "zookeeper" it does nothing, and other_leads() is nullopt.
///
/// Threads: control loop, but for other_leads() (admin thread). Order of a turn: this master first writes and answers, then its own node and its
/// copy hear of it. A turn that ends leaves names, addresses and tables as they are.
#include <memory>
#include <optional>
#include <string>

#include "api/views.h"
#include "app/overlay_service.h"
#include "app/overlay_turns_link.h"
#include "app/registrations.h"

namespace ls {

class MasterTurns {
 public:
  /// `registrations` and `overlay` are stopped before this ends, and give their stores back before it is destroyed.
  MasterTurns(boost::asio::io_context& io, const Config& config, const Clock& clock, OverlayService& overlay);
  ~MasterTurns();
  /// After the API has started. `post`: api::Server::poster().
  Result<> start(std::function<void(std::function<void()>)> post, Registrations& registrations);
  /// Gives the place up; after the API has ended.
  void stop();

  /// nullopt: there are no turns.
  std::optional<std::string> other_leads() const;
  std::optional<api::TurnsView> view() const;
  /// What is wrong, for the status.
  std::vector<std::string> warnings() const;
  int64_t session() const;  ///< number of the session with ZooKeeper; 0: none
  /// The link of this machine's node: OverlayNode keeps it.
  Result<std::unique_ptr<OverlayLink>> make_link(OverlayLinkEvents events, std::optional<OverlayHeld> held, std::function<void(std::function<void()>)> post);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// store.advertise, or what api.listen and node.address say.
std::string advertised_address(const Config& config);

}  // namespace ls
