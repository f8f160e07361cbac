#include "cni/result.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "cni/ip_math.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;
using Ordered = nlohmann::ordered_json;

std::string cidr(const Ip& ip) { return fmt::format("{}/{}", ip.address.text(), own_prefix(ip.address, ip.prefix)); }

Ordered dns_json(const Dns& d) {
  Ordered out = Ordered::object();
  if (!d.nameservers.empty()) out["nameservers"] = d.nameservers;
  if (!d.domain.empty()) out["domain"] = d.domain;
  if (!d.search.empty()) out["search"] = d.search;
  if (!d.options.empty()) out["options"] = d.options;
  return out;
}

Ordered route_json(const Route& r, bool details) {
  Ordered out;
  out["dst"] = r.dst.text();
  if (r.gateway) out["gw"] = r.gateway->text();
  if (!details) return out;
  if (r.mtu) out["mtu"] = *r.mtu;
  if (r.advmss) out["advmss"] = *r.advmss;
  if (r.priority) out["priority"] = *r.priority;
  if (r.table) out["table"] = *r.table;
  if (r.scope) out["scope"] = *r.scope;
  return out;
}

/// ip4 or ip6 of the old shape: the first address of the family, and the family's routes.
std::optional<Ordered> old_family(const AddResult& r, bool v4) {
  for (auto& ip : r.ips) {
    if (ip.address.is_v4() != v4) continue;
    Ordered out;
    out["ip"] = cidr(ip);
    if (ip.gateway) out["gateway"] = ip.gateway->text();
    for (auto& route : r.routes) {
      if (route.dst.address.is_v4() != v4) continue;
      // A reader of this shape takes a route without gw for one on the link.
      auto said = route;
      if (!said.gateway) said.gateway = ip.gateway;
      out["routes"].push_back(route_json(said, false));
    }
    return out;
  }
  return std::nullopt;
}

Outcome<std::string> text_of(const Json& j, std::string_view key, std::string_view what) {
  auto it = j.find(key);
  if (it == j.end() || it->is_null()) return std::string();
  if (!it->is_string()) return refuse(Code::kDecode, fmt::format("{}.{} is not a text", what, key));
  return it->get<std::string>();
}

Outcome<std::vector<std::string>> texts_of(const Json& j, std::string_view key, std::string_view what) {
  std::vector<std::string> out;
  auto it = j.find(key);
  if (it == j.end() || it->is_null()) return out;
  if (!it->is_array()) return refuse(Code::kDecode, fmt::format("{}.{} is not a list", what, key));
  for (auto& e : *it) {
    if (!e.is_string()) return refuse(Code::kDecode, fmt::format("{}.{} holds something that is not a text", what, key));
    out.push_back(e.get<std::string>());
  }
  return out;
}

Outcome<std::optional<uint32_t>> number_of(const Json& j, std::string_view key, std::string_view what) {
  auto it = j.find(key);
  if (it == j.end() || it->is_null()) return std::optional<uint32_t>();
  if (!it->is_number_unsigned() || it->get<uint64_t>() > UINT32_MAX)
    return refuse(Code::kDecode, fmt::format("{}.{} is not a number from 0 to {}", what, key, UINT32_MAX));
  return std::optional<uint32_t>(it->get<uint32_t>());
}

Outcome<std::optional<IpAddress>> address_of(const Json& j, std::string_view key, std::string_view what) {
  auto text = text_of(j, key, what);
  if (!text) return tl::make_unexpected(text.error());
  if (text->empty()) return std::optional<IpAddress>();
  auto a = IpAddress::parse(*text);
  if (!a) return refuse(Code::kConfig, fmt::format("{}.{} \"{}\" is no address", what, key, *text));
  return a;
}

Outcome<> parse_old_family(const Json& j, bool v4, std::string_view what, AddResult& out) {
  auto key = v4 ? "ip4" : "ip6";
  auto it = j.find(key);
  if (it == j.end() || it->is_null()) return {};
  auto place = fmt::format("{}.{}", what, key);
  if (!it->is_object()) return refuse(Code::kDecode, place + " is not an object");
  auto text = text_of(*it, "ip", place);
  if (!text) return tl::make_unexpected(text.error());
  auto ip = parse_cidr(*text);
  if (!ip || ip->address.is_v4() != v4) return refuse(Code::kConfig, fmt::format("{}.ip \"{}\" is no address with a length of that family", place, *text));
  auto gateway = address_of(*it, "gateway", place);
  if (!gateway) return tl::make_unexpected(gateway.error());
  ip->gateway = *gateway;
  out.ips.push_back(*ip);
  auto routes = parse_routes(it->value("routes", Json()), place + ".routes");
  if (!routes) return tl::make_unexpected(routes.error());
  out.routes.insert(out.routes.end(), routes->begin(), routes->end());
  return {};
}

Outcome<> parse_interfaces(const Json& j, std::string_view what, AddResult& out) {
  if (j.is_null()) return {};
  if (!j.is_array()) return refuse(Code::kDecode, fmt::format("{}.interfaces is not a list", what));
  for (auto& e : j) {
    auto place = fmt::format("{}.interfaces[{}]", what, out.interfaces.size());
    if (!e.is_object()) return refuse(Code::kDecode, place + " is not an object");
    Interface i;
    for (auto [key, to] : {std::pair{"name", &i.name}, {"mac", &i.mac}, {"sandbox", &i.sandbox}}) {
      auto text = text_of(e, key, place);
      if (!text) return tl::make_unexpected(text.error());
      *to = std::move(*text);
    }
    auto mtu = number_of(e, "mtu", place);
    if (!mtu) return tl::make_unexpected(mtu.error());
    i.mtu = *mtu;
    out.interfaces.push_back(std::move(i));
  }
  return {};
}

Outcome<> parse_ips(const Json& j, std::string_view what, AddResult& out) {
  if (j.is_null()) return {};
  if (!j.is_array()) return refuse(Code::kDecode, fmt::format("{}.ips is not a list", what));
  for (auto& e : j) {
    auto place = fmt::format("{}.ips[{}]", what, out.ips.size());
    if (!e.is_object()) return refuse(Code::kDecode, place + " is not an object");
    auto text = text_of(e, "address", place);
    if (!text) return tl::make_unexpected(text.error());
    auto ip = parse_cidr(*text);
    if (!ip) return refuse(Code::kConfig, fmt::format("{}.address \"{}\" is no address with a length", place, *text));
    auto gateway = address_of(e, "gateway", place);
    if (!gateway) return tl::make_unexpected(gateway.error());
    ip->gateway = *gateway;
    auto index = number_of(e, "interface", place);
    if (!index) return tl::make_unexpected(index.error());
    if (*index) ip->interface = **index;
    out.ips.push_back(*ip);
  }
  return {};
}

}  // namespace

std::optional<Ip> parse_cidr(std::string_view text) {
  auto slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto address = IpAddress::parse(text.substr(0, slash));
  auto digits = text.substr(slash + 1);
  unsigned bits = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (!address || error != std::errc() || end != digits.data() + digits.size() || digits.size() > 3) return std::nullopt;
  if (address->is_v4()) {
    if (bits > 32) return std::nullopt;
    bits += 96;
  }
  if (bits > 128) return std::nullopt;
  return Ip{*address, uint8_t(bits), {}, {}};
}

Outcome<Dns> parse_dns(const Json& j, std::string_view what) {
  Dns out;
  if (j.is_null()) return out;
  if (!j.is_object()) return refuse(Code::kDecode, fmt::format("{} is not an object", what));
  for (auto [key, to] : {std::pair{"nameservers", &out.nameservers}, {"search", &out.search}, {"options", &out.options}}) {
    auto texts = texts_of(j, key, what);
    if (!texts) return tl::make_unexpected(texts.error());
    *to = std::move(*texts);
  }
  auto domain = text_of(j, "domain", what);
  if (!domain) return tl::make_unexpected(domain.error());
  out.domain = std::move(*domain);
  return out;
}

Outcome<std::vector<Route>> parse_routes(const Json& j, std::string_view what) {
  std::vector<Route> out;
  if (j.is_null()) return out;
  if (!j.is_array()) return refuse(Code::kDecode, fmt::format("{} is not a list", what));
  for (auto& e : j) {
    auto place = fmt::format("{}[{}]", what, out.size());
    if (!e.is_object()) return refuse(Code::kDecode, place + " is not an object");
    auto text = text_of(e, "dst", place);
    if (!text) return tl::make_unexpected(text.error());
    auto dst = parse_cidr(*text);
    if (!dst) return refuse(Code::kConfig, fmt::format("{}.dst \"{}\" is no network", place, *text));
    Route r{network_of(dst->address, dst->prefix), {}, {}, {}, {}, {}, {}};
    auto gateway = address_of(e, "gw", place);
    if (!gateway) return tl::make_unexpected(gateway.error());
    r.gateway = *gateway;
    if (r.gateway && r.gateway->is_v4() != r.dst.address.is_v4())
      return refuse(Code::kConfig, fmt::format("{}.gw {} is of another family than dst {}", place, r.gateway->text(), r.dst.text()));
    for (auto [key, to] : {std::pair{"mtu", &r.mtu}, {"advmss", &r.advmss}, {"priority", &r.priority}, {"table", &r.table}, {"scope", &r.scope}}) {
      auto n = number_of(e, key, place);
      if (!n) return tl::make_unexpected(n.error());
      *to = *n;
    }
    if (r.scope && *r.scope > 255) return refuse(Code::kConfig, fmt::format("{}.scope {} is above 255", place, *r.scope));
    out.push_back(std::move(r));
  }
  return out;
}

Outcome<std::string> result_document(Version version, const AddResult& r) {
  Ordered out;
  out["cniVersion"] = to_text(version);
  if (version <= Version::k020) {
    auto v4 = old_family(r, true), v6 = old_family(r, false);
    if (!v4 && !v6) return refuse(Code::kConfig, fmt::format("a result of version {} needs an address, there is none", to_text(version)));
    if (v4) out["ip4"] = *v4;
    if (v6) out["ip6"] = *v6;
    out["dns"] = dns_json(r.dns);
    return out.dump(-1, ' ', false, Ordered::error_handler_t::replace);
  }
  bool newest = version >= Version::k110;
  for (auto& i : r.interfaces) {
    Ordered e;
    e["name"] = i.name;
    if (!i.mac.empty()) e["mac"] = i.mac;
    if (newest && i.mtu) e["mtu"] = *i.mtu;
    if (!i.sandbox.empty()) e["sandbox"] = i.sandbox;
    out["interfaces"].push_back(std::move(e));
  }
  for (auto& ip : r.ips) {
    Ordered e;
    if (version < Version::k100) e["version"] = ip.address.is_v4() ? "4" : "6";
    if (ip.interface) e["interface"] = *ip.interface;
    e["address"] = cidr(ip);
    if (ip.gateway) e["gateway"] = ip.gateway->text();
    out["ips"].push_back(std::move(e));
  }
  for (auto& route : r.routes) out["routes"].push_back(route_json(route, newest));
  out["dns"] = dns_json(r.dns);
  return out.dump(-1, ' ', false, Ordered::error_handler_t::replace);
}

Outcome<AddResult> parse_result(const Json& j, std::string_view what) {
  if (!j.is_object()) return refuse(Code::kDecode, fmt::format("{} is not an object", what));
  AddResult out;
  for (bool v4 : {true, false})
    if (auto r = parse_old_family(j, v4, what, out); !r) return tl::make_unexpected(r.error());
  if (auto r = parse_interfaces(j.value("interfaces", Json()), what, out); !r) return tl::make_unexpected(r.error());
  if (auto r = parse_ips(j.value("ips", Json()), what, out); !r) return tl::make_unexpected(r.error());
  for (size_t i = 0; i < out.ips.size(); i++)
    if (out.ips[i].interface && *out.ips[i].interface >= out.interfaces.size())
      return refuse(Code::kConfig, fmt::format("{}.ips[{}].interface {} is none of the interfaces", what, i, *out.ips[i].interface));
  auto routes = parse_routes(j.value("routes", Json()), fmt::format("{}.routes", what));
  if (!routes) return tl::make_unexpected(routes.error());
  out.routes.insert(out.routes.end(), routes->begin(), routes->end());
  auto dns = parse_dns(j.value("dns", Json()), fmt::format("{}.dns", what));
  if (!dns) return tl::make_unexpected(dns.error());
  out.dns = std::move(*dns);
  return out;
}

}  // namespace ls::cni
