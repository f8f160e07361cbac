// Suites about settings of DNS: addresses of servers, and which static zones are accepted with which records.
#include "app/upstream_address.h"
#include "util/zone_names.h"
#include "dns/zone_text.h"
#include "suite.h"

namespace ls::conformance {

Outcome run_config_values(const Json& one, bool judge) {
  auto& input = one.at("input");
  std::string text = input.at("text");
  auto endpoint = parse_upstream(text, input.at("default_port"));
  Json got = endpoint ? Json{{"ip", endpoint->address.text()}, {"port", endpoint->port}} : Json{{"rejected", true}};
  if (!judge) return {difference(one.at("expect"), got), ""};
  // The two rules that marked cases state: a text the reference misread is refused, IPv6 is taken.
  bool v6 = text.find("::") != text.npos;
  return {v6 == endpoint.has_value() ? "" : (v6 ? "IPv6 must be accepted" : "must be rejected"), ""};
}

Outcome run_static_zones(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  auto& input = one.at("input");
  std::string zone = input.at("zone");
  auto why = static_zone_fault(zone);
  if (!input.contains("records")) return {difference(one.at("expect"), {{"accepted", !why}}), ""};
  if (why) return {*why, ""};
  std::vector<std::string> lines;
  for (auto& r : input["records"]) {
    auto line = dns::static_cname_line(std::string(r.at("name")), std::string(r.at("value")));
    if (!line) return {line.error().text(), ""};
    lines.push_back(*line);
  }
  auto read = dns::parse_zone_lines(lines, "case", *DnsName::parse(zone), 5);
  if (!read.good()) return {read.problems[0], ""};
  Json records = Json::array();
  auto dotless = [](std::string text) {
    text.pop_back();
    return text;
  };
  for (auto& r : read.records) {
    records.push_back({{"name", dotless(DnsName::join(r.owner, read.apex)->text())},
                       {"type", to_text(r.type)},
                       {"ttl", r.ttl},
                       {"data", dotless(target_of(r.type, r.rdata, read.apex)->text())}});
  }
  return {difference(one.at("expect"), {{"records", records}}), ""};
}

}  // namespace ls::conformance
