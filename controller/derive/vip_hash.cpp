#include "derive/vip_hash.h"

#include <openssl/evp.h>

#include <array>
#include <cstdlib>

namespace ls {
namespace {

constexpr uint32_t kGolden = 0x9e3779b9;  // lookup2's arbitrary start value
/// The former runtime gives each kind of value its own start; byte strings have the 13th.
constexpr uint32_t kByteStringSeed = kGolden * 13u;

struct State {
  uint32_t a = kGolden, b = kGolden, c = kByteStringSeed;

  // lookup2's mixing step: nine rounds with these shifts, alternately right and left.
  void mix() {
    round(a, b, c, 13, false);
    round(b, c, a, 8, true);
    round(c, a, b, 13, false);
    round(a, b, c, 12, false);
    round(b, c, a, 16, true);
    round(c, a, b, 5, false);
    round(a, b, c, 3, false);
    round(b, c, a, 10, true);
    round(c, a, b, 15, false);
  }
  static void round(uint32_t& x, uint32_t y, uint32_t z, int shift, bool left) {
    x = x - y - z;
    x ^= left ? z << shift : z >> shift;
  }
};

/// Up to four bytes, little endian.
uint32_t word(std::string_view bytes) {
  uint32_t w = 0;
  for (size_t i = 0; i < bytes.size() && i < 4; i++) w |= uint32_t(uint8_t(bytes[i])) << (8 * i);
  return w;
}

std::string_view part(std::string_view s, size_t from, size_t count) {
  return from >= s.size() ? std::string_view() : s.substr(from, count);
}

}  // namespace

uint32_t name_hash32(std::string_view name) {
  State s;
  std::string_view rest = name;
  while (rest.size() >= 12) {
    s.a += word(rest.substr(0, 4));
    s.b += word(rest.substr(4, 4));
    s.c += word(rest.substr(8, 4));
    s.mix();
    rest.remove_prefix(12);
  }
  s.a += word(part(rest, 0, 4));
  s.b += word(part(rest, 4, 4));
  // The lowest byte of the last word is the length's.
  s.c += uint32_t(name.size()) + (word(part(rest, 8, 3)) << 8);
  s.mix();
  return s.c;
}

Address128 start_offset_v4(std::string_view name, Address128 range) {
  return range == 0 ? 0 : name_hash32(name) % range;
}

Address128 start_offset_v6(std::string_view name, Address128 range) {
  if (range == 0) return 0;
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  // SHA-1 is always there; without it no address of any name could be right.
  if (EVP_Digest(name.data(), name.size(), digest.data(), &length, EVP_sha1(), nullptr) != 1) std::abort();
  // Long division bit by bit: the digest is wider than any integer type, and so may be the doubled remainder.
  Address128 rest = 0;
  for (unsigned i = 0; i < length; i++) {
    for (int bit = 7; bit >= 0; bit--) {
      bool carry = rest >> 127;
      rest = rest << 1 | ((digest[i] >> bit) & 1);
      if (carry || rest >= range) rest -= range;
    }
  }
  return rest;
}

}  // namespace ls
