// Named fields of the maps of DNS answers in the kernel.
#include <arpa/inet.h>

#include <nlohmann/json.hpp>

#include "api/decode_parts.h"
#include "api/labels.h"
#include "dns/server.h"
#include "loadstar/abi/dns.h"

namespace ls::api::decode {
namespace {

std::string_view service(uint32_t number) { return number < dns::kServices ? dns::to_text(dns::ServiceKind(number)) : "unknown"; }

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
  constexpr int kServiceBits = 32;
  return {{"service", service(ntohl(k.service_be))}, {"net", net(k.addr_be, int(k.prefix) - kServiceBits)}};
}

template <class T>
std::optional<Json> shown(Bytes bytes) {
  return shown_by<T>(bytes, [](const T& value) { return fields(value); });
}

std::optional<Json> stat_key(Bytes bytes) {
  auto n = as<__u32>(bytes);
  if (!n) return std::nullopt;
  return Json{{"hook", dns_hook_label(*n / LS_DNS_RESULT_SLOTS)}, {"result", dns_result_label(*n % LS_DNS_RESULT_SLOTS)}};
}

constexpr MapLayout kLayouts[] = {
    {"ls_dns_conf", number, shown<ls_dns_conf>, true},    {"ls_dns_listen", number, shown<ls_dns_listen>},
    {"ls_dns_bucket", number, shown<ls_dns_bucket>},      {"ls_dns_rate", number, shown<ls_dns_rate_set>},
    {"ls_dns_acl", shown<ls_dns_acl_key>, number},        {"ls_dns_stats", stat_key, number},
};

}  // namespace

std::span<const MapLayout> dns_layouts() { return kLayouts; }

}  // namespace ls::api::decode
