#include "api/decode_dns.h"

#include <arpa/inet.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "api/labels.h"
#include "dns/server.h"
#include "loadstar/abi/dns.h"
#include "util/address.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using Bytes = std::span<const std::byte>;

std::string address(const __be32 (&be)[4]) { return IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(be)).text(); }

std::string_view service(uint32_t number) { return number < dns::kServices ? dns::to_text(dns::ServiceKind(number)) : "unknown"; }

/// The bytes may be unaligned, so they are copied into the struct.
template <class T>
std::optional<T> as(Bytes bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// Without the keys of the hashes and of cookies: who knows them can make names collide and forge cookies.
Json fields(const ls_dns_conf& c) {
  Json ports = Json::array(), services = Json::array();
  for (auto port : c.port_be) {
    if (port) ports.push_back(ntohs(port));
  }
  for (uint32_t i = 0; i < LS_DNS_SERVICES; i++) {
    auto& s = c.service[i];
    Json lengths = Json::array();
    for (int n = 0; n < 256; n++) {
      if (s.suffixes[n / 64] >> n % 64 & 1) lengths.push_back(n);
    }
    services.push_back({{"service", service(i)}, {"suffix_octets", lengths}, {"udp_max", s.udp_max}, {"acl", bool(s.acl)}, {"slip", s.slip},
                        {"rate_step", s.rate_step}});
  }
  return {{"enabled", bool(c.enabled)}, {"bucket_mask", c.bucket_mask}, {"unix_offset_ns", c.unix_offset_ns}, {"ports", ports},
          {"services", services}};
}

Json fields(const ls_dns_listen& l) { return {{"addr", address(l.addr_be)}, {"port", ntohs(l.port_be)}, {"service", service(l.service)}}; }

Json fields(const ls_dns_bucket& b) {
  Json slots = Json::array();
  for (auto slot : b.slot) {
    if (slot) slots.push_back({{"tag", slot >> 32}, {"place", LS_DNS_PLACE(slot)}});
  }
  return {{"slot", slots}};
}

Json fields(const ls_dns_rate_set& r) {
  Json words = Json::array();
  for (auto word : r.word) {
    if (word) words.push_back(word);
  }
  return {{"word", words}};
}

Json fields(const ls_dns_acl_key& k) {
  constexpr int kServiceBits = 32, kMappedBits = 96;  // IPv4 in its 16-byte form has 96 bits in front
  auto bits = int(k.prefix) - kServiceBits;
  auto addr = IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(k.addr_be));
  if (addr.is_v4() && bits >= kMappedBits) bits -= kMappedBits;
  return {{"service", service(ntohl(k.service_be))}, {"net", addr.text() + "/" + std::to_string(bits)}};
}

template <class T>
std::optional<Json> shown(Bytes bytes) {
  auto value = as<T>(bytes);
  return value ? std::optional(fields(*value)) : std::nullopt;
}

std::optional<Json> number(Bytes bytes) {
  if (auto n = as<__u32>(bytes)) return Json(*n);
  if (auto n = as<__u64>(bytes)) return Json(*n);
  return std::nullopt;
}

std::optional<Json> stat_key(Bytes bytes) {
  auto n = as<__u32>(bytes);
  if (!n) return std::nullopt;
  return Json{{"hook", dns_hook_label(*n / LS_DNS_RESULT_SLOTS)}, {"result", dns_result_label(*n % LS_DNS_RESULT_SLOTS)}};
}

struct Layout {
  std::string_view map;
  std::optional<Json> (*key)(Bytes);
  std::optional<Json> (*value)(Bytes);
};
constexpr Layout kLayouts[] = {
    {"ls_dns_conf", number, shown<ls_dns_conf>},          {"ls_dns_listen", number, shown<ls_dns_listen>},
    {"ls_dns_bucket", number, shown<ls_dns_bucket>},      {"ls_dns_rate", number, shown<ls_dns_rate_set>},
    {"ls_dns_acl", shown<ls_dns_acl_key>, number},        {"ls_dns_stats", stat_key, number},
};

const Layout* layout_of(std::string_view map) {
  for (auto& l : kLayouts) {
    if (l.map == map) return &l;
  }
  return nullptr;
}

}  // namespace

std::optional<Json> decode_dns_key(std::string_view map, Bytes key) {
  auto* l = layout_of(map);
  return l ? l->key(key) : std::nullopt;
}

std::optional<Json> decode_dns_value(std::string_view map, Bytes value) {
  auto* l = layout_of(map);
  return l ? l->value(value) : std::nullopt;
}

bool holds_dns_secrets(std::string_view map) { return map == "ls_dns_conf"; }

}  // namespace ls::api
