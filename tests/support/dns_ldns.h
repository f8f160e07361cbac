#pragma once
/// ldns as the second opinion: messages into text and questions into octets.
#include <ldns/ldns.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ls::test {

struct LdnsMessage {
  int id = 0, rcode = 0, opcode = 0;
  bool qr = false, aa = false, tc = false, rd = false, ra = false, ad = false, cd = false;
  bool edns = false, dnssec_ok = false;
  int udp_size = 0, edns_version = 0, extended_rcode = 0;
  /// "owner TTL type data", as ldns prints it; names with their spelling.
  std::vector<std::string> question, answer, authority, additional;
  std::string edns_data;

  std::vector<std::string> sorted_answer() const {
    auto copy = answer;
    std::sort(copy.begin(), copy.end());
    return copy;
  }
};

inline std::vector<std::string> rr_lines(const ldns_rr_list* list, bool question) {
  std::vector<std::string> out;
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); ++i) {
    const ldns_rr* rr = ldns_rr_list_rr(list, i);
    char* text = ldns_rr2str(rr);
    std::string line = text ? text : "?";
    free(text);
    for (char& c : line)
      if (c == '\t') c = ' ';
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
    if (const size_t in = line.find(" IN "); in != std::string::npos) line.erase(in, 3);
    if (question && ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN) line += " (class " + std::to_string(ldns_rr_get_class(rr)) + ")";
    out.push_back(line);
  }
  return out;
}

/// nullopt: ldns does not take it for a message.
inline std::optional<LdnsMessage> read_message(std::span<const uint8_t> bytes) {
  ldns_pkt* pkt = nullptr;
  if (ldns_wire2pkt(&pkt, bytes.data(), bytes.size()) != LDNS_STATUS_OK) return std::nullopt;
  LdnsMessage m;
  m.id = ldns_pkt_id(pkt);
  m.rcode = ldns_pkt_get_rcode(pkt);
  m.opcode = ldns_pkt_get_opcode(pkt);
  m.qr = ldns_pkt_qr(pkt), m.aa = ldns_pkt_aa(pkt), m.tc = ldns_pkt_tc(pkt), m.rd = ldns_pkt_rd(pkt);
  m.ra = ldns_pkt_ra(pkt), m.ad = ldns_pkt_ad(pkt), m.cd = ldns_pkt_cd(pkt);
  m.edns = ldns_pkt_edns(pkt);
  if (m.edns) {
    m.dnssec_ok = ldns_pkt_edns_do(pkt);
    m.udp_size = ldns_pkt_edns_udp_size(pkt);
    m.edns_version = ldns_pkt_edns_version(pkt);
    m.extended_rcode = ldns_pkt_edns_extended_rcode(pkt);
    if (const ldns_rdf* data = ldns_pkt_edns_data(pkt))
      m.edns_data.assign(reinterpret_cast<const char*>(ldns_rdf_data(data)), ldns_rdf_size(data));
  }
  m.question = rr_lines(ldns_pkt_question(pkt), true);
  m.answer = rr_lines(ldns_pkt_answer(pkt), false);
  m.authority = rr_lines(ldns_pkt_authority(pkt), false);
  m.additional = rr_lines(ldns_pkt_additional(pkt), false);
  ldns_pkt_free(pkt);
  return m;
}

struct Ask {
  std::string name;
  std::string type = "A";
  int edns = -1;  ///< payload size; below 0: no OPT
  bool dnssec_ok = false;
  int id = 4711;
  int rr_class = 1;
  bool rd = true;
};

/// A question as ldns writes it.
inline std::vector<uint8_t> write_query(const Ask& ask) {
  ldns_rdf* name = nullptr;
  if (ldns_str2rdf_dname(&name, ask.name.c_str()) != LDNS_STATUS_OK) return {};
  const ldns_rr_type type = ldns_get_rr_type_by_name(ask.type.c_str());
  ldns_pkt* pkt = ldns_pkt_query_new(name, type, static_cast<ldns_rr_class>(ask.rr_class), ask.rd ? LDNS_RD : 0);
  ldns_pkt_set_id(pkt, static_cast<uint16_t>(ask.id));
  if (ask.edns >= 0) {
    ldns_pkt_set_edns_udp_size(pkt, static_cast<uint16_t>(ask.edns));
    ldns_pkt_set_edns_do(pkt, ask.dnssec_ok);
  }
  uint8_t* wire = nullptr;
  size_t size = 0;
  std::vector<uint8_t> out;
  if (ldns_pkt2wire(&wire, pkt, &size) == LDNS_STATUS_OK) out.assign(wire, wire + size);
  free(wire);
  ldns_pkt_free(pkt);
  return out;
}

}  // namespace ls::test
