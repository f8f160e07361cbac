#pragma once
/// Messages for the DNS tests, built by hand and read by a few plain functions.
#include <initializer_list>
#include <string>
#include <vector>

#include "dns/query.h"
#include "dns/response.h"

namespace ls::dns::test {

using Bytes = std::vector<uint8_t>;

inline void add16(Bytes& b, unsigned v) {
  b.push_back(static_cast<uint8_t>(v >> 8));
  b.push_back(static_cast<uint8_t>(v));
}
inline void add32(Bytes& b, uint32_t v) {
  add16(b, v >> 16);
  add16(b, v & 0xffff);
}
inline void add_name(Bytes& b, const std::string& text) {
  const std::string wire(DnsName::parse(text)->wire());
  b.insert(b.end(), wire.begin(), wire.end());
}

/// A question as a client sends it, with the parsed form that points into it.
struct Asked {
  Bytes packet;
  Query query;
  Asked(const std::string& name, uint16_t type = 1, uint16_t id = 0x1234, uint16_t flags = kRd, int edns = -1, bool dnssec_ok = false) {
    add16(packet, id);
    add16(packet, flags);
    for (unsigned n : {1u, 0u, 0u, edns >= 0 ? 1u : 0u}) add16(packet, n);
    add_name(packet, name);
    add16(packet, type);
    add16(packet, 1);
    if (edns >= 0) {
      packet.push_back(0);
      add16(packet, 41);
      add16(packet, static_cast<unsigned>(edns));
      add32(packet, dnssec_ok ? 0x8000 : 0);
      add16(packet, 0);
    }
    parse_query(packet, query);
  }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
};

struct Rr {
  std::string owner;  ///< empty: a pointer to the question
  uint16_t type = 1;
  uint32_t ttl = 300;
  Bytes rdata;
};
inline Rr a_record(uint32_t address, uint32_t ttl = 300, std::string owner = "") {
  Bytes rdata;
  add32(rdata, address);
  return {std::move(owner), 1, ttl, rdata};
}
inline Rr cname(const std::string& owner, const std::string& target, uint32_t ttl = 300) {
  Bytes rdata;
  add_name(rdata, target);
  return {owner, 5, ttl, rdata};
}
inline Rr soa(const std::string& owner, uint32_t ttl, uint32_t minimum) {
  Bytes rdata{0, 0};
  for (uint32_t v : {1u, 2u, 3u, 4u, minimum}) add32(rdata, v);
  return {owner, 6, ttl, rdata};
}

/// The answer of an upstream.
inline Bytes response(const std::string& name, uint16_t type, const std::vector<Rr>& answer, const std::vector<Rr>& authority = {},
                      const std::vector<Rr>& additional = {}, unsigned rcode = 0, unsigned flags = 0x8180, bool opt = false) {
  Bytes b;
  add16(b, 0x4711);
  add16(b, flags | rcode);
  add16(b, 1);
  add16(b, static_cast<unsigned>(answer.size()));
  add16(b, static_cast<unsigned>(authority.size()));
  add16(b, static_cast<unsigned>(additional.size() + opt));
  add_name(b, name);
  add16(b, type);
  add16(b, 1);
  for (auto* section : {&answer, &authority, &additional}) {
    for (const Rr& rr : *section) {
      if (rr.owner.empty())
        add16(b, 0xc00c);
      else
        add_name(b, rr.owner);
      add16(b, rr.type);
      add16(b, 1);
      add32(b, rr.ttl);
      add16(b, static_cast<unsigned>(rr.rdata.size()));
      b.insert(b.end(), rr.rdata.begin(), rr.rdata.end());
    }
  }
  if (opt) {
    b.push_back(0);
    add16(b, 41);
    add16(b, 4096);
    add32(b, 0);
    add16(b, 0);
  }
  return b;
}

/// What a client sees of a message.
struct Seen {
  bool well = false;
  uint16_t id = 0, flags = 0;
  unsigned rcode = 0;
  std::string question;  ///< as spelt
  std::vector<std::string> addresses;
  std::vector<uint32_t> ttls;
  bool opt = false, tc = false;
  size_t records = 0;
};
inline Seen see(std::span<const uint8_t> message) {
  Seen s;
  Response r;
  s.well = r.read(message);
  if (!s.well) return s;
  s.id = r.id;
  s.flags = r.flags;
  s.rcode = static_cast<unsigned>(r.rcode);
  s.tc = r.flags & kTc;
  if (r.has_question) s.question = DnsName::from_wire(r.question_name)->text();
  s.records = r.records.size();
  s.opt = r.edns.has_value();
  for (auto& record : r.records) {
    s.ttls.push_back(record.ttl);
    if (record.type == 1 && record.section == Section::kAnswer) s.addresses.push_back(IpAddress::from_v4(get32(message.data() + record.rdata)).text());
  }
  return s;
}

}  // namespace ls::dns::test
