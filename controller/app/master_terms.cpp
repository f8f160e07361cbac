#include "app/master_terms.h"

#include <atomic>

#include "store/migrate.h"
#include "store/zk_store.h"
#include "util/guarded.h"
#include "util/log.h"
#include "util/worker.h"

namespace ls {
namespace {

constexpr Millis kLongestPause{30'000};

}  // namespace

std::string election_folder(const std::string& path) { return zk::join(path, "leader"); }
std::string store_path(const std::string& path) { return zk::join(path, "store"); }

struct MasterTerms::Impl : std::enable_shared_from_this<Impl> {
  Impl(MasterTermsOptions o, std::function<void(std::function<void()>)> p, Hooks h)
      : options(std::move(o)), post(std::move(p)), hooks(std::move(h)),
        session(options.session, [this](zk::SessionState s, int64_t id) { on_session(s, id); }),
        election(session, {.folder = election_folder(options.path), .value = options.advertise, .retry = options.retry},
                 [this](const zk::ElectionState& s) { on_election(s); }) {}

  struct Shared {
    bool leading = false;
    std::string problem;
    uint64_t terms = 0;
    Millis pause{0};
    Instant leader_since{};
  };

  const MasterTermsOptions options;
  const std::function<void(std::function<void()>)> post;
  const Hooks hooks;
  mutable Guarded<Shared> shared;
  std::atomic<bool> stopped = false;
  // The session's thread.
  int32_t won = 0;
  std::string leader;
  std::vector<std::string> line;
  bool leader_told = false;
  // The admin thread.
  bool held = false;
  std::optional<std::string> other = std::string();
  std::string known;  ///< as the hook was told

  zk::Session session;
  zk::Election election;
  std::unique_ptr<Worker> worker = std::make_unique<Worker>();

  /// To the admin thread, where nothing runs after stop().
  void admin(std::function<void(Impl&)> work) {
    post([weak = weak_from_this(), work = std::move(work)] {
      if (auto self = weak.lock(); self && !self->stopped) work(*self);
    });
  }

  void on_session(zk::SessionState s, int64_t id) {
    if (s == zk::SessionState::kConnected) log::info("zookeeper_connected", {{"server", session.status().server}});
    else log::warn(s == zk::SessionState::kExpired ? "zookeeper_session_expired" : "zookeeper_disconnected", {{"error", session.status().last_error}});
    election.session_changed(s, id);
  }

  void on_election(const zk::ElectionState& s) {
    bool other_leader = s.leader != leader || !leader_told;
    if (other_leader) {
      shared.with([](Shared& told) { told.leader_since = std::chrono::steady_clock::now(); });
      log::info("master_leader", {{"leader", s.leader.empty() ? "nobody" : s.leader}});
    }
    if (other_leader || s.candidates != line) {
      leader = s.leader;
      line = s.candidates;
      leader_told = true;
      admin([to = s.leader](Impl& m) { m.told(to); });
    }
    if (s.leading && s.term != won) {
      won = s.term;
      worker->post([this, term = s.term] { open(term); });
    } else if (!s.leading && won) {
      won = 0;
      admin([](Impl& m) { m.lose("the connection, the session or the place is lost"); });
    }
  }

  bool still(int32_t term) const {
    auto s = election.state();
    return s.leading && s.term == term;
  }

  void open(int32_t term) {
    if (!still(term)) return;
    ZkStoreOptions o{.path = store_path(options.path), .fence = election.fence(term), .on_over = [weak = weak_from_this(), term](const std::string& why) {
                       if (auto self = weak.lock()) self->give_up(term, why, self->options.retry);
                     }};
    auto store = open_zk_store(session, std::move(o));
    Result<> good;
    if (!store) good = tl::make_unexpected(std::move(store.error()));
    else good = check_copied(**store);
    if (!good) {
      if (!still(term)) return;  // that is why
      return give_up(term, good.error().text(), longer());
    }
    auto held_store = std::shared_ptr<Store>(std::move(*store));
    admin([held_store, term](Impl& m) { m.gain(held_store, term); });
  }

  Millis longer() {
    return shared.with([&](Shared& s) { return s.pause = s.pause == Millis(0) ? options.retry : std::min(2 * s.pause, kLongestPause); });
  }

  void give_up(int32_t term, const std::string& why, Millis after) {
    bool news = shared.with([&](Shared& s) { return std::exchange(s.problem, why) != why; });
    if (news) log::error("master_gives_up", {{"error", why}});
    election.resign(term, why, after);
  }

  void told(const std::string& to) {
    if (other) other = to == options.advertise ? std::string() : to;
    known = to;
    if (hooks.leader) hooks.leader(to);
  }
  void gain(const std::shared_ptr<Store>& store, int32_t term) {
    if (!still(term)) return;
    lose("another term begins");
    held = true;
    if (hooks.gained) {
      if (auto r = hooks.gained(store); !r) {
        give_up(term, r.error().text(), longer());
        return lose("what is stored cannot be read");
      }
    }
    other.reset();
    shared.with([](Shared& s) {
      s.leading = true;
      s.problem.clear();
      s.pause = Millis(0);
      s.terms++;
    });
    log::info("master_leads", {{"term", term}});
  }
  void lose(std::string_view why) {
    if (!std::exchange(held, false)) return;
    other = known == options.advertise ? std::string() : known;
    shared.with([](Shared& s) { s.leading = false; });
    log::warn("master_leads_no_more", {{"why", why}});
    if (hooks.lost) hooks.lost();
  }
};

MasterTerms::MasterTerms(MasterTermsOptions options, std::function<void(std::function<void()>)> post, Hooks hooks)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(post), std::move(hooks))) {}

MasterTerms::~MasterTerms() { stop(); }

void MasterTerms::start() {
  impl_->election.start();
  impl_->session.start();
}

void MasterTerms::stop() {
  if (impl_->stopped.exchange(true)) return;
  impl_->election.stop();
  impl_->worker.reset();
  impl_->session.stop();
  impl_->shared.with([](Impl::Shared& s) { s.leading = false; });
}

MasterTermsStatus MasterTerms::status() const {
  MasterTermsStatus out{.session = impl_->session.status(), .election = impl_->election.state()};
  impl_->shared.with([&](Impl::Shared& s) {
    out.leading = s.leading;
    out.problem = s.problem;
    out.terms = s.terms;
    out.leader_since = s.leader_since;
  });
  return out;
}

std::optional<std::string> MasterTerms::other_leads() const { return impl_->other; }

}  // namespace ls
