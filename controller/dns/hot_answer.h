#pragma once
/// A forwarded answer that is asked for often, as the cache hands it on to be answered in the kernel. Plain value.
#include <cstdint>
#include <vector>

namespace ls::dns {

struct HotAnswer {
  std::vector<uint8_t> message;  ///< folded question, no OPT, id 0; TTLs as stored
  uint64_t stored_ns = 0;        ///< CLOCK_MONOTONIC, as Instant
  uint64_t expires_ns = 0;       ///< when a prefetch is due: nine tenths of the TTL
};

}  // namespace ls::dns
