// Suites about names and their addresses.
#include <algorithm>

#include "cluster.h"
#include "derive/fold.h"

namespace ls::conformance {

Outcome run_mangling(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  std::string text = one.at("input").at("text");
  return {difference(one.at("expect"), {{"as_one_label", fold_label(text)}, {"as_labels", fold_name(text)}}), ""};
}

Outcome run_hash_vectors(const Json& one, bool judge) {
  if (judge) return {"", "no rule for this marked case"};
  std::string name = one.at("name");
  auto start = [&](const char* min, const char* max) {
    VipAddresses alone(*IpAddress::parse(min), *IpAddress::parse(max));
    alone.insert(name);
    return alone.find(name)->text();
  };
  Json got{{"hash32", name_hash32(name)},
           {"v4_packaged_range", start("11.0.0.0", "11.255.255.255")},
           {"v4_builtin_range", start("11.0.0.0", "11.255.255.254")},
           {"v6_default_range", start("fd01:c::", "fd01:c::ffff:ffff:ffff:ffff")}};
  return {difference(one.at("expect"), got), ""};
}

namespace {

VipOptions range_of(const Json& config) {
  VipOptions o;
  auto set = [&](const char* key, IpAddress& into) {
    if (config.contains(key)) into = address_of(config[key]);
  };
  set("min_named_ip", o.named_min);
  set("max_named_ip", o.named_max);
  set("min_named_ip6", o.named_min6);
  set("max_named_ip6", o.named_max6);
  return o;
}

/// One VIP a name: entries with equal keys are merged, as labels that fold alike are.
std::vector<VipView> views_of(const Json& step) {
  std::map<VipKey, VipView> out;
  for (auto& v : step) {
    VipView view;
    view.key.port = v.at("port");
    view.key.protocol = protocol_of(v);
    if (v.contains("address")) {
      view.key.address = address_of(v["address"]);
    } else {
      view.label = v.at("label");
      view.framework = v.at("framework");
      view.key.name = vip_name(view.label, view.framework);
    }
    auto& into = out.try_emplace(view.key, view).first->second;
    for (auto& b : v.at("backends")) into.backends.push_back(parse_backend(b));
  }
  std::vector<VipView> list;
  for (auto& [key, view] : out) list.push_back(view);
  return list;
}

Json table_json(const VipTable& table) {
  Json out{{"services", Json::array()}, {"records", Json::array()}};
  std::set<std::pair<std::string, std::string>> seen;
  for (auto& s : table.services) {
    Json j{{"address", s.key.address.text()}, {"port", s.key.port}, {"protocol", to_text(s.key.protocol)}};
    j["backends"] = Json::array();
    for (auto& b : s.backends) j["backends"].push_back(backend_json(b));
    out["services"].push_back(std::move(j));
    if (s.name.empty() || !seen.emplace(s.dns_name(), s.key.address.text()).second) continue;
    out["records"].push_back({{"name", s.dns_name()},
                              {"type", s.key.address.is_v4() ? "A" : "AAAA"},
                              {"data", s.key.address.text()},
                              {"ttl", 5}});
  }
  return out;
}

/// The same names through the structure that is kept by deltas: in the given order, with a history of other steps before.
std::string check_incremental(const Json& steps, const VipOptions& options, bool backwards) {
  VipAddresses v4(options.named_min, options.named_max), v6(options.named_min6, options.named_max6);
  std::set<std::string> in4, in6;
  std::set<IpAddress> avoided;
  std::string wrong;
  for (auto& step : steps) {
    std::vector<VipView> views = views_of(step);
    if (backwards) std::reverse(views.begin(), views.end());
    std::set<std::string> want4, want6;
    std::set<IpAddress> avoid;
    auto sync = [](VipAddresses& table, std::set<std::string>& have, const std::string& name) {
      if (have.insert(name).second) table.insert(name);
    };
    for (auto& v : views) {
      if (v.key.name.empty()) avoid.insert(v.key.address);
      for (auto& b : v.backends)
        if (!v.key.name.empty()) (b.address.is_v4() ? want4 : want6).insert(v.key.name);
    }
    for (auto& v : views) {  // in the order of the list
      if (want4.contains(v.key.name)) sync(v4, in4, v.key.name);
      if (want6.contains(v.key.name)) sync(v6, in6, v.key.name);
    }
    auto drop = [](VipAddresses& table, std::set<std::string>& have, const std::set<std::string>& want) {
      for (auto it = have.begin(); it != have.end();) {
        if (want.contains(*it)) {
          ++it;
        } else {
          table.erase(*it);
          it = have.erase(it);
        }
      }
    };
    drop(v4, in4, want4);
    drop(v6, in6, want6);
    for (auto& a : avoid)
      if (avoided.insert(a).second) v4.avoid(a), v6.avoid(a);
    for (auto& a : avoided)
      if (!avoid.contains(a)) v4.release(a), v6.release(a);
    std::erase_if(avoided, [&](auto& a) { return !avoid.contains(a); });
    for (auto& s : place_vips(views, options).services) {
      if (s.name.empty()) continue;
      auto at = (s.key.address.is_v4() ? v4 : v6).find(s.name);
      if (at != s.key.address)
        wrong += s.name + ": " + s.key.address.text() + " from scratch, " + (at ? at->text() : "none") + " with history\n";
    }
  }
  return wrong;
}

}  // namespace

Outcome run_name_allocation(const Json& one, bool judge) {
  auto& input = one.at("input");
  VipOptions options = range_of(input.value("config", Json::object()));
  auto& steps = input.at("steps");
  Json got{{"steps", Json::array()}};
  std::string wrong = check_incremental(steps, options, false) + check_incremental(steps, options, true);
  for (auto& step : steps) {
    VipTable table = place_vips(views_of(step), options);
    got["steps"].push_back(table_json(table));
    if (!judge) continue;
    // Any answer: one name is one address of each family, no address has two names, and all lie in the range.
    std::map<std::pair<std::string, bool>, IpAddress> address_of_name;
    std::map<IpAddress, std::string> name_of_address;
    for (auto& s : table.services) {
      if (s.name.empty()) continue;
      bool v4 = s.key.address.is_v4();
      auto [a, fresh] = address_of_name.try_emplace({s.name, v4}, s.key.address);
      if (!fresh && a->second != s.key.address) wrong += s.name + ": one name must be one VIP\n";
      auto [n, fresh_name] = name_of_address.try_emplace(s.key.address, s.name);
      if (!fresh_name && n->second != s.name) wrong += s.key.address.text() + ": has two names\n";
      if (s.key.address < (v4 ? options.named_min : options.named_min6) ||
          s.key.address > (v4 ? options.named_max : options.named_max6))
        wrong += s.key.address.text() + ": is outside the range\n";
    }
    // As many names as there is room for have an address, whatever happens to the rest.
    std::set<std::string> names;
    for (auto& v : views_of(step))
      for (auto& b : v.backends)
        if (!v.key.name.empty() && b.address.is_v4()) names.insert(v.key.name);
    size_t placed = size_t(std::count_if(address_of_name.begin(), address_of_name.end(), [](auto& e) { return e.first.second; }));
    Address128 room = to_number(options.named_max) - to_number(options.named_min) + 1;
    if (placed < names.size() && placed < room && table.problems.size() < names.size() - placed)
      wrong += "names are left without address and without report\n";
  }
  if (judge) return {wrong, ""};
  return {wrong + difference(one.at("expect"), got), ""};
}

}  // namespace ls::conformance
