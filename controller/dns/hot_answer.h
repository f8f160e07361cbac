#pragma once
/// A forwarded answer that is asked for often, as the cache hands it on to be answered in the kernel (CacheOptions::hot). Plain value.
#include <cstdint>
#include <vector>

namespace ls::dns {

struct HotAnswer {
  /// Folded question, no OPT, id 0; flags QR, RA, rcode, and AD if the upstream set it, which goes out only to those who want it (RFC 6840
  /// 5.7: AD or DO in the question). TTLs as stored.
  std::vector<uint8_t> message;
  uint64_t stored_ns = 0;        ///< CLOCK_MONOTONIC, as Instant
  uint64_t expires_ns = 0;       ///< when a prefetch is due: nine tenths of the TTL
};

}  // namespace ls::dns
