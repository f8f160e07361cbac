#include "cni/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/config_parts.h"
#include "cni/fields.h"
#include "cni/ip_math.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;

constexpr uint32_t kMinTimeoutMs = 100, kMaxTimeoutMs = 60000;
constexpr int kMaxWrappers = 4;  // dcos-l4lb around mesos-cni-port-mapper around bridge, and one to spare

Outcome<> require_subset(const Fields& f, std::initializer_list<std::string_view> unsupported) {
  for (auto key : unsupported) {
    auto* v = f.find(key);
    bool set = v && !(v->is_boolean() && !v->get<bool>()) && !(v->is_string() && v->get_ref<const std::string&>().empty()) &&
               !(v->is_number() && *v == 0) && !(v->is_array() && v->empty());
    if (set) return refuse(Code::kUnsupported, fmt::format("{} = {} is not supported", f.name(key), v->dump()));
  }
  return {};
}

/// The network's keys that this plugin's own type and a bridge delegate share.
Outcome<> parse_interface(const Fields& f, Config& out) {
  auto bridge = f.text("bridge");
  if (!bridge) return tl::make_unexpected(bridge.error());
  if (*bridge) out.bridge = **bridge;
  if (*bridge && !valid_interface_name(out.bridge)) return refuse(Code::kConfig, fmt::format("{} \"{}\" is no name of a device", f.name("bridge"), out.bridge));
  auto hairpin = f.flag("hairpinMode");
  if (!hairpin) return tl::make_unexpected(hairpin.error());
  if (*hairpin) out.hairpin = **hairpin;
  // Zero is "not given" for the reference plugins.
  auto mtu = f.number("mtu", 0, kMaxMtu);
  if (!mtu) return tl::make_unexpected(mtu.error());
  if (*mtu && **mtu) out.mtu = **mtu;
  if (out.mtu && *out.mtu < kMinMtu) return refuse(Code::kConfig, fmt::format("{} {} is below {}", f.name("mtu"), *out.mtu, kMinMtu));
  auto dns = parse_dns(f.find("dns") ? *f.find("dns") : Json(), f.name("dns"));
  if (!dns) return tl::make_unexpected(dns.error());
  out.dns = std::move(*dns);
  // Masquerading is the agent's, for traffic that leaves all overlays; a bridge of VLANs is nobody's wish here.
  return require_subset(f, {"ipMasq", "vlan", "vlanTrunk", "promiscMode", "macspoofchk", "forceAddress", "uplinkInterface"});
}

Outcome<> parse_delegate_bridge(const Fields& f, Config& out) {
  out.mode = Mode::kBridge;
  out.bridge = "cni0";  // the reference plugin's own default
  out.hairpin = false;
  LS_CNI_TRY(parse_interface(f, out));
  auto gateway = f.flag("isGateway"), default_gateway = f.flag("isDefaultGateway");
  if (!gateway) return tl::make_unexpected(gateway.error());
  if (!default_gateway) return tl::make_unexpected(default_gateway.error());
  out.default_route = default_gateway->value_or(false);
  out.gateway_on_bridge = gateway->value_or(false) || out.default_route;
  auto ipam = f.object("ipam");
  if (!ipam) return tl::make_unexpected(ipam.error());
  return parse_ipam(Fields(**ipam, f.name("ipam")), out);
}

bool is_known_chain(const Json& delegate) {
  auto type = delegate.find("type");
  if (type == delegate.end() || *type != "bridge") return false;
  auto ipam = delegate.find("ipam");
  if (ipam == delegate.end() || !ipam->is_object()) return false;
  auto inner = ipam->find("type");
  return inner != ipam->end() && *inner == "host-local";
}

Outcome<> parse_own(const Fields& f, Config& out) {
  auto mode = f.text("mode");
  if (!mode) return tl::make_unexpected(mode.error());
  auto word = mode->value_or("bridge");
  if (word != "bridge" && word != "direct") return refuse(Code::kConfig, fmt::format("{} \"{}\" is neither bridge nor direct", f.name("mode"), word));
  out.mode = word == "direct" ? Mode::kDirect : Mode::kBridge;
  LS_CNI_TRY(parse_interface(f, out));
  for (auto [key, to] : {std::pair{"pin", &out.pin}}) {
    auto text = f.text(key);
    if (!text) return tl::make_unexpected(text.error());
    if (*text) *to = **text;
    if (to->empty() || to->front() != '/') return refuse(Code::kConfig, fmt::format("{} \"{}\" is no absolute path", f.name(key), *to));
  }
  for (auto [key, to] : {std::pair{"dataDir", &out.data_dir}, {"overlayState", &out.overlay_state}}) {
    auto text = f.text(key);
    if (!text) return tl::make_unexpected(text.error());
    if (*text) *to = **text;
    if (!to->is_absolute()) return refuse(Code::kConfig, fmt::format("{} \"{}\" is no absolute path", f.name(key), to->native()));
  }
  auto timeout = f.number("timeoutMs", kMinTimeoutMs, kMaxTimeoutMs);
  if (!timeout) return tl::make_unexpected(timeout.error());
  if (*timeout) out.timeout = std::chrono::milliseconds(**timeout);
  auto ipam = f.object("ipam");
  if (!ipam) return tl::make_unexpected(ipam.error());
  if (!*ipam) {
    out.mode = Mode::kChained;
    return parse_mappings(f.find("portMappings"), f.name("portMappings"), out.mappings);
  }
  Fields in(**ipam, f.name("ipam"));
  auto type = in.text("type");
  if (!type) return tl::make_unexpected(type.error());
  if (auto who = type->value_or(""); !who.empty() && who != "host-local" && who != "loadstar-cni")
    return refuse(Code::kUnsupported, fmt::format("{} = \"{}\" is not supported: addresses are managed by this plugin", in.name("type"), who));
  LS_CNI_TRY(parse_ipam(in, out));
  auto more = parse_routes(f.find("routes") ? *f.find("routes") : Json(), f.name("routes"));
  if (!more) return tl::make_unexpected(more.error());
  out.routes.insert(out.routes.end(), more->begin(), more->end());
  out.default_route = !in.find("routes") && !f.find("routes");
  return parse_mappings(f.find("portMappings"), f.name("portMappings"), out.mappings);
}

Outcome<const Json*> network_info_of(const Fields& f, bool required) {
  auto args = f.object("args");
  if (!args) return tl::make_unexpected(args.error());
  const Json* found = nullptr;
  if (*args) {
    Fields a(**args, f.name("args"));
    auto mesos = a.object("org.apache.mesos");
    if (!mesos) return tl::make_unexpected(mesos.error());
    if (*mesos) {
      Fields m(**mesos, a.name("org.apache.mesos"));
      auto info = m.object("network_info");
      if (!info) return tl::make_unexpected(info.error());
      found = *info;
    }
  }
  if (required && *args && !found) return refuse(Code::kConfig, fmt::format("{} has no org.apache.mesos.network_info", f.name("args")));
  return found;
}

Outcome<> parse_port_mapper(const Fields& f) {
  auto chain = f.text("chain");
  if (!chain) return tl::make_unexpected(chain.error());
  if (!*chain) return refuse(Code::kConfig, fmt::format("{} is missing", f.name("chain")));
  auto devices = f.list("excludeDevices");
  if (!devices) return tl::make_unexpected(devices.error());
  if (*devices)
    for (auto& d : **devices)
      if (!d.is_string()) return f.wrong("excludeDevices", "a list of texts");
  auto info = network_info_of(f, true);
  if (!info) return tl::make_unexpected(info.error());
  return {};
}

/// The delegate of a wrapper with what the wrapper copies into it.
Outcome<Json> delegate_of(const Fields& f, bool version) {
  auto delegate = f.object("delegate");
  if (!delegate) return tl::make_unexpected(delegate.error());
  if (!*delegate) return refuse(Code::kConfig, fmt::format("{} is missing", f.name("delegate")));
  Json out = **delegate;
  auto type = out.find("type");
  if (type == out.end()) return refuse(Code::kConfig, fmt::format("{} is missing", f.name("delegate.type")));
  if (!type->is_string()) return f.wrong("delegate.type", "a text");
  for (auto key : {"name", "args"})
    if (auto* v = f.find(key)) out[key] = *v;
  // Without it the reference plugins answer a CHECK or GC of the whole as a configuration of 0.1.0.
  if (auto* v = f.find("cniVersion"); v && version) out["cniVersion"] = *v;
  return out;
}

/// Peels wrappers off `current` until something is left that is ours, the known chain, or nobody we know.
Outcome<> unwrap(Json current, std::string place, bool outermost, std::string_view program, Config& out, bool& maps_ports) {
  for (int depth = 0; depth < kMaxWrappers; depth++, outermost = false) {
    Fields f(current, place);
    auto type = f.text("type");
    if (!type) return tl::make_unexpected(type.error());
    auto word = type->value_or(std::string(program));
    if (word == "loadstar-cni") {
      maps_ports = true;
      return parse_own(f, out);
    }
    if (is_known_chain(current)) return parse_delegate_bridge(f, out);
    bool mapper = word == "mesos-cni-port-mapper", l4lb = word == "dcos-l4lb";
    if (!mapper && !l4lb) {
      if (outermost) return refuse(Code::kConfig, fmt::format("type \"{}\" is not one of this plugin", word), "known are loadstar-cni, mesos-cni-port-mapper, dcos-l4lb");
      if (word.empty() || word.find('/') != word.npos) return refuse(Code::kConfig, fmt::format("{} \"{}\" is no name of a plugin", f.name("type"), word));
      out.delegate = Delegate{word, current.dump()};
      return {};
    }
    if (mapper) {
      maps_ports = true;
      LS_CNI_TRY(parse_port_mapper(f));
    }
    // The original copies cniVersion only in dcos-l4lb, and answers in the delegate's shape. Here the answer has the
    // configuration's own, so the delegate may have its own too.
    auto next = delegate_of(f, l4lb);
    if (!next) return tl::make_unexpected(next.error());
    place = f.name("delegate");
    current = std::move(*next);
  }
  return refuse(Code::kConfig, fmt::format("{} is wrapped more than {} times", place, kMaxWrappers));
}

Outcome<> add_request(std::string_view text, std::string_view what, std::vector<IpAddress>& out) {
  auto address = IpAddress::parse(text.substr(0, text.find('/')));
  if (!address) return refuse(Code::kConfig, fmt::format("{} \"{}\" is no address", what, text));
  for (auto& other : out) {
    if (other == *address) return {};
    if (other.is_v4() == address->is_v4()) return refuse(Code::kConfig, fmt::format("{} asks for {} and {}: one address a family", what, other.text(), address->text()));
  }
  out.push_back(*address);
  return {};
}

Outcome<> add_requests(const Json* list, const std::string& what, std::vector<IpAddress>& out) {
  if (!list) return {};
  if (!list->is_array()) return refuse(Code::kDecode, fmt::format("{} is not a list", what));
  for (auto& e : *list) {
    if (!e.is_string()) return refuse(Code::kDecode, fmt::format("{} holds something that is not a text", what));
    LS_CNI_TRY(add_request(e.get_ref<const std::string&>(), what, out));
  }
  return {};
}

/// Addresses, hardware address and port mappings that the runtime asks for.
Outcome<> parse_wishes(const Request& q, bool maps_ports, Config& out) {
  Fields f(*q.config, "");
  auto args = f.object("args"), runtime = f.object("runtimeConfig");
  if (!args) return tl::make_unexpected(args.error());
  if (!runtime) return tl::make_unexpected(runtime.error());
  if (auto it = q.args.find("IP"); it != q.args.end()) LS_CNI_TRY(add_request(it->second, "CNI_ARGS IP", out.requested));
  std::optional<std::string> mac;
  if (auto it = q.args.find("MAC"); it != q.args.end()) mac = it->second;
  if (*args) {
    Fields a(**args, "args");
    auto cni = a.object("cni");
    if (!cni) return tl::make_unexpected(cni.error());
    if (*cni) {
      Fields c(**cni, "args.cni");
      LS_CNI_TRY(add_requests(c.find("ips"), c.name("ips"), out.requested));
    }
  }
  auto info = network_info_of(f, false);
  if (!info) return tl::make_unexpected(info.error());
  if (*info) {
    Fields i(**info, "args.org.apache.mesos.network_info");
    auto addresses = i.list("ip_addresses");
    if (!addresses) return tl::make_unexpected(addresses.error());
    if (*addresses) {
      for (auto& e : **addresses) {
        if (!e.is_object()) return i.wrong("ip_addresses", "a list of objects");
        auto text = Fields(e, i.name("ip_addresses")).text("ip_address");
        if (!text) return tl::make_unexpected(text.error());
        if (*text && !(*text)->empty()) LS_CNI_TRY(add_request(**text, i.name("ip_addresses"), out.requested));
      }
    }
    if (maps_ports) LS_CNI_TRY(parse_mappings(i.find("port_mappings"), i.name("port_mappings"), out.mappings));
  }
  if (*runtime) {
    Fields r(**runtime, "runtimeConfig");
    LS_CNI_TRY(add_requests(r.find("ips"), r.name("ips"), out.requested));
    auto wanted = r.text("mac");
    if (!wanted) return tl::make_unexpected(wanted.error());
    if (*wanted) mac = **wanted;
    if (maps_ports) LS_CNI_TRY(parse_mappings(r.find("portMappings"), r.name("portMappings"), out.mappings));
  }
  if (mac && !mac->empty()) {
    out.mac = parse_mac(*mac);
    if (!out.mac || ((*out.mac)[0] & 1)) return refuse(Code::kConfig, fmt::format("\"{}\" is no hardware address of one device", *mac));
  }
  if (out.mappings.size() > kMaxMappings) return refuse(Code::kConfig, fmt::format("{} port mappings, at most {}", out.mappings.size(), kMaxMappings));
  auto sorted = out.mappings;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 1; i < sorted.size(); i++)
    if (sorted[i].protocol == sorted[i - 1].protocol && sorted[i].host_port == sorted[i - 1].host_port)
      return refuse(Code::kPortMapping, fmt::format("host port {}/{} is asked for twice", sorted[i].host_port, to_text(sorted[i].protocol)));
  return {};
}

/// A text where one is, whatever else is wrong.
std::optional<std::string> some_text(const Json& j, const char* key) {
  auto it = j.find(key);
  if (it == j.end() || !it->is_string() || it->get_ref<const std::string&>().empty()) return std::nullopt;
  return it->get<std::string>();
}

/// For DEL: where the records are and whom to call, nothing else. A runtime calls DEL after an ADD that was refused, with the same
/// configuration, and keeps the container until DEL succeeds.
Config parse_removal(const Request& q, std::string_view program) {
  Config out;
  out.network = q.network;
  out.mode = Mode::kChained;
  Json current = *q.config;
  for (int depth = 0; depth < kMaxWrappers; depth++) {
    auto type = some_text(current, "type").value_or(std::string(program));
    bool known = is_known_chain(current);
    if (known || type == "loadstar-cni") {
      auto ipam = current.find("ipam");
      bool has_ipam = ipam != current.end() && ipam->is_object();
      if (has_ipam) out.mode = Mode::kBridge;
      if (!known) {
        if (auto text = some_text(current, "dataDir")) out.data_dir = *text;
        if (auto text = some_text(current, "pin")) out.pin = *text;
        if (auto timeout = Fields(current, "").number("timeoutMs", kMinTimeoutMs, kMaxTimeoutMs); timeout && *timeout)
          out.timeout = std::chrono::milliseconds(**timeout);
      }
      // A dataDir inside of ipam is read later than one beside it (parse_own, parse_ipam).
      if (has_ipam)
        if (auto text = some_text(*ipam, "dataDir")) out.data_dir = *text;
      return out;
    }
    bool mapper = type == "mesos-cni-port-mapper", l4lb = type == "dcos-l4lb";
    if (!mapper && !l4lb) {
      if (depth > 0 && type.find('/') == std::string::npos) out.delegate = Delegate{type, current.dump()};
      return out;
    }
    auto next = delegate_of(Fields(current, ""), l4lb);
    if (!next) return out;  // ADD was refused
    current = std::move(*next);
  }
  return out;
}

}  // namespace

std::string_view to_text(Mode m) {
  switch (m) {
    case Mode::kBridge: return "bridge";
    case Mode::kDirect: return "direct";
    case Mode::kChained: return "chained";
  }
  return "?";
}

Outcome<Config> parse_config(const Request& q, std::string_view program) {
  if (q.command == Command::kDel) return parse_removal(q, program);
  Config out;
  out.network = q.network;
  bool maps_ports = false;
  LS_CNI_TRY(unwrap(*q.config, "", true, program, out, maps_ports));
  LS_CNI_TRY(parse_wishes(q, maps_ports, out));
  if (q.command == Command::kAdd && q.config->find("prevResult") != q.config->end() && !(*q.config)["prevResult"].is_null()) {
    if (out.delegate) return refuse(Code::kConfig, fmt::format("delegate {} cannot be used behind another plugin: it makes an interface of its own", out.delegate->type));
    out.mode = Mode::kChained;
  }
  return out;
}

}  // namespace ls::cni
