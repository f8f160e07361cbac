#include "zk/election.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "util/guarded.h"

namespace ls::zk {
namespace {

constexpr std::string_view kTerm = "term";

std::string random_text() {
  uint64_t n[2] = {};
  if (getrandom(n, sizeof n, 0) != ssize_t(sizeof n)) std::abort();
  return fmt::format("{:016x}{:016x}", n[0], n[1]);
}

/// The number that ZooKeeper put behind the last '-'; nullopt: no candidate's node.
std::optional<int64_t> number_of(std::string_view name) {
  auto at = name.rfind('-');
  if (!name.starts_with("c-") || at == name.npos || name.size() - at < 2) return std::nullopt;
  int64_t n = 0;
  auto [end, err] = std::from_chars(name.data() + at + 1, name.data() + name.size(), n);
  if (err != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return n;
}

/// "/a/b/c" gives "/a", "/a/b", "/a/b/c".
std::vector<std::string> with_parents(const std::string& path) {
  std::vector<std::string> out;
  for (size_t at = 1; at <= path.size(); at++) {
    if (at == path.size() || path[at] == '/') out.push_back(path.substr(0, at));
  }
  return out;
}

}  // namespace

/// Everything but `shared` and `tell` belongs to the session's thread.
struct Election::Impl : std::enable_shared_from_this<Impl> {
  Impl(Session& s, ElectionOptions o, OnChange f) : session(s), options(std::move(o)), prefix("c-" + random_text() + "-") {
    tell.with([&](OnChange& held) { held = std::move(f); });
  }

  Session& session;
  const ElectionOptions options;
  const std::string prefix;  ///< of this candidate's node
  Guarded<OnChange> tell;    ///< emptied by stop()
  Guarded<ElectionState> shared;

  ElectionState now;
  bool connected = false, stopped = false, asking = false, again = false;
  uint64_t resigned = 0, back = 0;  ///< times; while they differ this candidate looks on without a place
  int64_t id = 0;         ///< of the session
  std::string mine;       ///< name of this candidate's node; empty: none
  uint64_t round = 0;     ///< answers of an earlier one are passed over
  std::map<std::string, std::string> values;  ///< of candidates, which never change

  /// A function that runs only if nothing began anew meanwhile.
  template <class F>
  auto in_round(F f) {
    return [weak = weak_from_this(), at = round, f = std::move(f)](auto&&... args) mutable {
      if (auto self = weak.lock(); self && self->round == at && !self->stopped) f(*self, std::forward<decltype(args)>(args)...);
    };
  }

  void publish() {
    bool news = shared.with([&](ElectionState& s) { return std::exchange(s, now) != now; });
    if (!news) return;
    tell.with([&](OnChange& f) {
      if (f) f(now);
    });
  }

  void step_down() {
    if (now.leading) now.leader.clear();
    now.leading = false;
    now.term = 0;
  }

  void failed(Error e) {
    now.last_error = e.text();
    publish();
    begin_later();
  }
  void begin_later() { begin_after(options.retry); }
  void begin_after(Millis pause) {
    round++;
    session.post_after(pause, in_round([](Impl& m) { m.begin(); }));
  }

  // --- a session -----------------------------------------------------------------------------------------------------

  void changed(SessionState state, int64_t session_id) {
    if (stopped) return;
    round++;
    asking = again = false;
    connected = state == SessionState::kConnected;
    if (state == SessionState::kExpired || (connected && session_id != id)) mine.clear();
    if (connected) id = session_id;
    if (!connected) {
      step_down();
      publish();
      return;
    }
    begin();
  }

  /// Makes the folder, looks for a node of ours, makes one.
  void begin() {
    if (stopped || !connected) return;
    round++;
    asking = again = false;
    make_folder(0);
  }

  void make_folder(size_t level) {
    auto levels = with_parents(options.folder);
    if (level == levels.size()) return look();
    session.create(levels[level], "", Mode::kPersistent, in_round([level](Impl& m, Result<std::string> r) {
                     if (!r && r.error().code == std::errc::permission_denied) return m.look_for_folder(level, std::move(r.error()));
                     if (!r && r.error().code != std::errc::file_exists) return m.failed(std::move(r.error()));
                     m.make_folder(level + 1);
                   }));
  }
  /// ZooKeeper refuses to make a node below one that we may not write to, also when it is there.
  void look_for_folder(size_t level, Error refused) {
    session.exists(with_parents(options.folder)[level], {}, in_round([level, refused = std::move(refused)](Impl& m, Result<std::optional<Stat>> r) mutable {
                     if (!r) return m.failed(std::move(r.error()));
                     if (!*r) return m.failed(std::move(refused));
                     m.make_folder(level + 1);
                   }));
  }

  // --- the line ------------------------------------------------------------------------------------------------------

  void look() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    again = false;
    session.sync(options.folder, in_round([](Impl& m, Result<> r) {
                   if (!r) return m.failed(std::move(r.error()));
                   m.read();
                 }));
  }

  void read() {
    auto watch = in_round([](Impl& m) { m.look(); });
    session.children(options.folder, std::move(watch), in_round([](Impl& m, Result<std::vector<std::string>> r) {
                       if (!r) return m.failed(std::move(r.error()));
                       m.listed(std::move(*r));
                     }));
  }

  void listed(std::vector<std::string> names) {
    std::erase_if(names, [](auto& n) { return !number_of(n); });
    std::sort(names.begin(), names.end(), [](auto& a, auto& b) { return std::pair(*number_of(a), a) < std::pair(*number_of(b), b); });
    std::string found;
    for (auto& n : names) {
      if (n.starts_with(prefix)) found = n;
    }
    if (mine.empty() && !found.empty()) return claim(found);
    if (found.empty()) {
      step_down();
      mine.clear();
      if (resigned == back) {
        publish();
        return join();
      }
    }
    std::erase_if(values, [&](auto& v) { return std::find(names.begin(), names.end(), v.first) == names.end(); });
    read_values(std::move(names), 0);
  }

  /// A node with our text that we have no answer of: of this session, or a rest of an earlier one, which would stand in our way.
  void claim(const std::string& name) {
    auto path = join_path(name);
    session.exists(path, {}, in_round([name, path](Impl& m, Result<std::optional<Stat>> r) {
                     if (!r) return m.failed(std::move(r.error()));
                     if (*r && (*r)->owner == m.id && m.resigned == m.back) {
                       m.mine = name;
                       return m.reread();
                     }
                     m.session.erase(path, -1, m.in_round([](Impl& i, Result<> gone) {
                       if (!gone && gone.error().code != std::errc::no_such_file_or_directory) return i.failed(std::move(gone.error()));
                       i.reread();
                     }));
                   }));
  }

  void join() {
    session.create(join_path(prefix), options.value, Mode::kEphemeralSequential, in_round([](Impl& m, Result<std::string> r) {
                     if (!r) return m.failed(std::move(r.error()));
                     m.mine = r->substr(r->rfind('/') + 1);
                     m.reread();
                   }));
  }

  void reread() {
    asking = false;
    look();
  }

  std::string join_path(std::string_view name) const { return zk::join(options.folder, name); }

  void read_values(std::vector<std::string> names, size_t from) {
    if (names.empty()) return nobody();
    while (from < names.size() && values.contains(names[from])) from++;
    if (from == names.size()) return decide(names);
    auto name = names[from];
    session.get(join_path(name), {}, in_round([names = std::move(names), from](Impl& m, Result<Node> r) mutable {
                  if (!r && r.error().code == std::errc::no_such_file_or_directory) return m.reread();
                  if (!r) return m.failed(std::move(r.error()));
                  m.values[names[from]] = std::move(r->value);
                  m.read_values(std::move(names), from + 1);
                }));
  }

  void nobody() {
    now.candidates.clear();
    now.leader.clear();
    settled();
  }

  void decide(const std::vector<std::string>& names) {
    now.candidates.clear();
    for (auto& n : names) now.candidates.push_back(values[n]);
    if (resigned == back) now.last_error.clear();
    if (names.front() != mine) {
      step_down();
      now.leader = now.candidates.front();
      return settled();
    }
    now.leader = options.value;
    if (now.leading) return settled();
    raise_term();
  }

  void settled() {
    asking = false;
    publish();
    if (again) look();
  }

  // --- a term --------------------------------------------------------------------------------------------------------

  void raise_term() {
    session.get(join_path(kTerm), {}, in_round([](Impl& m, Result<Node> r) {
                  if (!r && r.error().code == std::errc::no_such_file_or_directory) return m.make_term();
                  if (!r) return m.failed(std::move(r.error()));
                  m.set_term(r->stat.version);
                }));
  }

  void make_term() {
    session.create(join_path(kTerm), "", Mode::kPersistent, in_round([](Impl& m, Result<std::string> r) {
                     if (!r && r.error().code != std::errc::file_exists) return m.failed(std::move(r.error()));
                     m.raise_term();
                   }));
  }

  /// The version is the one that was read: of two who believe to be first only one gets it.
  void set_term(int32_t version) {
    session.set(join_path(kTerm), options.value, version, in_round([](Impl& m, Result<Stat> r) {
                  if (!r && r.error().code == std::errc(ESTALE)) return m.reread();
                  if (!r) return m.failed(std::move(r.error()));
                  m.now.leading = true;
                  m.now.term = r->version;
                  m.settled();
                }));
  }

  void give_up_place() {
    if (connected && !mine.empty()) session.erase(join_path(mine), -1, [](Result<>) {});
    mine.clear();
  }
};

Election::Election(Session& session, ElectionOptions options, OnChange on_change)
    : impl_(std::make_shared<Impl>(session, std::move(options), std::move(on_change))) {}

Election::~Election() { stop(); }

void Election::start() {
  impl_->session.post([m = impl_] {
    auto s = m->session.status();
    if (s.state == SessionState::kConnected && !m->connected) m->changed(s.state, s.id);
  });
}

void Election::stop() {
  impl_->tell.with([](OnChange& f) { f = {}; });
  impl_->session.post([m = impl_] {
    if (std::exchange(m->stopped, true)) return;
    m->give_up_place();
  });
}

void Election::resign(int32_t term, std::string why, Millis pause) {
  impl_->session.post([m = impl_, term, why = std::move(why), pause] {
    if (m->stopped || !m->now.leading || m->now.term != term) return;
    m->step_down();
    m->now.last_error = why;
    m->give_up_place();
    m->publish();
    m->session.post_after(pause, [weak = std::weak_ptr(m), times = ++m->resigned] {
      auto self = weak.lock();
      if (!self || self->stopped || self->resigned != times) return;
      self->back = times;
      self->begin();
    });
    m->begin();
  });
}

void Election::session_changed(SessionState state, int64_t id) { impl_->changed(state, id); }

ElectionState Election::state() const {
  return impl_->shared.with([](ElectionState& s) { return s; });
}

Op Election::fence(int32_t term) const {
  return {.kind = Op::Kind::kCheck, .path = join(impl_->options.folder, kTerm), .version = term};
}

}  // namespace ls::zk
