#pragma once
/// The routing tables of the two services, made from configuration and zone tables. Pure, thread: any. Cost: O(zones).
/// Source: spec/spartan-dns.md sections 2, 4, 5; spec/mesos-dns.md sections 8.8, 10, 11.
///
/// Resolver. Every zone below thisdcos.directory is also there below thisdcos.global and <cluster id>.dcos.directory, and l4lb as
/// dclb. The bare parents are answered here; what is below them in no zone is REFUSED and never asked upstream.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dns/routes.h"

namespace ls::dns {

using Table = std::shared_ptr<const ZoneTable>;
/// zone name -> servers
using ForwardZones = std::map<std::string, std::vector<Endpoint>>;

struct MesosDomain {
  DnsName domain;
  Table table;
  uint32_t ttl = 60;
  Soa soa;
};

struct ResolverSetup {
  MesosDomain mesos;
  std::vector<Endpoint> mesos_servers;  ///< not empty: asked instead of answering from mesos.table
  /// Zones of one set of records each, by name without trailing dot: "l4lb.thisdcos.directory", "spartan", "zk", and
  /// custom ones.
  std::map<std::string, Table> zones;
  Table empty;  ///< a loaded table without records: the bare parents
  std::vector<Endpoint> upstreams;
  ForwardZones forward_zones;
  std::string cluster_id;  ///< empty: no zones below <id>.dcos.directory
  Rotation rotation = Rotation::kRoundRobin;
};
Routes resolver_routes(const ResolverSetup& setup);

struct AuthoritySetup {
  MesosDomain mesos;
  DnsName name_server;
  bool strict = false, empty_is_nxdomain = false, recursion_available = true;
  std::vector<Endpoint> upstreams;
  ForwardZones forward_zones;
};
Routes authority_routes(const AuthoritySetup& setup);

}  // namespace ls::dns
