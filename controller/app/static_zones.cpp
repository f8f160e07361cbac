#include "app/static_zones.h"

#include <fmt/format.h>

#include <algorithm>

#include "util/zone_names.h"
#include "dns/zone_text.h"

namespace ls {
namespace {

constexpr uint32_t kTtl = 5;  // seconds

}  // namespace

StaticZones read_static_zones(const Config& config, const std::string& config_file) {
  StaticZones out;
  auto add = [&](std::string_view setting, dns::ZoneText zone) {
    for (auto& p : zone.problems) out.problems.push_back({{config_file, 0, 0}, fmt::format("{}: {}", setting, p)});
    if (!zone.good()) return;
    auto name = zone.apex.text();
    name.pop_back();
    if (auto why = static_zone_fault(name)) {
      out.problems.push_back({{config_file, 0, 0}, fmt::format("{}: {}", setting, *why)});
      return;
    }
    auto& into = out.zones[name];
    into.insert(into.end(), zone.records.begin(), zone.records.end());
    std::sort(into.begin(), into.end());
    into.erase(std::unique(into.begin(), into.end()), into.end());
  };
  for (auto& [name, lines] : config.resolver.static_zones) {
    auto apex = DnsName::parse(name);
    if (!apex) continue;  // the setting's own rule refused it
    add("resolver.static_zones", dns::parse_zone_lines(lines, fmt::format("\"{}\"", name), *apex, kTtl));
  }
  for (auto& path : config.resolver.zone_files) add("resolver.zone_files", dns::read_zone_file(path, std::nullopt, kTtl));
  return out;
}

}  // namespace ls
