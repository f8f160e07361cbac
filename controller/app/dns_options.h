#pragma once
/// What DNS takes from the settings: each function makes the options of one part. Pure; the configuration was checked before.
#include "app/settings.h"
#include "derive/mesos_zone.h"
#include "dns/server.h"
#include "dns/standard_routes.h"

namespace ls {

DnsName checked_name(std::string_view text);  ///< the root for what is no name
dns::Rotation rotation_of(RotationKind k);
MesosZoneOptions zone_options(const Config::Authority& a, HostLookup lookup);
dns::MesosDomain mesos_domain(const Config::Authority& a, dns::Table table);
/// The machine itself may always ask: by loopback, the addresses it listens on, and its own of `node`.
dns::ServiceOptions service_options(dns::ServiceKind kind, const Config& c);
dns::ServerOptions server_options(const Config& c, bool authority, bool resolver);

}  // namespace ls
