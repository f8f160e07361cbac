#pragma once
/// What the files that name the fields of maps share: decode.cpp asks each one's table (MapLayout). Internal to api/. Thread: pure.
#include <cstring>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "loadstar/abi/drop.h"
#include "util/address.h"

namespace ls::api::decode {

using Json = nlohmann::json;
using Bytes = std::span<const std::byte>;

/// How key and value of one map are shown. nullopt: of another size than this build's, or a number that means nothing here; decode.cpp
/// shows these in hexadecimal.
struct MapLayout {
  std::string_view map;
  std::optional<Json> (*key)(Bytes);
  std::optional<Json> (*value)(Bytes);
  bool secret = false;  ///< a value must never be shown in hexadecimal: one that cannot be decoded is left out
};

std::span<const MapLayout> dns_layouts();      ///< abi/dns.h, without the secrets
std::span<const MapLayout> overlay_layouts();  ///< abi/overlay.h

/// The bytes may be unaligned, so they are copied into the struct; another size than ours is another layout.
template <class T>
std::optional<T> as(Bytes bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// `fields` of the T in these bytes.
template <class T, class Fields>
std::optional<std::invoke_result_t<Fields, const T&>> shown_by(Bytes bytes, Fields&& fields) {
  auto value = as<T>(bytes);
  if (!value) return std::nullopt;
  return fields(*value);
}

std::optional<Json> number(Bytes);  ///< of four or eight octets

inline IpAddress ip(const __be32 (&be)[4]) { return IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(be)); }
inline std::string address(const __be32 (&be)[4]) { return ip(be).text(); }

/// "9.0.3.0/24". `prefix` is of the 16-byte form, in which IPv4 has 96 bits in front.
inline std::string net(const __be32 (&be)[4], int prefix) {
  constexpr int kV4Front = 96;
  auto a = ip(be);
  return a.text() + "/" + std::to_string(a.is_v4() && prefix >= kV4Front ? prefix - kV4Front : prefix);
}

std::string mac(const __u8 (&m)[6]);
Json fields(const ls_stat&);

}  // namespace ls::api::decode
