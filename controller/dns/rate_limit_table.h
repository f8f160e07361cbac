#pragma once
/// The table behind RateLimit. See rate_limit.cpp.
#include <atomic>
#include <memory>

#include "dns/access.h"
#include "dns/cookie.h"

namespace ls::dns {

struct RateLimit::Impl {
  explicit Impl(const Options& o);
  const uint32_t slip;
  const uint64_t step;  ///< time units an answer costs
  const size_t sets;
  CookieSecret key;  ///< keyed, so that nobody can aim at somebody else's entry
  std::unique_ptr<std::atomic<uint64_t>[]> entries;
};

}  // namespace ls::dns
