#include "cni/mac.h"

#include <fmt/format.h>

namespace ls::cni {

std::string to_text(const Mac& m) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5]);
}

std::optional<Mac> parse_mac(std::string_view text) {
  auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  if (text.size() != 17) return std::nullopt;
  Mac out{};
  for (size_t i = 0; i < 6; i++) {
    int high = digit(text[i * 3]), low = digit(text[i * 3 + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':')) return std::nullopt;
    out[i] = uint8_t(high << 4 | low);
  }
  return out;
}

}  // namespace ls::cni
