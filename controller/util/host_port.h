#pragma once
/// HostPort: a host (name or address) and a port, as it is written down and dialled. Names are resolved when used, not here.
/// Plain values, any thread.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "util/result.h"

namespace ls {

struct HostPort {
  std::string host;  ///< IPv6 without brackets
  uint16_t port = 0;
  std::string text() const;  ///< "master1:5050", "[fd01::1]:5050"
  bool operator==(const HostPort&) const = default;
};

/// "host:port", "[v6]:port"; with a default port also "host" and "[v6]". `what` begins an error's text: `master "a:b:c": ...`.
Result<HostPort> parse_host_port(std::string_view text, std::optional<uint16_t> default_port, std::string_view what);

}  // namespace ls
