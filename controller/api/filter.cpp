#include "api/filter.h"

#include <algorithm>
#include <charconv>

namespace ls::api {
namespace {

template <class N>
std::optional<N> number(std::string_view text) {
  N n{};
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (text.empty() || err != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return n;
}

std::string folded(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = char(c + 32);
  }
  return out;
}

/// The name as Service::name holds it: without the zone that a DNS name ends in, and its final dot.
std::string_view without_zone(std::string_view name) {
  constexpr std::string_view kZone = ".l4lb.thisdcos.directory";  // spec/minuteman-vips.md section 3
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.ends_with(kZone)) name.remove_suffix(kZone.size());
  return name;
}

/// [v6]:port, [v6], v4:port, v4. Text that is not such an address gives nullopt.
struct HostPort {
  IpAddress address;
  std::optional<uint16_t> port;
};
std::optional<HostPort> parse_host_port(std::string_view text) {
  if (auto e = Endpoint::parse(text)) return HostPort{e->address, e->port};
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  if (auto a = IpAddress::parse(text)) return HostPort{*a, std::nullopt};
  return std::nullopt;
}

}  // namespace

Result<VipSelector> VipSelector::parse(std::string_view text) {
  VipSelector s;
  auto rest = text;
  if (auto slash = rest.rfind('/'); slash != rest.npos) {
    // A framework's or label's name may hold a slash, an address may not.
    auto head = rest.substr(0, slash);
    s.protocol_ = parse_protocol(rest.substr(slash + 1));
    if (s.protocol_) rest = head;
    else if (parse_host_port(head)) return fail("'" + std::string(text) + "' does not end in /tcp or /udp");
  }
  if (rest.empty()) return fail("a VIP is a name or an address, not '" + std::string(text) + "'");
  if (auto hp = parse_host_port(rest)) s.any_.push_back({hp->address, {}, hp->port});
  auto colon = rest.rfind(':');
  auto head = rest.substr(0, colon == rest.npos ? 0 : colon);
  if (head.find(':') != head.npos && head.front() != '[') {
    // Unbracketed IPv6: what follows the last colon may be a port.
    auto address = IpAddress::parse(head);
    auto port = number<uint16_t>(rest.substr(colon + 1));
    if (address && port) s.any_.push_back({*address, {}, *port});
  }
  if (!s.any_.empty()) return s;

  std::optional<uint16_t> port;
  if (colon != rest.npos) {
    port = number<uint16_t>(rest.substr(colon + 1));
    if (!port) return fail("'" + std::string(text) + "' has no port number after its colon");
    rest = head;
  }
  if (rest.find_first_of(":[]") != rest.npos) return fail("'" + std::string(text) + "' is not an address");
  auto name = folded(rest);
  auto bare = without_zone(name);
  if (bare.empty()) return fail("a VIP is a name or an address, not '" + std::string(text) + "'");
  s.any_.push_back({std::nullopt, std::string(bare), port});
  return s;
}

bool VipSelector::matches(const ServiceKey& key, std::string_view name) const {
  if (protocol_ && *protocol_ != key.protocol) return false;
  return std::any_of(any_.begin(), any_.end(), [&](auto& a) {
    if (a.port && *a.port != key.port) return false;
    return a.address ? *a.address == key.address : a.name == name;
  });
}

Result<BackendSelector> BackendSelector::parse(std::string_view text) {
  BackendSelector s;
  if (text.starts_with('#')) {
    s.number_ = number<uint32_t>(text.substr(1));
  } else if (auto hp = parse_host_port(text)) {
    s.address_ = hp->address;
    s.port_ = hp->port;
  }
  if (!s.number_ && !s.address_) {
    return fail("'" + std::string(text) + "' is not ADDRESS, ADDRESS:PORT, [IPV6]:PORT or #NUMBER");
  }
  return s;
}

bool BackendSelector::matches(const Endpoint& endpoint, uint32_t number) const {
  if (number_) return *number_ == number;
  return *address_ == endpoint.address && (!port_ || *port_ == endpoint.port);
}

bool FlowFilter::matches(const FlowView& f) const {
  return (!state || *state == f.state) && (!vip || vip->matches(f.service, f.vip_name)) &&
         (!backend || backend->matches(f.backend, f.backend_number));
}

bool EventFilter::matches_dns(const DnsEventView& d) const {
  return (!name || (d.name && d.name->is_within(*name))) && (!results || (d.result < 32 && (*results >> d.result & 1)));
}

bool EventFilter::matches(const EventView& e) const {
  auto& its_hook = e.dns ? dns_hook : hook;
  bool any_hook = !hook && !dns_hook;
  bool of_dns = e.dns ? matches_dns(*e.dns) : !name && !results;
  return e.type < 32 && (types >> e.type & 1) && (any_hook || its_hook == e.hook) && of_dns &&
         (!vip || (e.service && vip->matches(*e.service, e.vip_name))) &&
         (!backend || (e.backend && backend->matches(*e.backend, e.backend_number)));
}

}  // namespace ls::api
