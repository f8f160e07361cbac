#include "dns/standard_routes.h"

namespace ls::dns {
namespace {

constexpr std::string_view kDirectory = "thisdcos.directory", kGlobal = "thisdcos.global", kForeign = "dcos.directory";
constexpr std::string_view kL4lb = "l4lb.thisdcos.directory", kMesosCopy = "mesos.thisdcos.directory";

DnsName name(std::string_view text) {
  auto parsed = DnsName::parse(text);
  return parsed ? *parsed : DnsName();
}

/// spec/spartan-dns.md section 4.
ZoneView internal(std::string_view apex, Table table, Rotation rotation) {
  ZoneView v;
  v.apex = name(apex);
  v.table = std::move(table);
  v.soa.mname = name("ns.spartan");
  v.soa.rname = name("support.mesosphere.com");
  v.name_servers = {v.soa.mname};
  v.rules.refuse_rrsig = true;
  v.rules.minimal_any = false;
  v.rules.srv_additional = false;
  v.rules.rotation = rotation;
  return v;
}

/// Only the name itself is answered.
ZoneView bare_parent(std::string_view apex, const ResolverSetup& setup) {
  ZoneView v = internal(apex, setup.empty, setup.rotation);
  v.rules.refuse_below = true;
  return v;
}

void add_forward_zones(const ForwardZones& zones, std::vector<ForwardGroup>& groups) {
  for (auto& [zone, servers] : zones) groups.push_back({name(zone), servers});
}

}  // namespace

Routes resolver_routes(const ResolverSetup& setup) {
  std::vector<ZoneView> views;
  std::vector<ForwardGroup> groups;
  auto alias = [&](ZoneView v, std::string_view apex) {
    v.apex = name(apex);
    v.is_alias = true;
    views.push_back(std::move(v));
  };
  std::string own_id = setup.cluster_id.empty() ? "" : setup.cluster_id + "." + std::string(kForeign);

  auto zones = setup.zones;
  zones.emplace(kMesosCopy, setup.mesos.table);
  for (auto& [apex, table] : zones) {
    ZoneView v = internal(apex, table, setup.rotation);
    if (apex == kMesosCopy) {
      v.srv_override = {{1, 1}};  // section 5.3
      v.is_alias = true;
    }
    views.push_back(v);
    std::string_view text = apex;
    if (!text.ends_with(kDirectory)) continue;
    std::string head(text.substr(0, text.size() - kDirectory.size()));
    if (!head.ends_with('.')) continue;
    alias(v, head + std::string(kGlobal));
    if (!own_id.empty()) alias(v, head + own_id);
    if (apex == kL4lb) {
      alias(v, "dclb." + std::string(kDirectory));
      alias(v, "dclb." + std::string(kGlobal));
    }
  }
  for (auto parent : {kDirectory, kGlobal, kForeign}) views.push_back(bare_parent(parent, setup));

  if (setup.mesos_servers.empty()) {
    ZoneView v = internal("", setup.mesos.table, setup.rotation);
    v.apex = setup.mesos.domain;
    v.ttl = setup.mesos.ttl;
    v.soa = setup.mesos.soa;
    v.name_servers = {setup.mesos.soa.mname};
    v.ns_ttl = setup.mesos.ttl;
    v.rules.strip_star_labels = true;
    v.rules.recursion_available = true;
    views.push_back(std::move(v));
  } else {
    groups.push_back({setup.mesos.domain, setup.mesos_servers, false});
  }
  add_forward_zones(setup.forward_zones, groups);
  groups.push_back({DnsName(), setup.upstreams});
  return Routes(std::move(views), std::move(groups));
}

Routes authority_routes(const AuthoritySetup& setup) {
  ZoneView v;
  v.apex = setup.mesos.domain;
  v.table = setup.mesos.table;
  v.ttl = setup.mesos.ttl;
  v.soa = setup.mesos.soa;
  v.name_servers = {setup.name_server};
  v.ns_ttl = setup.mesos.ttl;
  v.rules.soa_at_question = !setup.strict;
  v.rules.srv_never_nxdomain = !setup.strict;
  v.rules.nxdomain_at_empty = setup.empty_is_nxdomain;
  v.rules.strip_star_labels = true;
  v.rules.recursion_available = setup.recursion_available;
  v.transferable = true;
  std::vector<ForwardGroup> groups;
  add_forward_zones(setup.forward_zones, groups);
  if (!setup.upstreams.empty()) groups.push_back({DnsName(), setup.upstreams});
  return Routes({std::move(v)}, std::move(groups));
}

}  // namespace ls::dns
