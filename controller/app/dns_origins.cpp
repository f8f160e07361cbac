#include "app/dns_origins.h"

#include "derive/records.h"

namespace ls {

std::vector<std::string> DnsOrigins::of(const dns::ZoneTable& table, const DnsName& apex, std::string_view relative) const {
  auto is = [&](const dns::ZoneTable& t) { return &table == &t; };
  const std::string text = relative_text(relative);
  if (is(zones_.mesos)) return zones_.cluster.origins(relative);
  if (is(zones_.l4lb)) return sources_.services ? sources_.services(text) : std::vector<std::string>{};
  if (is(zones_.dcos)) {
    if (text == "leader") return {"the leading master"};
    if (text == "master") return {"all masters (mesos.masters), else the leading one"};
    return zones_.cluster.dcos_origins(relative);
  }
  if (is(zones_.zk)) return text.empty() ? std::vector<std::string>{} : std::vector<std::string>{"the masters in turn (mesos.masters)"};
  if (is(zones_.thisnode)) return {text.empty() ? "this machine: node.address" : "this machine: node.public_addresses"};
  if (is(zones_.spartan)) return {text == "ready" ? "made here: the name that loadstar-watchdog asks for" : "made here: the resolver's own address"};
  if (is(zones_.localhost)) return {"made here"};
  if (is(zones_.empty)) {
    if (text.empty()) return {};
    return {"nothing: no zone below " + apex.text() + " holds this name, and names below it are never asked upstream"};
  }

  auto zone = apex.folded().text();
  if (zone.ends_with('.')) zone.pop_back();
  std::vector<std::string> out;
  auto names = static_.get();
  if (auto it = names->find(zone); it != names->end() && it->second.contains(std::string(relative)))
    out.push_back("static zone of the configuration: resolver.static_zones or resolver.zone_files");
  if (sources_.registrations) {
    for (auto& r : sources_.registrations(zone, text.empty() ? "@" : text)) out.push_back(std::move(r));
  }
  return out;
}

}  // namespace ls
