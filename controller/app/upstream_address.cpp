#include "app/upstream_address.h"

#include <fmt/format.h>

#include <optional>

namespace ls {
namespace {

std::optional<uint16_t> port_of(std::string_view digits) {
  if (digits.empty() || digits.size() > 5 || digits.front() == '0') return std::nullopt;
  uint32_t port = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    port = port * 10 + uint32_t(c - '0');
  }
  if (port > 65535) return std::nullopt;
  return uint16_t(port);
}

/// The text in an error is no longer than a line and holds no control characters.
std::string shown(std::string_view text) {
  std::string out;
  for (unsigned char c : text.substr(0, 100)) out += c < 0x20 || c == 0x7f ? '?' : char(c);
  return out + (text.size() > 100 ? "..." : "");
}

}  // namespace

Result<Endpoint> parse_upstream(std::string_view text, uint16_t default_port) {
  auto bad = [&](std::string_view why) { return fail(fmt::format("\"{}\" {}", shown(text), why)); };
  constexpr std::string_view kNoAddress = "is no IPv4 or IPv6 address, with or without a port";
  auto host = text;
  std::optional<std::string_view> port;
  bool bracket = text.starts_with('[');
  if (bracket) {
    auto end = text.find(']');
    if (end == text.npos) return bad("has no closing bracket");
    host = text.substr(1, end - 1);
    auto rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return bad("has something other than a port behind the bracket");
    if (!rest.empty()) port = rest.substr(1);
  } else if (auto colon = text.find(':'); colon != text.npos && text.find(':', colon + 1) == text.npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  bool colons = host.find(':') != host.npos;
  auto address = IpAddress::parse(host);
  if (!address || bracket != (bracket && colons)) return bad(kNoAddress);
  if (!port) return Endpoint{*address, default_port};
  auto number = port_of(*port);
  if (!number) return bad("has no port from 1 to 65535");
  return Endpoint{*address, *number};
}

}  // namespace ls
