#include "api/decode.h"

#include <arpa/inet.h>

#include <nlohmann/json.hpp>

#include "api/decode_parts.h"
#include "api/labels.h"
#include "loadstar/abi/flow.h"
#include "loadstar/abi/lb.h"
#include "loadstar/abi/portmap.h"

namespace ls::api {
namespace decode {

std::optional<Json> number(Bytes bytes) {
  if (auto n = as<__u32>(bytes)) return Json(*n);
  if (auto n = as<__u64>(bytes)) return Json(*n);
  return std::nullopt;
}

Json fields(const ls_stat& s) { return {{"packets", s.packets}, {"bytes", s.bytes}}; }

std::string mac(const __u8 (&m)[6]) {
  char buf[18];
  snprintf(buf, sizeof buf, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  return buf;
}

namespace {

std::string hex(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (auto b : bytes) {
    out += kDigits[unsigned(b) >> 4];
    out += kDigits[unsigned(b) & 15];
  }
  return out;
}

using decode::address;  // of an address of 16 bytes
std::string address(__be32 be) { return IpAddress::from_v4(ntohl(be)).text(); }
Json protocol(__u8 number) {
  if (number == IPPROTO_TCP || number == IPPROTO_UDP) return to_text(Protocol(number));
  return number;
}

Json fields(const ls_svc_key& k) {
  return {{"addr", address(k.addr_be)}, {"port", ntohs(k.port_be)}, {"proto", protocol(k.proto)}};
}
Json fields(const ls_svc_ref& r) { return {{"id", r.id}}; }

Json fields(const ls_svc& s) {
  return {{"key", fields(s.key)},
          {"used", bool(s.flags & LS_SVC_USED)},
          {"external", bool(s.flags & LS_SVC_EXTERNAL)},
          {"ring_first", LS_RING_FIRST(s.ring)},
          {"ring_slots", LS_RING_SLOTS(s.ring)},
          {"backends", s.backends},
          {"active", s.active}};
}

Json fields(const ls_ring_block& b) { return {{"be", b.be}}; }

Json fields(const ls_be& b) {
  auto state = LS_BE_STATE(b.state);
  return {{"addr", address(b.addr_be)},
          {"port", ntohs(b.port_be)},
          {"proto", protocol(b.proto)},
          {"svc", b.svc},
          {"state", state == LS_BE_FREE ? "free" : to_text(BackendState(state))},
          {"gen", LS_BE_GEN(b.state)}};
}

Json fields(const ls_be_stat& s) { return {{"flows_tc", s.flows_tc}, {"flows_sock", s.flows_sock}}; }
using decode::fields;  // of ls_stat

Json tcp_bits(__u8 bits) {
  Json out = Json::array();
  if (bits & LS_TCP_SYN) out.push_back("syn");
  if (bits & LS_TCP_REPLIED) out.push_back("replied");
  if (bits & LS_TCP_FIN_FWD) out.push_back("fin_fwd");
  if (bits & LS_TCP_FIN_REV) out.push_back("fin_rev");
  if (bits & LS_TCP_RST) out.push_back("rst");
  return out;
}

template <class Flow>
Json flow_fields(const Flow& f) {
  const char* kind = f.kind == LS_FLOW_FORWARD ? "forward" : f.kind == LS_FLOW_REVERSE ? "reverse" : "free";
  return {{"src", address(f.src_be)},
          {"sport", ntohs(f.sport_be)},
          {"dst", address(f.dst_be)},
          {"dport", ntohs(f.dport_be)},
          {"proto", protocol(f.proto)},
          {"kind", kind},
          {"be", f.be},
          {"be_gen", f.be_gen},
          {"seen", f.seen},
          {"version", f.version},
          {"tcp", tcp_bits(f.tcp)},
          {"hairpin", bool(f.flags & LS_FLOW_HAIRPIN)}};
}

template <class Bucket>
Json bucket_fields(const Bucket& b) {
  Json ways = Json::array();
  for (auto& way : b.way) {
    if (way.kind != LS_FLOW_FREE) ways.push_back(flow_fields(way));
  }
  return {{"way", ways}};
}
Json fields(const ls_flow4_bucket& b) { return bucket_fields(b); }
Json fields(const ls_flow6_bucket& b) { return bucket_fields(b); }

Json fields(const ls_ctl& c) {
  return {{"events", c.events},
          {"sample", c.sample},
          {"nh_gen", c.nh_gen},
          {"overflow_at", c.overflow_at},
          {"overflows", c.overflows},
          {"events_lost", c.events_lost}};
}

/// The seed is left out: it keys the hash of the flow tables, and who knows it can make flows collide.
Json fields(const ls_meta& m) {
  return {{"abi_version", m.abi_version},
          {"flow_version", m.flow_version},
          {"created_ns", m.created_ns},
          {"build", std::string(m.build, strnlen(m.build, sizeof m.build))}};
}

Json fields(const ls_nh& n) {
  return {{"addr", address(n.addr_be)}, {"gen", n.gen}, {"seen", n.seen},         {"version", n.version},
          {"ifindex", n.ifindex},       {"mtu", n.mtu}, {"dmac", mac(n.dmac)}, {"smac", mac(n.smac)}, {"way", n.way}};
}

Json fields(const ls_sock_key& k) {
  return {{"cookie", k.cookie},
          {"addr", address(k.addr_be)},
          {"port", ntohs(k.port_be)},
          {"kind", k.kind == 0 ? "backend_to_service" : "service_to_backend"}};
}
Json fields(const ls_sock_peer& p) {
  return {{"svc_addr", address(p.svc_addr_be)}, {"svc_port", ntohs(p.svc_port_be)},
          {"be_addr", address(p.be_addr_be)},   {"be_port", ntohs(p.be_port_be)},
          {"be", p.be},                         {"be_state", p.be_state}};
}
Json fields(const ls_frag_key& k) {
  return {{"src", address(k.src_be)}, {"dst", address(k.dst_be)}, {"id", ntohl(k.id)}, {"proto", protocol(k.proto)}};
}
Json fields(const ls_frag& f) { return {{"sport", ntohs(f.sport_be)}, {"dport", ntohs(f.dport_be)}}; }

/// Of the container behind a host port.
Json fields(const ls_portmap_key& k) { return {{"port", ntohs(k.port_be)}, {"proto", protocol(k.proto)}, {"family", k.family}}; }
Json fields(const ls_portmap& p) { return {{"addr", address(p.addr_be)}, {"port", ntohs(p.port_be)}, {"bridge_ifindex", p.bridge_ifindex}}; }
Json fields(const ls_own& o) { return {{"addr", address(o.addr_be)}, {"used", bool(o.used)}}; }

template <class T>
std::optional<Json> shown(Bytes bytes) {
  return shown_by<T>(bytes, [](const T& value) { return fields(value); });
}

std::optional<Json> stat_key(Bytes bytes) {
  return shown_by<__u32>(bytes, [](__u32 n) -> Json {
    return {{"hook", hook_label(uint8_t(n / LS_VERDICT_MAX))}, {"verdict", verdict_label(uint8_t(n % LS_VERDICT_MAX))}};
  });
}
std::optional<Json> drop_key(Bytes bytes) {
  return shown_by<__u32>(bytes, [](__u32 n) -> Json {
    return {{"hook", hook_label(uint8_t(n / LS_DROP_SLOTS))}, {"reason", reason_label(uint8_t(n % LS_DROP_SLOTS))}};
  });
}

constexpr MapLayout kLayouts[] = {
    {"ls_svc", shown<ls_svc_key>, shown<ls_svc_ref>},
    {"ls_svc_tab", number, shown<ls_svc>},
    {"ls_ring", number, shown<ls_ring_block>},
    {"ls_be", number, shown<ls_be>},
    {"ls_be_stat", number, shown<ls_be_stat>},
    {"ls_stats", stat_key, shown<ls_stat>},
    {"ls_drops", drop_key, number},
    {"ls_flow4", number, shown<ls_flow4_bucket>},
    {"ls_flow6", number, shown<ls_flow6_bucket>},
    {"ls_ctl", number, shown<ls_ctl>},
    {"ls_meta", number, shown<ls_meta>, true},
    {"ls_nh", number, shown<ls_nh>},
    {"ls_sock_rev", shown<ls_sock_key>, shown<ls_sock_peer>},
    {"ls_frag", shown<ls_frag_key>, shown<ls_frag>},
    {"ls_overflow", number, number},
    {"ls_portmap", shown<ls_portmap_key>, shown<ls_portmap>},
    {"ls_own", number, shown<ls_own>},
};

/// Null: a map that is not known here.
const MapLayout* layout_of(std::string_view map) {
  for (auto layouts : {std::span<const MapLayout>(kLayouts), dns_layouts(), overlay_layouts()}) {
    for (auto& l : layouts) {
      if (l.map == map) return &l;
    }
  }
  return nullptr;
}

/// Adds the numbers of two decoded values, field by field.
void add(Json& sum, const Json& more) {
  if (sum.is_number() && more.is_number()) sum = sum.get<uint64_t>() + more.get<uint64_t>();
  if (!sum.is_object()) return;
  for (auto& [name, value] : sum.items()) {
    if (more.contains(name)) add(value, more[name]);
  }
}

}  // namespace
}  // namespace decode

nlohmann::json decode_entry(std::string_view map, const RawEntry& entry) {
  using namespace decode;
  auto* layout = layout_of(map);
  auto key = layout ? layout->key(entry.key) : std::nullopt;
  auto value_of = [&](Bytes bytes) -> Json {
    auto value = layout ? layout->value(bytes) : std::nullopt;
    if (value) return *value;
    return layout && layout->secret ? Json(nullptr) : Json(hex(bytes));
  };
  Json out{{"key", key ? *key : Json(hex(entry.key))}};
  if (entry.values.size() == 1) {
    out["value"] = value_of(entry.values[0]);
    return out;
  }
  Json sum;
  Json each = Json::array();
  for (auto& v : entry.values) {
    each.push_back(value_of(v));
    if (sum.is_null()) sum = each.back();
    else add(sum, each.back());
  }
  // Hexadecimal values of an unknown map have no sum.
  if (!sum.is_string()) out["value"] = std::move(sum);
  out["per_cpu"] = std::move(each);
  return out;
}

bool is_empty(const RawEntry& entry) {
  for (auto& v : entry.values) {
    for (auto b : v) {
      if (b != std::byte{0}) return false;
    }
  }
  return true;
}

}  // namespace ls::api
