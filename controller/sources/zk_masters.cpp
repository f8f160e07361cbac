#include "sources/zk_masters.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <random>
#include <thread>

#include "util/guarded.h"
#include "util/log.h"
#include "util/unique_fd.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;

constexpr size_t kMaxMembers = 1024;        // masters are three or five
constexpr Millis kListAgain{100};           // a member went between listing and reading

Millis jittered(Millis most, std::minstd_rand& random) {
  return most / 2 + Millis(std::uniform_int_distribution<int64_t>(0, most.count() / 2)(random));
}

}  // namespace

struct ZkMasters::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& i, ZkMastersOptions o, Changed c) : io(i), options(std::move(o)), changed(std::move(c)), wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  // The thread's own; the client library calls back in it, within zookeeper_process and zookeeper_interest.
  void run();
  void session();
  void wait_for(Millis pause);
  void read();
  void listed(int rc, const String_vector* names);
  void member(int rc, int32_t number, const char* value, int length);
  void finish();
  void failed(const std::string& what, int rc);
  void on_event(int type, int state);

  static void watch(zhandle_t*, int type, int state, const char*, void* self) { static_cast<Impl*>(self)->on_event(type, state); }
  static void on_list(int rc, const String_vector* names, const void* self) { const_cast<Impl*>(static_cast<const Impl*>(self))->listed(rc, names); }
  struct Member {
    Impl* self;
    int32_t number;
  };
  static void on_member(int rc, const char* value, int length, const Stat*, const void* data) {
    std::unique_ptr<const Member> m(static_cast<const Member*>(data));
    m->self->member(rc, m->number, value, length);
  }
  static void on_auth(int rc, const void* self) {
    if (rc != ZOK) const_cast<Impl*>(static_cast<const Impl*>(self))->failed("log in", rc);
  }
  static void on_library_log(const char* line) { log::debug("zookeeper", {{"line", line}}); }

  asio::io_context& io;
  const ZkMastersOptions options;
  const Changed changed;
  UniqueFd wake;
  std::atomic<bool> ending{false};
  std::thread thread;
  mutable Guarded<ZkMastersStatus> shown;

  std::minstd_rand random{std::random_device{}()};
  zhandle_t* zh = nullptr;
  bool over = false;          ///< this session cannot go on
  bool ended = false;         ///< it is being closed: calls of the library mean nothing any more
  bool connected = false;
  bool reading = false, read_again = false;
  size_t pending = 0;
  bool incomplete = false;    ///< a member could not be read
  std::vector<ZkMaster> found;
  std::vector<MasterAddress> last;
  Steady::time_point due{};   ///< of the next read
};

void ZkMasters::Impl::failed(const std::string& what, int rc) {
  auto why = fmt::format("{} at {}: {}", what, options.url.text(), zerror(rc));
  bool news = shown.with([&](auto& s) { return std::exchange(s.last_error, why) != why; });
  if (news) log::warn("zookeeper_failed", {{"error", why}});
}

void ZkMasters::Impl::on_event(int type, int state) {
  if (type == ZOO_CHILD_EVENT) {
    due = Steady::now();
    return;
  }
  if (type != ZOO_SESSION_EVENT) return;
  connected = state == ZOO_CONNECTED_STATE || state == ZOO_READONLY_STATE;
  if (connected) due = Steady::now();
  if (state == ZOO_EXPIRED_SESSION_STATE || state == ZOO_AUTH_FAILED_STATE) {
    over = true;
    failed("keep the session", state == ZOO_AUTH_FAILED_STATE ? int(ZAUTHFAILED) : int(ZSESSIONEXPIRED));
  }
  auto* server = connected ? zoo_get_current_server(zh) : nullptr;
  shown.with([&](auto& s) {
    s.connected = connected;
    s.server = server ? server : "";
    if (state == ZOO_EXPIRED_SESSION_STATE) s.expired++;
  });
}

void ZkMasters::Impl::read() {
  due = Steady::now() + options.refresh;
  if (reading) {
    read_again = true;
    return;
  }
  reading = true;
  read_again = incomplete = false;
  found.clear();
  pending = 1;
  int rc = zoo_awget_children(zh, options.url.path.c_str(), watch, this, on_list, this);
  if (rc != ZOK) listed(rc, nullptr);
}

void ZkMasters::Impl::listed(int rc, const String_vector* names) {
  if (ended) return;
  if (rc != ZOK || !names) {
    failed("list the masters", rc);
    due = Steady::now() + jittered(options.retry, random);
    incomplete = true;
    pending--;
    return finish();
  }
  for (int32_t i = 0; i < names->count; i++) {
    auto number = master_node_number(names->data[i]);
    if (!number) continue;
    if (pending > kMaxMembers) {
      log::warn("zookeeper_members", {{"path", options.url.path}, {"more_than", kMaxMembers}});
      break;
    }
    auto path = (options.url.path == "/" ? "" : options.url.path) + "/" + names->data[i];
    auto m = std::make_unique<Member>(Member{this, *number});
    rc = zoo_aget(zh, path.c_str(), 0, on_member, m.get());
    if (rc == ZOK) {
      (void)m.release();
      pending++;
    } else {
      failed("read a master's node", rc);
      incomplete = true;
    }
  }
  pending--;
  finish();
}

void ZkMasters::Impl::member(int rc, int32_t number, const char* value, int length) {
  if (ended) return;
  pending--;
  if (rc == ZNONODE) {
    incomplete = true;
    due = Steady::now() + kListAgain;
  } else if (rc != ZOK) {
    failed("read a master's node", rc);
    incomplete = true;
    due = Steady::now() + jittered(options.retry, random);
  } else {
    auto info = parse_master_info(number, std::string_view(value ? value : "", value && length > 0 ? size_t(length) : 0));
    // One that nobody can read must not hide the others; of a leader nobody knows, the others know who it is.
    if (info) found.push_back(std::move(*info));
    else log::warn("zookeeper_master_unreadable", {{"number", number}, {"error", info.error().text()}});
  }
  finish();
}

/// When the last answer is there: a list that is whole takes the place of the one before.
void ZkMasters::Impl::finish() {
  if (pending) return;
  reading = false;
  if (read_again) due = Steady::now();
  shown.with([](auto& s) { s.reads++; });
  if (incomplete) return;
  auto masters = masters_in_order(std::move(found));
  found.clear();
  if (masters.empty()) {
    bool news = shown.with([&](auto& s) { return std::exchange(s.last_error, "no master at " + options.url.text()).empty(); });
    if (news) log::warn("zookeeper_no_master", {{"path", options.url.path}, {"kept", last.size()}});
    return;
  }
  shown.with([&](auto& s) {
    s.last_error.clear();
    s.masters = masters;
  });
  if (masters == last) return;
  last = masters;
  log::info("zookeeper_masters", {{"first", masters.front().text()}, {"masters", masters.size()}});
  asio::post(io, [weak = weak_from_this(), masters = std::move(masters)] {
    if (auto self = weak.lock(); self && !self->ending) self->changed(masters);
  });
}

void ZkMasters::Impl::wait_for(Millis pause) {
  pollfd p{wake.get(), POLLIN, 0};
  (void)poll(&p, 1, int(pause.count()));
}

/// One session, until it is over.
void ZkMasters::Impl::session() {
  over = connected = reading = read_again = false;
  pending = 0;
  zh = zookeeper_init2(options.url.hosts().c_str(), watch, int(options.session.count()), nullptr, this, ZOO_NO_LOG_CLIENTENV, on_library_log);
  if (!zh) {
    failed("look up the servers", ZSYSTEMERROR);
    return;
  }
  shown.with([](auto& s) { s.sessions++; });
  if (!options.url.user.empty()) {
    auto login = options.url.user + ":" + options.url.password;
    if (int rc = zoo_add_auth(zh, "digest", login.data(), int(login.size()), on_auth, this); rc != ZOK) failed("log in", rc);
  }
  while (!ending && !over) {
    int fd = -1, interest = 0;
    timeval most{};
    int rc = zookeeper_interest(zh, &fd, &interest, &most);
    if (rc != ZOK) failed("connect", rc);
    if (rc == ZSESSIONEXPIRED || rc == ZAUTHFAILED || rc == ZINVALIDSTATE) break;
    if (connected && Steady::now() >= due) read();
    auto pause = std::chrono::duration_cast<Millis>(std::chrono::seconds(most.tv_sec) + std::chrono::microseconds(most.tv_usec));
    if (connected) pause = std::min(pause, std::max(Millis(1), std::chrono::duration_cast<Millis>(due - Steady::now())));
    pollfd p[2] = {{wake.get(), POLLIN, 0}, {fd, 0, 0}};
    if (interest & ZOOKEEPER_READ) p[1].events |= POLLIN;
    if (interest & ZOOKEEPER_WRITE) p[1].events |= POLLOUT;
    if (poll(p, fd < 0 ? 1 : 2, int(pause.count())) < 0 && errno != EINTR) break;
    int events = 0;
    if (p[1].revents & (POLLIN | POLLERR | POLLHUP)) events |= ZOOKEEPER_READ;
    if (p[1].revents & (POLLOUT | POLLERR | POLLHUP)) events |= ZOOKEEPER_WRITE;
    rc = zookeeper_process(zh, events);
    if (rc != ZOK && rc != ZNOTHING) failed("talk", rc);
    if (rc == ZSESSIONEXPIRED || rc == ZAUTHFAILED || rc == ZINVALIDSTATE) break;
  }
  // Ends every question that is open, each with a call.
  ended = true;
  zookeeper_close(zh);
  zh = nullptr;
  ended = false;
  shown.with([](auto& s) {
    s.connected = false;
    s.server.clear();
  });
}

void ZkMasters::Impl::run() {
  while (!ending) {
    session();
    if (!ending) wait_for(jittered(options.retry, random));
  }
}

ZkMasters::ZkMasters(asio::io_context& io, ZkMastersOptions options, Changed changed)
    : impl_(std::make_shared<Impl>(io, std::move(options), std::move(changed))) {}
ZkMasters::~ZkMasters() { stop(); }

void ZkMasters::start() {
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
  impl_->thread = std::thread([m = impl_.get()] { m->run(); });
}

void ZkMasters::stop() {
  auto& m = *impl_;
  m.ending = true;
  uint64_t one = 1;
  (void)!write(m.wake.get(), &one, sizeof one);
  if (m.thread.joinable()) m.thread.join();
}

ZkMastersStatus ZkMasters::status() const {
  return impl_->shown.with([](auto& s) { return s; });
}

}  // namespace ls
