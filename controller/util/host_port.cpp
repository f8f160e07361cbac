#include "util/host_port.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "util/address.h"

namespace ls {
namespace {

// RFC 1123 section 2.1, and the underscore that internal names often have. 253: RFC 1035 section 2.3.4 without the root.
constexpr size_t kMaxHost = 253;

bool plain(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

bool is_name(std::string_view s) { return !s.empty() && s.size() <= kMaxHost && plain(s) && s.front() != '.' && s.front() != '-'; }

/// "fd01::1", "fe80::1%eth0".
bool is_v6(std::string_view s) {
  auto scope = s.find('%');
  auto address = IpAddress::parse(s.substr(0, scope));
  if (!address || address->is_v4()) return false;
  return scope == s.npos || (scope + 1 < s.size() && s.size() <= kMaxHost && plain(s.substr(scope + 1)));
}

}  // namespace

std::string HostPort::text() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

Result<HostPort> parse_host_port(std::string_view text, std::optional<uint16_t> default_port, std::string_view what) {
  auto bad = [&](std::string_view why) { return fail(fmt::format("{} \"{}\": {}", what, text, why)); };
  std::string_view host = text;
  std::optional<std::string_view> digits;
  const bool bracketed = text.starts_with('[');
  if (bracketed) {
    auto end = text.find(']');
    if (end == text.npos) return bad("no closing bracket");
    host = text.substr(1, end - 1);
    auto rest = text.substr(end + 1);
    if (!rest.empty()) {
      if (rest.front() != ':') return bad("expected a colon after the bracket");
      digits = rest.substr(1);
    }
  } else if (auto colon = text.find(':'); colon != text.npos) {
    if (text.find(':', colon + 1) != text.npos) return bad("an IPv6 address needs brackets");
    host = text.substr(0, colon);
    digits = text.substr(colon + 1);
  }
  if (bracketed ? !is_v6(host) : !is_name(host)) return bad("not a host name or address");
  if (!digits && !default_port) return bad("no port");
  HostPort out{std::string(host), default_port.value_or(0)};
  if (digits) {
    unsigned value = 0;
    auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), value);
    if (error != std::errc() || end != digits->data() + digits->size() || value == 0 || value > 65535)
      return bad(fmt::format("\"{}\" is not a port", *digits));
    out.port = uint16_t(value);
  }
  return out;
}

}  // namespace ls
