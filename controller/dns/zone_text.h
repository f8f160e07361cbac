#pragma once
/// Zone text (RFC 1035 section 5), read and written with ldns: static zones, zone files, `loadstar dns zone dump`, registrations.
///
/// Thread: any, nothing is shared. TTLs are seconds. Errors: every line that is wrong is reported as "FILE:LINE: why" (of several
/// lines of a multi-line record the last); `records` is only to be used when there is none. Limits: a text has at most
/// kMaxZoneText octets. $INCLUDE is refused: what is read is the one file that a setting names.
/// What a zone may hold: everything of class IN but what loadstar makes itself (SOA and NS at the apex: read, not taken) and what
/// belongs to signed zones or to messages.
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "util/dns_name.h"

namespace ls::dns {

inline constexpr size_t kMaxZoneText = 64u << 20;

struct ZoneText {
  DnsName apex;                 ///< folded
  std::vector<Record> records;  ///< sorted, each once; names in rdata are absolute
  std::vector<std::string> problems;
  bool good() const { return problems.empty(); }
};

/// A whole zone. Without `apex` it is the owner of the SOA, or the first $ORIGIN. `ttl`: for records without one and no $TTL.
ZoneText parse_zone_text(std::string_view text, const std::string& file, const std::optional<DnsName>& apex, uint32_t ttl);
/// The same from disk; a file that cannot be read is a problem.
ZoneText read_zone_file(const std::filesystem::path& path, const std::optional<DnsName>& apex, uint32_t ttl);
/// Lines of a setting: each stands alone and is one record. Problems are "FILE: line N: why".
ZoneText parse_zone_lines(std::span<const std::string> lines, const std::string& file, const DnsName& apex, uint32_t ttl);

/// One record: owner as relative name, data in presentation form. For registrations.
Result<Record> parse_record(std::string_view owner_relative, RrType type, std::string_view data, const DnsName& apex, uint32_t ttl);

/// "web.example. 5 IN A 192.0.2.1"; nullopt for data that is not of the type (TYPE4711 is always written, RFC 3597).
std::optional<std::string> record_text(const Record& record, const DnsName& apex, uint32_t zone_ttl);
/// The zone as a file: $ORIGIN, $TTL, the SOA first, then by name as RFC 4034 section 6.1 sorts them. Reads back to the same records.
std::string zone_to_text(const DnsName& apex, uint32_t zone_ttl, std::vector<Record> records);

/// The line of a static zone that equals the old form {"type": "cname", "name": ..., "value": ...}: the name becomes one label.
Result<std::string> static_cname_line(std::string_view name, std::string_view value);

}  // namespace ls::dns
