#pragma once
/// Where a master is: text forms of the configuration and of redirects. Plain functions, any thread.
#include <cstdint>
#include <string>
#include <string_view>

#include "util/host_port.h"
#include "util/result.h"

namespace ls {

using MasterAddress = HostPort;

inline constexpr uint16_t kMesosMasterPort = 5050;  // default of mesos-master --port

/// "host", "host:port", "[v6]", "[v6]:port"; without a port `default_port`.
Result<MasterAddress> parse_master_address(std::string_view text, uint16_t default_port = kMesosMasterPort);

struct RedirectTarget {
  MasterAddress master;
  std::string path;
};

/// The Location of a 307. Masters send `//HOST:PORT/master/PATH`, a reference without a scheme
/// (spec/mesos-state.md section 2.3); a scheme that is there is dropped, because the scheme of the request is
/// kept: a master cannot talk a client out of TLS. A location without a path keeps `path`, one without a host
/// keeps `asked`.
Result<RedirectTarget> parse_location(std::string_view location, const MasterAddress& asked,
                                      std::string_view path, bool tls);

/// At most 200 bytes of what a peer said, on one line, in printable characters: fit for a log.
std::string quote_answer(std::string_view body);

}  // namespace ls
