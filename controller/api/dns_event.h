#pragma once
/// Samples of DNS questions in the kernel, for `loadstar monitor --dns`. Thread: pure. Cost: one name is copied; the text is made
/// only for those who read it.
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "api/views.h"
#include "loadstar/abi/dns.h"

namespace ls::api {

/// A record of ls_events of the type LS_EVENT_DNS; nullopt when it is shorter than one, or of another type. Bytes are taken as they
/// are: a name that is no name is shown as far as it is one. `device` is left to the caller.
/// `monotonic_to_real_ns`: what turns the ring's clock into CLOCK_REALTIME.
std::optional<EventView> decode_dns_event(std::span<const std::byte> record, int64_t monotonic_to_real_ns);

/// "web.marathon.mesos.", "a-long-name.of-which-only-this-fits..." or "" when the program did not read it. Octets are escaped as
/// in zone text, so this is harmless for a terminal.
std::string name_text(const DnsEventView&);

}  // namespace ls::api
