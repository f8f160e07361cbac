#include "overlay/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "overlay/pool.h"

namespace ls::overlay {
namespace {

constexpr std::array<std::string_view, 24> kWords{
    "type",          "vtep-missing",   "oui-missing",    "no-overlays",      "name-missing",   "name-invalid", "name-too-long",  "name-reserved",
    "name-duplicate", "pool-missing",  "pool-syntax",    "pool-family",      "pool-host-bits", "vtep-too-large", "vtep-too-small", "pool-not-unicast",
    "prefix-missing", "prefix-range",  "oui-syntax",     "oui-low-bits",     "oui-multicast",  "mtu-range",    "pool-overlap",   "pool-overlaps-vtep"};

constexpr size_t kMaxName = 13;      // 15 of a device name (IFNAMSIZ of linux/if.h without the final zero) less "m-"
constexpr int64_t kMinMtu = 552;     // spec 3.1
constexpr int64_t kMaxMtu = 65535;   // length field of IPv4
constexpr unsigned kMaxShare4 = 29;  // a half must hold a gateway and one container
constexpr unsigned kMaxShare6 = 125;

/// What a text says about a network, before it is asked whether that is a good one.
struct Cidr {
  bool v6 = false;  ///< as it is written: ::ffff:1.2.3.4 is IPv6 here
  IpAddress address;
  unsigned prefix = 0;  ///< of the family's own counting
};

std::optional<Cidr> parse_cidr(std::string_view text) {
  auto slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto host = text.substr(0, slash), digits = text.substr(slash + 1);
  auto address = IpAddress::parse(host);
  unsigned prefix = 0;
  auto [end, err] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (!address || err != std::errc() || end != digits.data() + digits.size() || digits.size() > 3) return std::nullopt;
  if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
  Cidr c{host.find(':') != host.npos, *address, prefix};
  if (prefix > (c.v6 ? 128u : 32u)) return std::nullopt;
  return c;
}

bool host_bits_set(const Cidr& c) {
  unsigned host = (c.v6 ? 128 : 32) - c.prefix;
  Number all = host >= 128 ? ~Number(0) : (Number(1) << host) - 1;
  return (number_of(c.address) & all) != 0;
}

bool not_unicast(const Cidr& c) {
  constexpr std::string_view kRanges4[] = {"0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"}, kRanges6[] = {"::/8", "fe80::/10", "ff00::/8"};
  // A mapped address written as IPv6 lies in ::/8; IpNetwork would take it for IPv4.
  if (c.v6 && c.address.is_v4()) return true;
  IpNetwork network{c.address, uint8_t(c.v6 ? c.prefix : c.prefix + kV4Bits)};
  auto touches = [&](std::string_view range) { return overlap(network, *IpNetwork::parse(range)); };
  return c.v6 ? std::any_of(std::begin(kRanges6), std::end(kRanges6), touches) : std::any_of(std::begin(kRanges4), std::end(kRanges4), touches);
}

bool good_name(std::string_view name) {
  auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  if (name.empty() || !alnum(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

/// Looks at everything and keeps the fault that stands first in the order of reasons.
class Checker {
 public:
  explicit Checker(const RawPlan& raw) : raw_(raw) {}

  tl::expected<Plan, PlanFault> run() {
    vtep();
    oui();
    mtu();
    overlays();
    if (!worst_) {
      if (auto fault = pools_overlap(plan_)) worst_ = std::move(*fault);
    }
    if (worst_) return tl::make_unexpected(std::move(*worst_));
    return std::move(plan_);
  }

 private:
  void bad(PlanReason reason, std::optional<size_t> overlay, std::string_view key, std::string_view value, std::string why) {
    if (worst_ && worst_->reason <= reason) return;
    worst_ = PlanFault{reason, overlay, std::string(key), std::string(value.substr(0, 100)), std::move(why)};
  }

  /// The network a text names, when nothing is wrong with it that every pool has to fulfil.
  std::optional<IpNetwork> pool(std::optional<size_t> overlay, std::string_view key, const std::string& text, bool v6) {
    auto c = parse_cidr(text);
    if (!c) {
      bad(PlanReason::kPoolSyntax, overlay, key, text, "is no network with a prefix length, as in 9.0.0.0/8 or fd01:b::/64");
      return std::nullopt;
    }
    if (c->v6 != v6) {
      bad(PlanReason::kPoolFamily, overlay, key, text, v6 ? "is IPv4, IPv6 is wanted" : "is IPv6, IPv4 is wanted");
      return std::nullopt;
    }
    if (host_bits_set(*c)) {
      bad(PlanReason::kPoolHostBits, overlay, key, text, "has bits behind its prefix length");
      return std::nullopt;
    }
    if (not_unicast(*c)) bad(PlanReason::kPoolNotUnicast, overlay, key, text, "touches addresses that are not unicast");
    return IpNetwork{c->address, uint8_t(v6 ? c->prefix : c->prefix + kV4Bits)};
  }

  void vtep() {
    if (!raw_.vtep_subnet) {
      bad(PlanReason::kVtepMissing, std::nullopt, "vtep_subnet", "", "is missing");
    } else if (auto network = pool(std::nullopt, "vtep_subnet", *raw_.vtep_subnet, false)) {
      plan_.vtep4 = *network;
      if (own_prefix(*network) < 8) {
        bad(PlanReason::kVtepTooLarge, std::nullopt, "vtep_subnet", *raw_.vtep_subnet, "is above /8: MACs are made from the last 24 bits");
      } else if (own_prefix(*network) > 30) {
        bad(PlanReason::kVtepTooSmall, std::nullopt, "vtep_subnet", *raw_.vtep_subnet, "has no address for a node");
      }
    }
    if (!raw_.vtep_subnet6) return;
    if (auto network = pool(std::nullopt, "vtep_subnet6", *raw_.vtep_subnet6, true)) {
      plan_.vtep6 = *network;
      if (network->prefix > 126) bad(PlanReason::kVtepTooSmall, std::nullopt, "vtep_subnet6", *raw_.vtep_subnet6, "has no address for a node");
    }
  }

  void oui() {
    if (!raw_.vtep_mac_oui) return bad(PlanReason::kOuiMissing, std::nullopt, "vtep_mac_oui", "", "is missing");
    auto& text = *raw_.vtep_mac_oui;
    auto mac = parse_mac(text);
    if (!mac) return bad(PlanReason::kOuiSyntax, std::nullopt, "vtep_mac_oui", text, "is not six groups of two hexadecimal digits, as in 70:B3:D5:00:00:00");
    if ((*mac)[3] != 0 || (*mac)[4] != 0 || (*mac)[5] != 0) bad(PlanReason::kOuiLowBits, std::nullopt, "vtep_mac_oui", text, "has a last half that is not zero");
    if ((*mac)[0] & 1) bad(PlanReason::kOuiMulticast, std::nullopt, "vtep_mac_oui", text, "is a multicast address");
    plan_.oui = *mac;
    plan_.oui_text = text;
  }

  void mtu() {
    if (!raw_.vtep_mtu) return;
    if (*raw_.vtep_mtu < kMinMtu || *raw_.vtep_mtu > kMaxMtu) {
      return bad(PlanReason::kMtuRange, std::nullopt, "vtep_mtu", fmt::to_string(*raw_.vtep_mtu), fmt::format("is out of range ({} to {})", kMinMtu, kMaxMtu));
    }
    plan_.vtep_mtu = uint32_t(*raw_.vtep_mtu);
  }

  void overlays() {
    if (raw_.overlays.empty()) bad(PlanReason::kNoOverlays, std::nullopt, "overlays", "", "names no overlay");
    // More than anybody has; the reason of the list as a whole.
    if (raw_.overlays.size() > kMaxOverlays) {
      return bad(PlanReason::kType, std::nullopt, "overlays", fmt::to_string(raw_.overlays.size()), fmt::format("are more than {}", kMaxOverlays));
    }
    std::set<std::string_view> names;
    for (size_t i = 0; i < raw_.overlays.size(); i++) {
      auto& raw = raw_.overlays[i];
      OverlayPlan out;
      out.enabled = raw.enabled;
      name(i, raw, names);
      out.name = raw.name.value_or("");
      if (!raw.subnet && !raw.subnet6) bad(PlanReason::kPoolMissing, i, "subnet", "", "and subnet6 are both missing");
      if (raw.subnet) out.v4 = share(i, "subnet", "prefix", *raw.subnet, raw.prefix, false);
      if (raw.subnet6) out.v6 = share(i, "subnet6", "prefix6", *raw.subnet6, raw.prefix6, true);
      plan_.overlays.push_back(std::move(out));
    }
  }

  void name(size_t i, const RawOverlay& raw, std::set<std::string_view>& names) {
    if (!raw.name) return bad(PlanReason::kNameMissing, i, "name", "", "is missing");
    auto& name = *raw.name;
    if (!good_name(name)) return bad(PlanReason::kNameInvalid, i, "name", name, "is not made of letters, digits, '-', '_' and '.', a letter or digit first");
    if (name.size() > kMaxName) return bad(PlanReason::kNameTooLong, i, "name", name, fmt::format("has more than {} characters", kMaxName));
    if (name == "host" || name == "bridge" || name == "default" || name == "none") return bad(PlanReason::kNameReserved, i, "name", name, "is a name that Docker keeps for itself");
    if (!names.insert(name).second) bad(PlanReason::kNameDuplicate, i, "name", name, "is there twice");
  }

  std::optional<Pool> share(size_t i, std::string_view key, std::string_view prefix_key, const std::string& text, std::optional<int64_t> prefix, bool v6) {
    auto network = pool(i, key, text, v6);
    if (!prefix) bad(PlanReason::kPrefixMissing, i, prefix_key, "", fmt::format("is missing: {} needs it", key));
    if (!network || !prefix) return std::nullopt;
    int64_t least = own_prefix(*network), most = v6 ? kMaxShare6 : kMaxShare4;
    if (*prefix < least || *prefix > most) {
      bad(PlanReason::kPrefixRange, i, prefix_key, fmt::to_string(*prefix), fmt::format("is out of range for {} ({} to {})", text, least, most));
      return std::nullopt;
    }
    return Pool{*network, uint8_t(*prefix)};
  }

  const RawPlan& raw_;
  Plan plan_;
  std::optional<PlanFault> worst_;
};

}  // namespace

std::string_view to_text(PlanReason r) { return kWords[size_t(r)]; }

std::string PlanFault::field() const {
  if (!overlay) return key.empty() ? "network" : key;
  return fmt::format("overlays[{}]{}{}", *overlay, key.empty() ? "" : ".", key);
}

std::string PlanFault::sentence() const { return fmt::format("{}{}{} ({})", value, value.empty() ? "" : " ", why, to_text(reason)); }

std::string PlanFault::text() const { return field() + ": " + sentence(); }

tl::expected<Plan, PlanFault> check_plan(const RawPlan& raw) { return Checker(raw).run(); }

std::optional<PlanFault> pools_overlap(const Plan& plan) {
  std::optional<PlanFault> with_vtep;
  auto pools_of = [](const OverlayPlan& o) { return std::array{std::pair("subnet", o.v4), std::pair("subnet6", o.v6)}; };
  for (size_t i = 0; i < plan.overlays.size(); i++) {
    for (auto& [key, pool] : pools_of(plan.overlays[i])) {
      if (!pool) continue;
      for (size_t j = 0; j < i; j++) {
        for (auto& [unused, other] : pools_of(plan.overlays[j])) {
          if (other && overlap(pool->network, other->network)) {
            return PlanFault{PlanReason::kPoolOverlap, i, key, pool->network.text(), fmt::format("overlaps {} of overlay {}", other->network.text(), plan.overlays[j].name)};
          }
        }
      }
      for (auto* vtep : {&plan.vtep4, plan.vtep6 ? &*plan.vtep6 : nullptr}) {
        if (vtep && !with_vtep && overlap(pool->network, *vtep)) {
          with_vtep = PlanFault{PlanReason::kPoolOverlapsVtep, i, key, pool->network.text(), fmt::format("overlaps the VTEP addresses {}", vtep->text())};
        }
      }
    }
  }
  return with_vtep;
}

Capacity capacity_of(const OverlayPlan& o) {
  Capacity out;
  for (auto* pool : {&o.v6, &o.v4}) {  // IPv4 last: what it says about blocks stands
    if (!*pool) continue;
    BlockPool blocks(**pool);
    out.agent_subnets = out.agent_subnets == 0 ? blocks.size() : std::min(out.agent_subnets, blocks.size());
    out.first = blocks.block(0);
    out.last = blocks.block(blocks.size() - 1);
    bool v4 = (*pool)->network.address.is_v4();
    unsigned host = (v4 ? 32u : 128u) - ((*pool)->share + 1u);
    // Network address and gateway; IPv4 has a broadcast address too. The CNI plugin host-local counts the same.
    out.containers_per_half = (Number(1) << host) - (v4 ? 3 : 2);
  }
  return out;
}

Number nodes_by_vtep(const Plan& plan) {
  auto n = AddressPool(plan.vtep4).size();
  return plan.vtep6 ? std::min(n, AddressPool(*plan.vtep6).size()) : n;
}

}  // namespace ls::overlay
