#pragma once
/// Text of a DNS server's address, as settings have it: "8.8.8.8", "8.8.4.4:5353", "fd01::5", "[fd01::5]:5353".
/// Pure. Thread: any. Ports are host order. Source of the rules: spec/cases/dns/config-values.json.
#include <cstdint>
#include <string_view>

#include "util/address.h"
#include "util/result.h"

namespace ls {

/// An IPv4 address is a dotted quad of four plain decimals; an IPv6 address stands in brackets when a port follows. A port is 1 to
/// 65535. Nothing may stand around it. The error names the text and what is wrong with it.
Result<Endpoint> parse_upstream(std::string_view text, uint16_t default_port);

}  // namespace ls
