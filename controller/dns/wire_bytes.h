#pragma once
/// Numbers in network order. Thread: any.
#include <cstdint>

namespace ls::dns {

inline uint16_t load16(const uint8_t* p) {
  return uint16_t(p[0] << 8 | p[1]);
}
inline void store16(uint8_t* p, uint16_t v) {
  p[0] = uint8_t(v >> 8);
  p[1] = uint8_t(v);
}

}  // namespace ls::dns
