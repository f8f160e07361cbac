#include "api/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "api/access_token.h"
#include "api/router.h"
#include "api/socket_file.h"
#include "util/log.h"
#include "util/unique_fd.h"

namespace ls::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Local = asio::local::stream_protocol;
using Tcp = asio::ip::tcp;
using Any = asio::generic::stream_protocol;
using Stream = beast::basic_stream<Any>;
using ErrorCode = boost::system::error_code;

constexpr uint32_t kHeaderBytes = 8 * 1024;
constexpr uint64_t kBodyBytes = 64 * 1024;
constexpr unsigned kRefusing = 64;  // connections that are being told that there are too many
constexpr auto kBindAgain = std::chrono::seconds(5);  // an address may come later than the daemon

/// One connection.
struct Peer {
  explicit Peer(Any::socket socket) : stream(std::move(socket)) {}
  Stream stream;
  std::optional<IpAddress> address;  ///< over TCP
  std::string text;                  ///< over TCP, with the port
};

IpAddress address_of(const asio::ip::address& a) {
  if (a.is_v4()) return IpAddress::from_v4(a.to_v4().to_uint());
  auto bytes = a.to_v6().to_bytes();
  return IpAddress::from_bytes(bytes.data());
}

Tcp::endpoint endpoint_of(const Endpoint& e) {
  if (e.address.is_v4()) return {asio::ip::address_v4(e.address.v4()), e.port};
  asio::ip::address_v6::bytes_type bytes;
  std::copy(e.address.bytes().begin(), e.address.bytes().end(), bytes.begin());
  return {asio::ip::address_v6(bytes), e.port};
}

/// One address of Settings::listen.
struct Listener {
  Listener(asio::io_context& io, const Endpoint& at) : address(at), acceptor(io), pause(io) {}
  const Endpoint address;
  Tcp::acceptor acceptor;
  asio::steady_timer pause;
};

http::response<http::string_body> to_http(Reply r, const http::request<http::string_body>& request) {
  http::response<http::string_body> out(http::status(r.status), request.version());
  out.set(http::field::server, "loadstar/" LS_VERSION);
  if (!r.type.empty()) out.set(http::field::content_type, r.type);
  for (auto& [name, value] : r.headers) out.set(name, value);
  out.keep_alive(request.keep_alive());
  out.body() = std::move(r.body);
  return out;
}

/// The status that tells a client what was wrong with its request; 0: it left, there is nobody to tell.
unsigned status_of(ErrorCode ec) {
  if (ec == http::error::header_limit) return 431;
  if (ec == http::error::body_limit) return 413;
  bool left = ec == http::error::end_of_stream || ec == http::error::partial_message;
  return ec.category() == ErrorCode(http::error::bad_method).category() && !left ? 400 : 0;
}

}  // namespace

struct Server::Impl {
  Impl(Settings s, Provider& p, SocketFile f)
      : settings(std::move(s)), provider(p), router(p), file(std::move(f)), acceptor(*io), beat(*io) {}

  asio::awaitable<void> accept_loop();
  asio::awaitable<void> listen_loop(Listener& listener);
  Result<> bind(Listener& listener);
  void take(Tcp::socket socket);
  void begin(std::shared_ptr<Peer> peer, bool room);
  asio::awaitable<void> refuse(std::shared_ptr<Peer> peer, unsigned limit);
  asio::awaitable<void> session(std::shared_ptr<Peer> peer);
  asio::awaitable<void> serve(Peer& peer);
  asio::awaitable<bool> answer(Peer& peer, const http::request<http::string_body>& request);
  asio::awaitable<Reply> finished(Reply promise);
  asio::awaitable<Reply> changed(Reply early, const Request& request);
  asio::awaitable<void> send_parts(Stream& stream, Reply reply, const http::request<http::string_body>& request);
  Caller caller_of(Peer& peer, const http::request<http::string_body>& request);
  void wake_waiting();
  void show_unbound();
  asio::awaitable<void> stream_events(Stream& stream, EventFilter filter, unsigned version);
  asio::awaitable<void> beat_loop();
  void stop();

  const Settings settings;
  Provider& provider;
  Router router;
  SocketFile file;
  // Shared with the wake-up calls that an event publisher may still hold when the server ends.
  std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
  Local::acceptor acceptor;
  asio::steady_timer beat;
  std::vector<LoopView> own_loops{{"admin", 0, 0}};
  std::atomic<uint64_t> beats{0};
  bool stopping = false;
  unsigned sessions = 0;
  std::set<Stream*> open;  ///< the streams of the sessions
  std::set<asio::steady_timer*> waiting;  ///< of deferred replies
  std::set<asio::steady_timer*> following;  ///< of replies that wait for a change of registrations
  RouterPosition told;                      ///< what the following ones know
  std::vector<std::unique_ptr<Listener>> listeners;
  std::map<Endpoint, std::string> unbound;  ///< addresses of `listeners` that could not be bound, and why
  unsigned tcp_sessions = 0, refusing = 0;
  std::map<IpAddress, unsigned> tcp_by_address;
  std::thread thread;
};

asio::awaitable<void> Server::Impl::accept_loop() {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  while (!stopping) {
    auto socket = co_await acceptor.async_accept(token);
    if (ec == asio::error::operation_aborted || stopping) co_return;
    if (ec) {
      // Out of descriptors or memory: the connection waits in the backlog, and trying at once again would spin.
      log::warn("api_accept_failed", {{"error", ec.message()}});
      asio::steady_timer pause(*io, std::chrono::milliseconds(100));
      co_await pause.async_wait(token);
      continue;
    }
    fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);  // Asio does not ask accept for it
    begin(std::make_shared<Peer>(Any::socket(std::move(socket))), sessions < settings.max_connections);
  }
}

Result<> Server::Impl::bind(Listener& l) {
  ErrorCode ec, ignored;
  auto at = endpoint_of(l.address);
  l.acceptor.open(at.protocol(), ec);
  if (!ec) fcntl(l.acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  if (!ec) l.acceptor.set_option(Tcp::acceptor::reuse_address(true), ec);
  if (!ec && at.address().is_v6()) l.acceptor.set_option(asio::ip::v6_only(true), ec);
  if (!ec) l.acceptor.bind(at, ec);
  if (!ec) l.acceptor.listen(1024, ec);
  if (!ec) return {};
  l.acceptor.close(ignored);
  return fail(ec, "listen on " + l.address.text());
}

asio::awaitable<void> Server::Impl::listen_loop(Listener& l) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  while (!stopping) {
    if (auto bound = bind(l); !bound) {
      if (!unbound.contains(l.address)) log::warn("api_listen_failed", {{"address", l.address.text()}, {"error", bound.error().text()}});
      unbound[l.address] = "the API: " + bound.error().text() + "; tried again every 5 s";
      show_unbound();
      l.pause.expires_after(kBindAgain);
      co_await l.pause.async_wait(token);
      continue;
    }
    unbound.erase(l.address);
    show_unbound();
    log::info("api_listening", {{"address", l.address.text()}});
    while (!stopping) {
      auto socket = co_await l.acceptor.async_accept(token);
      if (ec == asio::error::operation_aborted || stopping) co_return;
      if (ec) {
        log::warn("api_accept_failed", {{"error", ec.message()}});
        l.pause.expires_after(std::chrono::milliseconds(100));
        co_await l.pause.async_wait(token);
        continue;
      }
      take(std::move(socket));
    }
  }
}

void Server::Impl::show_unbound() {
  router.warnings.clear();
  for (auto& [address, why] : unbound) router.warnings.push_back(why);
}

void Server::Impl::take(Tcp::socket socket) {
  ErrorCode ec;
  fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
  auto remote = socket.remote_endpoint(ec);
  if (ec) return;  // left again
  socket.set_option(Tcp::no_delay(true), ec);
  // A follower whose machine is gone must not hold its place for ever.
  socket.set_option(asio::socket_base::keep_alive(true), ec);
  auto peer = std::make_shared<Peer>(Any::socket(std::move(socket)));
  peer->address = address_of(remote.address());
  peer->text = Endpoint{*peer->address, remote.port()}.text();
  auto from_there = tcp_by_address.find(*peer->address);
  bool room = tcp_sessions < settings.max_tcp_connections &&
              (from_there == tcp_by_address.end() || from_there->second < settings.max_tcp_per_address);
  begin(std::move(peer), room);
}

void Server::Impl::begin(std::shared_ptr<Peer> peer, bool room) {
  if (!room) {
    // Refusals are bounded as well: beyond that a connection is closed without a word.
    if (refusing >= kRefusing) return;
    refusing++;
    auto limit = peer->address ? settings.max_tcp_connections : settings.max_connections;
    asio::co_spawn(*io, refuse(std::move(peer), limit), asio::detached);
    return;
  }
  if (peer->address) {
    tcp_sessions++;
    tcp_by_address[*peer->address]++;
  } else {
    sessions++;
  }
  asio::co_spawn(*io, session(std::move(peer)), asio::detached);
}

asio::awaitable<void> Server::Impl::refuse(std::shared_ptr<Peer> peer, unsigned limit) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  auto body = error_reply(503, fmt::format("the API has {} connections open already", limit)).body;
  auto text = fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      body.size(), body);
  peer->stream.expires_after(std::chrono::seconds(1));
  co_await asio::async_write(peer->stream, asio::buffer(text), token);
  refusing--;
}

asio::awaitable<void> Server::Impl::session(std::shared_ptr<Peer> peer) {
  open.insert(&peer->stream);
  try {
    co_await serve(*peer);
  } catch (const std::exception& e) {
    // Only running out of memory gets here; it costs this connection and nothing else.
    log::error("api_session_failed", {{"error", e.what()}});
  }
  open.erase(&peer->stream);
  if (!peer->address) {
    sessions--;
    co_return;
  }
  tcp_sessions--;
  if (--tcp_by_address[*peer->address] == 0) tcp_by_address.erase(*peer->address);
}

asio::awaitable<void> Server::Impl::serve(Peer& peer) {
  auto& stream = peer.stream;
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
      auto status = status_of(ec);
      if (!status) co_return;
      http::request<http::string_body> none;
      none.version(11);
      none.keep_alive(false);
      auto response = to_http(error_reply(status, ec.message()), none);
      response.prepare_payload();
      stream.expires_after(settings.idle);
      co_await http::async_write(stream, response, token);
      co_return;
    }
    if (!co_await answer(peer, parser.get())) co_return;
  }
}

Caller Server::Impl::caller_of(Peer& peer, const http::request<http::string_body>& request) {
  if (!peer.address) return socket_caller(peer.stream.socket().native_handle(), settings.group);
  // Reading costs a file and is not needed to look at something.
  if (request.method() == http::verb::get || request.method() == http::verb::head) {
    return {.on_socket = false, .may_change = false, .refusal = "reading changes nothing", .text = peer.text};
  }
  auto out = tcp_caller(peer.text, request[http::field::authorization], settings.token_file);
  out.address = peer.address;
  return out;
}

/// False when the connection is to be closed.
asio::awaitable<bool> Server::Impl::answer(Peer& peer, const http::request<http::string_body>& request) {
  auto& stream = peer.stream;
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  Request asked{std::string(request.method_string()),
                std::string(request.target()),
                std::string(request[http::field::if_none_match]),
                std::string(request[http::field::if_match]),
                std::string(request[http::field::content_type]),
                request.body(),
                caller_of(peer, request),
                std::string(request[http::field::accept])};
  auto reply = router.handle(asked, own_loops);
  wake_waiting();
  if (reply.monitor && request.method() == http::verb::get) {
    co_await stream_events(stream, std::move(*reply.monitor), request.version());
    co_return false;
  }
  if (reply.later) reply = co_await finished(std::move(reply));
  if (reply.wait) reply = co_await changed(std::move(reply), asked);
  bool head = request.method() == http::verb::head;
  if (reply.parts && !head) {
    co_await send_parts(stream, std::move(reply), request);
    co_return false;
  }
  if (reply.shared && !head) {
    http::response<http::span_body<const char>> shared(http::status(reply.status), request.version());
    auto keep = reply.shared;
    shared.base() = to_http(std::move(reply), request).base();
    shared.body() = {keep->data(), keep->size()};
    shared.prepare_payload();
    stream.expires_after(settings.idle);
    co_await http::async_write(stream, shared, token);
    co_return !ec && shared.keep_alive();
  }
  auto response = to_http(std::move(reply), request);
  if (response.result() != http::status::no_content && response.result() != http::status::not_modified) response.prepare_payload();
  if (head) response.body().clear();  // the length of what GET would send stays in the header
  stream.expires_after(settings.idle);
  co_await http::async_write(stream, response, token);
  co_return !ec && response.keep_alive();
}

/// Handles the request again when registrations change, until there is something new or its time is over.
asio::awaitable<Reply> Server::Impl::changed(Reply early, const Request& request) {
  auto until = std::chrono::steady_clock::now() + std::min(*early.wait, settings.max_wait);
  asio::steady_timer timer(*io);
  while (early.wait && !stopping && std::chrono::steady_clock::now() < until) {
    timer.expires_at(until);
    following.insert(&timer);
    ErrorCode ended;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
    following.erase(&timer);
    early = router.handle(request, own_loops);
  }
  co_return early;
}

void Server::Impl::wake_waiting() {
  auto now = router.position();
  if (now == told) return;
  told = std::move(now);
  for (auto* timer : following) timer->cancel();
}

/// A body that is made while it is sent. The connection ends with it.
asio::awaitable<void> Server::Impl::send_parts(Stream& stream, Reply reply, const http::request<http::string_body>& request) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  auto parts = std::move(reply.parts);
  http::response<http::empty_body> head;
  head.base() = to_http(std::move(reply), request).base();
  head.version(request.version());
  head.keep_alive(false);
  bool chunked = request.version() >= 11;  // an HTTP/1.0 client reads until the end
  head.chunked(chunked);
  http::response_serializer<http::empty_body> serializer(head);
  stream.expires_after(settings.idle);
  co_await http::async_write_header(stream, serializer, token);
  while (!ec && !stopping) {
    auto text = parts();
    if (!text) break;
    if (text->empty()) {
      co_await asio::post(*io, asio::use_awaitable);
      continue;
    }
    stream.expires_after(settings.idle);
    if (chunked) co_await asio::async_write(stream, http::make_chunk(asio::buffer(*text)), token);
    else co_await asio::async_write(stream, asio::buffer(*text), token);
  }
  if (!ec && !stopping && chunked) co_await asio::async_write(stream, http::make_chunk_last(), token);
  stream.socket().shutdown(Any::socket::shutdown_send, ec);
}

/// Waits for whoever makes a deferred reply, without holding up anybody else.
asio::awaitable<Reply> Server::Impl::finished(Reply promise) {
  struct Slot {
    explicit Slot(asio::io_context& io) : timer(io) {}
    asio::steady_timer timer;
    std::function<Reply()> make;
  };
  auto slot = std::make_shared<Slot>(*io);
  auto patience = promise.patience.value_or(settings.deferred);
  slot->timer.expires_after(patience);
  promise.later([io = io, weak = std::weak_ptr(slot)](std::function<Reply()> make) {
    asio::post(*io, [weak, make = std::move(make)]() mutable {
      if (auto s = weak.lock()) {
        s->make = std::move(make);
        s->timer.cancel();
      }
    });
  });
  waiting.insert(&slot->timer);
  ErrorCode ended;
  co_await slot->timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
  waiting.erase(&slot->timer);
  if (slot->make) co_return slot->make();
  if (stopping) co_return error_reply(503, "the daemon ends");
  co_return error_reply(504, "no answer in " + duration_text(std::chrono::duration<double>(patience).count()));
}

asio::awaitable<void> Server::Impl::stream_events(Stream& stream, EventFilter filter, unsigned version) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  http::response<http::empty_body> head(http::status::ok, version);
  head.set(http::field::server, "loadstar/" LS_VERSION);
  head.set(http::field::content_type, "application/x-ndjson");
  head.keep_alive(false);
  bool chunked = version >= 11;  // an HTTP/1.0 client reads until the end
  head.chunked(chunked);
  http::response_serializer<http::empty_body> serializer(head);

  struct Wake {
    explicit Wake(asio::io_context& io) : timer(io, asio::steady_timer::time_point::max()) {}
    asio::steady_timer timer;
    bool due = false, gone = false;
    void now() {
      due = true;
      timer.cancel();
    }
  };
  auto wake = std::make_shared<Wake>(*io);
  // Subscribed before the header goes out: a client that has the header misses nothing.
  struct Subscription {
    EventHub& hub;
    std::shared_ptr<EventStream> events;
    ~Subscription() { hub.unsubscribe(events); }
  } subscription{provider.events(), provider.events().subscribe(
                                        std::move(filter),
                                        [io = io, weak = std::weak_ptr(wake)] {
                                          asio::post(*io, [weak] {
                                            if (auto w = weak.lock()) w->now();
                                          });
                                        },
                                        settings.monitor_events)};

  stream.expires_after(settings.idle);
  co_await http::async_write_header(stream, serializer, token);
  if (ec) co_return;
  // A client says nothing more; the read ends when it leaves, which is the only way this stream normally ends.
  stream.expires_never();
  char ignored[256];
  asio::co_spawn(
      *io,
      [](Stream& s, std::shared_ptr<Wake> w, char* to, size_t size) -> asio::awaitable<void> {
        ErrorCode read_ec;
        while (!read_ec) {
          co_await s.async_read_some(asio::buffer(to, size), asio::redirect_error(asio::use_awaitable, read_ec));
        }
        w->gone = true;
        w->now();
      }(stream, wake, ignored, sizeof ignored),
      asio::detached);

  while (!stopping && !wake->gone && !ec) {
    if (!wake->due) {
      ErrorCode cancelled;
      co_await wake->timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
      continue;
    }
    wake->due = false;
    auto taken = subscription.events->take();
    std::string text;
    for (auto& e : taken.values) {
      text += nlohmann::json(e).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    }
    if (taken.refused) text += fmt::format("{{\"type\":\"lost\",\"count\":{}}}\n", taken.refused);
    if (text.empty()) continue;
    stream.expires_after(settings.idle);  // of this write; the pending read keeps waiting
    if (chunked) co_await asio::async_write(stream, http::make_chunk(asio::buffer(text)), token);
    else co_await asio::async_write(stream, asio::buffer(text), token);
  }
  // The reader must not outlive the stream it reads from.
  if (!ec && !wake->gone && chunked) co_await asio::async_write(stream, http::make_chunk_last(), token);
  stream.cancel();
  while (!wake->gone) {
    ErrorCode cancelled;
    co_await wake->timer.async_wait(asio::redirect_error(asio::use_awaitable, cancelled));
  }
}

asio::awaitable<void> Server::Impl::beat_loop() {
  ErrorCode ec;
  auto due = std::chrono::steady_clock::now();
  while (!stopping) {
    due += std::chrono::seconds(1);
    beat.expires_at(due);
    co_await beat.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    auto late = std::chrono::steady_clock::now() - due;
    own_loops[0].lag_s = std::max(0.0, std::chrono::duration<double>(late).count());
    if (late > std::chrono::seconds(1)) due += late;  // missed beats are not made up for
    router.tick();
    wake_waiting();
    beats++;
  }
}

void Server::Impl::stop() {
  stopping = true;
  ErrorCode ignored;
  acceptor.close(ignored);
  beat.cancel();
  // Each session then finds its operation aborted and returns; the loop ends when the last one has.
  for (auto* s : open) s->socket().close(ignored);
  for (auto* timer : waiting) timer->cancel();
  for (auto* timer : following) timer->cancel();
  for (auto& l : listeners) {
    l->acceptor.close(ignored);
    l->pause.cancel();
  }
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Server>> Server::start(Settings settings, Provider& provider) {
  auto file = SocketFile::listen(settings.socket, settings.group);
  if (!file) return pass(std::move(file.error()), "start the API");
  auto impl = std::make_unique<Impl>(std::move(settings), provider, std::move(*file));
  UniqueFd fd(fcntl(impl->file.fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return fail(errno, "start the API: duplicate its socket");
  ErrorCode ec;
  impl->acceptor.assign(Local(), fd.get(), ec);
  if (ec) return fail(ec, "start the API: listen");
  fd.release();
  asio::co_spawn(*impl->io, impl->accept_loop(), asio::detached);
  asio::co_spawn(*impl->io, impl->beat_loop(), asio::detached);
  for (auto& address : impl->settings.listen) {
    impl->listeners.push_back(std::make_unique<Listener>(*impl->io, address));
    asio::co_spawn(*impl->io, impl->listen_loop(*impl->listeners.back()), asio::detached);
  }
  impl->thread = std::thread([i = impl.get()] { i->io->run(); });
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::~Server() {
  asio::post(*impl_->io, [i = impl_.get()] { i->stop(); });
  impl_->thread.join();
}

std::function<void(std::function<void()>)> Server::poster() const {
  // The loop runs in the server's own thread only, so what runs finds the server there.
  return [io = impl_->io, i = impl_.get()](std::function<void()> work) {
    asio::post(*io, [i, work = std::move(work)] {
      work();
      i->wake_waiting();
    });
  };
}

uint64_t Server::beats() const { return impl_->beats; }

}  // namespace ls::api
