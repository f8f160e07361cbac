#pragma once
/// Strong network types shared by every layer. All plain values, no thread rules.
/// Byte order: IpAddress holds network order bytes; every port outside a `_be` name is host order.
#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ls {

/// An IPv4 or IPv6 address in 16 bytes, IPv4 as ::ffff:a.b.c.d, the same bytes the BPF maps hold.
class IpAddress {
 public:
  constexpr IpAddress() = default;
  static IpAddress from_v4(uint32_t host_order);
  static IpAddress from_bytes(const uint8_t* sixteen);
  /// Strict text: dotted quad of four decimals, or RFC 4291 text without brackets, scope or prefix length.
  /// "::ffff:1.2.3.4" is the IPv4 address 1.2.3.4.
  static std::optional<IpAddress> parse(std::string_view text);

  bool is_v4() const;
  bool is_zero() const;  ///< all zero bytes, 0.0.0.0 or ::
  uint32_t v4() const;   ///< host order; only for is_v4()
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  std::string text() const;  ///< RFC 5952 for IPv6

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<uint8_t, 16> bytes_{};
};

enum class Protocol : uint8_t { kTcp = 6, kUdp = 17 };  ///< IANA protocol numbers

std::string_view to_text(Protocol p);                      ///< "tcp", "udp"
std::optional<Protocol> parse_protocol(std::string_view);  ///< folds case; nullopt for anything else

/// Address and port (host order).
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
  std::string text() const;  ///< 1.2.3.4:80, [fd01::1]:80
  static std::optional<Endpoint> parse(std::string_view);
};

/// What a client dials: one service of the data path.
struct ServiceKey {
  IpAddress address;
  uint16_t port = 0;
  Protocol protocol = Protocol::kTcp;
  auto operator<=>(const ServiceKey&) const = default;
  std::string text() const;  ///< 11.0.0.1:80/tcp
};

/// FNV-1a over bytes, for unordered containers only (never on the wire, never security relevant).
size_t hash_bytes(const void* data, size_t len, size_t seed = 0xcbf29ce484222325ull);

}  // namespace ls

template <>
struct std::hash<ls::IpAddress> {
  size_t operator()(const ls::IpAddress& a) const { return ls::hash_bytes(a.bytes().data(), 16); }
};
template <>
struct std::hash<ls::Endpoint> {
  size_t operator()(const ls::Endpoint& e) const {
    return ls::hash_bytes(&e.port, 2, std::hash<ls::IpAddress>{}(e.address));
  }
};
template <>
struct std::hash<ls::ServiceKey> {
  size_t operator()(const ls::ServiceKey& k) const {
    size_t h = ls::hash_bytes(&k.port, 2, std::hash<ls::IpAddress>{}(k.address));
    return ls::hash_bytes(&k.protocol, 1, h);
  }
};
