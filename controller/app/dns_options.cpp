#include "app/dns_options.h"

#include <algorithm>

namespace ls {
namespace {

using dns::ServiceKind;

IpSource source_of(IpSourceKind k) {
  switch (k) {
    case IpSourceKind::kHost: return IpSource::kHost;
    case IpSourceKind::kDocker: return IpSource::kDocker;
    case IpSourceKind::kMesos: return IpSource::kMesos;
    case IpSourceKind::kNetinfo: break;
  }
  return IpSource::kNetinfo;
}

DnsName mailbox(std::string text) {
  std::replace(text.begin(), text.end(), '@', '.');
  while (text.ends_with('.')) text.pop_back();
  return checked_name(text);
}

uint32_t whole_seconds(Millis t) { return uint32_t(std::clamp<int64_t>(t.count() / 1000, 0, UINT32_MAX)); }

}  // namespace

DnsName checked_name(std::string_view text) {
  auto parsed = DnsName::parse(text);
  return parsed ? *parsed : DnsName();
}

dns::Rotation rotation_of(RotationKind k) {
  if (k == RotationKind::kRandom) return dns::Rotation::kRandom;
  return k == RotationKind::kRoundRobin ? dns::Rotation::kRoundRobin : dns::Rotation::kNone;
}

MesosZoneOptions zone_options(const Config::Authority& a, HostLookup lookup) {
  MesosZoneOptions o;
  o.rfc952 = a.rfc952;
  o.sources.clear();
  for (auto s : a.ip_sources) o.sources.push_back(source_of(s));
  o.srv_weight = uint16_t(a.srv_weight);
  o.healthy_only = a.healthy_only;
  o.protect_reserved = a.protect_reserved;
  o.split_protocols = a.split_protocols;
  DnsName domain = checked_name(a.domain), server = checked_name(a.soa_mname);
  if (server.is_within(domain)) o.server_name = relative_text(server.folded().relative_to(domain.folded()));
  o.lookup = std::move(lookup);
  return o;
}

dns::MesosDomain mesos_domain(const Config::Authority& a, dns::Table table) {
  dns::MesosDomain d;
  d.domain = checked_name(a.domain).folded();
  d.table = std::move(table);
  d.ttl = whole_seconds(a.ttl);
  d.soa.mname = checked_name(a.soa_mname);
  d.soa.rname = mailbox(a.soa_rname);
  d.soa.refresh = whole_seconds(a.soa_refresh);
  d.soa.retry = whole_seconds(a.soa_retry);
  d.soa.expire = whole_seconds(a.soa_expire);
  d.soa.minimum = d.soa.ttl = d.soa.negative_ttl = d.ttl;  // B10
  return d;
}

dns::ServiceOptions service_options(ServiceKind kind, const Config& c) {
  dns::ServiceOptions s;
  s.kind = kind;
  s.listen = kind == ServiceKind::kAuthority ? c.authority.listen : c.resolver.listen;
  auto clients = c.dns.clients;
  if (!clients.empty()) {
    // An own question comes from the address that it goes to. Without these the watchdog would take a healthy daemon for a dead one.
    clients.push_back(*IpNetwork::parse("127.0.0.0/8"));
    clients.push_back(*IpNetwork::parse("::1"));
    auto own = c.node.all_addresses();
    for (auto& e : s.listen) own.push_back(e.address);
    for (auto& a : own) {
      if (!a.is_zero()) clients.push_back(*IpNetwork::parse(a.text()));
    }
  }
  s.clients = dns::AccessList(std::move(clients));
  s.no_truncate_bit = c.dns.no_truncate_bit;
  s.rate_limit.per_second = c.dns.rate_limit;
  s.rate_limit.slip = c.dns.rate_limit_slip;
  if (kind == ServiceKind::kAuthority) s.transfer = c.authority.transfer;
  return s;
}

dns::ServerOptions server_options(const Config& c, bool authority, bool resolver) {
  dns::ServerOptions o;
  o.workers = c.dns.workers;
  o.udp_size = uint16_t(c.dns.udp_size);
  o.tcp_connections = c.dns.tcp_connections;
  o.tcp_per_client = c.dns.tcp_per_client;
  o.tcp_idle = c.dns.tcp_idle;
  o.cache.bytes = c.resolver.cache.bytes;
  o.cache.max_ttl = c.resolver.cache_max_ttl;
  o.cache.stale_for = c.resolver.serve_stale;
  o.cache.prefetch = c.resolver.prefetch;
  o.forwarder.timeout = c.resolver.timeout;
  o.forwarder.max_in_flight = c.resolver.in_flight;
  o.forwarder.mixed_case = c.resolver.mixed_case;
  o.forwarder.udp_size = o.udp_size;
  o.upstreams.parallel = c.resolver.parallel;
  if (authority) o.services.push_back(service_options(ServiceKind::kAuthority, c));
  if (resolver) o.services.push_back(service_options(ServiceKind::kResolver, c));
  return o;
}

}  // namespace ls
