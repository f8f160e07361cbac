#pragma once
/// What all workers share of one service. Routes and policy are published; a worker takes the newest when routes_version says so.
#include <atomic>

#include "dns/cookie.h"
#include "dns/server.h"
#include "util/published.h"

namespace ls::dns {

/// Who may do what: the part of ServiceOptions that may change while the service runs. Immutable but for the rate limit's counts.
struct Policy {
  Policy() = default;
  /// `before`: its counts go on when the rate limit is the same; its shared words are those of the service for good.
  Policy(const ServiceOptions& o, const Policy* before)
      : clients(o.clients),
        transfer(o.transfer),
        no_truncate_bit(o.no_truncate_bit),
        nobody_transfers(o.transfer.empty()),
        all_truncate(o.no_truncate_bit.empty()),
        rate(o.rate_limit),
        rate_words(before ? before->rate_words : o.rate_words),
        rate_key(before ? before->rate_key : o.rate_key),
        limit(before && before->limit && before->rate == rate ? before->limit : make_limit()) {}

  bool may_transfer(const IpAddress& a) const { return !nobody_transfers && transfer.allows(a); }
  bool truncates(const IpAddress& a) const { return all_truncate || !no_truncate_bit.allows(a); }

  AccessList clients, transfer, no_truncate_bit;  ///< an empty list of the last two means nobody, not everybody
  bool nobody_transfers = true, all_truncate = true;
  RateLimit::Options rate;
  std::span<uint64_t> rate_words;
  std::array<uint8_t, 16> rate_key{};
  std::shared_ptr<RateLimit> limit;

 private:
  std::shared_ptr<RateLimit> make_limit() const {
    return rate_words.empty() ? std::make_shared<RateLimit>(rate) : std::make_shared<RateLimit>(rate, rate_words, rate_key);
  }
};

struct Service {
  explicit Service(const ServiceOptions& o) : kind(o.kind) { policy.publish(std::make_shared<const Policy>(o, nullptr)); }

  const ServiceKind kind;
  Published<Policy> policy;
  Published<Routes> routes;
  std::atomic<uint64_t> routes_version{1};  ///< grows after each publish of either, so that workers take the locks only then
};

}  // namespace ls::dns
