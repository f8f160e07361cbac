// Suites about settings of DNS: addresses of servers, and which static zones are accepted with which records.
#include "app/upstream_address.h"
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

}  // namespace ls::conformance
