#include "zk/session.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <random>
#include <thread>

#include "util/guarded.h"
#include "util/log.h"
#include "util/unique_fd.h"
#include "zk/addresses.h"
#include "zk/handle.h"

namespace ls::zk {
namespace {

using Steady = std::chrono::steady_clock;

constexpr size_t kMaxMulti = 900 << 10;   // of all steps; jute.maxbuffer is 1 MB for a whole request
constexpr size_t kMaxSteps = 10'000;
constexpr size_t kStepOctets = 64;        // at most, of a step's header, access list and lengths
constexpr Millis kLeastAttempt{500};
constexpr Millis kGreetingPause{10};      // between two looks at a greeting that came in pieces

Result<> check_path(const std::string& path, bool sequential = false) {
  auto why = path_fault(sequential ? path + "0" : path);
  if (!why.empty()) return fail(EINVAL, fmt::format("path \"{}\": {}", path, why));
  return {};
}

Result<> check_value(const std::string& path, size_t size) {
  if (size > kMaxValue) return fail(EMSGSIZE, fmt::format("{} octets for {}, more than {}", size, path, kMaxValue));
  return {};
}

Result<> check_steps(const std::vector<Op>& steps) {
  if (steps.empty()) return fail(EINVAL, "no steps");
  if (steps.size() > kMaxSteps) return fail(EMSGSIZE, fmt::format("{} steps, more than {}", steps.size(), kMaxSteps));
  size_t sum = 0;
  for (auto& s : steps) {
    LS_TRY(check_path(s.path));
    LS_TRY(check_value(s.path, s.value.size()));
    sum += s.path.size() + s.value.size() + kStepOctets;
  }
  if (sum > kMaxMulti) return fail(EMSGSIZE, fmt::format("{} octets in {} steps, more than {}", sum, steps.size(), kMaxMulti));
  return {};
}

Millis until(Steady::time_point when) {
  auto left = std::chrono::ceil<Millis>(when - Steady::now());
  return std::max(left, Millis(0));
}

}  // namespace

struct Session::Impl {
  Impl(SessionOptions o, OnState s)
      : options(std::move(o)), told(std::move(s)), wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), random(std::random_device{}()) {}

  using Work = std::function<void()>;
  struct Queue {
    std::deque<Work> work;
    bool closed = false;
  };

  // Any thread.
  bool push(Work work);
  template <class T>
  void ask(std::function<void(Handle&, Done<T>)> begin, Result<> good, std::string doing, Done<T> done);
  void wake_up() {
    uint64_t one = 1;
    (void)!write(wake.get(), &one, sizeof one);
  }

  // The thread's own.
  void run();
  void work();
  void attempt();
  void wait();
  void talk(int fd, short events);
  bool greeted(int fd, bool& readable);
  void give_up(int fd);
  Result<std::unique_ptr<Handle>> open(const HostPort& server);
  void connected();
  void lost(const std::string& why);
  void session_over();
  void change(SessionState to, int64_t id);
  void trouble(const std::string& what, bool log = true);
  Millis jittered(Millis most) { return most / 2 + Millis(std::uniform_int_distribution<int64_t>(0, most.count() / 2)(random)); }
  Millis attempt_limit() const;

  const SessionOptions options;
  const OnState told;
  UniqueFd wake;
  Guarded<Queue> queue;
  Guarded<SessionStatus> shown;
  std::atomic<bool> ending{false};
  std::thread thread;

  std::minstd_rand random;
  std::multimap<Steady::time_point, Work> timers;
  std::unique_ptr<Handle> handle;
  SessionState state = SessionState::kConnecting;
  std::vector<HostPort> addresses;  ///< of this round, and which is next
  size_t next = 0;
  unsigned rounds = 0;              ///< without a connection
  bool active = false;              ///< there is a connection, or one is being made
  bool greeting = false;            ///< nothing has come on it yet
  std::string given_up;             ///< why we ended the attempt ourselves
  std::map<std::string, std::string> problems;  ///< of each server, since there was a connection
  std::string logged;
  Steady::time_point begun{}, next_attempt{};
  std::optional<Steady::time_point> away;  ///< since when a session has no connection, until it is continued from scratch
};

bool Session::Impl::push(Work work) {
  bool taken = queue.with([&](Queue& q) {
    if (!q.closed) q.work.push_back(std::move(work));
    return !q.closed;
  });
  if (taken) wake_up();
  return taken;
}

template <class T>
void Session::Impl::ask(std::function<void(Handle&, Done<T>)> begin, Result<> good, std::string doing, Done<T> done) {
  auto shared = std::make_shared<Done<T>>(std::move(done));
  auto run = [this, begin = std::move(begin), good, doing, shared] {
    if (!good) return (*shared)(pass(Error(good.error()), doing));
    if (state != SessionState::kConnected) return (*shared)(fail(ENOTCONN, doing));
    begin(*handle, std::move(*shared));
  };
  if (!push(run)) (*shared)(fail(ENOTCONN, doing));
}

void Session::Impl::change(SessionState to, int64_t id) {
  if (state == to) return;
  state = to;
  shown.with([&](auto& s) {
    s.state = to;
    s.since = Steady::now();
  });
  if (told) told(to, id);
}

/// Shown until there is a connection; logged when it is news.
void Session::Impl::trouble(const std::string& what, bool log) {
  auto why = fmt::format("{}: {}", options.url.text(), what);
  shown.with([&](auto& s) { s.last_error = why; });
  if (log && std::exchange(logged, why) != why) log::warn("zookeeper_failed", {{"error", why}});
}

/// How long one server may take for a connection and its greeting. A silent one must not cost the session, whose time is running, so
/// the first round is quick; servers that are slow get longer in each round, up to the library's own limit.
Millis Session::Impl::attempt_limit() const {
  auto limit = std::max(kLeastAttempt, options.session / 6) * (1 << std::min(rounds, 6u));
  return std::min(limit, std::max(kLeastAttempt, options.session));
}

void Session::Impl::work() {
  auto batch = queue.with([](Queue& q) { return std::exchange(q.work, {}); });
  for (auto& one : batch) one();
  while (!timers.empty() && timers.begin()->first <= Steady::now()) {
    auto one = std::move(timers.begin()->second);
    timers.erase(timers.begin());
    one();
  }
}

void Session::Impl::attempt() {
  if (next >= addresses.size()) {
    next = 0;
    auto found = look_up(options.url.servers);
    if (!found) {
      addresses.clear();
      problems.clear();
      next_attempt = Steady::now() + jittered(options.retry);
      return trouble("look up the servers: " + found.error().text());
    }
    addresses = std::move(*found);
  }
  auto& server = addresses[next++];
  // Servers turn away whoever has seen more than they have: for a while rightly, for ever when the ensemble has begun anew. Another handle
  // goes on with the session and has seen nothing.
  bool from_scratch = away && Steady::now() - *away > options.session;
  if (!handle || from_scratch) {
    auto opened = open(server);
    if (!opened) {
      next_attempt = Steady::now() + jittered(options.retry);
      return trouble(opened.error().text());
    }
    handle.swap(*opened);
    away.reset();
    opened->reset();  // calls the watches, which the new one does not have
    if (!from_scratch) change(SessionState::kConnecting, 0);
  } else if (auto r = handle->set_server(server); !r) {
    next_attempt = Steady::now() + jittered(options.retry);
    return trouble(r.error().text());
  }
  active = greeting = true;
  given_up.clear();
  begun = Steady::now();
}

Result<std::unique_ptr<Handle>> Session::Impl::open(const HostPort& server) {
  auto& u = options.url;
  return Handle::open(server, options.session, u.user.empty() ? "" : u.user + ":" + u.password, handle.get());
}

void Session::Impl::connected() {
  auto server = addresses[next - 1].text();
  int64_t id = handle->id();
  rounds = 0;
  away.reset();
  problems.clear();
  logged.clear();
  shown.with([&](auto& s) {
    if (s.id != id) s.sessions++;
    s.id = id;
    s.negotiated = handle->negotiated();
    s.server = server;
    s.connects++;
    s.last_error.clear();
  });
  log::info("zookeeper_connected", {{"server", server}, {"session", fmt::format("{:#x}", uint64_t(id))}});
  change(SessionState::kConnected, id);
}

/// The connection, or the attempt at one, is over.
void Session::Impl::lost(const std::string& why) {
  active = false;
  problems[addresses[next - 1].text()] = given_up.empty() ? why : given_up;
  std::string all;
  for (auto& [server, what] : problems) all += fmt::format("{}{}: {}", all.empty() ? "" : "; ", server, what);
  // A line for a connection that is lost, and one for each round that ends otherwise than the one before.
  trouble(all, state == SessionState::kConnected || next >= addresses.size());
  shown.with([](auto& s) { s.server.clear(); });
  bool over = handle->state() == Handle::State::kOver;
  if (state == SessionState::kConnected && !over) {
    away = Steady::now();
    change(SessionState::kConnecting, handle->id());
  }
  bool tried_all = next >= addresses.size();
  if (tried_all) rounds++;
  next_attempt = Steady::now() + (tried_all ? jittered(options.retry) : Millis(0));
  if (over) session_over();
}

void Session::Impl::session_over() {
  int64_t id = handle->id();
  bool expired = handle->expired();
  state = SessionState::kConnecting;  // so that nothing is asked of the handle from here on
  handle.reset();                     // answers what is open, calls the watches
  away.reset();
  next_attempt = Steady::now() + jittered(options.retry);
  if (expired) log::warn("zookeeper_expired", {{"session", fmt::format("{:#x}", uint64_t(id))}});
  shown.with([&](auto& s) { s.expired += expired; });
  change(SessionState::kExpired, id);
}

/// Ends the attempt in the library's own way: it finds the stream at its end.
void Session::Impl::give_up(int fd) {
  char rest[4096];
  while (recv(fd, rest, sizeof rest, MSG_DONTWAIT) > 0) {
  }
  shutdown(fd, SHUT_RDWR);
  begun = Steady::now();
}

/// False: not yet. What is no greeting of ZooKeeper ends the attempt.
bool Session::Impl::greeted(int fd, bool& readable) {
  unsigned char bytes[kGreetingSize];
  auto n = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  if (n <= 0) return true;  // an end or an error, which the library sees
  switch (check_greeting(bytes, size_t(n), handle->id() != 0)) {
    case Greeting::kGood: greeting = false; return true;
    case Greeting::kIncomplete: return false;
    case Greeting::kBad: break;
  }
  given_up = "what answers there is no ZooKeeper server";
  give_up(fd);
  readable = true;
  return true;
}

void Session::Impl::talk(int fd, short events) {
  bool readable = events & (POLLIN | POLLERR | POLLHUP), writable = events & (POLLOUT | POLLERR | POLLHUP);
  if (readable && greeting && handle->state() == Handle::State::kGreeting && !greeted(fd, readable)) {
    // More will come, or the attempt's time will be over.
    std::this_thread::sleep_for(kGreetingPause);
    return;
  }
  auto r = handle->process(readable, writable);
  if (!r) return lost(r.error().text());
  if (state != SessionState::kConnected && handle->state() == Handle::State::kConnected) connected();
}

void Session::Impl::wait() {
  pollfd p[2] = {{wake.get(), POLLIN, 0}, {-1, 0, 0}};
  Millis most{60'000};
  if (active) {
    auto i = handle->interest();
    if (!i) return lost(i.error().text());
    p[1] = {i->fd, short(POLLIN | (i->write ? POLLOUT : 0)), 0};
    most = i->most + Millis(1);
    if (handle->state() != Handle::State::kConnected) {
      auto left = until(begun + attempt_limit());
      if (left == Millis(0) && i->fd >= 0 && given_up.empty()) {
        given_up = fmt::format("no answer in {} ms", attempt_limit().count());
        give_up(i->fd);
      } else if (given_up.empty()) {
        most = std::min(most, left);
      }
    }
  } else {
    most = until(next_attempt);
  }
  if (!timers.empty()) most = std::min(most, until(timers.begin()->first));
  if (poll(p, 2, int(most.count())) <= 0) return;
  if (p[0].revents) {
    uint64_t count;
    (void)!read(wake.get(), &count, sizeof count);
  }
  if (p[1].fd >= 0 && p[1].revents) talk(p[1].fd, p[1].revents);
}

void Session::Impl::run() {
  while (!ending) {
    work();
    if (ending) break;
    if (!active && Steady::now() >= next_attempt) attempt();
    wait();
  }
  state = SessionState::kConnecting;
  handle.reset();
  timers.clear();
  queue.with([](Queue& q) { q.closed = true; });
  work();
  shown.with([](auto& s) {
    s.state = SessionState::kConnecting;
    s.since = Steady::now();
    s.server.clear();
  });
}

Session::Session(SessionOptions options, OnState on_state) : impl_(std::make_shared<Impl>(std::move(options), std::move(on_state))) {}
Session::~Session() { stop(); }

void Session::start() {
  impl_->shown.with([](auto& s) { s.since = Steady::now(); });
  impl_->thread = std::thread([m = impl_.get()] { m->run(); });
}

void Session::stop() {
  auto& m = *impl_;
  m.ending = true;
  m.wake_up();
  if (m.thread.joinable()) m.thread.join();
  else m.run();  // answers what was asked before a start that never came
}

SessionStatus Session::status() const {
  return impl_->shown.with([](auto& s) { return s; });
}

void Session::get(std::string path, Watch watch, Done<Node> done) {
  impl_->ask<Node>([path, watch](Handle& h, Done<Node> d) { h.get(path, watch, std::move(d)); }, check_path(path), "read " + path, std::move(done));
}

void Session::children(std::string path, Watch watch, Done<std::vector<std::string>> done) {
  using List = std::vector<std::string>;
  impl_->ask<List>([path, watch](Handle& h, Done<List> d) { h.children(path, watch, std::move(d)); }, check_path(path), "list " + path, std::move(done));
}

void Session::exists(std::string path, Watch watch, Done<std::optional<Stat>> done) {
  using Found = std::optional<Stat>;
  impl_->ask<Found>([path, watch](Handle& h, Done<Found> d) { h.exists(path, watch, std::move(d)); }, check_path(path), "look for " + path,
                    std::move(done));
}

void Session::create(std::string path, std::string value, Mode mode, Done<std::string> done) {
  auto good = check_path(path, mode == Mode::kEphemeralSequential);
  if (good) good = check_value(path, value.size());
  auto doing = "create " + path;
  impl_->ask<std::string>([path, value = std::move(value), mode](Handle& h, Done<std::string> d) { h.create(path, value, mode, std::move(d)); },
                          std::move(good), doing, std::move(done));
}

void Session::set(std::string path, std::string value, int32_t version, Done<Stat> done) {
  auto good = check_path(path);
  if (good) good = check_value(path, value.size());
  auto doing = "write " + path;
  impl_->ask<Stat>([path, value = std::move(value), version](Handle& h, Done<Stat> d) { h.set(path, value, version, std::move(d)); }, std::move(good),
                   doing, std::move(done));
}

void Session::erase(std::string path, int32_t version, Done<void> done) {
  impl_->ask<void>([path, version](Handle& h, Done<void> d) { h.erase(path, version, std::move(d)); }, check_path(path), "remove " + path,
                   std::move(done));
}

void Session::multi(std::vector<Op> steps, Done<std::vector<int32_t>> done) {
  using Versions = std::vector<int32_t>;
  auto good = check_steps(steps);
  auto doing = fmt::format("{} steps", steps.size());
  impl_->ask<Versions>([steps = std::move(steps)](Handle& h, Done<Versions> d) mutable { h.multi(std::move(steps), std::move(d)); }, std::move(good),
                       doing, std::move(done));
}

void Session::sync(std::string path, Done<void> done) {
  impl_->ask<void>([path](Handle& h, Done<void> d) { h.sync(path, std::move(d)); }, check_path(path), "sync " + path, std::move(done));
}

void Session::post(std::function<void()> work) { (void)impl_->push(std::move(work)); }

void Session::post_after(Millis pause, std::function<void()> work) {
  auto when = Steady::now() + pause;
  auto* m = impl_.get();
  (void)m->push([m, when, work = std::move(work)]() mutable { m->timers.emplace(when, std::move(work)); });
}

}  // namespace ls::zk
