#include "api/decode_overlay.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

#include "loadstar/abi/drop.h"
#include "loadstar/abi/overlay.h"
#include "util/address.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using Bytes = std::span<const std::byte>;

constexpr uint32_t kV4Front = 96;  // IPv4 in its 16-byte form has so many bits in front

IpAddress address(const __be32 (&be)[4]) { return IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(be)); }

/// "9.0.3.0/24"; `prefix` is of the 128 bits.
std::string net(const __be32 (&be)[4], uint32_t prefix) {
  auto a = address(be);
  return a.text() + "/" + std::to_string(a.is_v4() && prefix >= kV4Front ? prefix - kV4Front : prefix);
}

std::string mac(const uint8_t* m) { return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4], m[5]); }

/// The bytes may be unaligned, so they are copied into the struct; another size than ours is another layout.
template <class T>
std::optional<T> as(Bytes bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// The number of one bits of a mask; a pool's is never anything else.
uint32_t length_of(const __be32 (&mask)[4]) {
  uint32_t n = 0;
  for (auto word : mask) n += uint32_t(__builtin_popcount(word));
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
          {"mtu", c.mtu}, {"node", address(c.node_be).text()}, {"mac", mac(c.mac)}, {"pools", pools}};
}

/// The MAC's first three octets are those of all VTEPs, in ls_ovl_conf.
Json fields(const ls_ovl_owner& o) {
  if (!(o.word & LS_OVL_OWNED)) return nullptr;
  auto low = LS_OVL_OWNER_MAC(o.word) & 0xffffffu;
  return {{"node", IpAddress::from_v4(LS_OVL_OWNER_NODE(o.word)).text()},
          {"mac_end", fmt::format("{:02x}:{:02x}:{:02x}", low >> 16, low >> 8 & 0xff, low & 0xff)},
          {"self", bool(o.word & LS_OVL_SELF)}};
}

Json fields(const ls_ovl_key& k) { return {{"net", net(k.addr_be, k.prefix)}}; }
Json fields(const ls_ovl_net_key& k) { return {{"net", net(k.addr_be, k.prefix)}}; }
Json fields(const ls_ovl_addr& a) { return {{"addr", address(a.addr_be).text()}}; }
Json fields(const ls_ovl_local& l) { return {{"ifindex", l.ifindex}, {"mac", mac(l.mac)}, {"gateway_mac", mac(l.gw_mac)}}; }
Json fields(const ls_stat& s) { return {{"packets", s.packets}, {"bytes", s.bytes}}; }

template <class T>
std::optional<Json> shown(Bytes bytes) {
  auto value = as<T>(bytes);
  return value ? std::optional(fields(*value)) : std::nullopt;
}

std::optional<Json> number(Bytes bytes) {
  if (auto n = as<__u32>(bytes)) return Json(*n);
  return std::nullopt;
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

struct Layout {
  std::string_view map;
  std::optional<Json> (*key)(Bytes);
  std::optional<Json> (*value)(Bytes);
};
constexpr Layout kLayouts[] = {
    {"ls_ovl_conf", number, shown<ls_ovl_conf>},
    {"ls_ovl_block", number, shown<ls_ovl_owner>},
    {"ls_ovl_hash", shown<ls_ovl_key>, shown<ls_ovl_owner>},
    {"ls_ovl_net", shown<ls_ovl_net_key>, shown<ls_ovl_owner>},
    {"ls_ovl_local", shown<ls_ovl_addr>, shown<ls_ovl_local>},
    {"ls_ovl_stats", stat_key, shown<ls_stat>},
};

const Layout* layout_of(std::string_view map) {
  for (auto& l : kLayouts) {
    if (l.map == map) return &l;
  }
  return nullptr;
}

}  // namespace

std::optional<Json> decode_overlay_key(std::string_view map, Bytes key) {
  auto* l = layout_of(map);
  return l ? l->key(key) : std::nullopt;
}

std::optional<Json> decode_overlay_value(std::string_view map, Bytes value) {
  auto* l = layout_of(map);
  return l ? l->value(value) : std::nullopt;
}

}  // namespace ls::api
