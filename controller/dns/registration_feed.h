#pragma once
/// RegistrationFeed: what one node tells another about registrations (GET /v1/registrations). Pure values, thread: any.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dns/registration.h"
#include "util/result.h"

namespace ls::dns {

/// Which registrations a copy holds. `store` names the file they are kept in (random, made with it), `epoch` grows with each start of
/// the daemon that owns it, `version` with each change within an epoch.
struct RegistrationPosition {
  std::string store;
  uint64_t epoch = 0, version = 0;
  bool operator==(const RegistrationPosition&) const = default;
};

struct RegistrationFeed {
  RegistrationPosition at;
  bool full = true;                            ///< `registrations` is everything; else only what changed
  std::vector<Registration> registrations;
  std::vector<RegistrationKey> removed;        ///< only when not full
};

/// {"store","epoch","version","full","registrations":[...],"removed":[{"zone","name","type"}]}
std::string feed_text(const RegistrationFeed& feed);
/// Hostile input: size, depth and counts are bounded. Entries are not checked for what they say.
Result<RegistrationFeed> parse_feed(std::string_view text);

inline constexpr size_t kMaxFeedBytes = 64 << 20;
inline constexpr size_t kMaxFeedEntries = 200'000;

}  // namespace ls::dns
