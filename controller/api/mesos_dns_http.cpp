#include "api/mesos_dns_http.h"

#include <fcntl.h>
#include <sys/random.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <map>
#include <set>
#include <thread>

#include "api/mesos_dns_routes.h"
#include "util/log.h"
#include "util/published.h"

namespace ls::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Tcp = asio::ip::tcp;
using Stream = beast::basic_stream<Tcp>;
using ErrorCode = boost::system::error_code;

constexpr size_t kHeaderBytes = 8192, kBodyBytes = 65536;
constexpr size_t kPiece = 256 << 10;  // of a body; each piece has the whole idle time to get out

Tcp::endpoint to_asio(const Endpoint& e) {
  if (e.address.is_v4()) return {asio::ip::address_v4(e.address.v4()), e.port};
  return {asio::ip::address_v6(e.address.bytes()), e.port};
}

IpAddress from_asio(const asio::ip::address& a) {
  if (a.is_v4()) return IpAddress::from_v4(a.to_v4().to_uint());
  auto bytes = a.to_v6().to_bytes();
  return IpAddress::from_bytes(bytes.data());
}

uint64_t random_bits() {
  uint64_t out = 0;
  if (getrandom(&out, sizeof out, 0) != ssize_t(sizeof out)) out = uint64_t(std::chrono::steady_clock::now().time_since_epoch().count());
  return out;
}

/// The status for a request that cannot be read; 0: the client left.
unsigned status_of(const ErrorCode& ec) {
  if (ec == http::error::header_limit) return 431;
  if (ec == http::error::body_limit) return 413;
  bool left = ec == http::error::end_of_stream || ec == http::error::partial_message;
  return ec.category() == ErrorCode(http::error::bad_method).category() && !left ? 400 : 0;
}

MesosDnsReply plain(unsigned status) {
  auto reason = http::obsolete_reason(http::status(status));
  return {.status = status, .type = "text/plain; charset=utf-8",
          .body = std::to_string(status) + ": " + std::string(reason.data(), reason.size()), .location = {}};
}

}  // namespace

struct MesosDnsHttp::Impl {
  struct Listener {
    Endpoint wanted;
    Tcp::acceptor acceptor;
    bool bound = false;
    std::string error;
  };

  Impl(Settings s, MesosDnsProvider& p) : settings(std::move(s)), routes(p, clock, random_bits), beat(io) {
    for (auto& e : settings.listen) listeners.push_back(std::make_unique<Listener>(Listener{e, Tcp::acceptor(io), false, {}}));
    publish();
  }

  ErrorCode bind(Listener& l);
  void bind_all();
  void publish();
  asio::awaitable<void> accept_loop(Listener& l);
  asio::awaitable<void> session(Stream stream, IpAddress client);
  asio::awaitable<void> serve(Stream& stream);
  asio::awaitable<bool> send(Stream& stream, MesosDnsReply reply, unsigned version, bool keep_alive, bool head);
  asio::awaitable<void> refuse(Stream stream);
  asio::awaitable<void> beat_loop();
  void stop();

  const Settings settings;
  SystemClock clock;
  asio::io_context io{1};
  MesosDnsRoutes routes;
  std::vector<std::unique_ptr<Listener>> listeners;
  Published<std::vector<ListenerView>> view;
  asio::steady_timer beat;
  std::atomic<uint64_t> beats{0};
  bool stopping = false;
  unsigned sessions = 0, large = 0;
  std::map<IpAddress, unsigned> by_client;
  std::set<Stream*> open;
  std::thread thread;
};

ErrorCode MesosDnsHttp::Impl::bind(Listener& l) {
  ErrorCode ec;
  Tcp::acceptor fresh(io);
  auto endpoint = to_asio(l.wanted);
  fresh.open(endpoint.protocol(), ec);
  if (ec) return ec;
  fcntl(fresh.native_handle(), F_SETFD, FD_CLOEXEC);
  fresh.set_option(Tcp::acceptor::reuse_address(true), ec);
  if (!ec && endpoint.protocol() == Tcp::v6()) fresh.set_option(asio::ip::v6_only(true), ec);
  if (!ec) fresh.bind(endpoint, ec);
  if (!ec) fresh.listen(128, ec);
  if (ec) return ec;
  l.acceptor = std::move(fresh);
  return {};
}

void MesosDnsHttp::Impl::bind_all() {
  bool changed = false;
  for (auto& l : listeners) {
    if (l->bound) continue;
    auto ec = bind(*l);
    auto error = ec ? ec.message() : std::string();
    if (ec && error != l->error) {
      log::warn("mesos_dns_http_not_bound", {{"endpoint", l->wanted.text()}, {"error", error}});
    }
    changed = changed || !ec || error != l->error;
    l->error = error;
    l->bound = !ec;
    if (!ec) asio::co_spawn(io, accept_loop(*l), asio::detached);
  }
  if (changed) publish();
}

void MesosDnsHttp::Impl::publish() {
  std::vector<ListenerView> out;
  for (auto& l : listeners) {
    ErrorCode ignored;
    auto endpoint = l->wanted;
    if (l->bound) endpoint.port = l->acceptor.local_endpoint(ignored).port();
    out.push_back({endpoint, l->bound, l->error});
  }
  view.publish(std::move(out));
}

asio::awaitable<void> MesosDnsHttp::Impl::accept_loop(Listener& l) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  while (!stopping) {
    auto socket = co_await l.acceptor.async_accept(token);
    if (ec == asio::error::operation_aborted || stopping) co_return;
    if (ec) {
      // Out of descriptors or memory: the connection waits in the backlog, and trying at once again would spin.
      log::warn("mesos_dns_http_accept_failed", {{"error", ec.message()}});
      asio::steady_timer pause(io, std::chrono::milliseconds(100));
      co_await pause.async_wait(token);
      continue;
    }
    fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
    auto client = from_asio(socket.remote_endpoint(ec).address());
    if (ec) continue;
    auto mine = by_client.find(client);
    if (sessions >= settings.max_connections || (mine != by_client.end() && mine->second >= settings.max_per_client)) {
      asio::co_spawn(io, refuse(Stream(std::move(socket))), asio::detached);
      continue;
    }
    sessions++;
    by_client[client]++;
    asio::co_spawn(io, session(Stream(std::move(socket)), client), asio::detached);
  }
}

asio::awaitable<void> MesosDnsHttp::Impl::refuse(Stream stream) {
  co_await send(stream, plain(503), 11, false, false);
}

asio::awaitable<void> MesosDnsHttp::Impl::session(Stream stream, IpAddress client) {
  open.insert(&stream);
  try {
    co_await serve(stream);
  } catch (const std::exception& e) {
    // Only running out of memory gets here; it costs this connection and nothing else.
    log::error("mesos_dns_http_session_failed", {{"error", e.what()}});
  }
  open.erase(&stream);
  sessions--;
  if (--by_client[client] == 0) by_client.erase(client);
}

asio::awaitable<void> MesosDnsHttp::Impl::serve(Stream& stream) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  beast::flat_buffer buffer(kHeaderBytes + kBodyBytes);
  while (!stopping) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(kHeaderBytes);
    parser.body_limit(kBodyBytes);
    stream.expires_after(settings.idle);
    co_await http::async_read(stream, buffer, parser, token);
    if (ec) {
      if (auto status = status_of(ec)) co_await send(stream, plain(status), 11, false, false);
      co_return;
    }
    auto& request = parser.get();
    auto field = [&](http::field name) {
      auto value = request[name];
      return std::string(value.data(), value.size());
    };
    MesosDnsRequest asked{std::string(request.method_string()), std::string(request.target()), field(http::field::accept),
                          field(http::field::content_type), !request.body().empty()};
    bool listing = asked.target.find("axfr") != std::string::npos || asked.target.find("enumerate") != std::string::npos;
    auto reply = listing && large >= settings.max_large ? plain(503) : routes.handle(asked);
    if (!co_await send(stream, std::move(reply), request.version(), request.keep_alive(), request.method() == http::verb::head)) co_return;
  }
}

/// False when the connection is to be closed.
asio::awaitable<bool> MesosDnsHttp::Impl::send(Stream& stream, MesosDnsReply reply, unsigned version, bool keep_alive, bool head) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  http::response<http::empty_body> response(http::status(reply.status), version);
  response.set(http::field::server, "loadstar/" LS_VERSION);
  response.set(http::field::content_type, reply.type);
  if (reply.status == 405) response.set(http::field::allow, "GET");
  if (reply.status == 503) response.set(http::field::retry_after, "1");
  if (!reply.location.empty()) response.set(http::field::location, reply.location);
  response.content_length(reply.body.size());
  response.keep_alive(keep_alive);
  http::response_serializer<http::empty_body> serializer(response);
  struct Large {
    unsigned& count;
    bool held;
    ~Large() { count -= held; }
  } counted{large, reply.body.size() > settings.large_bytes};
  large += counted.held;
  stream.expires_after(settings.idle);
  co_await http::async_write_header(stream, serializer, token);
  for (size_t at = 0; !ec && !head && at < reply.body.size(); at += kPiece) {
    stream.expires_after(settings.idle);
    co_await asio::async_write(stream, asio::buffer(reply.body.data() + at, std::min(kPiece, reply.body.size() - at)), token);
  }
  co_return !ec && keep_alive;
}

asio::awaitable<void> MesosDnsHttp::Impl::beat_loop() {
  ErrorCode ec;
  while (!stopping) {
    bind_all();
    beats++;
    beat.expires_after(std::chrono::seconds(1));
    co_await beat.async_wait(asio::redirect_error(asio::use_awaitable, ec));
  }
}

void MesosDnsHttp::Impl::stop() {
  stopping = true;
  ErrorCode ignored;
  for (auto& l : listeners) l->acceptor.close(ignored);
  beat.cancel();
  // Each session then finds its operation aborted and returns; the loop ends when the last one has.
  for (auto* s : open) s->socket().close(ignored);
}

MesosDnsHttp::MesosDnsHttp(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<MesosDnsHttp>> MesosDnsHttp::start(Settings settings, MesosDnsProvider& provider) {
  auto impl = std::make_unique<Impl>(std::move(settings), provider);
  impl->bind_all();
  asio::co_spawn(impl->io, impl->beat_loop(), asio::detached);
  try {
    impl->thread = std::thread([i = impl.get()] { i->io.run(); });
  } catch (const std::system_error& e) {
    return fail(e.code(), "start the Mesos-DNS API's thread");
  }
  return std::unique_ptr<MesosDnsHttp>(new MesosDnsHttp(std::move(impl)));
}

MesosDnsHttp::~MesosDnsHttp() {
  asio::post(impl_->io, [i = impl_.get()] { i->stop(); });
  impl_->thread.join();
}

std::vector<MesosDnsHttp::ListenerView> MesosDnsHttp::listeners() const { return *impl_->view.get(); }
uint64_t MesosDnsHttp::beats() const { return impl_->beats; }

}  // namespace ls::api
