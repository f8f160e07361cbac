#pragma once
/// Records as tests write them: lines of `name TTL [IN] type rdata`. Names are relative to the zone, or absolute with a final dot, or
/// absolute without one when they end in the zone's name; "@" is the apex. "#" starts a comment. Types: A AAAA CNAME NS PTR MX SRV
/// TXT (one string, quotes optional).
#include <string>
#include <vector>

#include "derive/records.h"
#include "util/result.h"

namespace ls::test {

Result<std::vector<Record>> read_zone_text(std::string_view text, const DnsName& zone);

}  // namespace ls::test
