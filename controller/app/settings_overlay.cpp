// The lines of [overlay]. What the values say together is checked by config_overlay.cpp.
#include <algorithm>

#include "app/settings_line.h"

namespace ls::setting_codec {

template <>
struct EnumNames<CniKind> {
  static constexpr std::pair<std::string_view, CniKind> kNames[] = {
      {"loadstar", CniKind::kLoadstar}, {"original", CniKind::kOriginal}, {"off", CniKind::kOff}};
};

namespace {

std::optional<std::string> command(const std::string& s) {
  if (s.empty()) return "a command is wanted";
  return std::nullopt;
}

std::optional<std::string> master(const std::string& s) {
  auto endpoint = parse_upstream(s, 62080);
  if (!endpoint) return endpoint.error().doing;
  return std::nullopt;
}

constexpr std::string_view kName = "overlay.network";
constexpr std::string_view kKeys = "name, subnet, prefix, subnet6, prefix6, enabled";

/// One table of the list. Everything that is wrong is reported at its own key.
template <class Bad>
OverlayNetwork read_network(const RawValue& raw, size_t index, Bad bad) {
  OverlayNetwork out;
  out.where = raw.where;
  auto* table = std::get_if<RawValue::Table>(&raw.value);
  if (!table) {
    bad(raw.where, fmt::format("[{}]: a table is wanted, written as [[{}]], this is {}", index, kName, kind_of(raw)));
    return out;
  }
  for (size_t i = 0; i < table->keys.size(); i++) {
    auto& [key, key_at] = table->keys[i];
    auto& value = table->values[i];
    auto wrong = [&](std::string_view why) { bad(value.where, fmt::format("[{}].{}: {}", index, key, why)); };
    auto take = [&](auto& into, auto parsed) {
      if (parsed) into = *parsed;
      else wrong(parsed.error());
    };
    out.at[key] = value.where;
    if (key == "name") take(out.values.name, Codec<std::string>::parse(value, {}));
    else if (key == "subnet") take(out.values.subnet, Codec<std::string>::parse(value, {}));
    else if (key == "subnet6") take(out.values.subnet6, Codec<std::string>::parse(value, {}));
    else if (key == "prefix") take(out.values.prefix, expect<int64_t>(value, "an integer"));
    else if (key == "prefix6") take(out.values.prefix6, expect<int64_t>(value, "an integer"));
    else if (key == "enabled") take(out.values.enabled, Codec<bool>::parse(value, {}));
    else bad(key_at, fmt::format("[{}]: unknown key {}; a network has {}", index, toml_quote(key), kKeys));
  }
  return out;
}

std::string print_networks(const std::vector<OverlayNetwork>& list) {
  std::string out;
  for (auto& n : list) {
    std::string one;
    auto put = [&](std::string_view key, const auto& value) {
      if (!value) return;
      using T = std::decay_t<decltype(*value)>;
      one += fmt::format("{}{} = ", one.empty() ? "" : ", ", key);
      if constexpr (std::is_same_v<T, std::string>) one += toml_quote(*value);
      else one += fmt::to_string(*value);
    };
    put("name", n.values.name);
    put("subnet", n.values.subnet);
    put("prefix", n.values.prefix);
    put("subnet6", n.values.subnet6);
    put("prefix6", n.values.prefix6);
    put("enabled", std::optional(n.values.enabled));
    out += fmt::format("{}{{ {} }}", out.empty() ? "" : ", ", one);
  }
  return "[" + out + "]";
}

Setting networks() {
  Setting s;
  s.name = kName;
  s.type = "list of tables";
  s.range = fmt::format("keys: {}", kKeys);
  s.text =
      "The overlays, each written as [[overlay.network]]: its name (at most 13 characters), its pool of IPv4 addresses (subnet) or of "
      "IPv6 addresses (subnet6) or both, and the length of one node's share (prefix, prefix6: from the pool's own length to 29 and 125). Half of a share goes to "
      "Mesos containers, half to Docker. enabled = false gives nothing new. While a node has a share the pool cannot be changed. "
      "Empty: there is no overlay.";
  s.print = [](const Config& c) { return print_networks(c.overlay.network); };
  s.copy = [](const Config& from, Config& to) { to.overlay.network = from.overlay.network; };
  s.read = [](const RawValue& raw, Config& config, std::vector<Problem>& problems) {
    bool good = true;
    auto bad = [&](const Where& where, std::string_view why) {
      problems.push_back({where, fmt::format("{}{}{}", kName, why.starts_with('[') ? "" : ": ", why)});
      good = false;
    };
    auto* items = std::get_if<RawValue::List>(&raw.value);
    if (!items) return bad(raw.where, fmt::format("a list of tables is wanted, each written as [[{}]], this is {}", kName, kind_of(raw)));
    if (items->size() > overlay::kMaxOverlays) return bad(raw.where, fmt::format("{} are more than {}", items->size(), overlay::kMaxOverlays));
    std::vector<OverlayNetwork> out;
    for (size_t i = 0; i < items->size(); i++) out.push_back(read_network((*items)[i], i, bad));
    if (good) config.overlay.network = std::move(out);
  };
  return s;
}

}  // namespace

std::vector<Setting> overlay_lines() {
  using C = Config;
  return {
      // clang-format off
      line<&C::overlay, &C::Overlay::vtep_subnet>("overlay.vtep_subnet",
          "Pool of the tunnel addresses (VTEP) of nodes, IPv4, /8 to /30; one for each node, masters included. Cannot be changed while a "
          "node has one.", {.type = "network"}),
      line<&C::overlay, &C::Overlay::vtep_subnet6>("overlay.vtep_subnet6",
          "The same for IPv6. May be added later; every node gets one when it registers next. Empty: none.", {.type = "network"}),
      line<&C::overlay, &C::Overlay::vtep_mac_oui>("overlay.vtep_mac_oui",
          "First half of the MAC of every VTEP; the last half is made from its IPv4 address. Cannot be changed while there are nodes.",
          {.type = "MAC address that ends in 00:00:00"}),
      line<&C::overlay, &C::Overlay::vtep_mtu>("overlay.vtep_mtu",
          "MTU of the VTEP device, 552 or more. 0: what the device takes by itself.", {.limits = {0, 65535}, .unit = "bytes"}),
      line<&C::overlay, &C::Overlay::hold_down>("overlay.hold_down",
          "What a removed node had goes to other nodes only after this time without a word from it. Should be at least a minute (nodes that "
          "live are heard of every 30 s) where nodes are removed while their containers may run. 0s: at once, as the original did.",
          {.limits = {0, 30 * kDay}}),
      line<&C::overlay, &C::Overlay::takeover>("overlay.takeover",
          "A machine with the address of a known node and another id takes over what that node has after this time without a word from "
          "it.", {.limits = {0, kDay}}),
      line<&C::overlay, &C::Overlay::check_address>("overlay.check_address",
          "Refuse a node that registers over TCP from another address than the one it says it has (node.address): all nodes have the same token. "
          "false where masters see nodes through NAT, over IPv6, or with another of their addresses."),
      networks(),
      line<&C::overlay, &C::Overlay::join>("overlay.join",
          "Take part as a node, if masters are followed or this machine allocates: a tunnel device, and with the role agent a share of each "
          "overlay. A machine without it does not reach containers of other nodes."),
      line<&C::overlay, &C::Overlay::follow>("overlay.follow",
          "Masters (port 62080 unless given) that allocate. The first that answers is followed; registering needs the token of "
          "api.token_file. Empty: this machine allocates itself, or has no overlay.",
          {.type = "list of server addresses", .rule = master}),
      line<&C::overlay, &C::Overlay::mesos>("overlay.mesos", "Use the Mesos half of this machine's shares. Always false without the role agent."),
      line<&C::overlay, &C::Overlay::docker>("overlay.docker",
          "Use the Docker half: a Docker network for each overlay. Without Docker on the machine nothing is made. Always false without the role agent."),
      line<&C::overlay, &C::Overlay::mtu>("overlay.mtu",
          "MTU of containers; at least 1280 with IPv6, never more than the tunnel takes. 0: as much as the tunnel takes. The original had 1420.",
          {.limits = {0, 65535}, .unit = "bytes"}),
      line<&C::overlay, &C::Overlay::cni>("overlay.cni",
          "Which CNI configuration is written for each overlay. loadstar: loadstar-cni without a bridge, the fastest way. original: the file of the "
          "DC/OS overlay modules (mesos-cni-port-mapper, bridge, host-local), for a change back. off: none."),
      line<&C::overlay, &C::Overlay::cni_dir>("overlay.cni_dir",
          "Folder of the CNI configurations, <overlay>.conf each (--network_cni_config_dir of the Mesos agent).", {.rule = not_empty}),
      line<&C::overlay, &C::Overlay::cni_data_dir>("overlay.cni_data_dir",
          "Folder of the plugin's address reservations, as it is written into the CNI configurations. Empty: the plugin's own default."),
      line<&C::overlay, &C::Overlay::mesos_roots>("overlay.mesos_roots",
          "Folders of the Mesos agent's isolator network/cni, below its runtime and its work folder (<folder>/isolators/network/cni). An attachment of "
          "loadstar-cni whose container is in none of them is taken away. Only for networks that Mesos alone uses. Empty: nothing is taken away.",
          {.rule = not_empty}),
      line<&C::overlay, &C::Overlay::docker_binary>("overlay.docker_binary", "The Docker command: a path, or a name that is found in PATH.",
          {.rule = command}),
      line<&C::overlay, &C::Overlay::command_timeout>("overlay.command_timeout", "Longest time of one Docker command; it is ended then.",
          {.limits = {kSecond, 10 * kMinute}}),
      line<&C::overlay, &C::Overlay::masquerade>("overlay.masquerade",
          "Give what containers send out of the overlay an address of this machine. Inside the overlay every container keeps its own. Without it, "
          "routers outside have to know the pools."),
      line<&C::overlay, &C::Overlay::redirect_peer>("overlay.redirect_peer",
          "Hand packets straight into containers, past the egress of their device on the host. false where somebody else has filters or shaping "
          "there; costs about a tenth."),
      line<&C::overlay, &C::Overlay::kernel_blocks>("overlay.kernel_blocks",
          "Shares and tunnel addresses, of all nodes that could be, that the kernel finds by index: 2^(prefix - length of the pool) for each pool, 8 bytes "
          "each. Pools that have no room are found by a hash, which costs a packet some 100 ns more.", {.limits = {1, 16'777'216}, .unit = "blocks"}),
      line<&C::overlay, &C::Overlay::kernel_nodes>("overlay.kernel_nodes", "Nodes of the overlay for which the kernel's tables have room.",
          {.limits = {16, 1'048'576}, .unit = "nodes"}),
      line<&C::overlay, &C::Overlay::probe_port>("overlay.probe_port",
          "TCP and UDP port on the tunnel's address with which nodes find out whether checksums survive the tunnel. 0: no probe.",
          {.limits = {0, 65535}}),
      // clang-format on
  };
}

}  // namespace ls::setting_codec
