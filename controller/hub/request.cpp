#include "hub/request.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>
#include <charconv>

#include "hub/record_text.h"

namespace ls::hub {
namespace {

namespace http = boost::beast::http;

constexpr size_t kMaxNode = 128;

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = char(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string unquoted(std::string_view t) {
  std::string out;
  for (size_t i = 0; i < t.size(); i++) {
    if (t[i] == '%' && i + 2 < t.size() && hex(t[i + 1]) >= 0 && hex(t[i + 2]) >= 0) {
      out += char(hex(t[i + 1]) << 4 | hex(t[i + 2]));
      i += 2;
    } else {
      out += t[i] == '+' ? ' ' : t[i];
    }
  }
  return out;
}

/// It is shown to people: printable ASCII only.
std::string node_name(std::string text) {
  if (text.size() > kMaxNode) text.resize(kMaxNode);
  for (char& c : text)
    if (c < 0x20 || c > 0x7e) c = '?';
  return text;
}

void read_query(std::string_view query, Request& out) {
  while (!query.empty()) {
    auto part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    auto equals = part.find('=');
    auto key = part.substr(0, equals);
    auto value = unquoted(equals == part.npos ? std::string_view() : part.substr(equals + 1));
    if (key == "run") out.run = value;
    if (key == "node") out.node = node_name(value);
    if (key != "after") continue;
    uint64_t n = 0;
    auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), n);
    if (ec == std::errc() && end == value.data() + value.size()) {
      out.after = n;
    } else {
      out.refusal = 400;
      out.why = "after is no number";
    }
  }
}

std::string_view reason(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    default:
      return "Service Unavailable";
  }
}

}  // namespace

std::optional<Request> read_request(std::string_view text, size_t& used) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(kMaxHead);
  boost::system::error_code ec;
  used = parser.put(boost::asio::buffer(text.data(), text.size()), ec);
  Request out;
  if (ec == http::error::need_more && text.size() < kMaxHead) return std::nullopt;
  if (ec == http::error::header_limit || ec == http::error::need_more) {
    out.refusal = 431;
    out.why = fmt::format("the head of the request is longer than {} octets", kMaxHead);
    return out;
  }
  if (ec || !parser.is_header_done()) {
    out.refusal = 400;
    out.why = ec ? ec.message() : "not a request";
    return out;
  }
  const auto& request = parser.get();
  out.keep_alive = request.keep_alive();
  std::string_view target(request.target().data(), request.target().size());
  auto path = target.substr(0, target.find('?'));
  if (path == "/v1/hub") out.what = Request::What::kStream;
  if (path == "/v1/hub/time") out.what = Request::What::kTime;
  std::string_view key(request[http::field::authorization].data(), request[http::field::authorization].size());
  constexpr std::string_view kScheme = "bearer ";
  bool bearer = key.size() > kScheme.size();
  for (size_t i = 0; bearer && i < kScheme.size(); i++) bearer = kScheme[i] == ' ' ? key[i] == ' ' : (key[i] | 0x20) == kScheme[i];
  if (bearer) out.token = key.substr(kScheme.size());
  if (out.what == Request::What::kOther) {
    out.refusal = 404;
    out.why = "there are /v1/hub and /v1/hub/time here";
  } else if (request.method() != http::verb::get) {
    out.refusal = 405;
    out.why = "only GET is answered";
  } else if (request.chunked() || (request.has_content_length() && request[http::field::content_length] != "0")) {
    out.refusal = 400;
    out.why = "a request has no body";
  } else if (target.size() > path.size()) {
    read_query(target.substr(path.size() + 1), out);
  }
  return out;
}

std::string answer_text(unsigned status, std::string_view json, bool keep_alive, std::string_view more) {
  return fmt::format("HTTP/1.1 {} {}\r\nServer: loadstar/" LS_VERSION
                     "\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: {}\r\n{}\r\n{}",
                     status, reason(status), json.size(), keep_alive ? "keep-alive" : "close", more, json);
}

std::string error_json(std::string_view why) {
  std::string out = "{\"error\":";
  append_json_text(out, why);
  return out + "}";
}

std::string stream_head() {
  return "HTTP/1.1 200 OK\r\nServer: loadstar/" LS_VERSION
         "\r\nContent-Type: application/recordio\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
}

bool same_text(std::string_view given, std::string_view secret) {
  // How long a secret is may be learnt, what is in it may not.
  return !secret.empty() && given.size() == secret.size() && CRYPTO_memcmp(given.data(), secret.data(), secret.size()) == 0;
}

}  // namespace ls::hub
