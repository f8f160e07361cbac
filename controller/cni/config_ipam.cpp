#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/config_parts.h"
#include "cni/fields.h"
#include "cni/ip_math.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;

Outcome<IpNetwork> network_from(const std::string& text, const std::string& what) {
  auto n = text.find('/') == text.npos ? std::nullopt : IpNetwork::parse(text);
  if (n) return *n;
  if (auto loose = parse_cidr(text))
    return refuse(Code::kConfig, fmt::format("{} \"{}\" has host bits set", what, text), fmt::format("the network is {}", network_of(loose->address, loose->prefix).text()));
  return refuse(Code::kConfig, fmt::format("{} \"{}\" is no network", what, text));
}

Outcome<> add_range(Range r, const std::string& what, Config& out) {
  for (auto& other : out.ranges)
    if (other.network.address.is_v4() == r.network.address.is_v4())
      return refuse(Code::kUnsupported, fmt::format("{} = {} is not supported beside {}: one network a family", what, r.network.text(), other.network.text()));
  out.ranges.push_back(r);
  // IPv4 first: results until 0.2.0 and their readers know no other order.
  std::stable_sort(out.ranges.begin(), out.ranges.end(), [](auto& a, auto& b) { return a.network.address.is_v4() && !b.network.address.is_v4(); });
  return {};
}

/// {subnet, rangeStart, rangeEnd, gateway}
Outcome<> parse_range(const Fields& f, Config& out) {
  auto subnet = f.text("subnet");
  if (!subnet) return tl::make_unexpected(subnet.error());
  if (!*subnet) return refuse(Code::kConfig, fmt::format("{} is missing", f.name("subnet")));
  auto network = network_from(**subnet, f.name("subnet"));
  if (!network) return tl::make_unexpected(network.error());
  auto range = range_of(*network);
  if (!range) return tl::make_unexpected(range.error());
  for (auto [key, to] : {std::pair{"rangeStart", &range->first}, {"rangeEnd", &range->last}, {"gateway", &range->gateway}}) {
    auto text = f.text(key);
    if (!text) return tl::make_unexpected(text.error());
    if (!*text || (*text)->empty()) continue;
    auto a = IpAddress::parse(**text);
    if (!a || !network->contains(*a)) return refuse(Code::kConfig, fmt::format("{} \"{}\" is no address of {}", f.name(key), **text, network->text()));
    *to = *a;
  }
  if (range->last < range->first) return refuse(Code::kConfig, fmt::format("{} {} is behind {}", f.name("rangeStart"), range->first.text(), range->last.text()));
  return add_range(*range, f.name("subnet"), out);
}

Outcome<> parse_ranges(const Fields& f, const Json& sets, Config& out) {
  for (size_t i = 0; i < sets.size(); i++) {
    if (!sets[i].is_array()) return f.wrong("ranges", "a list of lists");
    for (size_t k = 0; k < sets[i].size(); k++) {
      if (!sets[i][k].is_object()) return f.wrong("ranges", "a list of lists of objects");
      LS_CNI_TRY(parse_range(Fields(sets[i][k], fmt::format("{}[{}][{}]", f.name("ranges"), i, k)), out));
    }
  }
  return {};
}

Outcome<uint16_t> port_of(const Fields& f, std::initializer_list<std::string_view> keys) {
  for (auto key : keys) {
    auto n = f.number(key, 1, 65535);
    if (!n) return tl::make_unexpected(n.error());
    if (*n) return uint16_t(**n);
  }
  return refuse(Code::kConfig, fmt::format("{} is missing", f.name(*keys.begin())));
}

}  // namespace

Outcome<Range> range_of(const IpNetwork& network) {
  if (network.prefix > 126)
    return refuse(Code::kConfig, fmt::format("network {} is too small: it needs room for a gateway and a container", network.text()));
  Range r;
  r.network = network;
  r.gateway = r.first = next_address(network.address);
  r.last = last_address(network);
  if (network.address.is_v4()) r.last = previous_address(r.last);
  return r;
}

Outcome<> parse_ipam(const Fields& f, Config& out) {
  auto overlay = f.text("overlay"), dir = f.text("dataDir"), resolver = f.text("resolvConf");
  for (auto* r : {&overlay, &dir, &resolver})
    if (!*r) return tl::make_unexpected(r->error());
  if (*resolver && !(*resolver)->empty()) return refuse(Code::kUnsupported, fmt::format("{} = \"{}\" is not supported", f.name("resolvConf"), **resolver));
  if (*dir && !(*dir)->empty()) out.data_dir = **dir;
  auto routes = parse_routes(f.find("routes") ? *f.find("routes") : Json(), f.name("routes"));
  if (!routes) return tl::make_unexpected(routes.error());
  out.routes = std::move(*routes);
  if (*overlay) {
    out.overlay = **overlay;
    if (!valid_identifier(out.overlay, kMaxNetworkName)) return refuse(Code::kConfig, fmt::format("{} \"{}\" is no name of an overlay", f.name("overlay"), out.overlay));
    for (auto key : {"subnet", "subnets", "ranges"})
      if (f.find(key)) return refuse(Code::kConfig, fmt::format("{} and {} are both given", f.name("overlay"), f.name(key)));
    return {};
  }
  if (f.find("subnet")) LS_CNI_TRY(parse_range(f, out));
  auto subnets = f.list("subnets"), ranges = f.list("ranges");
  if (!subnets) return tl::make_unexpected(subnets.error());
  if (!ranges) return tl::make_unexpected(ranges.error());
  if (*subnets) {
    for (auto& e : **subnets) {
      if (!e.is_string()) return f.wrong("subnets", "a list of texts");
      Json one = {{"subnet", e}};
      LS_CNI_TRY(parse_range(Fields(one, f.name("subnets")), out));
    }
  }
  if (*ranges) LS_CNI_TRY(parse_ranges(f, **ranges, out));
  if (out.ranges.empty()) return refuse(Code::kConfig, fmt::format("{} names neither an overlay nor a subnet", f.name("ipam")));
  return {};
}

Outcome<> parse_mappings(const Json* list, const std::string& what, std::vector<PortMapping>& out) {
  if (!list) return {};
  if (!list->is_array()) return refuse(Code::kDecode, fmt::format("{} is not a list", what));
  if (list->size() > kMaxMappings) return refuse(Code::kConfig, fmt::format("{} has {} entries, at most {}", what, list->size(), kMaxMappings));
  for (size_t i = 0; i < list->size(); i++) {
    auto& e = (*list)[i];
    auto place = fmt::format("{}[{}]", what, i);
    if (!e.is_object()) return refuse(Code::kDecode, fmt::format("{} is not an object", place));
    Fields f(e, place);
    auto host = port_of(f, {"host_port", "hostPort"}), container = port_of(f, {"container_port", "containerPort"});
    if (!host) return tl::make_unexpected(host.error());
    if (!container) return tl::make_unexpected(container.error());
    auto protocol = f.text("protocol"), address = f.text("hostIP");
    if (!protocol) return tl::make_unexpected(protocol.error());
    if (!address) return tl::make_unexpected(address.error());
    auto word = protocol->value_or("tcp");
    auto parsed = parse_protocol(word.empty() ? "tcp" : word);
    if (!parsed) return refuse(Code::kUnsupported, fmt::format("{} = \"{}\" is not supported", f.name("protocol"), word));
    if (*address && !(*address)->empty()) {
      auto a = IpAddress::parse(**address);
      bool any = a && (a->is_zero() || (a->is_v4() && a->v4() == 0));
      if (!any) return refuse(Code::kUnsupported, fmt::format("{} = \"{}\" is not supported: a mapping is for all addresses of the machine", f.name("hostIP"), **address));
    }
    out.push_back({*parsed, *host, *container});
  }
  return {};
}

}  // namespace ls::cni
