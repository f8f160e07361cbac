#include "util/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ls {

IpAddress IpAddress::from_v4(uint32_t host_order) {
  IpAddress a;
  a.bytes_[10] = a.bytes_[11] = 0xff;
  for (int i = 0; i < 4; i++) a.bytes_[12 + i] = uint8_t(host_order >> (24 - 8 * i));
  return a;
}

IpAddress IpAddress::from_bytes(const uint8_t* sixteen) {
  IpAddress a;
  std::memcpy(a.bytes_.data(), sixteen, 16);
  return a;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  char buf[INET6_ADDRSTRLEN + 1];
  if (text.empty() || text.size() >= sizeof buf || text.find('\0') != text.npos) return std::nullopt;
  std::memcpy(buf, text.data(), text.size());
  buf[text.size()] = 0;
  in_addr v4;
  if (inet_pton(AF_INET, buf, &v4) == 1) return from_v4(ntohl(v4.s_addr));
  in6_addr v6;
  if (inet_pton(AF_INET6, buf, &v6) == 1) return from_bytes(v6.s6_addr);
  return std::nullopt;
}

bool IpAddress::is_v4() const {
  static constexpr std::array<uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(bytes_.data(), kMapped.data(), 12) == 0;
}

bool IpAddress::is_zero() const {
  auto begin = bytes_.begin() + (is_v4() ? 12 : 0);
  return std::all_of(begin, bytes_.end(), [](uint8_t b) { return b == 0; });
}

uint32_t IpAddress::v4() const {
  return uint32_t(bytes_[12]) << 24 | uint32_t(bytes_[13]) << 16 | uint32_t(bytes_[14]) << 8 | bytes_[15];
}

std::string IpAddress::text() const {
  char buf[INET6_ADDRSTRLEN];
  if (is_v4()) {
    inet_ntop(AF_INET, bytes_.data() + 12, buf, sizeof buf);
  } else {
    inet_ntop(AF_INET6, bytes_.data(), buf, sizeof buf);
  }
  return buf;
}

std::string_view to_text(Protocol p) { return p == Protocol::kTcp ? "tcp" : "udp"; }

std::optional<Protocol> parse_protocol(std::string_view s) {
  auto is = [&](std::string_view want) {
    return std::equal(s.begin(), s.end(), want.begin(), want.end(), [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? char(a + 32) : a) == b;
    });
  };
  if (is("tcp")) return Protocol::kTcp;
  if (is("udp")) return Protocol::kUdp;
  return std::nullopt;
}

std::string Endpoint::text() const {
  if (address.is_v4()) return address.text() + ":" + std::to_string(port);
  return "[" + address.text() + "]:" + std::to_string(port);
}

std::optional<Endpoint> Endpoint::parse(std::string_view s) {
  auto colon = s.rfind(':');
  if (colon == s.npos) return std::nullopt;
  auto host = s.substr(0, colon), port = s.substr(colon + 1);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto address = IpAddress::parse(host);
  if (!address || (!bracketed && host.find(':') != host.npos)) return std::nullopt;
  uint16_t number = 0;
  auto [end, err] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (err != std::errc{} || end != port.data() + port.size() || port.empty()) return std::nullopt;
  return Endpoint{*address, number};
}

std::string ServiceKey::text() const {
  return Endpoint{address, port}.text() + "/" + std::string(to_text(protocol));
}

size_t hash_bytes(const void* data, size_t len, size_t seed) {
  auto* p = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < len; i++) seed = (seed ^ p[i]) * 0x100000001b3ull;
  return seed;
}

}  // namespace ls
