#pragma once
/// Registration: one RRset that somebody entered over HTTP, its checks, its records and its JSON. Pure values, thread: any.
/// The presentation form of record data is read by ldns; what it takes and does not mean (comments, several lines, RFC 3597
/// generic data, relative names) is refused before.
#include <compare>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "derive/records.h"
#include "util/clock.h"
#include "util/result.h"

namespace ls::dns {

/// Sorted by zone, then name, then type.
struct RegistrationKey {
  std::string zone, name;
  RrType type = RrType::kA;
  auto operator<=>(const RegistrationKey&) const = default;
};

/// One RRset as it is registered: PUT /v1/zones/<zone>/records/<name>/<type>.
struct Registration {
  std::string zone;  ///< "reg.thisdcos.directory", lower case, without trailing dot
  std::string name;  ///< relative text, lower case; "@" for the apex
  RrType type = RrType::kA;
  std::vector<std::string> data;       ///< presentation form of each record, as ldns writes it
  uint32_t ttl = 0;                    ///< seconds; 0: the default
  std::optional<Millis> lease;         ///< gone when it is not put again in this time
  int64_t expires_unix_ms = 0;         ///< with lease; by the wall clock of the last put, for people
  uint64_t version = 0;                ///< ETag

  RegistrationKey key() const { return {zone, name, type}; }
  bool operator==(const Registration&) const = default;
};

/// Why a call was refused: `field` names the part of the request, for the error reply.
struct Refusal {
  enum class Kind {
    kInvalid,
    kConflict,      ///< with other records of the name (CNAME)
    kPrecondition,  ///< there is another version than the caller expects
    kNotFound,
    kFull,   ///< the limit of records, or the disk
    kStore,  ///< the store failed
  } kind = Kind::kInvalid;
  std::string field, why;
};

struct RegistrationLimits {
  Millis min_lease{1'000}, max_lease{86'400'000};
  uint32_t max_ttl = 604'800;  ///< a week, as most resolvers cap it
  size_t max_data = 100;       ///< records of one RRset
  size_t max_rdata = 16'384;   ///< octets of one RRset; with its names it still fits a message
};

/// Checks every field and brings it into the one form that is kept: lower-case names without trailing dot, data as ldns writes it.
/// The error names the first field that is wrong.
tl::expected<void, Refusal> normalize(Registration& registration, const RegistrationLimits& limits = {});
/// The records of a normalized registration. The error names the data that is wrong.
tl::expected<std::vector<Record>, Refusal> records_of(const Registration& registration);

/// "30s", "1m30s"; nullopt for anything else. Units ms, s, m, h, d, descending.
std::optional<Millis> parse_lease(std::string_view text);
std::string lease_text(Millis lease);

/// {"zone","name","type","data","ttl","version"} and with a lease "lease","expires_unix_ms".
nlohmann::json to_json(const Registration& registration);
/// The reverse. Checks types and sizes, not the contents (normalize does).
Result<Registration> registration_of(const nlohmann::json& j);

/// Types that may be registered.
bool registrable(RrType type);
/// "A, AAAA, CNAME, SRV, TXT, MX, PTR, CAA"
std::string_view registrable_types();

/// Zones that may be registered in: those that may be static (static_zone_fault in util/zone_names.h), here with or without a
/// trailing dot. The error says why not.
/// Sources: spec/spartan-dns.md 5.5; cases/dns/static-zones.json.
Result<> check_custom_zone(std::string_view zone);

}  // namespace ls::dns
