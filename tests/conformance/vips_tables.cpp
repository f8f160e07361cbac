// Suites about tables of services: differences, reachability, the node's own view.
#include <algorithm>

#include "cluster.h"
#include "derive/reachability.h"
#include "derive/vip_diff.h"

namespace ls::conformance {
namespace {

/// Key fields of a VIP as a case writes them, without backends.
Json head(const Json& vip) {
  Json out = vip;
  out.erase("backends");
  return out;
}

Json key_json(const ServiceKey& k) {
  return {{"address", k.address.text()}, {"port", k.port}, {"protocol", to_text(k.protocol)}};
}

Json endpoint_json(const Endpoint& e, std::optional<uint8_t> weight = std::nullopt) {
  Json j{{"ip", e.address.text()}, {"port", e.port}};
  if (weight) j["weight"] = *weight;
  return j;
}

EndpointTable table_of(const Json& vips) {
  std::vector<Service> services;
  for (auto& v : vips) services.push_back(parse_service(v));
  return endpoint_table(services);
}

Json with_backends(const Json& vip, const std::vector<Backend>& backends) {
  Json out = vip;
  out["backends"] = Json::array();
  for (auto& b : backends) out["backends"].push_back(backend_json(b));
  return out;
}

std::vector<Backend> backends_of(const Json& vip) {
  std::vector<Backend> out;
  for (auto& b : vip.at("backends")) out.push_back(parse_backend(b));
  return out;
}

}  // namespace

Outcome run_reconcile_diff(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  auto d = diff(table_of(one.at("input").at("to")), table_of(one.at("input").at("from")));
  Json got{{"add", Json::array()}, {"modify", Json::array()}, {"remove", Json::array()}};
  for (auto& [key, endpoints] : d.add) {
    Json j = key_json(key);
    j["backends"] = Json::array();
    for (auto& [e, weight] : endpoints) j["backends"].push_back(endpoint_json(e, weight));
    got["add"].push_back(j);
  }
  for (auto& [key, endpoints] : d.remove) got["remove"].push_back(key_json(key));
  for (auto& m : d.modify) {
    Json j = key_json(m.key);
    for (auto name : {"add", "remove", "change_weight"}) j[name] = Json::array();
    auto inner = diff(m.to, m.from);
    for (auto& [e, weight] : inner.add) j["add"].push_back(endpoint_json(e, weight));
    for (auto& [e, weight] : inner.remove) j["remove"].push_back(endpoint_json(e));
    for (auto& c : inner.modify) j["change_weight"].push_back(endpoint_json(c.key, c.to));
    got["modify"].push_back(j);
  }
  return {difference(one.at("expect"), got), ""};
}

Outcome run_reachability(const Json& one, bool judge) {
  auto& input = one.at("input");
  Membership members;
  for (auto& [agent, node] : input.at("agent_to_node").items())
    members.node_of_agent[IpAddress::parse(agent).value_or(IpAddress())] = node;
  for (auto& [node, far] : input.at("distance").items())
    members.distance[node] = far.is_null() ? std::nullopt : std::optional<double>(far.get<double>());
  auto reachable = [&](const IpAddress& agent) { return members.reachable(agent); };
  Json got = Json::array();
  std::string wrong;
  for (auto& vip : input.at("vips")) {
    auto before = backends_of(vip);
    auto after = filter_reachable(before, reachable);
    got.push_back(with_backends(vip, after));
    if (!judge) continue;
    // Any answer: a service that could take new flows still can, over a reachable backend if there is one that does.
    auto takes = [](const Backend& b) { return b.weight > 0; };
    auto good = [&](const Backend& b) { return takes(b) && reachable(b.agent); };
    std::string title = head(vip).dump();
    if (std::any_of(before.begin(), before.end(), takes) && std::none_of(after.begin(), after.end(), takes))
      wrong += title + ": takes no new connections any more\n";
    if (std::any_of(before.begin(), before.end(), good) &&
        std::any_of(after.begin(), after.end(), [&](auto& b) { return !reachable(b.agent); }))
      wrong += title + ": keeps an unreachable backend beside a reachable one\n";
    for (auto& b : before)
      if (good(b) && std::find(after.begin(), after.end(), b) == after.end())
        wrong += title + ": lost the reachable backend " + b.endpoint().text() + "\n";
  }
  if (judge) return {wrong, ""};
  // An entry without weight reads as weight 1 here.
  Json expect = one.at("expect");
  for (auto& vip : expect) vip = with_backends(vip, backends_of(vip));
  return {difference(expect, got), ""};
}

Outcome run_local_ports(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  auto& input = one.at("input");
  LocalPortTable table;
  for (auto& m : input.at("local_port_mappings"))
    table.add({protocol_of(m), m.at("host_port"), {address_of(m.at("container_ip")), m.at("container_port")}}, "task", true);
  std::vector<IpAddress> own{address_of(input.at("own_agent_ip"))};
  Json got = Json::array();
  for (auto& vip : input.at("vips"))
    got.push_back(with_backends(vip, rewrite_local(backends_of(vip), protocol_of(vip), own, table)));
  Json expect = one.at("expect");
  for (auto& vip : expect) vip = with_backends(vip, backends_of(vip));
  return {difference(expect, got), ""};
}

/// There is no gossiped set here, but ownership by agent address is the same rule: what an agent must write is the
/// difference between its own backends and those entries of the table that carry its address.
Outcome run_shared_set(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  auto& input = one.at("input");
  std::string own = input.at("own_agent_ip");
  using Set = std::map<Json, bool>;
  std::map<Json, Set> want, have;
  std::map<Json, size_t> foreign;  // entries of other agents, for every stored key
  for (auto& v : input.at("local"))
    for (auto& b : v.at("backends")) want[head(v)].emplace(b, true);
  for (auto& v : input.at("stored")) {
    foreign[head(v)] += 0;
    for (auto& b : v.at("backends")) {
      if (b.at("agent_ip") == own) {
        have[head(v)].emplace(b, true);
      } else {
        foreign[head(v)]++;
      }
    }
  }
  auto list = [](const auto& entries) {
    Json out = Json::array();
    for (auto& e : entries) out.push_back(e.first);
    return out;
  };
  Json changes = Json::array();
  auto d = diff(want, have);
  for (auto& [key, set] : d.add) {
    Json j = key;
    if (foreign.contains(key)) {
      j["action"] = "update";
      j["ops"] = Json::array({{{"op", "add_all"}, {"backends", list(set)}}});
    } else {
      j["action"] = "create";
      j["backends"] = list(set);
    }
    changes.push_back(j);
  }
  for (auto& m : d.modify) {
    auto inner = diff(m.to, m.from);
    Json j = m.key;
    j["action"] = "update";
    j["ops"] = Json::array();
    if (!inner.add.empty()) j["ops"].push_back({{"op", "add_all"}, {"backends", list(inner.add)}});
    if (!inner.remove.empty()) j["ops"].push_back({{"op", "remove_all"}, {"backends", list(inner.remove)}});
    changes.push_back(j);
  }
  for (auto& [key, set] : d.remove) {
    Json j = key;
    if (foreign[key] > 0) {
      j["action"] = "update";
      j["ops"] = Json::array({{{"op", "remove_all"}, {"backends", list(set)}}});
    } else {
      j["action"] = "drop_vip";
    }
    changes.push_back(j);
  }
  for (auto& [key, others] : foreign) {
    if (others > 0 || want.contains(key) || have.contains(key)) continue;
    Json j = key;
    j["action"] = "drop_vip";
    changes.push_back(j);
  }
  return {difference(one.at("expect"), {{"changes", changes}}), ""};
}

}  // namespace ls::conformance
