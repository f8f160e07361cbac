#include "sources/master_address.h"

#include <fmt/format.h>

#include <charconv>

namespace ls {
namespace {

constexpr size_t kQuotedBytes = 200;

bool host_ok(std::string_view host, bool bracketed) {
  if (host.empty() || host.size() > 255) return false;
  for (char c : host) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                 c == '-' || c == '_';
    if (!plain && !(bracketed && (c == ':' || c == '%'))) return false;
  }
  return true;
}

}  // namespace

std::string MasterAddress::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Result<MasterAddress> parse_master_address(std::string_view text, uint16_t default_port) {
  std::string_view host = text, port;
  bool bracketed = !text.empty() && text.front() == '[';
  bool has_port = false;
  if (bracketed) {
    size_t end = text.find(']');
    if (end == std::string_view::npos) return fail(fmt::format("master \"{}\": no closing bracket", text));
    host = text.substr(1, end - 1);
    std::string_view rest = text.substr(end + 1);
    if (!rest.empty()) {
      if (rest.front() != ':')
        return fail(fmt::format("master \"{}\": expected a colon after the bracket", text));
      port = rest.substr(1);
      has_port = true;
    }
  } else if (size_t colon = text.find(':'); colon != std::string_view::npos) {
    if (text.find(':', colon + 1) != std::string_view::npos) {
      return fail(fmt::format("master \"{}\": an IPv6 address needs brackets", text));
    }
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (!host_ok(host, bracketed)) return fail(fmt::format("master \"{}\": not a host name or address", text));
  MasterAddress out{std::string(host), default_port};
  if (has_port) {
    unsigned value = 0;
    auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), value);
    if (ec != std::errc() || end != port.data() + port.size() || value == 0 || value > 65535) {
      return fail(fmt::format("master \"{}\": \"{}\" is not a port", text, port));
    }
    out.port = static_cast<uint16_t>(value);
  }
  return out;
}

Result<RedirectTarget> parse_location(std::string_view location, const MasterAddress& asked,
                                      std::string_view path, bool tls) {
  RedirectTarget out{asked, std::string(path)};
  std::string_view rest = location;
  if (size_t scheme = rest.find("://"); scheme != std::string_view::npos && scheme < rest.find('/')) {
    rest.remove_prefix(scheme + 1);
  }
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
    auto master = parse_master_address(authority, tls ? 443 : 80);
    if (!master)
      return pass(std::move(master.error()), fmt::format("redirect to \"{}\"", quote_answer(location)));
    out.master = std::move(*master);
    rest.remove_prefix(authority.size());
  } else if (!rest.starts_with("/")) {
    return fail(fmt::format("redirect to \"{}\": neither a host nor a path", quote_answer(location)));
  }
  rest = rest.substr(0, rest.find('#'));
  if (rest.empty()) return out;
  for (char c : rest) {
    if (c <= ' ' || c == '\x7f')
      return fail(fmt::format("redirect to \"{}\": bad path", quote_answer(location)));
  }
  out.path = rest;
  return out;
}

std::string quote_answer(std::string_view body) {
  std::string out(body.substr(0, kQuotedBytes));
  for (char& c : out) {
    auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u >= 0x7f) c = ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace ls
