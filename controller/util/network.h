#pragma once
/// IpNetwork: an address and a prefix length. Plain value, thread: any. Host bits are zero.
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "util/address.h"

namespace ls {

struct IpNetwork {
  IpAddress address;
  uint8_t prefix = 128;  ///< of the 16-byte form: 10.0.0.0/8 has 104

  /// "10.0.0.0/8", "fd01::/64", or an address alone. nullopt with host bits set, or a prefix out of range.
  static std::optional<IpNetwork> parse(std::string_view text);
  bool contains(const IpAddress& a) const;
  std::string text() const;
  auto operator<=>(const IpNetwork&) const = default;
};

}  // namespace ls
