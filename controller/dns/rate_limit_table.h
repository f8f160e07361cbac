#pragma once
/// The table behind RateLimit. See rate_limit.cpp.
#include <memory>
#include <span>

#include "dns/access.h"

namespace ls::dns {

struct RateLimit::Impl {
  /// `shared` empty: memory of its own.
  Impl(const Options& o, std::span<uint64_t> shared, const std::array<uint8_t, 16>& secret);
  const uint32_t slip, step;  ///< step: time units an answer costs
  const size_t sets;          ///< a power of two
  const uint64_t key[2];      ///< keyed, so that nobody can aim at somebody else's entry
  const std::unique_ptr<uint64_t[]> own;
  uint64_t* const words;  ///< LS_DNS_RATE_WAYS for each set; read and written through std::atomic_ref only
};

}  // namespace ls::dns
