#include "hub/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <algorithm>
#include <future>
#include <tuple>

#include "hub/server_impl.h"
#include "util/log.h"
#include "util/unique_fd.h"

namespace ls::hub {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr size_t kMaxToken = 4096;
constexpr size_t kNotYetFollowing = 1024;  // connections besides the followers: handshakes, requests, refusals

IpAddress address_of(const boost::asio::ip::address& a) {
  if (a.is_v4()) return IpAddress::from_v4(a.to_v4().to_uint());
  auto bytes = a.to_v6().to_bytes();
  return IpAddress::from_bytes(bytes.data());
}

Tcp::endpoint endpoint_of(const Endpoint& e) {
  if (e.address.is_v4()) return {boost::asio::ip::address_v4(e.address.v4()), e.port};
  boost::asio::ip::address_v6::bytes_type bytes;
  std::copy(e.address.bytes().begin(), e.address.bytes().end(), bytes.begin());
  return {boost::asio::ip::address_v6(bytes), e.port};
}

}  // namespace

Server::Impl::Impl(ServerOptions o) : options(std::move(o)), history(options.history) {
  uint64_t n = 0;
  if (getrandom(&n, sizeof n, 0) != sizeof n) n = uint64_t(micros(now())) * 0x9e3779b97f4a7c15ull;
  run_id = fmt::format("{:016x}", n);
}

// ---- files ----

Result<> Server::Impl::read_token() {
  if (options.token_file.empty()) return {};
  UniqueFd fd(open(options.token_file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno, "open the token " + options.token_file);
  std::string text(kMaxToken + 2, '\0');
  auto n = read(fd.get(), text.data(), text.size());
  if (n < 0) return fail(errno, "read the token " + options.token_file);
  text.resize(size_t(n));
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return fail("the token in " + options.token_file + " is empty");
  if (text.size() > kMaxToken) return fail(fmt::format("the token in {} is longer than {} octets", options.token_file, kMaxToken));
  token = std::move(text);
  return {};
}

std::string Server::Impl::stamp() const {
  std::string out;
  for (auto* file : {&options.token_file, &options.cert_file, &options.key_file, &options.client_ca_file}) {
    struct stat s {};
    if (file->empty() || stat(file->c_str(), &s) != 0) {
      out += "-;";
    } else {
      out += fmt::format("{}.{}.{}.{};", s.st_ino, s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    }
  }
  return out;
}

/// Streams that stand keep what they were let in with.
void Server::Impl::reload() {
  auto found = stamp();
  if (found == files_stamp) return;
  files_stamp = std::move(found);
  std::string warning;
  if (auto read = read_token(); !read) warning = read.error().text();
  if (!options.cert_file.empty()) {
    auto loaded = ServerTls::load(options.cert_file, options.key_file, options.client_ca_file);
    if (loaded) tls = std::move(*loaded);
    else warning = loaded.error().text();
  }
  if (warning.empty()) log::info("hub_files_read_again", {});
  else log::warn("hub_files_unreadable", {{"error", warning}});
  files_warning = warning.empty() ? "" : "the hub goes on with its former files: " + warning;
  show();
}

// ---- addresses ----

Result<> Server::Impl::bind(Listener& l) {
  ErrorCode ec, ignored;
  auto at = endpoint_of(l.address);
  l.acceptor.open(at.protocol(), ec);
  if (!ec) fcntl(l.acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  if (!ec) l.acceptor.set_option(Tcp::acceptor::reuse_address(true), ec);
  if (!ec && at.address().is_v6()) l.acceptor.set_option(boost::asio::ip::v6_only(true), ec);
  // Inherited by what is accepted, and before the handshake, so that the window is scaled to it.
  if (!ec) l.acceptor.set_option(boost::asio::socket_base::send_buffer_size(int(options.send_buffer)), ec);
  if (!ec) l.acceptor.bind(at, ec);
  if (!ec) l.acceptor.listen(4096, ec);
  if (!ec) l.acceptor.non_blocking(true, ec);
  if (!ec) return {};
  l.acceptor.close(ignored);
  return fail(ec, "listen on " + l.address.text());
}

void Server::Impl::show() {
  std::vector<std::string> said;
  std::vector<Endpoint> at;
  for (auto& l : listeners) {
    if (!l->warning.empty()) said.push_back(l->warning);
    ErrorCode ec;
    auto local = l->acceptor.is_open() ? l->acceptor.local_endpoint(ec) : Tcp::endpoint();
    if (l->acceptor.is_open() && !ec) at.push_back({l->address.address, local.port()});
  }
  if (!files_warning.empty()) said.push_back(files_warning);
  warnings.publish(std::move(said));
  bound.publish(std::move(at));
}

void Server::Impl::try_bind(Listener& l) {
  auto done = bind(l);
  if (done) {
    l.warning.clear();
    log::info("hub_listening", {{"address", l.address.text()}});
    show();
    return accept(l);
  }
  if (l.warning.empty()) log::warn("hub_listen_failed", {{"address", l.address.text()}, {"error", done.error().text()}});
  l.warning = fmt::format("the hub: {}; tried again every {} s", done.error().text(), double(options.bind_again.count()) / 1000);
  show();
  l.pause.expires_after(options.bind_again);
  l.pause.async_wait([this, &l](ErrorCode ec) {
    if (!ec) try_bind(l);
  });
}

void Server::Impl::accept(Listener& l) {
  l.acceptor.async_accept([this, &l](ErrorCode ec, Tcp::socket socket) {
    if (ec == boost::asio::error::operation_aborted) return;
    if (ec) {
      // Out of descriptors or memory: the connection waits in the backlog, and trying at once again would spin.
      log::warn("hub_accept_failed", {{"error", ec.message()}});
      l.pause.expires_after(std::chrono::milliseconds(100));
      return l.pause.async_wait([this, &l](ErrorCode stopped) {
        if (!stopped) accept(l);
      });
    }
    const int fd = socket.native_handle();
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    auto remote = socket.remote_endpoint(ec);
    ErrorCode ignored;
    socket.non_blocking(true, ignored);
    if (!ec && streams.size() < options.max_followers + kNotYetFollowing) {
      socket.set_option(Tcp::no_delay(true), ignored);
      socket.set_option(boost::asio::socket_base::keep_alive(true), ignored);
      // A machine that is gone is found by what it does not acknowledge.
      unsigned patience = unsigned(options.stuck.count());
      setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof patience);
      auto from = address_of(remote.address());
      try {
        auto s = std::make_shared<Stream>(*this, std::move(socket), from, Endpoint{from, remote.port()}.text());
        streams.emplace(s.get(), s);
        s->begin();
      } catch (const std::bad_alloc&) {
        log::warn("hub_accept_failed", {{"error", "no memory"}});
      }
    } else if (!ec) {
      count.refused++;
    }
    accept(l);
  });
}

void Server::Impl::leave(Stream& stream) { streams.erase(&stream); }

// ---- time ----

void Server::Impl::tick() {
  auto at = now();
  count.lag_us = uint64_t(std::max<int64_t>(0, micros(at) - micros(tick_due)));
  count.ticked_us = micros(at);
  count.beats++;
  std::vector<StreamPtr> all;
  all.reserve(streams.size());
  for (auto& [key, s] : streams) all.push_back(s);
  for (auto& s : all) s->tick(at);
  if (at >= next_beat) tell_beat();
  if (at >= next_files) {
    next_files = at + options.look_at_files;
    reload();
  }
  tick_due = now() + kTick;
  ticker.expires_at(tick_due);
  ticker.async_wait([this](ErrorCode ec) {
    if (!ec) tick();
  });
}

// ---- life ----

Result<> Server::Impl::prepare() {
  files_stamp = stamp();
  LS_TRY(read_token());
  if (options.cert_file.empty() != options.key_file.empty()) return fail("a certificate and its key are needed, there is one of them");
  if (options.cert_file.empty() && !options.client_ca_file.empty()) return fail("certificates of clients are asked for without TLS");
  if (!options.cert_file.empty()) {
    LS_ASSIGN(tls, ServerTls::load(options.cert_file, options.key_file, options.client_ca_file));
  }
  next_beat = now() + options.heartbeat;
  next_files = now() + options.look_at_files;
  tick_due = now();
  for (auto& e : options.listen) try_bind(*listeners.emplace_back(std::make_unique<Listener>(io, e)));
  tick();
  return {};
}

void Server::Impl::run() {
  pthread_setname_np(pthread_self(), "ls-hub");
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  io.run();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (auto ready = impl->prepare(); !ready) return pass(std::move(ready.error()), "start the hub");
  auto* i = impl.get();
  i->thread = std::thread([i] { i->run(); });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::~Server() {
  impl_->io.stop();
  impl_->thread.join();
  impl_->streams.clear();
}

void Server::change(const StateDelta& delta, Instant received) {
  if (delta.empty()) return;
  bool first = impl_->inbox.with([&](Impl::Inbox& in) {
    in.deltas.emplace_back(delta, Impl::micros(received));
    return !std::exchange(in.posted, true);
  });
  if (first) boost::asio::post(impl_->io, [i = impl_.get()] { i->take(); });
}

void Server::health(SourceHealth health) {
  bool first = impl_->inbox.with([&](Impl::Inbox& in) {
    in.health = std::move(health);
    return !std::exchange(in.posted, true);
  });
  if (first) boost::asio::post(impl_->io, [i = impl_.get()] { i->take(); });
}

ServerStatus Server::status() const {
  auto& c = impl_->count;
  ServerStatus s;
  s.run = impl_->run_id;
  s.seq = c.seq;
  s.followers = c.followers;
  s.connects = c.connects;
  s.resumed = c.resumed;
  s.snapshots = c.snapshots;
  s.dropped_behind = c.dropped_behind;
  s.refused = c.refused;
  s.failed = c.failed;
  s.snapshot_bytes = c.snapshot_bytes;
  s.snapshots_made = c.snapshots_made;
  s.history_bytes = c.history_bytes;
  s.history_changes = c.history_changes;
  s.sent_bytes = c.sent_bytes;
  s.beats = c.beats;
  s.lag_s = double(c.lag_us) / 1e6;
  s.beat_age_s = double(Impl::micros(Impl::now()) - c.ticked_us) / 1e6;
  s.warnings = *impl_->warnings.get();
  return s;
}

void Server::ask_followers(std::function<void(std::vector<FollowerView>)> done) const {
  boost::asio::post(impl_->io, [i = impl_.get(), done = std::move(done)] {
    std::vector<FollowerView> out;
    out.reserve(i->following);
    auto at = Impl::now();
    for (auto& [key, s] : i->streams)
      if (s->following()) out.push_back(s->view(at));
    std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return std::tie(a.node, a.address) < std::tie(b.node, b.address); });
    done(std::move(out));
  });
}

Result<std::vector<FollowerView>> Server::followers(Millis patience) const {
  using List = std::vector<FollowerView>;
  auto asked = std::make_shared<std::promise<List>>();  // the answer may come after we have gone
  auto answer = asked->get_future();
  ask_followers([asked](List list) { asked->set_value(std::move(list)); });
  if (answer.wait_for(patience) != std::future_status::ready) return fail(ETIMEDOUT, "ask the hub's thread who follows");
  return answer.get();
}

std::vector<Endpoint> Server::bound() const { return *impl_->bound.get(); }

}  // namespace ls::hub
