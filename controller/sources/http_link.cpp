#include "sources/http_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <charconv>
#include <optional>
#include <vector>

namespace ls {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using Code = boost::system::error_code;

constexpr size_t kReadBytes = 64 * 1024;  // one read; Beast reads no more than this at a time anyway

std::error_code to_std(const Code& ec) {
  if (ec == beast::error::timeout) return std::make_error_code(std::errc::timed_out);
  return ec;
}

Millis seconds_of(std::string_view text) {
  int64_t seconds = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (ec != std::errc() || end != text.data() + text.size()) return Millis(0);
  return std::chrono::seconds(std::clamp<int64_t>(seconds, 0, 3600));
}

// getaddrinfo cannot be interrupted; the look-up is left behind when its time is over.
struct Lookup {
  explicit Lookup(const asio::any_io_executor& ex) : resolver(ex), over(ex) {}
  tcp::resolver resolver;
  asio::steady_timer over;
  Code ec;
  std::vector<tcp::endpoint> found;
  bool done = false;
};

}  // namespace

struct TlsClient::Impl {
  ssl::context context{ssl::context::tls_client};
};

TlsClient::TlsClient() : impl_(std::make_unique<Impl>()) {}
TlsClient::~TlsClient() = default;

Result<std::shared_ptr<TlsClient>> TlsClient::load(const Files& files) {
  std::shared_ptr<TlsClient> out(new TlsClient);
  auto& context = out->impl_->context;
  Code ec;
  context.set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
                      ec);
  if (ec) return fail(to_std(ec), "set up TLS");
  context.set_verify_mode(ssl::verify_peer, ec);
  if (files.ca_file.empty()) {
    context.set_default_verify_paths(ec);
    if (ec) return fail(to_std(ec), "load the system's certificate authorities");
  } else {
    context.load_verify_file(files.ca_file, ec);
    if (ec) return fail(to_std(ec), fmt::format("load certificate authorities from {}", files.ca_file));
  }
  if (!files.cert_file.empty()) {
    context.use_certificate_chain_file(files.cert_file, ec);
    if (ec) return fail(to_std(ec), fmt::format("load client certificate {}", files.cert_file));
    context.use_private_key_file(files.key_file, ssl::context::pem, ec);
    if (ec) return fail(to_std(ec), fmt::format("load client key {}", files.key_file));
  }
  return out;
}

struct HttpLink::Impl {
  using Tls = beast::ssl_stream<beast::tcp_stream>;

  explicit Impl(asio::any_io_executor e) : executor(std::move(e)), chunk(kReadBytes) {
    buffer.reserve(kReadBytes);
  }

  beast::tcp_stream* tcp_layer() {
    if (tls) return &tls->next_layer();
    return plain ? &*plain : nullptr;
  }

  asio::awaitable<Result<std::vector<tcp::endpoint>>> look_up(const MasterAddress& to, Millis limit);

  template <class Stream>
  asio::awaitable<Code> exchange(Stream& stream, http::request<http::string_body>& request) {
    Code ec;
    co_await http::async_write(stream, request, asio::redirect_error(asio::use_awaitable, ec));
    if (!ec) {
      co_await http::async_read_header(stream, buffer, *parser,
                                       asio::redirect_error(asio::use_awaitable, ec));
    }
    co_return ec;
  }

  asio::awaitable<Result<HttpHead>> ask(http::request<http::string_body>& request, Millis limit);

  template <class Stream>
  asio::awaitable<Code> read_body(Stream& stream) {
    Code ec;
    co_await http::async_read_some(stream, buffer, *parser, asio::redirect_error(asio::use_awaitable, ec));
    co_return ec;
  }

  asio::any_io_executor executor;
  std::shared_ptr<TlsClient> files;  // outlives the stream made of it
  std::optional<beast::tcp_stream> plain;
  std::optional<Tls> tls;
  std::weak_ptr<Lookup> lookup;
  beast::flat_buffer buffer;
  std::vector<char> chunk;
  std::optional<http::response_parser<http::buffer_body>> parser;
  std::string host;
  bool closed = false;
};

HttpLink::HttpLink(asio::any_io_executor executor) : impl_(std::make_shared<Impl>(std::move(executor))) {}
HttpLink::~HttpLink() {
  close();
}

void HttpLink::close() {
  impl_->closed = true;
  if (auto l = impl_->lookup.lock()) l->over.cancel();
  if (auto* layer = impl_->tcp_layer()) layer->close();
}

asio::awaitable<Result<std::vector<tcp::endpoint>>> HttpLink::Impl::look_up(const MasterAddress& to,
                                                                            Millis limit) {
  Code ec;
  auto literal = asio::ip::make_address(to.host, ec);
  if (!ec) {
    std::vector<tcp::endpoint> one{tcp::endpoint(literal, to.port)};
    co_return one;
  }
  auto l = std::make_shared<Lookup>(executor);
  lookup = l;
  l->over.expires_after(limit);
  l->resolver.async_resolve(to.host, std::to_string(to.port), tcp::resolver::numeric_service,
                            [l](const Code& e, const tcp::resolver::results_type& results) {
                              l->ec = e;
                              for (const auto& r : results) l->found.push_back(r.endpoint());
                              l->done = true;
                              l->over.cancel();
                            });
  ec = {};
  co_await l->over.async_wait(asio::redirect_error(asio::use_awaitable, ec));
  if (!l->done) {
    auto why = closed ? std::errc::operation_canceled : std::errc::timed_out;
    co_return fail(std::make_error_code(why), fmt::format("look up {}", to.host));
  }
  if (l->ec) co_return fail(to_std(l->ec), fmt::format("look up {}", to.host));
  co_return std::move(l->found);
}

asio::awaitable<Result<>> HttpLink::connect(const MasterAddress& to, std::shared_ptr<TlsClient> tls,
                                            Millis limit) {
  auto& m = *impl_;
  m.files = std::move(tls);
  m.host = to.text();
  auto found = co_await m.look_up(to, limit);
  if (!found) co_return tl::make_unexpected(std::move(found.error()));
  if (m.closed) co_return fail(ECANCELED, "connect");
  if (m.files) {
    m.tls.emplace(m.executor, m.files->impl_->context);
  } else {
    m.plain.emplace(m.executor);
  }
  auto& layer = *m.tcp_layer();
  Code ec;
  layer.expires_after(limit);
  co_await layer.async_connect(*found, asio::redirect_error(asio::use_awaitable, ec));
  if (ec) co_return fail(to_std(ec), "connect");
  if (m.closed) co_return fail(ECANCELED, "connect");
  Code ignored;
  layer.socket().set_option(tcp::no_delay(true), ignored);
  if (!m.tls) co_return Result<>{};

  Code is_name;
  (void)asio::ip::make_address(to.host, is_name);
  // Server name indication takes names only (RFC 6066 section 3).
  if (is_name && SSL_set_tlsext_host_name(m.tls->native_handle(), to.host.c_str()) != 1) {
    co_return fail(EINVAL, "set the TLS server name");
  }
  m.tls->set_verify_callback(ssl::host_name_verification(to.host), ec);
  if (ec) co_return fail(to_std(ec), "set up TLS");
  layer.expires_after(limit);
  co_await m.tls->async_handshake(ssl::stream_base::client, asio::redirect_error(asio::use_awaitable, ec));
  if (ec) {
    long verdict = SSL_get_verify_result(m.tls->native_handle());
    std::string why =
        verdict == X509_V_OK ? "" : fmt::format(" ({})", X509_verify_cert_error_string(verdict));
    co_return fail(to_std(ec), fmt::format("TLS handshake{}", why));
  }
  co_return Result<>{};
}

asio::awaitable<Result<HttpHead>> HttpLink::post(const std::string& path, const std::string& body,
                                                 const std::string& authorization, Millis limit) {
  auto& m = *impl_;
  if (m.closed || !m.tcp_layer()) co_return fail(ECANCELED, "post");
  http::request<http::string_body> request(http::verb::post, path, 11);
  request.set(http::field::host, m.host);
  request.set(http::field::user_agent, "loadstar/" LS_VERSION);
  // Compared as text by the master: a charset or other letter case makes it 415.
  request.set(http::field::content_type, "application/json");
  request.set(http::field::accept, "application/json");
  if (!authorization.empty()) request.set(http::field::authorization, authorization);
  request.body() = body;
  request.prepare_payload();
  co_return co_await m.ask(request, limit);
}

asio::awaitable<Result<HttpHead>> HttpLink::get(const std::string& path, Millis limit, const std::string& authorization) {
  auto& m = *impl_;
  if (m.closed || !m.tcp_layer()) co_return fail(ECANCELED, "get");
  http::request<http::string_body> request(http::verb::get, path, 11);
  request.set(http::field::host, m.host);
  request.set(http::field::user_agent, "loadstar/" LS_VERSION);
  request.set(http::field::accept, "*/*");
  if (!authorization.empty()) request.set(http::field::authorization, authorization);
  co_return co_await m.ask(request, limit);
}

asio::awaitable<Result<HttpHead>> HttpLink::Impl::ask(http::request<http::string_body>& request, Millis limit) {
  auto& m = *this;
  m.parser.emplace();
  m.parser->body_limit(boost::none);  // a stream has no end
  m.tcp_layer()->expires_after(limit);
  Code ec;
  if (m.tls) {
    ec = co_await m.exchange(*m.tls, request);
  } else {
    ec = co_await m.exchange(*m.plain, request);
  }
  if (ec) co_return fail(to_std(ec), "wait for the answer");
  const auto& got = m.parser->get();
  HttpHead head;
  head.status = got.result_int();
  head.location = std::string(got[http::field::location]);
  head.content_type = std::string(got[http::field::content_type]);
  head.www_authenticate = std::string(got[http::field::www_authenticate]);
  head.retry_after = seconds_of(got[http::field::retry_after]);
  co_return head;
}

asio::awaitable<Result<std::string_view>> HttpLink::read_some(Millis limit) {
  auto& m = *impl_;
  while (true) {
    if (m.closed || !m.parser) co_return fail(ECANCELED, "read");
    if (m.parser->is_done()) co_return std::string_view();
    auto& body = m.parser->get().body();
    body.data = m.chunk.data();
    body.size = m.chunk.size();
    m.tcp_layer()->expires_after(limit);
    Code ec;
    if (m.tls) {
      ec = co_await m.read_body(*m.tls);
    } else {
      ec = co_await m.read_body(*m.plain);
    }
    size_t got = m.chunk.size() - m.parser->get().body().size;
    // need_buffer only says that more is there than fits.
    if (ec == http::error::need_buffer) ec = {};
    if (got > 0) co_return std::string_view(m.chunk.data(), got);
    if (ec == http::error::partial_message || ec == http::error::end_of_stream || ec == asio::error::eof) {
      co_return fail(ECONNRESET, "the peer closed the connection in the middle of the answer");
    }
    if (ec) co_return fail(to_std(ec), "read");
  }
}

asio::awaitable<Result<std::string>> HttpLink::read_text(size_t most, Millis limit) {
  std::string out;
  while (out.size() < most) {
    auto part = co_await read_some(limit);
    if (!part) co_return tl::make_unexpected(std::move(part.error()));
    if (part->empty()) break;
    out.append(part->substr(0, most - out.size()));
  }
  co_return out;
}

bool HttpLink::reusable() const {
  const auto& m = *impl_;
  return !m.closed && m.parser && m.parser->is_done() && m.parser->get().keep_alive();
}

}  // namespace ls
