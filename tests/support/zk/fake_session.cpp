#include <fmt/format.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "fake_ensemble.h"
#include "util/guarded.h"

namespace ls::zk {

using Fault = FakeEnsemble::Fault;

namespace {

struct FakeNode {
  std::string value;
  Stat stat;
  int32_t next = 0;  ///< sequence number of its children
};

std::string parent_of(const std::string& path) {
  auto at = path.rfind('/');
  return at == 0 ? "/" : path.substr(0, at);
}

enum class Kind : uint8_t { kValue, kChildren };

}  // namespace

/// What all sessions share. Every function is called with its lock held.
struct Tree {
  std::map<std::string, FakeNode> nodes{{"/", {}}};
  std::map<int64_t, std::function<void(std::function<void()>)>> posts;  ///< of each living session
  std::multimap<std::pair<Kind, std::string>, std::pair<int64_t, Session::Watch>> watches;
  FakeEnsemble::Decide decide;
  std::set<int64_t> expired;
  int64_t zxid = 1, last_session = 0;
  bool down = false;

  void fire(Kind kind, const std::string& path) {
    auto [from, to] = watches.equal_range({kind, path});
    for (auto it = from; it != to; ++it) {
      if (auto p = posts.find(it->second.first); p != posts.end()) p->second(it->second.second);
    }
    watches.erase(from, to);
  }
  void watch(Kind kind, const std::string& path, int64_t session, Session::Watch w) {
    if (w) watches.insert({{kind, path}, {session, std::move(w)}});
  }
  bool has_children(const std::string& path) const {
    auto below = path == "/" ? path : path + "/";
    auto it = nodes.lower_bound(below);
    if (it != nodes.end() && it->first == path) ++it;
    return it != nodes.end() && it->first.starts_with(below);
  }
  Result<std::string> create(std::string path, std::string value, int64_t owner, bool sequential) {
    auto parent = nodes.find(parent_of(path));
    if (parent == nodes.end()) return fail(ENOENT, "create " + path);
    if (sequential) path += fmt::format("{:010}", parent->second.next);
    if (nodes.contains(path)) return fail(EEXIST, "create " + path);
    parent->second.next++;
    zxid++;
    Stat stat;
    stat.created = stat.modified = zxid;
    stat.owner = owner;
    nodes[path] = {std::move(value), stat, 0};
    fire(Kind::kValue, path);
    fire(Kind::kChildren, parent_of(path));
    return path;
  }
  Result<FakeNode*> versioned(const std::string& path, int32_t version, const char* what) {
    auto it = nodes.find(path);
    if (it == nodes.end()) return fail(ENOENT, std::string(what) + " " + path);
    if (version >= 0 && it->second.stat.version != version) return fail(ESTALE, std::string(what) + " " + path);
    return &it->second;
  }
  Result<Stat> set(const std::string& path, std::string value, int32_t version) {
    LS_ASSIGN(auto* n, versioned(path, version, "set"));
    n->value = std::move(value);
    n->stat.version++;
    n->stat.modified = ++zxid;
    fire(Kind::kValue, path);
    return n->stat;
  }
  Result<> erase(const std::string& path, int32_t version) {
    LS_TRY(versioned(path, version, "erase"));
    if (has_children(path)) return fail(ENOTEMPTY, "erase " + path);
    zxid++;
    nodes.erase(path);
    fire(Kind::kValue, path);
    fire(Kind::kChildren, path);
    fire(Kind::kChildren, parent_of(path));
    return {};
  }
  Result<std::vector<int32_t>> multi(const std::vector<Op>& steps) {
    std::vector<std::pair<std::string, std::optional<FakeNode>>> undo;
    auto held = std::exchange(watches, {});  // nothing is told before it is certain
    std::vector<int32_t> out;
    Result<> bad;
    for (auto& s : steps) {
      auto it = nodes.find(s.path);
      undo.emplace_back(s.path, it == nodes.end() ? std::nullopt : std::optional(it->second));
      int32_t version = -1;
      if (s.kind == Op::Kind::kCreate) {
        if (auto r = create(s.path, s.value, 0, false); !r) bad = tl::make_unexpected(r.error());
        version = 0;
      } else if (s.kind == Op::Kind::kSet) {
        auto r = set(s.path, s.value, s.version);
        if (r) version = r->version;
        else bad = tl::make_unexpected(r.error());
      } else if (s.kind == Op::Kind::kErase) {
        bad = erase(s.path, s.version);
      } else if (auto r = versioned(s.path, s.version, "check"); !r) {
        bad = tl::make_unexpected(r.error());
      }
      if (!bad) break;
      out.push_back(version);
    }
    watches = std::move(held);
    if (!bad) {
      for (auto it = undo.rbegin(); it != undo.rend(); ++it) {
        if (it->second) nodes[it->first] = *it->second;
        else nodes.erase(it->first);
      }
      return tl::make_unexpected(bad.error());
    }
    for (auto& s : steps) {
      fire(Kind::kValue, s.path);
      if (s.kind == Op::Kind::kCreate || s.kind == Op::Kind::kErase) fire(Kind::kChildren, parent_of(s.path));
    }
    return out;
  }
  void expire(int64_t session) {
    if (!session) return;
    expired.insert(session);
    std::vector<std::string> gone;
    for (auto& [path, n] : nodes) {
      if (n.stat.owner == session) gone.push_back(path);
    }
    for (auto& path : gone) (void)erase(path, -1);
  }
};

struct FakeEnsemble::State {
  Guarded<Tree> tree;
};

namespace {
Guarded<std::map<std::string, std::shared_ptr<FakeEnsemble::State>>>& ensembles() {
  static Guarded<std::map<std::string, std::shared_ptr<FakeEnsemble::State>>> all;
  return all;
}
}  // namespace

FakeEnsemble::FakeEnsemble(std::string host) : host_(std::move(host)), state_(std::make_shared<State>()) {
  ensembles().with([&](auto& all) { all[host_] = state_; });
}
FakeEnsemble::~FakeEnsemble() {
  ensembles().with([&](auto& all) { all.erase(host_); });
}
Url FakeEnsemble::url() const {
  Url u;
  u.servers.push_back({host_, kPort});
  u.path = "/";
  return u;
}
void FakeEnsemble::on_operation(Decide d) {
  state_->tree.with([&](Tree& t) { t.decide = std::move(d); });
}
void FakeEnsemble::expire(int64_t s) {
  state_->tree.with([&](Tree& t) { t.expire(s); });
}
void FakeEnsemble::stop() {
  state_->tree.with([&](Tree& t) { t.down = true; });
}
void FakeEnsemble::start() {
  state_->tree.with([&](Tree& t) { t.down = false; });
}
std::vector<std::string> FakeEnsemble::children(const std::string& path) const {
  return state_->tree.with([&](Tree& t) {
    std::vector<std::string> out;
    auto below = path == "/" ? path : path + "/";
    for (auto& [p, n] : t.nodes) {
      if (p != "/" && p.starts_with(below) && p.find('/', below.size()) == p.npos) out.push_back(p.substr(below.size()));
    }
    return out;
  });
}
std::optional<Node> FakeEnsemble::node(const std::string& path) const {
  return state_->tree.with([&](Tree& t) -> std::optional<Node> {
    auto it = t.nodes.find(path);
    if (it == t.nodes.end()) return std::nullopt;
    return Node{it->second.value, it->second.stat};
  });
}
void FakeEnsemble::write(const std::string& path, const std::string& value) {
  state_->tree.with([&](Tree& t) {
    if (!t.set(path, value, -1)) (void)t.create(path, value, 0, false);
  });
}
void FakeEnsemble::erase(const std::string& path) {
  state_->tree.with([&](Tree& t) { (void)t.erase(path, -1); });
}

struct Session::Impl : std::enable_shared_from_this<Impl> {
  using Clock = std::chrono::steady_clock;

  Impl(SessionOptions o, OnState f) : options(std::move(o)), on_state(std::move(f)) {
    ensemble = ensembles().with([&](auto& all) { return all.at(options.url.servers.at(0).host); });
  }

  const SessionOptions options;
  const OnState on_state;
  std::shared_ptr<FakeEnsemble::State> ensemble;
  Guarded<SessionStatus> status;
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> queue;
  std::multimap<Clock::time_point, std::function<void()>> timers;
  bool ending = false;
  std::thread thread;
  // The thread's own.
  SessionState state = SessionState::kConnecting;
  int64_t id = 0;
  Clock::time_point back{};
  std::vector<std::function<void()>> unanswered;

  void post(std::function<void()> f) {
    {
      std::lock_guard lock(mutex);
      queue.push_back(std::move(f));
    }
    wake.notify_one();
  }
  void post_after(Millis pause, std::function<void()> f) {
    {
      std::lock_guard lock(mutex);
      timers.emplace(Clock::now() + pause, std::move(f));
    }
    wake.notify_one();
  }
  void run() {
    std::unique_lock lock(mutex);
    while (!ending) {
      lock.unlock();
      look();
      lock.lock();
      auto now = Clock::now();
      while (!timers.empty() && timers.begin()->first <= now) {
        queue.push_back(std::move(timers.begin()->second));
        timers.erase(timers.begin());
      }
      if (queue.empty()) {
        wake.wait_for(lock, Millis(1));
        continue;
      }
      auto f = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      f();
      f = {};
      lock.lock();
    }
  }
  /// What became of the session and its ensemble.
  void look() {
    auto [down, expired] = ensemble->tree.with([&](Tree& t) { return std::pair(t.down, t.expired.contains(id)); });
    if (down && state == SessionState::kConnected) return change(SessionState::kConnecting);
    if (down) return;
    if (expired) {
      change(SessionState::kExpired);
      ensemble->tree.with([&](Tree& t) { t.posts.erase(id); });
      id = 0;
      back = Clock::now() + Millis(1);
      state = SessionState::kConnecting;
      return;
    }
    if (state == SessionState::kConnected || Clock::now() < back) return;
    if (!id) {
      id = ensemble->tree.with([&](Tree& t) {
        t.posts[++t.last_session] = [weak = weak_from_this()](std::function<void()> f) {
          if (auto self = weak.lock()) self->post(std::move(f));
        };
        return t.last_session;
      });
    }
    change(SessionState::kConnected);
  }
  void change(SessionState s) {
    if (s != SessionState::kConnected) {
      for (auto& f : std::exchange(unanswered, {})) f();
    }
    state = s;
    status.with([&](SessionStatus& v) {
      v.state = s;
      v.id = id;
    });
    if (on_state) on_state(s, id);
  }
  void lose() {
    back = Clock::now() + Millis(2);
    change(SessionState::kConnecting);
  }

  template <class T, class Work>
  void operation(const char* what, std::string path, Done<T> done, Work work) {
    post([this, what, path = std::move(path), done = std::move(done), work = std::move(work)]() mutable {
      look();
      if (state != SessionState::kConnected) return done(fail(ENOTCONN, std::string(what) + " " + path));
      auto lost = [&]() -> Result<T> { return fail(ECONNABORTED, std::string(what) + " " + path); };
      Fault fault = Fault::kNone;
      std::optional<Result<T>> answer;
      ensemble->tree.with([&](Tree& t) {
        if (t.decide) fault = t.decide(id, what, path);
        if (fault != Fault::kLostBefore && fault != Fault::kDenied) answer = work(t);
        if (fault == Fault::kExpired) t.expire(id);
      });
      if (fault == Fault::kNone) return done(std::move(*answer));
      if (fault == Fault::kDenied) return done(fail(EACCES, std::string(what) + " " + path));
      if (fault == Fault::kUnanswered) {
        unanswered.push_back([done, l = lost()] { done(l); });
        return;
      }
      if (fault == Fault::kExpired) return done(lost());
      done(lost());
      lose();
    });
  }
};

Session::Session(SessionOptions options, OnState on_state) : impl_(std::make_shared<Impl>(std::move(options), std::move(on_state))) {}
Session::~Session() { stop(); }

void Session::start() {
  impl_->thread = std::thread([m = impl_.get()] { m->run(); });
}
void Session::stop() {
  auto& m = *impl_;
  if (!m.thread.joinable()) return;
  {
    std::lock_guard lock(m.mutex);
    m.ending = true;
  }
  m.wake.notify_one();
  m.thread.join();
  for (auto& f : std::exchange(m.unanswered, {})) f();
  m.ensemble->tree.with([&](Tree& t) {
    t.posts.erase(m.id);
    t.expire(m.id);
  });
}
SessionStatus Session::status() const {
  return impl_->status.with([](SessionStatus& s) { return s; });
}

void Session::get(std::string path, Watch watch, Done<Node> done) {
  impl_->operation<Node>("get", path, std::move(done), [path, watch = std::move(watch), m = impl_.get()](Tree& t) -> Result<Node> {
    auto it = t.nodes.find(path);
    if (it == t.nodes.end()) return fail(ENOENT, "get " + path);
    t.watch(Kind::kValue, path, m->id, watch);
    return Node{it->second.value, it->second.stat};
  });
}
void Session::children(std::string path, Watch watch, Done<std::vector<std::string>> done) {
  impl_->operation<std::vector<std::string>>("children", path, std::move(done), [path, watch = std::move(watch), m = impl_.get()](Tree& t) -> Result<std::vector<std::string>> {
    if (!t.nodes.contains(path)) return fail(ENOENT, "list " + path);
    t.watch(Kind::kChildren, path, m->id, watch);
    std::vector<std::string> out;
    auto below = path == "/" ? path : path + "/";
    for (auto it = t.nodes.lower_bound(below); it != t.nodes.end() && it->first.starts_with(below); ++it) {
      if (it->first.size() > below.size() && it->first.find('/', below.size()) == it->first.npos) out.push_back(it->first.substr(below.size()));
    }
    return out;
  });
}
void Session::exists(std::string path, Watch watch, Done<std::optional<Stat>> done) {
  impl_->operation<std::optional<Stat>>("exists", path, std::move(done), [path, watch = std::move(watch), m = impl_.get()](Tree& t) -> Result<std::optional<Stat>> {
    t.watch(Kind::kValue, path, m->id, watch);
    auto it = t.nodes.find(path);
    if (it == t.nodes.end()) return std::optional<Stat>();
    return std::optional(it->second.stat);
  });
}
void Session::create(std::string path, std::string value, Mode mode, Done<std::string> done) {
  impl_->operation<std::string>("create", path, std::move(done), [path, value, mode, m = impl_.get()](Tree& t) {
    return t.create(path, value, mode == Mode::kPersistent ? 0 : m->id, mode == Mode::kEphemeralSequential);
  });
}
void Session::set(std::string path, std::string value, int32_t version, Done<Stat> done) {
  impl_->operation<Stat>("set", path, std::move(done), [path, value, version](Tree& t) { return t.set(path, value, version); });
}
void Session::erase(std::string path, int32_t version, Done<void> done) {
  impl_->operation<void>("erase", path, std::move(done), [path, version](Tree& t) { return t.erase(path, version); });
}
void Session::multi(std::vector<Op> steps, Done<std::vector<int32_t>> done) {
  auto path = steps.back().path;
  impl_->operation<std::vector<int32_t>>("multi", path, std::move(done), [steps = std::move(steps)](Tree& t) { return t.multi(steps); });
}
void Session::sync(std::string path, Done<void> done) {
  impl_->operation<void>("sync", path, std::move(done), [](Tree&) { return Result<>(); });
}
void Session::post(std::function<void()> work) { impl_->post(std::move(work)); }
void Session::post_after(Millis pause, std::function<void()> work) { impl_->post_after(pause, std::move(work)); }

}  // namespace ls::zk
