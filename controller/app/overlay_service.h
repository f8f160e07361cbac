#pragma once
/// The overlay of this node for the API: on a master the allocator with its store, on an agent what it was given.
///
/// Thread: start() before the API runs; from then on everything belongs to the admin thread, as the registrations do. Observers of the
/// allocator are called there too and post what they have to the control loop.
/// A store or a record that cannot be used takes nothing else down: no node gets anything new then, every node keeps what it has, and
/// the status says why.
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/overlay_source.h"
#include "app/settings.h"
#include "overlay/allocator.h"
#include "overlay/feed_source.h"
#include "store/store.h"

namespace ls {

class OverlayService final : public api::OverlaySource {
 public:
  OverlayService(const Config& config, const Clock& clock) : config_(config), clock_(clock) {}

  /// On a master with [overlay]: opens "overlay.db" beside store.path and reads everything in it.
  void start();
  /// The same over a store that is there, whatever it is kept in. `term`: of masters that take turns. Errors are master_view().problem too.
  Result<> start(std::shared_ptr<Store> store, uint64_t term = 0);
  /// The turn is over, or was none yet: nothing is given out. Admin thread, as start() of a turn.
  void let_go();
  /// api::Provider::other_leads() from now on.
  void set_other_leads(std::optional<std::string> leader) { other_leads_ = std::move(leader); }

  /// Null: this node allocates nothing, or cannot (master_view().problem).
  overlay::Allocator* allocator() { return allocator_.get(); }
  /// Who answers GET /overlay-agent/overlay; before the API runs.
  void set_agent(std::function<api::OverlayBody()> agent) { agent_ = std::move(agent); }

  // For the node that this machine is itself (app/overlay_local_link.h), without texts; admin thread.
  tl::expected<overlay::RegistrationAnswer, api::OverlayFailure> register_here(overlay::NodeRegistration said, std::string_view caller);
  tl::expected<overlay::AllocationFeed, api::OverlayFailure> allocations(const overlay::FeedPosition& after) const;
  /// Called on the admin thread after each change of what allocations() gives; must not call back. Gives false when nobody is left to hear it.
  void on_change(std::function<bool()> changed) { changed_.push_back(std::move(changed)); }

  api::OverlayBody master_state() override;
  api::OverlayBody delete_agents(std::string_view body, std::string_view caller) override;
  api::OverlayBody adopt(std::string_view body, std::string_view caller) override;
  api::OverlayBody capacity() override;
  api::OverlayBody register_node(std::string_view body, std::string_view caller, const std::optional<IpAddress>& from) override;
  tl::expected<std::shared_ptr<const std::string>, api::OverlayFailure> feed(const std::string& run, uint64_t version) override;
  std::pair<std::string, uint64_t> feed_position() const override;
  api::OverlayBody agent_overlay() override;
  bool allocates() const override { return master_; }
  api::OverlayMasterView master_view() override;
  /// Cost: O(all nodes) pointers and `most` copies.
  std::vector<api::OverlayPeerView> nodes(const std::string& after, size_t most) override;
  void tick() override;

 private:
  void unusable(std::string why);
  std::optional<api::OverlayFailure> missing() const;

  const Config& config_;
  const Clock& clock_;
  bool master_ = false;
  std::string problem_;
  std::optional<std::string> other_leads_;
  std::shared_ptr<Store> store_;
  std::unique_ptr<overlay::Allocator> allocator_;
  std::unique_ptr<overlay::FeedSource> feed_;
  overlay::FeedPosition texts_at_;
  std::map<uint64_t, std::shared_ptr<const std::string>> texts_;  ///< of feeds, by the version they begin at; kEverything: full
  std::function<api::OverlayBody()> agent_;
  std::vector<std::function<bool()>> changed_;
};

}  // namespace ls
