#pragma once
/// What all workers share of one service. Options never change; routes are published.
#include <atomic>

#include "dns/cookie.h"
#include "dns/server.h"
#include "util/published.h"

namespace ls::dns {

struct Service {
  explicit Service(ServiceOptions o)
      : options(std::move(o)),
        transfer(options.transfer),
        no_truncate_bit(options.no_truncate_bit),
        limit(options.rate_limit) {}

  const ServiceOptions options;
  const AccessList transfer,
      no_truncate_bit;  ///< an empty list of these means nobody: look at the option first
  RateLimit limit;
  Published<Routes> routes;
  std::atomic<uint64_t> routes_version{
      1};  ///< grows after each publish, so that workers take the lock only then

  bool may_transfer(const IpAddress& a) const { return !options.transfer.empty() && transfer.allows(a); }
  bool truncates(const IpAddress& a) const {
    return options.no_truncate_bit.empty() || !no_truncate_bit.allows(a);
  }
};

}  // namespace ls::dns
