#include "derive/labels.h"

#include <charconv>

#include "derive/fold.h"

namespace ls {
namespace {

/// Decimal digits with an optional plus sign, as the former system read integers; saturates far above any port.
std::optional<uint64_t> parse_integer(std::string_view s) {
  if (s.starts_with('+')) s.remove_prefix(1);
  if (s.empty() || s.find_first_not_of("0123456789") != s.npos) return std::nullopt;
  uint64_t n = 0;
  auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  return ec == std::errc{} ? n : UINT64_MAX;
}

bool may_be_vip(const IpAddress& a) {
  if (a.is_zero()) return false;
  if (a.is_v4()) {
    uint32_t first = a.v4() >> 24;
    return first != 127 && first != 0 && first < 224;
  }
  static const IpAddress loopback = *IpAddress::parse("::1");
  return a != loopback && a.bytes()[0] != 0xff;
}

}  // namespace

bool is_vip_key(std::string_view key) { return key.starts_with("VIP") || key.starts_with("vip"); }

Result<VipTarget> parse_vip(std::string_view value) {
  size_t colon = value.rfind(':');
  if (colon == value.npos) return fail("\"" + std::string(value) + "\" has no port");
  auto left = value.substr(0, colon), right = value.substr(colon + 1);
  auto port = parse_integer(right);
  if (!port) return fail("\"" + std::string(right) + "\" is no port number");
  if (*port == 0) return fail("port 0 cannot be used");
  if (*port > UINT16_MAX) return fail("port " + std::string(right) + " is above 65535");
  VipTarget out;
  out.port = uint16_t(*port);
  auto literal = left;
  if (literal.size() > 2 && literal.front() == '[' && literal.back() == ']')
    literal = literal.substr(1, literal.size() - 2);
  out.address = IpAddress::parse(literal);
  if (out.address) {
    if (!may_be_vip(*out.address)) return fail("address " + out.address->text() + " cannot be a virtual address");
    out.label = out.address->text();
    return out;
  }
  out.label = std::string(left.substr(std::min(left.find_first_not_of('/'), left.size())));
  out.folded = fold_name(out.label);
  if (!usable_name(out.folded)) return fail("\"" + std::string(left) + "\" leaves no DNS name");
  return out;
}

std::optional<TaskVipLabel> parse_task_label(std::string_view key, std::string_view value) {
  static constexpr std::string_view kPrefix = "vip_port";
  if (key.size() <= kPrefix.size()) return std::nullopt;
  for (size_t i = 0; i < kPrefix.size(); i++) {
    char c = key[i] >= 'A' && key[i] <= 'Z' ? char(key[i] + 32) : key[i];
    if (c != kPrefix[i]) return std::nullopt;
  }
  auto index = parse_integer(key.substr(kPrefix.size()));
  if (!index) return std::nullopt;
  if (value.starts_with("tcp://")) return TaskVipLabel{*index, Protocol::kTcp, value.substr(6)};
  if (value.starts_with("udp://")) return TaskVipLabel{*index, Protocol::kUdp, value.substr(6)};
  return std::nullopt;
}

}  // namespace ls
