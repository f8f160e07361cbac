#include "api/dns_event.h"

#include <algorithm>
#include <cstring>

#include "loadstar/abi/event.h"

namespace ls::api {
namespace {

Endpoint endpoint(const __be32 (&be)[4], __be16 port_be) {
  return {IpAddress::from_bytes(reinterpret_cast<const uint8_t*>(be)), be16toh(port_be)};
}

/// The labels that are whole.
std::string whole_labels(std::span<const uint8_t> wire) {
  size_t end = 0;
  while (end < wire.size() && wire[end] != 0 && wire[end] <= DnsName::kMaxLabel && end + 1 + wire[end] <= wire.size()) end += 1 + wire[end];
  return {reinterpret_cast<const char*>(wire.data()), end};
}

}  // namespace

std::optional<EventView> decode_dns_event(std::span<const std::byte> record, int64_t monotonic_to_real_ns) {
  ls_dns_event e;
  if (record.size() < sizeof e) return std::nullopt;
  std::memcpy(&e, record.data(), sizeof e);
  if (e.type != LS_EVENT_DNS) return std::nullopt;
  EventView v;
  v.unix_ns = int64_t(e.time_ns) + monotonic_to_real_ns;
  v.type = e.type;
  v.hook = e.hook;
  v.proto = uint8_t(Protocol::kUdp);
  v.src = endpoint(e.src_be, e.sport_be);
  v.dst = endpoint(e.dst_be, e.dport_be);
  auto& d = v.dns.emplace();
  d.result = e.result;
  d.rcode = e.rcode;
  d.service = e.service;
  d.qtype = be16toh(e.qtype_be);
  // The event has the length of the whole name and as much of it as there is room for.
  std::span<const uint8_t> name(e.name, std::min<size_t>(e.name_octets, LS_DNS_EVENT_NAME));
  if (e.name_octets == name.size()) d.name = DnsName::from_wire(name);
  if (d.name) d.name = d.name->folded();
  else d.front = whole_labels(name);
  return v;
}

std::string name_text(const DnsEventView& d) {
  if (d.name) return d.name->text();
  return d.front.empty() ? "" : relative_text(d.front) + "...";
}

}  // namespace ls::api
