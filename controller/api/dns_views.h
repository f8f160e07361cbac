#pragma once
/// DNS as JSON, and as the few lines of `loadstar status`. Thread: the admin thread.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/dns_source.h"
#include "api/views.h"

namespace ls::api {

/// One zone of ours, once, under its first name.
struct ZoneStatus {
  dns::ServiceKind service = dns::ServiceKind::kResolver;
  const dns::ZoneView* view = nullptr;  ///< points into `routes`
  std::shared_ptr<const dns::Routes> routes;
  std::vector<std::string> aliases;     ///< further names of the same table in the same service
};
/// Zones of both services, sorted by service and name. Cost: O(views).
std::vector<ZoneStatus> list_zones(DnsSource& source);
/// The zone of that name, aliases included; the service is only asked for when both have it: the resolver's then.
std::optional<ZoneStatus> find_zone(DnsSource& source, const DnsName& apex, std::optional<dns::ServiceKind> service);

/// Upstreams that are aside, listeners that are not bound, zones that are not loaded.
DnsStatus dns_status(DnsSource& source);

nlohmann::json zone_json(const ZoneStatus&);
nlohmann::json zones_json(DnsSource& source);
/// The whole of GET /v1/dns.
nlohmann::json dns_json(DnsSource& source);
std::optional<dns::ServiceKind> parse_service(std::string_view text);

/// Zone text of RFC 1035 5.1, readable by ldns and by others: $ORIGIN, $TTL, SOA, NS, then the records sorted by name.
/// Cost: O(records); the records are copied inside a Guard, the text is made outside of it.
std::string zone_text(const ZoneStatus& zone, Epoch& epoch);

}  // namespace ls::api
