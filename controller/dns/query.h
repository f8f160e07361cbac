#pragma once
/// A question as it came over the wire, parsed once. Points into the packet. Thread: one. Cost: O(length of the name).
/// Source: RFC 1035 4.1, RFC 6891 (EDNS), RFC 7873 (cookies), RFC 8906 (what must not be ignored).
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "derive/records.h"

namespace ls::dns {

enum class Rcode : uint16_t {
  kNoError = 0, kFormErr = 1, kServFail = 2, kNxDomain = 3, kNotImp = 4, kRefused = 5, kBadVers = 16, kBadCookie = 23
};
std::string_view to_text(Rcode);  ///< "NOERROR"

inline constexpr uint16_t kQr = 0x8000, kAa = 0x0400, kTc = 0x0200, kRd = 0x0100, kRa = 0x0080, kAd = 0x0020, kCd = 0x0010;
inline constexpr size_t kHeader = 12;
inline constexpr uint16_t kClassIn = 1, kClassAny = 255;

struct Edns {
  uint16_t udp_size = 512;  ///< as sent; below 512 counts as 512 (RFC 6891 6.2.3)
  uint8_t version = 0;
  bool dnssec_ok = false;
  std::span<const uint8_t> client_cookie;  ///< 8 octets, or empty
  std::span<const uint8_t> server_cookie;  ///< 8 to 32 octets, or empty
};

struct Query {
  std::span<const uint8_t> packet;
  uint16_t id = 0, flags = 0;                  ///< flags as sent
  uint8_t opcode = 0;
  std::span<const uint8_t> name;               ///< wire form as asked, inside the packet
  std::array<uint8_t, DnsName::kMaxWire> folded_bytes;
  uint8_t name_size = 0;                       ///< of both
  std::string_view folded() const { return {reinterpret_cast<const char*>(folded_bytes.data()), name_size}; }
  uint16_t type = 0, qclass = 0;
  size_t question_end = kHeader;               ///< offset behind the first question
  std::optional<Edns> edns;
  bool tsig = false;
};

enum class ParseOutcome {
  kGood,
  kIgnore,   ///< shorter than a header, or a response: no answer at all (else two servers could answer each other for ever)
  kRcode     ///< answer with header_only(rcode) or with the question, as `rcode` says
};

struct Parsed {
  ParseOutcome outcome = ParseOutcome::kIgnore;
  Rcode rcode = Rcode::kNoError;     ///< for kRcode
  bool question_readable = false;    ///< kRcode: `query` has the question, so it is echoed
};

/// Fills `query`. Questions other than one: FORMERR (RFC 9619). Opcodes other than QUERY: NOTIMP. Class other than IN and ANY: REFUSED.
/// EDNS version above 0: BADVERS. Malformed EDNS, two OPTs, trailing garbage inside a record: FORMERR. Bytes after the message are
/// ignored (spec/mesos-dns.md 10.6).
Parsed parse_query(std::span<const uint8_t> packet, Query& query);

}  // namespace ls::dns
