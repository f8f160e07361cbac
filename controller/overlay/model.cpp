#include "overlay/model.h"

#include <fmt/format.h>

#include <algorithm>

#include "overlay/number.h"

namespace ls::overlay {

Number number_of(const IpAddress& a) {
  Number n = 0;
  for (uint8_t b : a.bytes()) n = n << 8 | b;
  return n;
}

IpAddress address_of(Number n) {
  uint8_t bytes[16];
  for (int i = 15; i >= 0; i--, n >>= 8) bytes[i] = uint8_t(n);
  return IpAddress::from_bytes(bytes);
}

std::string to_text(Number n) {
  std::string out;
  do {
    out += char('0' + int(n % 10));
    n /= 10;
  } while (n != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

bool overlap(const IpNetwork& a, const IpNetwork& b) { return a.prefix <= b.prefix ? a.contains(b.address) : b.contains(a.address); }

std::string to_text(const Mac& m) { return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5]); }

std::optional<Mac> parse_mac(std::string_view text) {
  auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
  if (text.size() != 17) return std::nullopt;
  Mac mac;
  for (size_t i = 0; i < 6; i++) {
    int high = digit(text[3 * i]), low = digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':')) return std::nullopt;
    mac[i] = uint8_t(high << 4 | low);
  }
  return mac;
}

std::string InterfaceAddress::text() const { return fmt::format("{}/{}", address.text(), prefix); }

IpNetwork half_of(const IpNetwork& share, bool docker) {
  IpNetwork half{share.address, uint8_t(share.prefix + 1)};
  if (docker) half.address = address_of(number_of(share.address) | Number(1) << (127 - share.prefix));
  return half;
}

IpAddress gateway_of(const IpNetwork& half) { return address_of(number_of(half.address) + 1); }

}  // namespace ls::overlay
