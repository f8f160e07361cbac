#pragma once
/// Octets and addresses as loadstar/abi/siphash.h wants them. Pure, threads: any.
#include <cstdint>
#include <cstring>

#include "loadstar/abi/siphash.h"
#include "util/address.h"

namespace ls::dns {

/// Eight octets, the first in the lowest bits.
inline uint64_t sip_word(const uint8_t* octets) {
  uint64_t v;
  std::memcpy(&v, octets, sizeof v);
  return LS_SIP_LE64(v);
}

/// An address as programs see it: four words of network order.
struct AddressWords {
  explicit AddressWords(const IpAddress& a) { std::memcpy(be, a.bytes().data(), sizeof be); }
  __be32 be[4];
};

}  // namespace ls::dns
