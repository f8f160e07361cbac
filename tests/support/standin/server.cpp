#include "standin/server.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <nlohmann/json.hpp>

#include "sources/master_address.h"
#include "standin/model.h"

namespace ls::standin {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using Code = boost::system::error_code;
using Tls = beast::ssl_stream<beast::tcp_stream>;

constexpr uint64_t kRequestBytes = 1 << 20;

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  out.resize(static_cast<size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                                 reinterpret_cast<const unsigned char*>(text.data()),
                                                 static_cast<int>(text.size()))));
  return out;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

beast::tcp_stream& lowest(beast::tcp_stream& s) { return s; }
beast::tcp_stream& lowest(Tls& s) { return s.next_layer(); }

/// One record in HTTP chunks of `size` bytes, 0: one chunk. The large part is not copied when it is one chunk.
struct Framed {
  std::string head, tail;
  std::shared_ptr<const std::string> payload;
};

Framed frame(std::shared_ptr<const std::string> payload, size_t size) {
  std::string length = fmt::format("{}\n", payload->size());
  Framed out;
  if (size == 0) {
    out.head = fmt::format("{:x}\r\n{}", length.size() + payload->size(), length);
    out.payload = std::move(payload);
    out.tail = "\r\n";
    return out;
  }
  std::string all = length + *payload;
  for (size_t at = 0; at < all.size(); at += size) {
    auto part = std::string_view(all).substr(at, size);
    out.head += fmt::format("{:x}\r\n{}\r\n", part.size(), part);
  }
  out.payload = std::make_shared<const std::string>();
  return out;
}

}  // namespace

struct Server::Subscriber {
  explicit Subscriber(asio::io_context& io) : wake(io) {}
  std::deque<std::shared_ptr<const std::string>> queue;
  asio::steady_timer wake;
  Instant last_beat{};
  std::function<void()> close;
  bool closed = false;
  bool cut_mid = false;
};

struct Server::Reply {
  unsigned status = 200;
  std::string body, type = "text/plain; charset=utf-8", location;
  bool subscribe = false, hang = false;
};

Server::Server(asio::io_context& io, StandinOptions options, Backend& backend)
    : io_(io), options_(std::move(options)), backend_(backend) {}

Server::~Server() {
  *alive_ = false;
  drop(false);
}

Result<> Server::listen() {
  if (!options_.cert_file.empty()) {
    Code ec;
    tls_ = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
    tls_->use_certificate_chain_file(options_.cert_file, ec);
    if (ec) return fail(ec, fmt::format("load certificate {}", options_.cert_file));
    tls_->use_private_key_file(options_.key_file, asio::ssl::context::pem, ec);
    if (ec) return fail(ec, fmt::format("load key {}", options_.key_file));
    if (!options_.client_ca_file.empty()) {
      tls_->load_verify_file(options_.client_ca_file, ec);
      if (ec) return fail(ec, fmt::format("load {}", options_.client_ca_file));
      tls_->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, ec);
      if (ec) return fail(ec, "set up TLS");
    }
  }
  for (const auto& text : options_.listen) {
    Master m;
    m.address = text;
    m.start_s = now_s();
    m.id = fmt::format("standin-{}-0", masters_.size() + 1);
    masters_.push_back(std::move(m));
    LS_TRY(up(masters_.size()));
  }
  if (masters_.empty()) return fail("no address to listen on");
  lead(1);
  return {};
}

Result<> Server::up(size_t master) {
  Master& m = masters_[master - 1];
  if (m.acceptor) return {};
  std::string text = m.address;
  bool any_port = text.ends_with(":0");
  if (any_port) text.back() = '1';  // the parser wants a port
  LS_ASSIGN(auto where, parse_master_address(text));
  Code ec;
  auto ip = asio::ip::make_address(where.host, ec);
  if (ec) return fail(ec, fmt::format("listen on {}", m.address));
  tcp::endpoint endpoint(ip, any_port ? 0 : where.port);
  auto acceptor = std::make_unique<tcp::acceptor>(io_);
  acceptor->open(endpoint.protocol(), ec);
  if (!ec) acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor->bind(endpoint, ec);
  if (!ec) acceptor->listen(asio::socket_base::max_listen_connections, ec);
  if (ec) return fail(ec, fmt::format("listen on {}", m.address));
  where.port = acceptor->local_endpoint(ec).port();
  m.address = where.text();
  m.acceptor = std::move(acceptor);
  asio::co_spawn(io_, accept_loop(master), asio::detached);
  return {};
}

void Server::down(size_t master) {
  masters_[master - 1].acceptor.reset();
  if (static_cast<int>(master) == leader_) lead(0);
}

void Server::lead(int master) {
  drop(false);
  leader_ = master;
  if (master == 0) return;
  Master& m = masters_[static_cast<size_t>(master) - 1];
  m.id = fmt::format("standin-{}-{}", master, ++elections_);
  m.elected_s = now_s();
}

size_t Server::subscribers() const {
  return static_cast<size_t>(std::count_if(streams_.begin(), streams_.end(), [](const auto& w) {
    auto s = w.lock();
    return s && !s->closed;
  }));
}

void Server::broadcast(std::string event) {
  auto shared = std::make_shared<const std::string>(std::move(event));
  for (auto& w : streams_) {
    auto s = w.lock();
    if (!s || s->closed) continue;
    s->queue.push_back(shared);
    s->wake.cancel();
  }
}

void Server::drop(bool mid) {
  for (auto& w : streams_) {
    auto s = w.lock();
    if (!s || s->closed) continue;
    if (mid) {
      s->cut_mid = true;
    } else {
      s->closed = true;
      if (s->close) s->close();
    }
    s->wake.cancel();
  }
  std::erase_if(streams_, [](const auto& w) { return w.expired(); });
}

void Server::set_heartbeat(Millis interval) {
  options_.heartbeat = interval;
  for (auto& w : streams_) {
    if (auto s = w.lock()) s->wake.cancel();
  }
}

bool Server::authorized(const std::string& header) const {
  bool needed = !options_.principal.empty() || !options_.token.empty();
  if (!needed) return true;
  if (!options_.principal.empty() && header == "Basic " + base64(options_.principal + ":" + options_.secret)) return true;
  return !options_.token.empty() && header == "token=" + options_.token;
}

Server::Reply Server::answer(size_t number, const std::string& method, const std::string& target,
                             const std::string& type, const std::string& accept, const std::string& authorization,
                             const std::string& body) {
  const Master& m = masters_[number - 1];
  std::string path = target.substr(0, target.find('?'));
  std::string inner = path.starts_with("/master/") ? path.substr(7) : path;
  Reply r;
  if (inner == "/health") return r;
  if (path == "/version") {
    r.type = "application/json";
    r.body = R"({"version":"1.12.0"})";
    return r;
  }
  bool redirect_path = inner == "/redirect";
  if (!redirect_path && inner != "/api/v1") {
    r.status = 404;
    r.body = "404 Not Found.";
    return r;
  }
  if (m.canned) {
    r.status = m.canned->first;
    r.body = m.canned->second;
    r.hang = r.status == 0;
    return r;
  }
  if (!redirect_path && !authorized(authorization)) {
    r.status = 401;
    r.body = "401 Unauthorized.";
    return r;
  }
  std::string to = !m.redirect.empty() ? m.redirect : leader_ > 0 ? masters_[static_cast<size_t>(leader_) - 1].address : "";
  if (to.empty()) {
    r.status = 503;
    r.body = "No leader elected";
    return r;
  }
  if (redirect_path || !m.redirect.empty() || static_cast<int>(number) != leader_) {
    r.status = 307;
    r.location = "//" + to + (redirect_path ? "" : "/master" + inner);
    return r;
  }
  if (method != "POST") {
    r.status = 405;
    r.body = fmt::format("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{}'.", method);
    return r;
  }
  if (type != "application/json") {
    r.status = type.empty() ? 400 : 415;
    r.body = type.empty() ? "Expecting 'Content-Type' to be present" : "Expecting 'Content-Type' of application/json";
    return r;
  }
  auto call = nlohmann::json::parse(body, nullptr, false);
  std::string what = call.is_object() && call.contains("type") && call["type"].is_string() ? call["type"] : "";
  if (what.empty()) {
    r.status = 400;
    r.body = call.is_discarded() ? "Failed to parse body into JSON" : "Expecting 'type' to be present";
    return r;
  }
  if (what == denied_) {
    r.status = 403;
    r.body = "Not authorized";
    return r;
  }
  if (!accept.empty() && accept.find("application/json") == std::string::npos && accept.find("*/*") == std::string::npos) {
    r.status = 406;
    r.body = "Expecting 'Accept' to allow 'application/json'";
    return r;
  }
  r.type = "application/json";
  if (what == "SUBSCRIBE") {
    r.subscribe = true;
  } else if (what == "GET_HEALTH") {
    r.body = R"({"type":"GET_HEALTH","get_health":{"healthy":true}})";
  } else if (what == "GET_STATE") {
    r.body = backend_.get_state();
  } else if (what == "GET_MASTER") {
    std::string info = "{\"id\":";
    quote(info, m.id);
    std::string at = m.address.substr(0, m.address.rfind(':'));
    info += fmt::format(",\"port\":{},\"pid\":\"master@{}\",\"hostname\":\"{}\",\"version\":\"1.12.0\"}}",
                        m.address.substr(m.address.rfind(':') + 1), m.address, at);
    r.body = fmt::format(
        "{{\"type\":\"GET_MASTER\",\"get_master\":{{\"master_info\":{},\"start_time\":{:.6f},\"elected_time\":{:.6f}}}}}",
        info, m.start_s, m.elected_s);
  } else {
    r.status = 400;
    r.type = "text/plain; charset=utf-8";
    r.body = "Failed to validate master::Call: Expecting 'type' to be present";
  }
  return r;
}

asio::awaitable<void> Server::accept_loop(size_t master) {
  auto alive = alive_;
  while (*alive) {
    auto* acceptor = masters_[master - 1].acceptor.get();
    if (!acceptor) co_return;
    Code ec;
    tcp::socket socket(io_);
    co_await acceptor->async_accept(socket, asio::redirect_error(asio::use_awaitable, ec));
    if (ec) co_return;
    Code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    if (tls_) {
      auto stream = std::make_shared<Tls>(beast::tcp_stream(std::move(socket)), *tls_);
      asio::co_spawn(io_, session(stream, master), asio::detached);
    } else {
      auto stream = std::make_shared<beast::tcp_stream>(std::move(socket));
      asio::co_spawn(io_, session(stream, master), asio::detached);
    }
  }
}

template <class Stream>
asio::awaitable<void> Server::session(std::shared_ptr<Stream> stream, size_t master) {
  auto alive = alive_;
  Code ec;
  if constexpr (std::is_same_v<Stream, Tls>) {
    co_await stream->async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, ec));
    if (ec) co_return;
  }
  beast::flat_buffer buffer;
  while (*alive) {
    http::request_parser<http::string_body> parser;
    parser.body_limit(kRequestBytes);
    co_await http::async_read(*stream, buffer, parser, asio::redirect_error(asio::use_awaitable, ec));
    if (ec || !*alive) co_return;
    const auto& request = parser.get();
    Reply reply = answer(master, std::string(request.method_string()), std::string(request.target()),
                         std::string(request[http::field::content_type]), std::string(request[http::field::accept]),
                         std::string(request[http::field::authorization]), request.body());
    if (reply.hang) {
      std::array<char, 1> more;
      co_await stream->async_read_some(asio::buffer(more), asio::redirect_error(asio::use_awaitable, ec));
      co_return;
    }
    if (reply.subscribe) {
      co_await events(stream);
      co_return;
    }
    http::response<http::string_body> response(static_cast<http::status>(reply.status), 11);
    response.keep_alive(request.keep_alive());
    if (!reply.location.empty()) response.set(http::field::location, reply.location);
    if (reply.status == 401) response.set(http::field::www_authenticate, "Basic realm=\"mesos-master-readwrite\"");
    if (!reply.body.empty()) response.set(http::field::content_type, reply.type);
    response.body() = std::move(reply.body);
    response.prepare_payload();
    co_await http::async_write(*stream, response, asio::redirect_error(asio::use_awaitable, ec));
    if (ec || !request.keep_alive()) co_return;
  }
}

template <class Stream>
asio::awaitable<void> Server::events(std::shared_ptr<Stream> stream) {
  auto alive = alive_;
  auto me = std::make_shared<Subscriber>(io_);
  me->close = [s = std::weak_ptr<Stream>(stream)] {
    if (auto alive_stream = s.lock()) lowest(*alive_stream).close();
  };
  std::erase_if(streams_, [](const auto& w) { return w.expired(); });
  streams_.push_back(me);
  ++subscribed_;
  const auto beat = std::make_shared<const std::string>(R"({"type":"HEARTBEAT"})");
  me->queue.push_back(std::make_shared<const std::string>(backend_.snapshot()));
  me->queue.push_back(beat);
  me->last_beat = std::chrono::steady_clock::now();

  // Nothing is expected from the client; this notices that it went.
  auto watch = [](std::shared_ptr<Stream> s, std::shared_ptr<Subscriber> who) -> asio::awaitable<void> {
    std::array<char, 64> ignored;
    Code ec;
    while (!ec) co_await s->async_read_some(asio::buffer(ignored), asio::redirect_error(asio::use_awaitable, ec));
    who->closed = true;
    who->wake.cancel();
  };
  asio::co_spawn(io_, watch(stream, me), asio::detached);

  Code ec;
  const std::string head =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n";
  co_await asio::async_write(*stream, asio::buffer(head), asio::redirect_error(asio::use_awaitable, ec));
  while (*alive && !ec && !me->closed) {
    if (!me->queue.empty()) {
      Framed f = frame(std::move(me->queue.front()), options_.chunk_size);
      me->queue.pop_front();
      std::array<asio::const_buffer, 3> parts{asio::buffer(f.head), asio::buffer(*f.payload), asio::buffer(f.tail)};
      co_await asio::async_write(*stream, parts, asio::redirect_error(asio::use_awaitable, ec));
      continue;
    }
    if (me->cut_mid) {
      const std::string half = "64\r\n94\n{\"type\":\"TASK_ADDED\",\"task_ad";
      co_await asio::async_write(*stream, asio::buffer(half), asio::redirect_error(asio::use_awaitable, ec));
      break;
    }
    me->wake.expires_at(me->last_beat + options_.heartbeat);
    Code woken;
    co_await me->wake.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    if (!*alive || me->closed) break;
    auto now = std::chrono::steady_clock::now();
    if (now >= me->last_beat + options_.heartbeat) {
      me->last_beat = now;
      if (!silent_) me->queue.push_back(beat);
    }
  }
  me->closed = true;
  lowest(*stream).close();
}

}  // namespace ls::standin
