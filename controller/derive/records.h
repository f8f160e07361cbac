#pragma once
/// DNS records as derivations make them: relative to a zone that may have several names (`mesos` and `mesos.thisdcos.directory`,
/// `l4lb.thisdcos.directory` and its aliases serve one set of records each). Pure values, thread: any.
///
/// A derivation gives multisets: the same record may come from several tasks, and goes when the last one goes. Whoever holds
/// the zone counts (dns/zone_table.h), so a derivation needs no memory of what it gave: the records of a task are a function
/// of the task.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "util/address.h"
#include "util/dns_name.h"

namespace ls {

/// IANA numbers of the types that loadstar makes or reads.
enum class RrType : uint16_t {
  kA = 1, kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kMx = 15, kTxt = 16, kAaaa = 28, kSrv = 33, kOpt = 41, kDs = 43,
  kRrsig = 46, kTsig = 250, kIxfr = 251, kAxfr = 252, kAny = 255, kCaa = 257
};
std::string to_text(RrType type);  ///< "A"; "TYPE4711" for the others (RFC 3597)
std::optional<RrType> parse_rr_type(std::string_view text);  ///< both forms, without case

/// In rdata, a name ends with the zero byte when it is absolute, and with this byte when the zone's apex is to follow. No label
/// is that long, so the two cannot be confused.
inline constexpr char kApexMark = '\xff';

struct Record {
  std::string owner;  ///< relative (util/dns_name.h), folded
  RrType type = RrType::kA;
  std::string rdata;  ///< as on the wire, numbers in network order, names as said at kApexMark
  uint32_t ttl = 0;   ///< seconds; 0: the zone's
  auto operator<=>(const Record&) const = default;
};

/// What changed, as multisets. Whoever applies it adds before it removes, name by name.
struct RecordDelta {
  std::vector<Record> add, remove;
  bool empty() const { return add.empty() && remove.empty(); }
};

/// What turns one multiset into the other.
RecordDelta difference(std::vector<Record> before, std::vector<Record> after);

Record address_record(std::string owner, const IpAddress& address, uint32_t ttl = 0);  ///< A or AAAA
/// `target` is relative to the zone.
Record srv_record(std::string owner, uint16_t priority, uint16_t weight, uint16_t port, std::string_view target);
Record cname_record(std::string owner, const DnsName& target, uint32_t ttl = 0);

/// Where the names of `rdata` lie: the offset of the only name in NS, CNAME, PTR (0), MX (2), SRV (6); nullopt for other types.
std::optional<size_t> name_offset(RrType type);
/// rdata with the apex filled in; nullopt when the name gets too long.
std::optional<std::string> absolute_rdata(RrType type, std::string_view rdata, const DnsName& apex);
/// The absolute target of NS, CNAME, PTR, MX, SRV.
std::optional<DnsName> target_of(RrType type, std::string_view rdata, const DnsName& apex);

}  // namespace ls
