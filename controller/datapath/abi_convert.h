#pragma once
/// Between the kernel's layouts (include/loadstar/abi) and the controller's types. Plain functions, any
/// thread.
#include <arpa/inet.h>

#include <cstring>
#include <optional>
#include <string_view>

#include "loadstar/abi/lb.h"
#include "util/address.h"

namespace ls {

inline void put_address(__be32 (&to)[4], const IpAddress& from) {
  std::memcpy(to, from.bytes().data(), 16);
}
inline IpAddress get_address(const __be32 (&from)[4]) {
  return IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(from));
}
inline IpAddress get_address4(__be32 from) {
  return IpAddress::from_v4(ntohl(from));
}

inline ls_svc_key to_abi(const ServiceKey& k) {
  ls_svc_key out{};
  put_address(out.addr_be, k.address);
  out.port_be = htons(k.port);
  out.proto = uint8_t(k.protocol);
  return out;
}
/// Nothing for a protocol that no service can have: not written by us.
inline std::optional<ServiceKey> from_abi(const ls_svc_key& k) {
  if ((k.proto != uint8_t(Protocol::kTcp) && k.proto != uint8_t(Protocol::kUdp)) || k.pad)
    return std::nullopt;
  return ServiceKey{get_address(k.addr_be), ntohs(k.port_be), Protocol(k.proto)};
}
inline bool same_key(const ls_svc_key& a, const ls_svc_key& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

inline Endpoint endpoint_of(const ls_be& b) {
  return {get_address(b.addr_be), ntohs(b.port_be)};
}
constexpr uint32_t be_state_word(uint32_t generation, ls_be_state state) {
  return generation << 8 | uint32_t(state);
}
constexpr uint32_t be_generation(uint32_t word) {
  return word >> 8;
}
inline bool be_is_live(uint32_t word) {
  return LS_BE_STATE(word) == LS_BE_ACTIVE || LS_BE_STATE(word) == LS_BE_DRAINING;
}
inline std::string_view be_state_text(uint32_t word) {
  switch (LS_BE_STATE(word)) {
    case LS_BE_FREE:
      return "free";
    case LS_BE_ACTIVE:
      return "active";
    case LS_BE_DRAINING:
      return "draining";
    case LS_BE_DEAD:
      return "dead";
  }
  return "invalid";
}

}  // namespace ls
