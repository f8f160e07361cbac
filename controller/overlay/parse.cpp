#include "overlay/parse.h"

#include <charconv>

namespace ls::overlay {

std::optional<IpNetwork> parse_block(std::string_view text) {
  if (text.find('/') == text.npos) return std::nullopt;
  return IpNetwork::parse(text);
}

std::optional<InterfaceAddress> parse_interface_address(std::string_view text) {
  auto slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto address = IpAddress::parse(text.substr(0, slash));
  auto digits = text.substr(slash + 1);
  unsigned prefix = 0;
  auto [end, err] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (!address || digits.size() > 3 || err != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (prefix > (address->is_v4() ? 32u : 128u)) return std::nullopt;
  return InterfaceAddress{*address, uint8_t(prefix)};
}

}  // namespace ls::overlay
