// Named fields of the maps of the overlay.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "api/decode_parts.h"
#include "loadstar/abi/overlay.h"

namespace ls::api::decode {
namespace {

/// The number of one bits of a mask; a pool's is never anything else.
int length_of(const __be32 (&mask)[4]) {
  int n = 0;
  for (auto word : mask) n += __builtin_popcount(word);
  return n;
}

Json pool(const ls_ovl_pool& p) {
  return {{"net", net(p.net_be, length_of(p.mask_be))},
          {"share", p.share},
          {"first", p.first},
          {"last", p.last},
          {"array", bool(p.flags & LS_OVL_POOL_ARRAY)},
          {"vtep", bool(p.flags & LS_OVL_POOL_VTEP)},
          {"mixed", bool(p.flags & LS_OVL_POOL_MIXED)}};
}

Json fields(const ls_ovl_conf& c) {
  Json pools = Json::array();
  for (auto* list : {&c.pool4, &c.pool6}) {
    for (auto& p : *list) {
      if (p.flags & LS_OVL_POOL_USED) pools.push_back(pool(p));
    }
  }
  return {{"enabled", bool(c.flags & LS_OVL_ENABLED)}, {"redirect_peer", bool(c.flags & LS_OVL_PEER)}, {"vni", c.vni}, {"ifindex", c.vtep_ifindex},
          {"mtu", c.mtu}, {"node", address(c.node_be)}, {"mac", mac(c.mac)}, {"pools", pools}};
}

/// The MAC's first three octets are those of all VTEPs, in ls_ovl_conf.
Json fields(const ls_ovl_owner& o) {
  if (!(o.word & LS_OVL_OWNED)) return nullptr;
  auto low = LS_OVL_OWNER_MAC(o.word) & 0xffffffu;
  return {{"node", IpAddress::from_v4(LS_OVL_OWNER_NODE(o.word)).text()},
          {"mac_end", fmt::format("{:02x}:{:02x}:{:02x}", low >> 16, low >> 8 & 0xff, low & 0xff)},
          {"self", bool(o.word & LS_OVL_SELF)}};
}

Json fields(const ls_ovl_key& k) { return {{"net", net(k.addr_be, int(k.prefix))}}; }
Json fields(const ls_ovl_net_key& k) { return {{"net", net(k.addr_be, int(k.prefix))}}; }
Json fields(const ls_ovl_addr& a) { return {{"addr", address(a.addr_be)}}; }
Json fields(const ls_ovl_local& l) { return {{"ifindex", l.ifindex}, {"mac", mac(l.mac)}, {"gateway_mac", mac(l.gw_mac)}}; }
using decode::fields;  // of ls_stat

template <class T>
std::optional<Json> shown(Bytes bytes) {
  return shown_by<T>(bytes, [](const T& value) { return fields(value); });
}

#define LS_OVL_LABEL(name, num, label, text) label,
constexpr std::array<std::string_view, LS_OVL_HOOK_MAX> kHooks{LS_OVL_HOOKS(LS_OVL_LABEL)};
constexpr std::array<std::string_view, LS_OVL_RESULT_MAX> kResults{LS_OVL_RESULTS(LS_OVL_LABEL)};
#undef LS_OVL_LABEL

std::optional<Json> stat_key(Bytes bytes) {
  auto n = as<__u32>(bytes);
  if (!n || *n / LS_OVL_RESULT_MAX >= kHooks.size()) return std::nullopt;
  return Json{{"hook", kHooks[*n / LS_OVL_RESULT_MAX]}, {"result", kResults[*n % LS_OVL_RESULT_MAX]}};
}

constexpr MapLayout kLayouts[] = {
    {"ls_ovl_conf", number, shown<ls_ovl_conf>},
    {"ls_ovl_block", number, shown<ls_ovl_owner>},
    {"ls_ovl_hash", shown<ls_ovl_key>, shown<ls_ovl_owner>},
    {"ls_ovl_net", shown<ls_ovl_net_key>, shown<ls_ovl_owner>},
    {"ls_ovl_local", shown<ls_ovl_addr>, shown<ls_ovl_local>},
    {"ls_ovl_stats", stat_key, shown<ls_stat>},
};

}  // namespace

std::span<const MapLayout> overlay_layouts() { return kLayouts; }

}  // namespace ls::api::decode
