#include "dns_cluster.h"

namespace ls::conformance {

Json zones_in(const std::string& about) {
  const size_t from = about.find('{');
  if (from == std::string::npos) return Json::object();
  int depth = 0;
  bool quoted = false;
  for (size_t at = from; at < about.size(); ++at) {
    if (about[at] == '"' && about[at - 1] != '\\') quoted = !quoted;
    if (quoted) continue;
    if (about[at] == '{') ++depth;
    if (about[at] == '}' && --depth == 0) return Json::parse(about.substr(from, at + 1 - from));
  }
  return Json::object();
}

DnsCluster::DnsCluster(const Json& zones) {
  const auto rules = test::resolver_rules();
  for (const char* zone : {"spartan", "localhost", "zk"}) world.zone(zone, rules);
  for (const char* parent : {"thisdcos.directory", "thisdcos.global", "dcos.directory"}) {
    world.zone(parent, rules);
    world.view(parent).rules.refuse_below = true;
  }
  world.add("spartan", "ready.spartan", "A", "127.0.0.1");
  world.add("spartan", "ns.spartan", "A", "198.51.100.1");
  world.add("localhost", "localhost", "A", "127.0.0.1");
  for (const auto& [zone, records] : zones.items()) {
    world.zone(zone, rules);
    for (const auto& r : records) {
      std::string value = r.at("value");
      if (r.at("type") == "SRV") value = "1 1 " + std::to_string(r.at("port").get<int>()) + " " + value;
      world.add(zone, r.at("name").get<std::string>(), r.at("type").get<std::string>(), value);
    }
    name_everywhere(zone);
  }
}

/// Section 2 of the specification.
void DnsCluster::name_everywhere(const std::string& zone) {
  const std::string suffix = ".thisdcos.directory";
  if (!zone.ends_with(suffix)) return;
  const std::string label = zone.substr(0, zone.size() - suffix.size());
  world.alias(label + ".thisdcos.global", zone);
  world.alias(label + "." + kClusterId + ".dcos.directory", zone);
  if (label != "l4lb") return;
  world.alias("dclb.thisdcos.directory", zone);
  world.alias("dclb.thisdcos.global", zone);
}

}  // namespace ls::conformance
