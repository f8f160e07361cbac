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
/// the daemon that owns it (of masters that take turns: with each turn), `version` with each change within an epoch.
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
  /// Masters take turns at one store: whoever has a later epoch knows of this one's end, and it is not believed any more.
  bool elected = false;
};

/// {"store","epoch","version","full","registrations":[...],"removed":[{"zone","name","type"}],"elected"}; the last may be left out
std::string feed_text(const RegistrationFeed& feed);
/// Hostile input: size, depth and counts are bounded. Entries are not checked for what they say.
Result<RegistrationFeed> parse_feed(std::string_view text);

inline constexpr size_t kMaxFeedBytes = 64 << 20;
inline constexpr size_t kMaxFeedEntries = 200'000;

}  // namespace ls::dns
