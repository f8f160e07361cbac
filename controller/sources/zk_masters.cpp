#include "sources/zk_masters.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <random>

#include "util/guarded.h"
#include "util/log.h"

namespace ls {
namespace {

namespace asio = boost::asio;

constexpr size_t kMaxMembers = 1024;  // masters are three or five
constexpr Millis kListAgain{100};     // a member went between listing and reading

}  // namespace

struct ZkMasters::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& i, ZkMastersOptions o, Changed c)
      : io(i),
        options(std::move(o)),
        changed(std::move(c)),
        path(options.session.url.path),
        random(std::random_device{}()),
        session(options.session, [this](zk::SessionState s, int64_t) { on_state(s); }) {}

  // All on the session's thread.
  void on_state(zk::SessionState s);
  void read();
  void listed(std::vector<std::string> names);
  void member(int32_t number, const Result<zk::Node>& node);
  void failed(const Error& why);
  void again(Millis pause);
  void finish();
  bool believed();
  void take();
  void trouble(std::string_view event, std::string why);
  zk::Session::Watch watch(bool& armed) {
    if (armed) return {};
    return [this, &armed] {
      armed = false;
      again(Millis(0));
    };
  }

  struct Shown {
    std::string error;
    std::vector<MasterAddress> masters;
    Instant leads_since{};
    uint64_t reads = 0, old_reads = 0;
  };

  asio::io_context& io;
  const ZkMastersOptions options;
  const Changed changed;
  const std::string path;
  std::atomic<bool> ending{false};
  Guarded<Shown> shown;

  std::minstd_rand random;
  bool connected = false;
  bool watching_node = false, watching_list = false;
  uint64_t round = 0;      ///< number of the read under way
  bool reading = false, wanted = false;
  std::string unreadable;  ///< what of this read could not be taken
  uint64_t timer = 0;      ///< number of the timer that counts
  size_t pending = 0;      ///< members whose answer is not there
  bool incomplete = false; ///< a member went meanwhile
  unsigned failures = 0;   ///< in a row
  int64_t change = 0;      ///< last change of the directory as this read began
  std::vector<ZkMaster> found;
  std::vector<ZkMaster> last;   ///< in force
  int64_t last_change = 0;
  std::optional<Instant> old_since;  ///< first of the older reads in a row
  zk::Session session;  // last: its thread uses the others
};

void ZkMasters::Impl::on_state(zk::SessionState s) {
  connected = s == zk::SessionState::kConnected;
  // What is asked is answered before the end of a connection, so a read that was under way has ended.
  if (connected) again(Millis(0));
}

/// One timer counts: the soonest reading, else the next refresh.
void ZkMasters::Impl::again(Millis pause) {
  auto number = ++timer;
  session.post_after(pause, [this, number] {
    if (number == timer) read();
  });
}

void ZkMasters::Impl::read() {
  if (!connected || ending) return;  // read when there is a connection
  if (reading) {
    wanted = true;
    return;
  }
  reading = true;
  wanted = incomplete = false;
  unreadable.clear();
  found.clear();
  // Answered in this order, on one connection. The first error ends the round; what is answered after it belongs to none.
  auto n = ++round;
  session.sync(path, [this, n](Result<void> r) {
    if (n == round && reading && !r) failed(r.error());
  });
  session.exists(path, watch(watching_node), [this, n](Result<std::optional<zk::Stat>> r) {
    if (r) watching_node = true;
    if (n != round || !reading) return;
    if (!r) return failed(r.error());
    change = *r ? (*r)->children : 0;
  });
  session.children(path, watch(watching_list), [this, n](Result<std::vector<std::string>> r) {
    if (r) watching_list = true;
    if (n != round || !reading) return;
    if (!r) return failed(r.error());
    listed(std::move(*r));
  });
}

void ZkMasters::Impl::listed(std::vector<std::string> names) {
  pending = 1;
  size_t asked = 0;
  for (auto& name : names) {
    if (old_master_node(name)) unreadable = fmt::format("{} is of a master before 0.24: only JSON is read", zk::join(path, name));
    auto number = master_node_number(name);
    if (!number) continue;
    if (asked == kMaxMembers) {
      unreadable = fmt::format("more than {} masters in {}", kMaxMembers, path);
      break;
    }
    asked++;
    pending++;
    session.get(zk::join(path, name), {}, [this, n = round, number = *number](Result<zk::Node> node) {
      if (n == round && reading) member(number, node);
    });
  }
  if (--pending == 0) finish();
}

void ZkMasters::Impl::member(int32_t number, const Result<zk::Node>& node) {
  pending--;
  if (!node) {
    if (node.error().code != std::errc::no_such_file_or_directory) return failed(node.error());
    incomplete = true;
  } else if (auto info = parse_master_info(number, node->value); info) {
    found.push_back(std::move(*info));
  } else {
    // One that nobody can read must not hide the others; of a leader that cannot be read, the others know who it is.
    unreadable = fmt::format("node {} in {}: {}", number, path, info.error().text());
  }
  if (pending == 0) finish();
}

void ZkMasters::Impl::failed(const Error& why) {
  reading = false;
  shown.with([](auto& s) { s.reads++; });
  // The session says why, and its next connection reads; but then the read may only have been refused.
  if (!connected || why.code == std::errc::not_connected || why.code == std::errc::connection_aborted) return again(options.session.retry);
  if (why.code == std::errc::no_such_file_or_directory) {
    trouble("zookeeper_no_master", fmt::format("{} is not there", path));
    return again(options.refresh);  // the watch tells when there is one
  }
  trouble("zookeeper_read_failed", why.text());
  auto pause = std::min(options.refresh, options.session.retry * (1 << std::min(failures++, 6u)));
  again(pause / 2 + Millis(std::uniform_int_distribution<int64_t>(0, pause.count() / 2)(random)));
}

/// When the last answer is there.
void ZkMasters::Impl::finish() {
  reading = false;
  failures = 0;
  shown.with([](auto& s) { s.reads++; });
  again(wanted ? Millis(0) : incomplete ? kListAgain : options.refresh);
  if (incomplete || !believed()) return;
  if (found.empty()) return trouble("zookeeper_no_master", unreadable.empty() ? fmt::format("no master in {}", path) : unreadable);
  trouble("zookeeper_master_unreadable", unreadable);
  take();
}

bool ZkMasters::Impl::believed() {
  auto now = std::chrono::steady_clock::now();
  if (change >= last_change) {
    old_since.reset();
  } else {
    if (!old_since) old_since = now;
    if (now - *old_since < options.refresh) {
      shown.with([](auto& s) { s.old_reads++; });
      trouble("zookeeper_read_failed", fmt::format("{} is older than it was ({:#x} after {:#x})", path, change, last_change));
      again(options.session.retry);
      return false;
    }
    old_since.reset();
  }
  if (!found.empty()) last_change = change;
  return true;
}

void ZkMasters::Impl::take() {
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.sequence < b.sequence; });
  bool news = found != last;
  auto masters = masters_in_order(found);
  shown.with([&](auto& s) {
    if (s.masters.empty() || s.masters.front() != masters.front()) s.leads_since = std::chrono::steady_clock::now();
    s.masters = masters;
  });
  if (!news) return;
  last = std::move(found);
  log::info("zookeeper_masters", {{"path", path}, {"first", masters.front().text()}, {"masters", masters.size()}});
  asio::post(io, [weak = weak_from_this(), masters = std::move(masters)] {
    if (auto self = weak.lock(); self && !self->ending) self->changed(masters);
  });
}

/// Logged when it is news; nothing clears it.
void ZkMasters::Impl::trouble(std::string_view event, std::string why) {
  bool news = shown.with([&](auto& s) { return std::exchange(s.error, why) != why; });
  if (news && !why.empty()) log::warn(event, {{"error", why}, {"masters_kept", last.size()}});
}

ZkMasters::ZkMasters(asio::io_context& io, ZkMastersOptions options, Changed changed)
    : impl_(std::make_shared<Impl>(io, std::move(options), std::move(changed))) {}
ZkMasters::~ZkMasters() { stop(); }

void ZkMasters::start() { impl_->session.start(); }

void ZkMasters::stop() {
  impl_->ending = true;
  impl_->session.stop();
}

ZkMastersStatus ZkMasters::status() const {
  auto session = impl_->session.status();
  auto own = impl_->shown.with([](auto& s) { return s; });
  ZkMastersStatus out;
  out.connected = session.state == zk::SessionState::kConnected;
  out.since = session.since;
  out.server = session.server;
  out.last_error = session.last_error.empty() ? own.error : session.last_error;
  out.masters = std::move(own.masters);
  out.leads_since = own.leads_since;
  out.sessions = session.sessions;
  out.expired = session.expired;
  out.connects = session.connects;
  out.reads = own.reads;
  out.old_reads = own.old_reads;
  return out;
}

}  // namespace ls
