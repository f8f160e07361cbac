#pragma once
/// Who leads: the answer to GET_MASTER (spec/mesos-state.md section 8). Plain values, any thread.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "sources/source.h"

namespace ls {

struct LeaderIdentity {
  std::string id;
  std::optional<double> elected_s;  ///< seconds since the epoch, the master's clock
  bool operator==(const LeaderIdentity&) const = default;
};

/// Nothing when the text is no answer to GET_MASTER or names no master.
std::optional<LeaderIdentity> parse_get_master(std::string_view json);

/// Remembers the leader from one stream to the next.
class LeaderMemory {
 public:
  /// `now` is who the new stream comes from, nothing when it did not say.
  LeaderChange seen(const std::optional<LeaderIdentity>& now);

 private:
  std::optional<LeaderIdentity> last_;
  bool any_ = false;
};

}  // namespace ls
