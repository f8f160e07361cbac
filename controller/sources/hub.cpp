#include "sources/hub.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <numeric>
#include <random>

#include "sources/hub_stream.h"
#include "sources/secret_file.h"
#include "util/address.h"
#include "util/log.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr Millis kLongestLost = std::chrono::hours(24 * 365);  // a hub that says more means as much

/// Spreads the bits of a hash whose low bits are good and whose high ones are not (the end of MurmurHash3's 64-bit mixing).
uint64_t spread(uint64_t h) {
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdull;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ull;
  return h ^ (h >> 33);
}

Result<HubAccess> load_access(const HubConfig& c) {
  HubAccess out;
  if (!c.token_file.empty()) {
    LS_ASSIGN(out.token, read_secret(c.token_file));
  }
  if (c.tls) {
    LS_ASSIGN(out.tls, TlsClient::load({c.ca_file, c.cert_file, c.key_file}));
  }
  out.connect_timeout = c.connect_timeout;
  out.response_timeout = c.response_timeout;
  out.record_limit = c.record_limit;
  out.node = c.node;
  return out;
}

class HubSourceImpl final : public HubSource {
 public:
  HubSourceImpl(asio::io_context& io, HubConfig config, std::vector<MasterAddress> masters, HubSink& sink)
      : run_(std::make_shared<Run>(io, std::move(config), std::move(masters), sink)) {}
  ~HubSourceImpl() override { stop(); }

  void start() override { Run::spawn(run_, run_->loop(run_)); }
  void stop() override { run_->stop(); }
  SourceStatus status() const override;

  void applied(const hub::Position& at) override {
    run_->have = at;
    run_->held_run = at.run;
    run_->note_held();
  }
  void holds(Millis age) override { run_->held = steady_clock::now() - age; }
  const std::string& run() const override { return run_->run; }
  std::optional<microseconds> age_of(int64_t hub_clock_us) const override {
    if (!run_->offset) return std::nullopt;
    return microseconds(monotonic_us() + run_->offset->us - hub_clock_us);
  }
  microseconds clock_error() const override { return microseconds(run_->offset ? run_->offset->error_us : 0); }
  const hub::SourceHealth& health() const override { return run_->health; }
  HubStatus hub_status() const override {
    HubStatus s = run_->hub_status;
    s.masters = run_->masters.size();
    s.at = run_->have;
    return s;
  }

 private:
  /// A stream, and what is done beside it.
  struct Session {
    Session(asio::io_context& io, MasterAddress master, size_t p) : stream(io.get_executor(), std::move(master)), place(p), timer(io) {}
    void close() {
      over = true;
      timer.cancel();
      stream.close();
      if (clock) clock->close();
      if (other) other->close();
    }
    HubStream stream;
    const size_t place;  ///< in the order
    asio::steady_timer timer;
    HttpLink* clock = nullptr;   ///< connection by which the clocks are compared
    Session* other = nullptr;    ///< stream of another master that is looked at
    Instant look_at = Instant::max();
    Millis look_pause{0};
    std::optional<uint64_t> seq;  ///< of the last record handed over; nothing before the snapshot
    std::optional<uint64_t> overtaken;  ///< `seq` when the last beat spoke of changes behind it
    std::string left;             ///< why it was left for another
    bool told = false;            ///< how its hub is fed
    bool over = false;
  };
  using SessionPtr = std::shared_ptr<Session>;

  /// Owned by the coroutines too, so that the source may go while they still have to notice.
  struct Run {
    Run(asio::io_context& i, HubConfig c, std::vector<MasterAddress> m, HubSink& s)
        : io(i), config(std::move(c)), masters(std::move(m)), order(hub_order(config.node, masters)), doubtful(masters.size()), sink(s), wait(i), random(std::random_device{}()) {
      backoff = config.backoff_min;
      status.since = steady_clock::now();
    }

    static void spawn(const std::shared_ptr<Run>& self, asio::awaitable<void> what) {
      asio::co_spawn(self->io, std::move(what), [self](std::exception_ptr e) {
        // Only memory can run out here; everything else is an error value. The daemon cannot go on blind.
        if (e && !self->stopped) std::rethrow_exception(e);
      });
    }
    void stop();
    asio::awaitable<void> loop(std::shared_ptr<Run> self);
    asio::awaitable<SessionPtr> find(std::string& problems, Millis& retry_after);
    asio::awaitable<Result<SessionPtr>> open(size_t place, const hub::Position& from, HubRefusal& refusal, Session* beside);
    asio::awaitable<Error> follow(std::shared_ptr<Run> self, SessionPtr session);
    Result<> take(Session& session, hub::Record&& record);
    Result<> take_beat(Session& session, const hub::Beat& beat);
    Result<> take_changes(Session& session, hub::Changes&& changes);
    void tell_health(Session& session, const hub::SourceHealth& now);
    asio::awaitable<void> watch(std::shared_ptr<Run> self, SessionPtr session);
    asio::awaitable<bool> compare(Session& session);
    asio::awaitable<void> look(Session& session);

    bool stale(const hub::SourceHealth& h) const { return !h.connected && h.lost_ms > config.stale.count(); }
    /// When the state of a hub was that of its source.
    static Instant as_of(const hub::SourceHealth& h) { return steady_clock::now() - (h.connected ? Millis(0) : Millis(std::clamp<int64_t>(h.lost_ms, 0, kLongestLost.count()))); }
    void note_held() {
      if (have.run == run) held = as_of(health);
    }
    /// Its snapshot would take back what is held already. Of one run, what comes later is newer.
    bool older(const hub::Hello& h) const { return held && h.at.run != held_run && as_of(h.source) < *held; }
    Millis part_of(Millis least, Millis most) { return Millis(std::uniform_int_distribution<int64_t>(least.count(), most.count())(random)); }
    asio::awaitable<void> pause(Millis d) {
      boost::system::error_code ec;
      wait.expires_after(d);
      co_await wait.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }

    asio::io_context& io;
    const HubConfig config;
    const std::vector<MasterAddress> masters;
    const std::vector<size_t> order;
    std::vector<bool> doubtful;  ///< by place: was silent, or sent what is no record; asked last
    HubSink& sink;               // not touched once stopped
    asio::steady_timer wait;
    std::mt19937 random;
    bool stopped = false;
    SessionPtr opening, current, next;  ///< next: opened beside the current one, which is left for it
    Millis backoff{0};
    hub::Position have;  ///< what the sink has applied
    std::string run;
    std::string held_run;         ///< what the sink has is of this run; empty: of the disk
    std::optional<Instant> held;  ///< when that was the state of the cluster; nothing: it has none
    std::optional<ClockOffset> offset;  ///< of the clock of `run`
    hub::SourceHealth health;
    SourceStatus status;
    HubStatus hub_status;
  };

  std::shared_ptr<Run> run_;
};

SourceStatus HubSourceImpl::status() const {
  auto& r = *run_;
  SourceStatus s = r.status;
  if (r.current) {
    s.bytes += r.current->stream.bytes();
    if (auto at = r.current->stream.last_byte()) s.last_byte_age = std::chrono::duration_cast<Millis>(steady_clock::now() - *at);
  }
  return s;
}

void HubSourceImpl::Run::stop() {
  stopped = true;
  wait.cancel();
  for (auto& session : {opening, current, next}) {
    if (session) session->close();
  }
}

asio::awaitable<void> HubSourceImpl::Run::loop(std::shared_ptr<Run> self) {
  while (!stopped) {
    std::string problems;
    Millis retry_after{0};
    auto session = std::exchange(next, nullptr);
    if (!session) session = co_await find(problems, retry_after);
    if (stopped) co_return;
    if (!session) {
      status.last_error = problems;
      // Half fixed, half random: the masters are not met by all their followers at once.
      Millis delay = std::max(part_of(backoff / 2, backoff), std::min(retry_after, config.backoff_max));
      backoff = std::min(backoff * 2, config.backoff_max);
      log::warn("hub_connect_failed", {{"error", problems}, {"retry_ms", delay.count()}});
      co_await pause(delay);
      continue;
    }
    auto began = steady_clock::now();
    auto why = co_await follow(self, session);
    session->close();
    if (stopped) co_return;
    status.bytes += session->stream.bytes();
    current.reset();
    ++status.failures;
    status.connected = false;
    status.since = steady_clock::now();
    status.last_error = why.text();
    sink.on_disconnected(why);
    if (stopped) co_return;
    if (next) continue;
    bool lasted = steady_clock::now() - began >= config.backoff_max;
    if (lasted) backoff = config.backoff_min;
    co_await pause(part_of(Millis(0), backoff));
    // Streams that end soon again may be the followers' own doing: a hub that cannot serve so many.
    if (!lasted) backoff = std::min(backoff * 2, config.backoff_max);
  }
}

/// A stream of `place`, its hello read. `beside`: the stream for which another is looked for; it ends that too.
asio::awaitable<Result<HubSourceImpl::SessionPtr>> HubSourceImpl::Run::open(size_t place, const hub::Position& from, HubRefusal& refusal, Session* beside) {
  auto& master = masters[order[place]];
  auto access = load_access(config);
  if (!access) co_return tl::make_unexpected(std::move(access.error()));
  auto session = std::make_shared<Session>(io, master, place);
  if (beside) {
    beside->other = session.get();
  } else {
    opening = session;
  }
  auto opened = co_await session->stream.open(*access, from, refusal);
  if (beside) {
    beside->other = nullptr;
  } else {
    opening.reset();
  }
  if (stopped || (beside && beside->over)) co_return fail(ECANCELED, "follow hub " + master.text());
  auto& hello = session->stream.hello();
  if (opened && !hello.snapshot && hello.at != from) {
    opened = fail(EBADMSG, fmt::format("it goes on at {} of run {}, not at {} of run {}", hello.at.seq, hello.at.run, from.seq, from.run));
  }
  doubtful[place] = !opened && (refusal.silent || opened.error().code == std::errc::bad_message);
  if (!opened) {
    if (opened.error().code == std::errc::bad_message) {
      ++hub_status.faults;
      if (!beside) have = {};
    }
    co_return pass(std::move(opened.error()), "hub " + master.text());
  }
  if (!hello.snapshot) session->seq = hello.at.seq;
  co_return session;
}

/// One round through all masters; nothing when none gives a stream.
asio::awaitable<HubSourceImpl::SessionPtr> HubSourceImpl::Run::find(std::string& problems, Millis& retry_after) {
  std::vector<size_t> places(masters.size());
  std::iota(places.begin(), places.end(), size_t(0));
  std::stable_partition(places.begin(), places.end(), [&](size_t p) { return !doubtful[p]; });
  std::optional<size_t> second_choice;  // its own source is lost
  for (size_t place : places) {
    HubRefusal refusal;
    auto opened = co_await open(place, have, refusal, nullptr);
    if (stopped) co_return nullptr;
    if (opened && older((*opened)->stream.hello())) {
      opened = fail(fmt::format("hub {}: it has been without its own source for {} ms, what is held here is newer", (*opened)->stream.master().text(),
                                (*opened)->stream.hello().source.lost_ms));
    }
    if (opened && (places.size() == 1 || !stale((*opened)->stream.hello().source))) co_return *opened;
    if (opened) {
      if (!second_choice) second_choice = place;
      continue;
    }
    if (refusal.retry_after > Millis(0)) retry_after = retry_after == Millis(0) ? refusal.retry_after : std::min(retry_after, refusal.retry_after);
    problems += (problems.empty() ? "" : "; ") + opened.error().text();
  }
  if (!second_choice) co_return nullptr;
  HubRefusal refusal;
  auto opened = co_await open(*second_choice, have, refusal, nullptr);
  if (opened && !older((*opened)->stream.hello())) co_return *opened;
  if (opened) opened = fail("hub " + (*opened)->stream.master().text() + ": what is held here is newer");
  problems += (problems.empty() ? "" : "; ") + opened.error().text();
  co_return nullptr;
}

/// Until the stream ends; gives why.
asio::awaitable<Error> HubSourceImpl::Run::follow(std::shared_ptr<Run> self, SessionPtr session) {
  auto& stream = session->stream;
  auto& hello = stream.hello();
  current = session;
  if (run != hello.at.run) offset.reset();
  SourceInfo info;
  info.endpoint = stream.master().text();
  info.leader = status.connects == 0 ? LeaderChange::kFirst : hello.snapshot ? LeaderChange::kChanged : LeaderChange::kSame;
  run = hello.at.run;
  hub_status.told = hello.at.seq;
  ++(hello.snapshot ? hub_status.snapshots : hub_status.resumed);
  hub_status.place = session->place;
  hub_status.preferred = session->place == 0;
  status.connected = true;
  status.since = steady_clock::now();
  status.endpoint = info.endpoint;
  status.last_error.clear();
  if (++status.connects > 1) ++status.reconnects;
  sink.on_connected(info);
  if (!stopped) tell_health(*session, hub::SourceHealth(hello.source));
  if (!stopped) spawn(self, watch(self, session));

  std::string step = "stream of hub " + info.endpoint;
  while (!stopped) {
    auto record = co_await stream.next();
    if (stopped) break;
    if (!session->left.empty()) co_return Error{{}, session->left};
    ++status.records;
    auto taken = record ? take(*session, std::move(*record)) : tl::make_unexpected(std::move(record.error()));
    if (stopped || taken) continue;
    if (taken.error().code == std::errc::bad_message) {
      have = {};
      ++hub_status.faults;
      doubtful[session->place] = true;
    }
    if (taken.error().code == std::errc::timed_out) doubtful[session->place] = true;
    co_return std::move(taken.error()).within(step);
  }
  co_return Error{std::make_error_code(std::errc::operation_canceled), step};
}

/// EBADMSG: not the record that comes next. Nothing of it was handed over then.
Result<> HubSourceImpl::Run::take(Session& session, hub::Record&& record) {
  if (auto* image = std::get_if<hub::Image>(&record)) {
    session.seq = image->seq;
    hub_status.told = std::max(hub_status.told, image->seq);
    sink.on_snapshot(std::move(*image));
  } else if (auto* changes = std::get_if<hub::Changes>(&record)) {
    return take_changes(session, std::move(*changes));
  } else if (auto* beat = std::get_if<hub::Beat>(&record)) {
    LS_TRY(take_beat(session, *beat));
    tell_health(session, beat->source);
  } else {
    // A hub that gives a new snapshot within a stream may say so.
    auto& hello = std::get<hub::Hello>(record);
    if (hello.at.run != run || (!hello.snapshot && session.seq != hello.at.seq)) return fail(EBADMSG, "a second hello, of another run or another place");
    if (hello.snapshot) session.seq.reset();
    tell_health(session, hello.source);
  }
  return {};
}

/// A beat may be older than what was written before it, and may overtake changes that the hub gathers; but not twice the same.
Result<> HubSourceImpl::Run::take_beat(Session& session, const hub::Beat& beat) {
  hub_status.told = std::max(hub_status.told, beat.seq);
  if (!session.seq) return {};
  bool waits = beat.seq > *session.seq;
  if (waits && session.overtaken == session.seq) return fail(EBADMSG, fmt::format("it is at change {}, but sent none after {}", beat.seq, *session.seq));
  session.overtaken = waits ? session.seq : std::nullopt;
  return {};
}

Result<> HubSourceImpl::Run::take_changes(Session& session, hub::Changes&& changes) {
  if (!session.seq) return fail(EBADMSG, "changes came before the snapshot");
  if (changes.first != *session.seq + 1 || changes.last < changes.first)
    return fail(EBADMSG, fmt::format("changes {} to {} came after change {}", changes.first, changes.last, *session.seq));
  session.seq = changes.last;
  hub_status.told = std::max(hub_status.told, changes.last);
  sink.on_changes(std::move(changes));
  return {};
}

void HubSourceImpl::Run::tell_health(Session& session, const hub::SourceHealth& now) {
  status.leader_id = now.leader;
  bool told = std::exchange(session.told, true) && health == now;
  health = now;
  if (session.seq) note_held();
  if (stale(now) && masters.size() > 1 && session.look_pause == Millis(0)) {
    session.look_pause = config.stale;
    session.look_at = std::min<Instant>(session.look_at, steady_clock::now() + part_of(Millis(0), config.stale));
    session.timer.cancel();
  }
  if (!stale(now)) session.look_pause = Millis(0);
  if (!told) sink.on_health(health);
}

// --- beside the stream -----------------------------------------------------------------------------------------------------

/// Compares the clocks and looks for a better master while the stream stands.
asio::awaitable<void> HubSourceImpl::Run::watch(std::shared_ptr<Run> self, SessionPtr session) {
  (void)self;
  auto& s = *session;
  Instant clock_at = steady_clock::now();
  if (s.place > 0) s.look_at = std::min<Instant>(s.look_at, steady_clock::now() + part_of(Millis(0), config.rebalance));
  while (!stopped && !s.over) {
    Instant now = steady_clock::now();
    if (now >= clock_at) {
      bool compared = co_await compare(s);
      Millis every = compared ? config.clock_check : std::min(config.clock_check, config.backoff_max);
      clock_at = steady_clock::now() + part_of(every * 3 / 4, every);
    } else if (now >= s.look_at) {
      co_await look(s);
      Millis most = s.look_pause > Millis(0) ? s.look_pause : config.rebalance;
      // What is stale everywhere is looked at less and less often: each look costs a hub the begin of a snapshot.
      if (s.look_pause > Millis(0)) s.look_pause = std::max(config.stale, std::min(s.look_pause * 2, config.rebalance));
      s.look_at = s.place > 0 || s.look_pause > Millis(0) ? Instant(steady_clock::now() + part_of(most / 2, most)) : Instant::max();
    } else {
      boost::system::error_code ec;
      s.timer.expires_at(std::chrono::time_point_cast<steady_clock::duration>(std::min(clock_at, s.look_at)));
      co_await s.timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
  }
}

asio::awaitable<bool> HubSourceImpl::Run::compare(Session& session) {
  auto access = load_access(config);
  if (!access) co_return false;
  HttpLink link(io.get_executor());
  session.clock = &link;
  auto found = co_await compare_clocks(link, session.stream.master(), *access);
  session.clock = nullptr;
  if (stopped || session.over) co_return false;
  if (!found) {
    log::info("hub_clock_unknown", {{"hub", session.stream.master().text()}, {"error", found.error().text()}});
    co_return false;
  }
  offset = *found;
  co_return true;
}

asio::awaitable<void> HubSourceImpl::Run::look(Session& session) {
  bool leave = stale(health);
  size_t end = leave ? masters.size() : session.place;
  const hub::Position nowhere;  // of another run nothing is known here
  for (size_t place = 0; place < end; ++place) {
    if (place == session.place) continue;
    HubRefusal refusal;
    auto opened = co_await open(place, nowhere, refusal, &session);
    if (stopped || session.over) co_return;
    if (!opened) {
      log::debug("hub_not_better", {{"error", opened.error().text()}});
      continue;
    }
    if (!(*opened)->stream.hello().source.connected) continue;
    next = *opened;
    ++hub_status.moves;
    session.left = fmt::format("left hub {} for {}: {}", session.stream.master().text(), next->stream.master().text(),
                               leave ? "its own source is lost" : "it comes earlier in this node's order");
    session.stream.close();
    co_return;
  }
}

}  // namespace

std::vector<size_t> hub_order(const std::string& node, const std::vector<MasterAddress>& masters) {
  uint64_t seed = hash_bytes(node.data(), node.size());
  std::vector<std::pair<uint64_t, size_t>> scores;
  for (size_t i = 0; i < masters.size(); ++i) {
    auto text = masters[i].text();
    scores.emplace_back(spread(hash_bytes(text.data(), text.size(), spread(seed))), i);
  }
  std::sort(scores.begin(), scores.end(), [&](auto& a, auto& b) {
    return a.first != b.first ? a.first > b.first : masters[a.second].text() < masters[b.second].text();
  });
  std::vector<size_t> out;
  for (auto& [score, index] : scores) out.push_back(index);
  return out;
}

Result<std::unique_ptr<HubSource>> make_hub_source(asio::io_context& io, HubConfig config, HubSink& sink) {
  std::vector<MasterAddress> masters;
  for (const auto& text : config.masters) {
    LS_ASSIGN(auto master, parse_master_address(text, kHubPort));
    if (std::find(masters.begin(), masters.end(), master) == masters.end()) masters.push_back(std::move(master));
  }
  if (masters.empty()) return fail("no master with a hub is configured");
  if (config.cert_file.empty() != config.key_file.empty()) return fail("client certificate and key of the hub go together");
  if (config.backoff_min <= Millis(0) || config.backoff_max < config.backoff_min) {
    return fail("the least backoff must be above 0 and not above the largest");
  }
  for (auto positive : {config.connect_timeout, config.response_timeout, config.rebalance, config.stale, config.clock_check}) {
    if (positive <= Millis(0)) return fail("times of the hub's follower must be above 0");
  }
  LS_TRY(load_access(config));
  return std::unique_ptr<HubSource>(new HubSourceImpl(io, std::move(config), std::move(masters), sink));
}

}  // namespace ls
