#pragma once
/// Registry: names below thisdcos.directory that operators and services register (issue text; spec/spartan-dns.md section 9 has no
/// such thing: names entered only through tasks). Kept in the store; told to the zones as RecordDelta for each zone.
///
/// Thread: the admin thread (calls wait for the disk). on_change is called there; whoever listens posts to the control loop.
/// Time is an argument. Cost: O(log n) a call, O(expired) for expire, one commit to the store for each change.
///
/// Leases run on the monotonic clock, so a jump of the wall clock ends none. Over a restart only the wall clock counts, which
/// may have jumped meanwhile, and nobody could renew: each lease then has what the wall clock leaves of it, but half of it at
/// least and all of it at most. A renewal that changes nothing keeps the version, and is written to the disk only once in a
/// quarter of the lease.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/registration.h"
#include "dns/registration_feed.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls::dns {

struct RegistryOptions {
  uint32_t default_ttl = 5;
  Millis max_lease{86'400'000};
  size_t max_records = 10'000;
  bool elected = false;  ///< RegistrationFeed::elected; load() fails then when the store takes no writes
};

/// Both clocks of one moment.
struct RegistryTime {
  int64_t unix_ms = 0;
  Instant monotonic{};
  static RegistryTime now();
};

class Registry {
 public:
  /// Changes of one zone (its name without trailing dot).
  using OnChange = std::function<void(const std::string& zone, RecordDelta)>;
  Registry(Store& store, RegistryOptions options, OnChange on_change);
  ~Registry();
  /// Loads what is stored; gives everything to on_change once. Records that do not parse are left out and counted.
  Result<> load(RegistryTime now);

  /// `expected`: ETag of If-Match; 0: If-None-Match: *.
  tl::expected<Registration, Refusal> put(Registration wanted, std::optional<uint64_t> expected, RegistryTime now);
  tl::expected<void, Refusal> remove(std::string_view zone, std::string_view name, RrType type, std::optional<uint64_t> expected);
  std::optional<Registration> get(std::string_view zone, std::string_view name, RrType type) const;
  std::vector<Registration> list(std::string_view zone = {}) const;  ///< sorted; empty: all zones
  std::vector<std::string> zones() const;
  /// Takes away what was not renewed, for at most 200 ms and one lease more; the rest the next time. With `elected` nothing that the store does not
  /// let go.
  size_t expire(RegistryTime now);
  uint64_t version() const;  ///< of the whole; grows with each change
  size_t left_out() const;   ///< stored entries that could not be read at load
  size_t records() const;    ///< records of all RRsets

  /// What a follower that holds `after` needs; everything when it holds something else or is too far behind.
  RegistrationFeed feed(const RegistrationPosition& after) const;
  RegistrationPosition position() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
