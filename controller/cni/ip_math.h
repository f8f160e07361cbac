#pragma once
/// Arithmetic on addresses and networks that the address management needs. Pure, thread: any. Prefix lengths count all 128 bits.
#include <array>
#include <cstdint>

#include "util/address.h"
#include "util/network.h"

namespace ls::cni {

/// The address after this one; wraps at the end of the 128 bits.
inline IpAddress next_address(const IpAddress& a) {
  auto b = a.bytes();
  for (size_t i = 16; i-- > 0;)
    if (++b[i] != 0) break;
  return IpAddress::from_bytes(b.data());
}

inline IpAddress previous_address(const IpAddress& a) {
  auto b = a.bytes();
  for (size_t i = 16; i-- > 0;)
    if (b[i]-- != 0) break;
  return IpAddress::from_bytes(b.data());
}

/// All host bits one: the broadcast address of an IPv4 network.
inline IpAddress last_address(const IpNetwork& n) {
  auto b = n.address.bytes();
  for (unsigned bit = n.prefix; bit < 128; bit++) b[bit / 8] = uint8_t(b[bit / 8] | 0x80 >> (bit % 8));
  return IpAddress::from_bytes(b.data());
}

inline IpNetwork network_of(const IpAddress& a, uint8_t prefix) {
  auto b = a.bytes();
  for (unsigned bit = prefix; bit < 128; bit++) b[bit / 8] = uint8_t(b[bit / 8] & ~(0x80 >> (bit % 8)));
  return {IpAddress::from_bytes(b.data()), prefix};
}

/// How many addresses from `first` to `last`, both counted; UINT64_MAX when there are more.
inline uint64_t distance(const IpAddress& first, const IpAddress& last) {
  auto word = [](const IpAddress& a, size_t at) {
    uint64_t v = 0;
    for (size_t i = 0; i < 8; i++) v = v << 8 | a.bytes()[at + i];
    return v;
  };
  uint64_t high = word(last, 0) - word(first, 0), low = word(last, 8) - word(first, 8);
  if (word(last, 8) < word(first, 8)) high--;
  return high != 0 || low == UINT64_MAX ? UINT64_MAX : low + 1;
}

/// Of the family's own counting.
inline unsigned own_prefix(const IpAddress& a, unsigned prefix) { return a.is_v4() ? prefix - 96 : prefix; }

}  // namespace ls::cni
