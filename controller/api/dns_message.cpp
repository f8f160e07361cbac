#include "api/dns_message.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>

#include "dns/query.h"

// Last: it defines true and false as macros.
#include <ldns/ldns.h>

namespace ls::api {
namespace {

struct FreePacket {
  void operator()(ldns_pkt* p) const { ldns_pkt_free(p); }
};
struct FreeText {
  void operator()(char* p) const { free(p); }
};

using Packet = std::unique_ptr<ldns_pkt, FreePacket>;

Result<Packet> packet_of(std::span<const uint8_t> wire) {
  ldns_pkt* raw = nullptr;
  if (auto status = ldns_wire2pkt(&raw, wire.data(), wire.size()); status != LDNS_STATUS_OK) {
    return fail(std::string("read a DNS message: ") + ldns_get_errorstr_by_id(status));
  }
  return Packet(raw);
}

std::string taken(char* text) {
  std::unique_ptr<char, FreeText> owned(text);
  return owned ? owned.get() : "";
}

std::vector<ShownRecord> records(const ldns_rr_list* list) {
  std::vector<ShownRecord> out;
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
    auto* rr = ldns_rr_list_rr(list, i);
    if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_OPT) continue;
    ShownRecord r{taken(ldns_rdf2str(ldns_rr_owner(rr))), taken(ldns_rr_type2str(ldns_rr_get_type(rr))), {}, ldns_rr_ttl(rr)};
    for (size_t d = 0; d < ldns_rr_rd_count(rr); d++) r.data += (d ? " " : "") + taken(ldns_rdf2str(ldns_rr_rdf(rr, d)));
    out.push_back(std::move(r));
  }
  return out;
}

/// The same records in any order. Sorted by everything but the TTL, and then by it, equal records stand beside each other.
bool same_records(std::vector<ShownRecord> a, std::vector<ShownRecord> b, uint32_t ttl_slack) {
  auto before = [](const ShownRecord& x, const ShownRecord& y) {
    return std::tie(x.name, x.type, x.data, x.ttl) < std::tie(y.name, y.type, y.data, y.ttl);
  };
  std::sort(a.begin(), a.end(), before);
  std::sort(b.begin(), b.end(), before);
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](auto& x, auto& y) {
    auto apart = std::max(x.ttl, y.ttl) - std::min(x.ttl, y.ttl);
    return std::tie(x.name, x.type, x.data) == std::tie(y.name, y.type, y.data) && apart <= ttl_slack;
  });
}

/// Fields of OPT: ldns takes it out of the additional section.
std::string opt_text(const ldns_pkt* p) {
  if (!ldns_pkt_edns(p)) return {};
  auto* data = ldns_pkt_edns_data(p);
  return std::to_string(ldns_pkt_edns_udp_size(p)) + " " + std::to_string(ldns_pkt_edns_version(p)) + " " +
         std::to_string(ldns_pkt_edns_z(p)) + " " + (data ? taken(ldns_rdf2str(data)) : "");
}

void put16(std::vector<uint8_t>& out, uint16_t value) {
  out.push_back(uint8_t(value >> 8));
  out.push_back(uint8_t(value));
}

}  // namespace

std::vector<uint8_t> make_question(const DnsName& name, RrType type, uint16_t id) {
  constexpr uint16_t kUdpSize = 1232;  // DNS flag day 2020
  std::vector<uint8_t> out;
  for (auto v : {id, dns::kRd, uint16_t(1), uint16_t(0), uint16_t(0), uint16_t(1)}) put16(out, v);
  out.insert(out.end(), name.wire().begin(), name.wire().end());
  put16(out, uint16_t(type));
  put16(out, dns::kClassIn);
  out.push_back(0);  // OPT is owned by the root
  for (auto v : {uint16_t(RrType::kOpt), kUdpSize, uint16_t(0), uint16_t(0), uint16_t(0)}) put16(out, v);
  return out;
}

Result<ShownMessage> show_message(std::span<const uint8_t> wire) {
  LS_ASSIGN(auto packet, packet_of(wire));
  auto* raw = packet.get();
  ShownMessage out;
  out.size = wire.size();
  auto code = uint16_t(ldns_pkt_edns_extended_rcode(raw) << 4 | ldns_pkt_get_rcode(raw));
  out.rcode = dns::to_text(dns::Rcode(code));
  std::pair<bool, const char*> flags[] = {{ldns_pkt_aa(raw), "aa"}, {ldns_pkt_tc(raw), "tc"}, {ldns_pkt_rd(raw), "rd"},
                                          {ldns_pkt_ra(raw), "ra"}, {ldns_pkt_ad(raw), "ad"}, {ldns_pkt_cd(raw), "cd"}};
  for (auto& [set, name] : flags) {
    if (set) out.flags.push_back(name);
  }
  out.answer = records(ldns_pkt_answer(raw));
  out.authority = records(ldns_pkt_authority(raw));
  out.additional = records(ldns_pkt_additional(raw));
  return out;
}

std::optional<bool> same_message(std::span<const uint8_t> a, std::span<const uint8_t> b, uint32_t ttl_slack) {
  constexpr size_t kHeader = 12;  // RFC 1035 4.1.1
  auto pa = packet_of(a), pb = packet_of(b);
  if (!pa || !pb) return std::nullopt;
  auto sa = show_message(a), sb = show_message(b);
  if (!sa || !sb) return std::nullopt;
  return a.size() == b.size() && std::equal(a.begin(), a.begin() + kHeader, b.begin()) &&
         same_records(records(ldns_pkt_question(pa->get())), records(ldns_pkt_question(pb->get())), 0) && sa->rcode == sb->rcode &&
         same_records(sa->answer, sb->answer, ttl_slack) && same_records(sa->authority, sb->authority, ttl_slack) &&
         same_records(sa->additional, sb->additional, ttl_slack) && opt_text(pa->get()) == opt_text(pb->get());
}

void to_json(nlohmann::json& j, const ShownRecord& r) {
  j = {{"name", r.name}, {"type", r.type}, {"ttl", r.ttl}, {"data", r.data}};
}

void to_json(nlohmann::json& j, const ShownMessage& m) {
  j = {{"rcode", m.rcode},         {"flags", m.flags},           {"answer", m.answer},
       {"authority", m.authority}, {"additional", m.additional}, {"size", m.size}};
}

}  // namespace ls::api
