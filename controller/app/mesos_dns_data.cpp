#include "app/mesos_dns_data.h"

namespace ls {
namespace {

int64_t seconds(Millis t) { return t.count() / 1000; }

std::string absolute(std::string name) {
  while (name.ends_with('.')) name.pop_back();
  return name + ".";
}

std::string text(IpSourceKind k) {
  switch (k) {
    case IpSourceKind::kHost: return "host";
    case IpSourceKind::kDocker: return "docker";
    case IpSourceKind::kMesos: return "mesos";
    case IpSourceKind::kNetinfo: break;
  }
  return "netinfo";
}

}  // namespace

MesosDnsData::MesosDnsData(const Config& config, std::filesystem::path file, const MesosZone& zone, api::DnsSource& dns)
    : file_(std::move(file)), zone_(zone), dns_(dns) {
  reload(config);
}

void MesosDnsData::reload(const Config& c) {
  Shown shown;
  auto& m = shown.config;
  auto& a = c.authority;
  m.timeout = seconds(c.resolver.timeout);
  if (!a.listen.empty()) {
    m.listener = a.listen.front().address.text();
    m.port = a.listen.front().port;
  }
  m.dns_on = !a.listen.empty();
  if (!a.http_listen.empty()) {
    m.http_listener = a.http_listen.front().address.text();
    m.http_port = a.http_listen.front().port;
  }
  m.ttl = m.soa_minttl = seconds(a.ttl);
  m.srv_weight = a.srv_weight;
  m.soa_refresh = seconds(a.soa_refresh);
  m.soa_retry = seconds(a.soa_retry);
  m.soa_expire = seconds(a.soa_expire);
  m.soa_mname = absolute(a.soa_mname);
  m.soa_rname = absolute(a.soa_rname);
  if (!c.mesos.masters.empty()) {
    m.masters.emplace();
    for (auto& master : c.mesos.masters) m.masters->push_back(master.text());
  }
  if (!a.upstreams.empty()) m.resolvers = a.upstreams;  // else what the reference shows though it does not use it
  m.zone_resolvers = a.forward_zones;
  m.external_on = !a.upstreams.empty() || !a.forward_zones.empty();
  m.ip_sources.clear();
  for (auto k : a.ip_sources) m.ip_sources.push_back(text(k));
  m.domain = a.domain;
  m.file = file_.string();
  m.recurse_on = a.recursion_available;
  m.enforce_rfc952 = a.rfc952;
  m.set_truncate_bit = c.dns.no_truncate_bit.empty();
  m.enumeration_on = a.enumeration;
  m.mesos_https_on = c.mesos.tls;
  m.ca_cert_file = c.mesos.ca_file.string();
  m.cert_file = c.mesos.cert_file.string();
  m.key_file = c.mesos.key_file.string();
  m.principal = c.mesos.principal;
  m.has_secret = !c.mesos.secret_file.empty();
  m.mesos_authentication = c.mesos.principal.empty() ? "" : "basic";
  shown.raw_names = a.raw_names;
  shown_.publish(std::move(shown));
}

std::vector<MesosZone::FrameworkRecords> MesosDnsData::enumerate(bool raw_names) {
  return zone_.enumerate(shown_.get()->config.domain, raw_names);
}

}  // namespace ls
