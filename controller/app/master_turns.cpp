#include "app/master_turns.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <atomic>
#include <utility>

#include "app/master_terms.h"
#include "app/overlay_local_link.h"
#include "app/zookeeper_url.h"
#include "sources/master_address.h"
#include "sources/master_follow.h"

namespace ls {
namespace {

bool local(const IpAddress& a) { return a == *IpAddress::parse("0.0.0.0") || a == *IpAddress::parse("::") || a == *IpAddress::parse("::1") || (a.is_v4() && a.v4() >> 24 == 127); }

}  // namespace

std::string advertised_address(const Config& config) {
  if (!config.store.advertise.empty()) return config.store.advertise;
  for (auto& e : config.api.listen) {
    if (!local(e.address)) return e.text();
  }
  auto addresses = config.node.all_addresses();
  if (addresses.empty()) return {};
  auto port = config.api.listen.empty() ? kApiPort : config.api.listen.front().port;
  return Endpoint{addresses.front(), port}.text();
}

struct MasterTurns::Impl : std::enable_shared_from_this<Impl> {
  Impl(boost::asio::io_context& i, const Config& c, const Clock& k, OverlayService& o) : io(i), config(c), clock(k), overlay(o) {}

  boost::asio::io_context& io;
  const Config& config;
  const Clock& clock;
  OverlayService& overlay;
  Registrations* registrations = nullptr;
  std::unique_ptr<MasterTerms> terms;
  std::atomic<MasterTerms*> shown = nullptr;  ///< `terms` for the admin thread, which runs before they are made
  OverlayTurnsLink* link = nullptr;  ///< control loop; OverlayNode's, which outlives the loop's last turn
  // Control loop: how the turn stands, for a link that is made later.
  bool here = false;
  std::vector<std::string> others;  ///< to follow: who leads first, then who else stood for it when that was last known

  void control(std::function<void(Impl&)> work) {
    boost::asio::post(io, [weak = weak_from_this(), work = std::move(work)] {
      if (auto self = weak.lock()) work(*self);
    });
  }

  // --- admin thread --------------------------------------------------------------------------------------------------

  /// The overlay's term is the store's, not the election's: it goes on over a copy of the store to other servers.
  Result<> gained(const std::shared_ptr<Store>& store) {
    LS_ASSIGN(auto turn, registrations->lead(store));
    LS_TRY(overlay.start(store, turn));
    overlay.set_other_leads(std::nullopt);
    control([](Impl& m) { m.turn(true, {}); });
    return {};
  }
  void lost() {
    registrations->let_go();
    overlay.let_go();
    told();
  }
  /// Another one leads, or nobody is known to. A master that is cut off from ZooKeeper alone still hears of it from the others, of which one may
  /// lead by now: whoever does not answers so.
  void told() {
    auto leader = terms->other_leads();
    overlay.set_other_leads(leader);
    if (!leader) return;
    auto stood = terms->status().election.candidates;
    stood.insert(stood.begin(), *leader);
    std::vector<std::string> list;
    for (auto& c : stood) {
      if (parse_master_address(c) && c != advertised_address(config) && std::find(list.begin(), list.end(), c) == list.end()) list.push_back(std::move(c));
    }
    control([list = std::move(list)](Impl& m) { m.turn(false, list); });
  }

  // --- control loop --------------------------------------------------------------------------------------------------

  void turn(bool now_here, const std::vector<std::string>& list) {
    if (!std::exchange(here, now_here) && !now_here && list == others) return;
    others = list;
    registrations->follow_leader(others);
    if (link) link->turn(here, others);
  }
};

MasterTurns::MasterTurns(boost::asio::io_context& io, const Config& config, const Clock& clock, OverlayService& overlay)
    : impl_(std::make_shared<Impl>(io, config, clock, overlay)) {
  if (config.store.kind == StoreKind::kZookeeper) overlay.set_other_leads(std::string());
}

MasterTurns::~MasterTurns() { stop(); }

Result<> MasterTurns::start(std::function<void(std::function<void()>)> post, Registrations& registrations) {
  auto& c = impl_->config;
  if (c.store.kind != StoreKind::kZookeeper) return {};
  MasterTermsOptions o;
  LS_ASSIGN(o.session.url, zookeeper_url(c.store.zookeeper, c.store.zookeeper_login_file, "store.zookeeper_login_file"));
  o.session.session = c.store.session;
  o.path = o.session.url.path;
  o.advertise = advertised_address(c);
  impl_->registrations = &registrations;
  auto* m = impl_.get();  // hooks are called between start and stop only
  MasterTerms::Hooks hooks{.gained = [m](auto store) { return m->gained(store); },
                           .lost = [m] { m->lost(); },
                           .leader = [m](const std::string&) { m->told(); }};
  impl_->terms = std::make_unique<MasterTerms>(std::move(o), std::move(post), std::move(hooks));
  impl_->shown = impl_->terms.get();
  impl_->terms->start();
  return {};
}

void MasterTurns::stop() {
  if (impl_->terms) impl_->terms->stop();
}

std::optional<std::string> MasterTurns::other_leads() const {
  if (auto* t = impl_->shown.load()) return t->other_leads();
  return impl_->config.store.kind == StoreKind::kZookeeper ? std::optional<std::string>("") : std::nullopt;
}

std::optional<api::TurnsView> MasterTurns::view() const {
  auto* t = impl_->shown.load();
  if (!t) return std::nullopt;
  auto s = t->status();
  auto age = [now = impl_->clock.now()](Instant since) { return since == Instant{} ? 0 : std::chrono::duration<double>(now - since).count(); };
  api::TurnsView v;
  v.leading = s.leading;
  v.leader = s.election.leader;
  v.term = uint64_t(std::max(0, s.election.term));
  v.candidates = s.election.candidates;
  v.connected = s.session.state == zk::SessionState::kConnected;
  v.server = s.session.server;
  v.last_error = !s.problem.empty() ? s.problem : !s.session.last_error.empty() ? s.session.last_error : s.election.last_error;
  v.terms = s.terms;
  v.sessions = s.session.sessions;
  v.expired = s.session.expired;
  v.losses = s.session.connects - std::min<uint64_t>(s.session.connects, v.connected);
  v.since_s = age(s.session.since);
  v.leads_s = age(s.leader_since);
  return v;
}

int64_t MasterTurns::session() const {
  auto* t = impl_->shown.load();
  return t ? t->status().session.id : 0;
}

std::vector<std::string> MasterTurns::warnings() const {
  auto v = view();
  if (!v) return {};
  if (!v->connected) return {"ZooKeeper does not answer: names and addresses stay as they are, new ones cannot be registered" + (v->last_error.empty() ? "" : ": " + v->last_error)};
  if (v->leader.empty()) return {"no master leads: new names and nodes cannot be registered" + (v->last_error.empty() ? "" : ": " + v->last_error)};
  return {};
}

Result<std::unique_ptr<OverlayLink>> MasterTurns::make_link(OverlayLinkEvents events, std::optional<OverlayHeld> held,
                                                            std::function<void(std::function<void()>)> post) {
  auto make = [m = impl_.get(), post = std::move(post)](const std::vector<std::string>& others, OverlayLinkEvents e, std::optional<OverlayHeld> h) -> Result<std::unique_ptr<OverlayLink>> {
    OverlayLinkOptions options;
    options.token_file = m->config.api.token_file;
    options.held = std::move(h);
    options.times.backoff_max = kTurnPause;
    if (others.empty()) return make_local_overlay_link(m->io, m->clock, m->overlay, post, std::move(options), std::move(e));
    options.masters = others;
    return make_overlay_link(m->io, m->clock, std::move(options), std::move(e));
  };
  auto made = std::make_unique<OverlayTurnsLink>(std::move(make), std::move(events), std::move(held));
  impl_->link = made.get();
  if (impl_->here || !impl_->others.empty()) made->turn(impl_->here, impl_->others);
  return std::unique_ptr<OverlayLink>(std::move(made));
}

}  // namespace ls
