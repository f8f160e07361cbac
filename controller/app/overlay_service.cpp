#include "app/overlay_service.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "app/overlay_book.h"
#include "overlay/old_state.h"
#include "overlay/overlay_json.h"
#include "store/migrate.h"
#include "util/log.h"

namespace ls {

using api::OverlayBody;
using api::OverlayFailure;

namespace {

constexpr uint64_t kEverything = UINT64_MAX;
constexpr size_t kTextsKept = 64;  // of one version; followers are nearly all at the same place

/// Followers tell by one that the allocator they follow began anew, by another that it has another store.
std::string random_name() {
  uint64_t n = 0;
  if (getrandom(&n, sizeof n, 0) != ssize_t(sizeof n)) std::abort();
  return fmt::format("{:016x}", n);
}

tl::unexpected<OverlayFailure> failure(OverlayFailure::Kind kind, std::string why) { return tl::make_unexpected(OverlayFailure{kind, std::move(why)}); }

}  // namespace

void OverlayService::unusable(std::string why) {
  problem_ = std::move(why);
  log::error("overlay_allocator_unusable", {{"error", problem_}});
}

void OverlayService::start() {
  master_ = config_.allocates_overlay();
  if (!master_ || config_.store.kind == StoreKind::kZookeeper) return;
  auto store = open_file_store(config_.store.path.parent_path() / "overlay.db");
  if (!store) return unusable(store.error().text());
  if (auto whole = check_copied(**store); !whole) return unusable(whole.error().text());
  (void)start(std::move(*store));  // what is wrong is the problem that is shown
}

void OverlayService::let_go() {
  texts_.clear();
  texts_at_ = {};
  feed_.reset();
  allocator_.reset();
  store_.reset();
  problem_.clear();
}

Result<> OverlayService::start(std::shared_ptr<Store> store, uint64_t term) {
  let_go();
  master_ = config_.allocates_overlay();
  if (!master_) return {};
  auto refuse = [this](Error e) -> Result<> {
    unusable(e.text());
    return pass(std::move(e), "read the overlay's allocations");
  };
  auto plan = overlay::check_plan(config_.overlay.plan());
  if (!plan) return refuse({{}, plan.error().text()});  // the settings were checked; this is for whoever made a Config by hand
  store_ = std::move(store);
  overlay::AllocatorOptions options{.hold_down = config_.overlay.hold_down, .takeover = config_.overlay.takeover, .id = random_name()};
  auto made = overlay::Allocator::open(*store_, clock_, std::move(*plan), options);
  if (!made) return refuse(std::move(made.error()));
  allocator_ = std::move(*made);
  feed_ = std::make_unique<overlay::FeedSource>(*allocator_, random_name(), term);
  allocator_->observe([this](overlay::Allocator::Event, const overlay::Allocation&) {
    std::erase_if(changed_, [](auto& f) { return !f(); });
  });
  if (auto& rejected = allocator_->rejected()) log::error("overlay_plan_rejected", {{"reason", rejected->reason}, {"detail", rejected->detail}});
  log::info("overlay_allocator_ready", {{"nodes", allocator_->size()}});
  return {};
}

std::optional<OverlayFailure> OverlayService::missing() const {
  if (!master_) return OverlayFailure{OverlayFailure::Kind::kAbsent, "this node gives no addresses out: it needs node.roles with \"master\" and [[overlay.network]]"};
  if (!allocator_ && other_leads_) return OverlayFailure{OverlayFailure::Kind::kUnavailable, "this master does not lead", {}, other_leads_};
  if (!allocator_) return OverlayFailure{OverlayFailure::Kind::kUnavailable, problem_};
  return std::nullopt;
}

OverlayBody OverlayService::master_state() {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  return overlay::master_state_json(allocator_->plan(), allocator_->nodes());
}

OverlayBody OverlayService::delete_agents(std::string_view body, std::string_view caller) {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  auto addresses = overlay::parse_delete_body(body);
  if (!addresses) return failure(OverlayFailure::Kind::kInvalid, addresses.error().text());
  auto removed = allocator_->remove_nodes(*addresses);
  if (!removed) {
    log::warn("overlay_delete_failed", {{"caller", caller}, {"error", removed.error().text()}});
    return failure(OverlayFailure::Kind::kFailed, removed.error().text());
  }
  log::info("overlay_nodes_removed", {{"caller", caller}, {"named", addresses->size()}, {"removed", *removed}});
  return master_state();
}

OverlayBody OverlayService::adopt(std::string_view body, std::string_view caller) {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  auto old = overlay::parse_old_state(body);
  if (!old) return failure(OverlayFailure::Kind::kInvalid, old.error().text());
  nlohmann::json out{{"adopted", 0}, {"there_already", 0}, {"problems", nlohmann::json::array()}};
  size_t adopted = 0, known = 0;
  for (auto& q : *old) {
    auto problem = [&](const std::string& why) { out["problems"].push_back({{"node", q.node.text()}, {"why", why}}); };
    // One that has registered itself meanwhile says more than the document.
    if (allocator_->find(q.node)) {
      known++;
      continue;
    }
    auto got = allocator_->register_node(q);
    if (!got) {
      problem(got.error().text());
      continue;
    }
    adopted++;
    for (auto& note : got->notes) problem(note);
    for (auto& s : got->allocation.shares) {
      if (s.state != overlay::ShareState::kOk) problem(s.overlay + ": " + s.detail);
    }
  }
  out["adopted"] = adopted;
  out["there_already"] = known;
  log::info("overlay_state_adopted", {{"caller", caller}, {"adopted", adopted}, {"there_already", known}, {"problems", out["problems"].size()}});
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

OverlayBody OverlayService::capacity() {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  return overlay::capacity_json(allocator_->plan(), allocator_->usage());
}

OverlayBody OverlayService::register_node(std::string_view body, std::string_view caller, const std::optional<IpAddress>& from) {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  auto said = overlay::parse_registration(body);
  if (!said) return failure(OverlayFailure::Kind::kInvalid, said.error().text());
  auto& node = said->request.node;
  // The token is one for all nodes: whoever has it may still speak for itself only.
  if (config_.overlay.check_address && from && *from != node) {
    auto why = fmt::format("node {} registers from {}; overlay.check_address = false allows that", node.text(), from->text());
    log::warn("overlay_registration_refused", {{"node", node.text()}, {"caller", caller}, {"reason", "address"}, {"detail", why}});
    return tl::make_unexpected(OverlayFailure{OverlayFailure::Kind::kRefused, std::move(why), "address"});
  }
  auto answer = register_here(std::move(*said), caller);
  if (!answer) return tl::make_unexpected(std::move(answer.error()));
  return overlay::answer_text(*answer);
}

tl::expected<overlay::AllocationFeed, OverlayFailure> OverlayService::allocations(const overlay::FeedPosition& after) const {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  return feed_->since(after);
}

tl::expected<overlay::RegistrationAnswer, OverlayFailure> OverlayService::register_here(overlay::NodeRegistration said, std::string_view caller) {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  auto node = said.request.node.text();
  auto* state = allocator_->find(said.request.node);
  bool known = state != nullptr;
  auto before = known ? state->allocation.shares : std::vector<overlay::Share>();
  auto got = allocator_->register_node(said.request);
  if (!got) {
    auto& r = got.error();
    allocator_->heard(said.request.node, said.request.id);  // it lives, and keeps what it has
    log::warn("overlay_registration_refused", {{"node", node}, {"caller", caller}, {"reason", r.reason}, {"detail", r.detail}});
    bool failed = r.reason == "store-failed";
    return tl::make_unexpected(OverlayFailure{failed ? OverlayFailure::Kind::kFailed : OverlayFailure::Kind::kRefused, r.detail, r.reason});
  }
  if (!said.reports.empty()) {
    if (auto refused = allocator_->report(said.request.node, std::move(said.reports))) got->notes.push_back(refused->detail);
  }
  if (!known) log::info("overlay_node_added", {{"node", node}, {"caller", caller}, {"vtep", got->allocation.vtep.v4.text()}});
  for (auto& s : got->allocation.shares) {
    bool told = std::find(before.begin(), before.end(), s) != before.end();
    if (s.state != overlay::ShareState::kOk && !told) log::warn("overlay_share_refused", {{"node", node}, {"overlay", s.overlay}, {"why", s.detail}});
  }
  return overlay::RegistrationAnswer{std::move(got->allocation), std::move(got->notes), allocator_->plan(), allocator_->id()};
}

tl::expected<std::shared_ptr<const std::string>, OverlayFailure> OverlayService::feed(const std::string& run, uint64_t version) {
  if (auto m = missing()) return tl::make_unexpected(std::move(*m));
  auto at = feed_->position();
  if (texts_at_ != at || texts_.size() > kTextsKept) {
    texts_.clear();
    texts_at_ = at;
  }
  // Whoever comes from another run or from the future gets everything, and there is one text of that.
  auto& text = texts_[run == at.run && version <= at.version ? version : kEverything];
  if (!text) text = std::make_shared<const std::string>(overlay::feed_text(feed_->since({run, version})));
  return text;
}

std::pair<std::string, uint64_t> OverlayService::feed_position() const {
  if (!feed_) return {};
  auto at = feed_->position();
  return {at.run, at.version};
}

OverlayBody OverlayService::agent_overlay() {
  if (agent_) return agent_();
  return failure(OverlayFailure::Kind::kAbsent, "this node has no overlay of its own");
}

api::OverlayMasterView OverlayService::master_view() {
  api::OverlayMasterView v;
  v.problem = problem_;
  if (!allocator_) return v;
  if (auto& rejected = allocator_->rejected()) v.rejected = rejected->text();
  auto& c = allocator_->counters();
  v.nodes = allocator_->size();
  v.registered = c.registered;
  v.refused = c.refused;
  v.exhausted = c.exhausted;
  v.conflicts = c.conflicts;
  v.adopted = c.adopted;
  v.removed = c.removed;
  v.store_failures = c.store_failures;
  for (auto& u : allocator_->usage()) v.pools.push_back({u.overlay, u.pool.text(), double(u.size), double(u.used), double(u.held)});
  return v;
}

std::vector<api::OverlayPeerView> OverlayService::nodes(const std::string& after, size_t most) {
  std::vector<api::OverlayPeerView> out;
  if (!allocator_) return out;
  auto all = allocator_->nodes();
  auto from = std::upper_bound(all.begin(), all.end(), IpAddress::parse(after).value_or(IpAddress{}), [](auto& a, auto* n) { return a < n->allocation.node; });
  for (; from != all.end() && out.size() < most; ++from) out.push_back(peer_view((*from)->allocation, {}));
  return out;
}

void OverlayService::tick() {
  if (allocator_) allocator_->release_due();
}

}  // namespace ls
