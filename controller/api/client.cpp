#include "api/client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <charconv>

namespace ls::api {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Local = asio::local::stream_protocol;
using Stream = beast::basic_stream<Local>;
using ErrorCode = boost::system::error_code;
using OnLine = std::function<bool(std::string_view)>;

constexpr uint64_t kReplyBytes = 512ull << 20;  // far above the largest list; ends a run-away reply

struct Call {
  std::string socket, target, if_none_match;
  Millis timeout;
  const OnLine* on_line = nullptr;
  http::verb verb = http::verb::get;
  std::string body{};
};

tl::unexpected<Error> failed(const ErrorCode& ec, const std::string& doing) {
  if (ec == beast::error::timeout) return fail(ETIMEDOUT, doing);
  if (ec == http::error::end_of_stream || ec == http::error::partial_message) return fail(ECONNRESET, doing);
  return fail(std::error_code(ec), doing);
}

/// Hands out complete lines and keeps the rest. False: the reader has enough.
bool hand_out(std::string& body, const OnLine& on_line) {
  size_t from = 0;
  for (size_t end; (end = body.find('\n', from)) != body.npos; from = end + 1) {
    if (!on_line(std::string_view(body).substr(from, end - from))) return false;
  }
  body.erase(0, from);
  return true;
}

asio::awaitable<void> exchange(const Call& call, Result<HttpReply>& result) {
  ErrorCode ec;
  auto token = asio::redirect_error(asio::use_awaitable, ec);
  Stream stream(co_await asio::this_coro::executor);
  stream.expires_after(call.timeout);
  co_await stream.async_connect(Local::endpoint(call.socket), token);
  if (ec) {
    result = failed(ec, "connect to " + call.socket);
    co_return;
  }
  http::request<http::string_body> request(call.verb, call.target, 11, call.body);
  request.set(http::field::host, "localhost");
  request.set(http::field::user_agent, "loadstar/" LS_VERSION);
  if (call.verb == http::verb::post) request.content_length(call.body.size());
  if (!call.body.empty()) request.set(http::field::content_type, "application/json");
  if (!call.if_none_match.empty()) request.set(http::field::if_none_match, call.if_none_match);
  co_await http::async_write(stream, request, token);
  // A server that refuses may answer and close before it has read the request: the answer counts, so read anyway.
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(call.on_line ? boost::optional<uint64_t>{} : boost::optional<uint64_t>{kReplyBytes});
  co_await http::async_read_header(stream, buffer, parser, token);
  if (ec) {
    result = failed(ec, "read the answer of " + call.socket);
    co_return;
  }
  auto& message = parser.get();
  HttpReply reply;
  reply.status = message.result_int();
  reply.etag = std::string(message[http::field::etag]);
  reply.truncated = message["X-Loadstar-Truncated"] == "1";
  auto removed = message["X-Loadstar-Removed"];
  if (uint64_t n = 0; std::from_chars(removed.data(), removed.data() + removed.size(), n).ec == std::errc()) reply.removed = n;
  bool stream_lines = call.on_line && reply.status == 200;
  if (stream_lines) stream.expires_never();
  while (!parser.is_done()) {
    co_await http::async_read_some(stream, buffer, parser, token);
    if (ec) break;
    if (stream_lines && !hand_out(message.body(), *call.on_line)) {
      result = std::move(reply);
      co_return;
    }
  }
  if (ec) {
    result = failed(ec, "read the answer of " + call.socket);
    co_return;
  }
  reply.body = std::move(message.body());
  result = std::move(reply);
}

Result<HttpReply> run(Call call) {
  if (call.socket.size() > 107) return fail(ENAMETOOLONG, "connect to " + call.socket);  // sun_path
  Result<HttpReply> result = fail("no answer");
  try {
    asio::io_context io(1);
    asio::co_spawn(io, exchange(call, result), asio::detached);
    io.run();
  } catch (const std::exception& e) {
    return fail(std::string("talk to ") + call.socket + ": " + e.what());
  }
  return result;
}

}  // namespace

Client::Client(std::string socket, Millis timeout) : socket_(std::move(socket)), timeout_(timeout) {}

Result<HttpReply> Client::get(std::string_view target, std::string_view if_none_match) const {
  return run({socket_, std::string(target), std::string(if_none_match), timeout_});
}

Result<HttpReply> Client::post(std::string_view target, std::string body) const {
  return run({socket_, std::string(target), {}, timeout_, nullptr, http::verb::post, std::move(body)});
}

Result<HttpReply> Client::lines(std::string_view target, const OnLine& on_line) const {
  return run({socket_, std::string(target), {}, timeout_, &on_line});
}

}  // namespace ls::api
