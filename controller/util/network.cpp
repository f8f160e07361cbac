#include "util/network.h"

#include <charconv>

namespace ls {
namespace {

constexpr uint8_t kV4Offset = 96;  // bits in front of an IPv4 address in its 16-byte form

bool same_bits(const IpAddress& a, const IpAddress& b, unsigned bits) {
  const unsigned whole = bits / 8, rest = bits % 8;
  for (unsigned i = 0; i < whole; ++i)
    if (a.bytes()[i] != b.bytes()[i]) return false;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  return ((a.bytes()[whole] ^ b.bytes()[whole]) & mask) == 0;
}

bool host_bits_zero(const IpAddress& a, unsigned bits) {
  for (unsigned bit = bits; bit < 128; ++bit)
    if (a.bytes()[bit / 8] & (0x80 >> (bit % 8))) return false;
  return true;
}

}  // namespace

std::optional<IpNetwork> IpNetwork::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  IpNetwork network{*address, 128};
  if (slash == std::string_view::npos) return network;
  const std::string_view digits = text.substr(slash + 1);
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.size() > 3) return std::nullopt;
  // A dotted quad counts from its own first bit, also when it is written as ::ffff:10.0.0.0/104.
  const bool dotted = text.substr(0, slash).find(':') == std::string_view::npos;
  if (dotted && bits > 32) return std::nullopt;
  if (dotted) bits += kV4Offset;
  if (bits > 128 || (address->is_v4() && bits < kV4Offset) || !host_bits_zero(*address, bits)) return std::nullopt;
  network.prefix = static_cast<uint8_t>(bits);
  return network;
}

bool IpNetwork::contains(const IpAddress& a) const {
  // "::/0" means every IPv6 address; IPv4 addresses are another family although they lie in ::ffff:0:0/96 here.
  return a.is_v4() == address.is_v4() && same_bits(a, address, prefix);
}

std::string IpNetwork::text() const {
  const unsigned bits = address.is_v4() ? prefix - kV4Offset : prefix;
  return address.text() + "/" + std::to_string(bits);
}

}  // namespace ls
