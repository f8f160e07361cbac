#include "app/config_dns.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "app/upstream_address.h"
#include "util/zone_names.h"

namespace ls {
namespace {

using BadFn = std::function<void(std::string_view, std::string_view)>;

/// What is asked at `asked` comes back to a server that listens at `own`.
bool same_server(const Endpoint& asked, const Endpoint& own, const std::vector<IpAddress>& node) {
  if (asked.port != own.port) return false;
  if (asked.address == own.address) return true;
  if (!own.address.is_zero()) return false;
  bool loopback = asked.address.is_v4() ? asked.address.v4() >> 24 == 127 : asked.address.text() == "::1";
  return loopback || std::find(node.begin(), node.end(), asked.address) != node.end();
}

struct Checker {
  const Config& c;
  const BadFn& bad;
  std::vector<IpAddress> node;

  /// `zone` is empty for a plain list. No server twice, and none that is this daemon itself (lessons 40).
  void servers(std::string_view setting, std::string_view zone, const std::vector<std::string>& list,
               const std::vector<Endpoint>& own) {
    auto say = [&](std::string_view why) {
      bad(setting, zone.empty() ? std::string(why) : fmt::format("\"{}\": {}", zone, why));
    };
    std::set<Endpoint> seen;
    for (auto& text : list) {
      auto server = parse_upstream(text, 53);
      if (!server) continue;  // every value was read by its own line
      if (!seen.insert(*server).second) say(fmt::format("{} is there twice", server->text()));
      bool loops = std::any_of(own.begin(), own.end(), [&](auto& e) { return same_server(*server, e, node); });
      if (loops) {
        say(fmt::format("{} is this server itself: questions would go round in circles", server->text()));
      }
    }
  }

  /// The machine's own address at a port of the resolver: whoever answers there is likely to ask us again.
  void own_node(std::string_view setting, const std::vector<std::string>& list) {
    for (auto& text : list) {
      auto server = parse_upstream(text, 53);
      if (!server || std::find(node.begin(), node.end(), server->address) == node.end()) continue;
      bool port = std::any_of(c.resolver.listen.begin(), c.resolver.listen.end(), [&](auto& e) { return e.port == server->port; });
      bool wild = std::any_of(c.resolver.listen.begin(), c.resolver.listen.end(),
                              [&](auto& e) { return same_server(*server, e, node); });
      if (port && !wild) {
        bad(setting, fmt::format("{} is an address of this machine: questions would go round in circles; a server here needs "
                                 "another port",
                                 server->text()));
      }
    }
  }

  void endpoints(std::string_view setting, const std::vector<Endpoint>& list) {
    std::set<Endpoint> seen;
    for (auto& e : list) {
      if (!seen.insert(e).second) bad(setting, fmt::format("{} is there twice", e.text()));
    }
  }
};

void check_authority(Checker& k) {
  auto& a = k.c.authority;
  k.endpoints("authority.listen", a.listen);
  k.endpoints("authority.http_listen", a.http_listen);
  std::set<IpSourceKind> sources;
  for (auto s : a.ip_sources) {
    if (!sources.insert(s).second) k.bad("authority.ip_sources", "a source is there twice");
  }
  k.servers("authority.upstreams", "", a.upstreams, a.listen);
  for (auto& [zone, servers] : a.forward_zones) {
    constexpr std::string_view kName = "authority.forward_zones";
    k.servers(kName, zone, servers, a.listen);
    if (zone == a.domain) {
      k.bad(kName, fmt::format("\"{}\" is authority.domain, which is answered here", zone));
    } else if (within_zone(zone, a.domain)) {
      k.bad(kName, fmt::format("\"{}\" is masked: it lies below authority.domain = \"{}\"", zone, a.domain));
    } else if (within_zone(a.domain, zone)) {
      k.bad(kName, fmt::format("\"{}\" is masked: authority.domain = \"{}\" lies below it", zone, a.domain));
    }
    for (auto& [other, unused] : a.forward_zones) {
      if (other != zone && within_zone(other, zone)) {
        k.bad(kName, fmt::format("\"{}\" is masked: \"{}\" lies below it", zone, other));
      }
    }
  }
  if (a.domain.ends_with(".in-addr.arpa") || built_in_zone(a.domain)) {
    k.bad("authority.domain", fmt::format("\"{}\" has another meaning already", a.domain));
  }
}

void check_resolver(Checker& k) {
  auto& r = k.c.resolver;
  k.endpoints("resolver.listen", r.listen);
  k.servers("resolver.upstreams", "", r.upstreams, r.listen);
  k.servers("resolver.mesos_servers", "", r.mesos_servers, r.listen);
  k.own_node("resolver.upstreams", r.upstreams);
  for (auto& [zone, servers] : r.forward_zones) {
    k.servers("resolver.forward_zones", zone, servers, r.listen);
    k.own_node("resolver.forward_zones", servers);
    auto taken = built_in_zone(zone);
    if (!taken && within_zone(zone, k.c.authority.domain)) taken = k.c.authority.domain;
    if (taken) {
      k.bad("resolver.forward_zones", fmt::format("\"{}\" would never be asked: every name in \"{}\" is the cluster's", zone, *taken));
    }
  }
  std::set<std::filesystem::path> files;
  for (auto& f : r.zone_files) {
    if (!files.insert(f).second) k.bad("resolver.zone_files", fmt::format("{} is there twice", f.native()));
  }
}

}  // namespace

void check_dns_settings(const Config& c, const BadFn& bad) {
  Checker k{c, bad, c.node.all_addresses()};
  check_authority(k);
  check_resolver(k);
  k.endpoints("api.listen", c.api.listen);
  if (c.dns.tcp_per_client > c.dns.tcp_connections) {
    bad("dns.tcp_per_client", fmt::format("{} is above dns.tcp_connections = {}", c.dns.tcp_per_client, c.dns.tcp_connections));
  }
  if (c.registration.ttl > c.registration.max_lease) {
    bad("registration.ttl", fmt::format("{} is above registration.max_lease = {}", print_duration(c.registration.ttl),
                                        print_duration(c.registration.max_lease)));
  }
  if (c.watchdog.timeout >= c.watchdog.interval) {
    bad("watchdog.timeout", fmt::format("{} is not below watchdog.interval = {}", print_duration(c.watchdog.timeout),
                                        print_duration(c.watchdog.interval)));
  }
}

}  // namespace ls
