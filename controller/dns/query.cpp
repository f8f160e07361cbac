#include "dns/query.h"

#include <cstring>

namespace ls::dns {
namespace {

constexpr uint16_t kOpcodeMask = 0x7800, kDnssecOk = 0x8000, kCookieOption = 10;
constexpr size_t kClientCookie = 8, kShortestCookies = 16, kLongestCookies = 40;  // RFC 7873 4
constexpr size_t kFixedRecord = 10;  // type, class, TTL, length

uint16_t get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

Parsed with(Rcode rcode, bool question) { return {ParseOutcome::kRcode, rcode, question}; }

/// Reads the question's name. A pointer could only lead into the header, so none is allowed.
bool read_name(Query& q) {
  const uint8_t* packet = q.packet.data();
  const size_t size = q.packet.size();
  size_t at = kHeader;
  for (;;) {
    if (at >= size) return false;
    const uint8_t length = packet[at];
    if (length == 0) break;
    if (length > DnsName::kMaxLabel) return false;
    at += length + size_t{1};
    if (at - kHeader >= DnsName::kMaxWire) return false;
  }
  const size_t octets = at + 1 - kHeader;
  q.name = q.packet.subspan(kHeader, octets);
  q.name_size = static_cast<uint8_t>(octets);
  std::memcpy(q.folded_bytes.data(), q.name.data(), octets);
  fold({q.folded_bytes.data(), octets});
  return true;
}

/// Goes over a record's owner. Pointers are not followed: nothing but OPT and TSIG is read here.
bool skip_name(std::span<const uint8_t> packet, size_t& at) {
  const size_t start = at;
  while (at < packet.size()) {
    const uint8_t length = packet[at];
    if (length == 0) return ++at, true;
    if ((length & 0xc0) == 0xc0) return (at += 2) <= packet.size();
    if (length > DnsName::kMaxLabel) return false;
    at += length + size_t{1};
    if (at - start >= DnsName::kMaxWire) return false;
  }
  return false;
}

bool read_options(std::span<const uint8_t> options, Edns& edns) {
  bool cookie_seen = false;
  while (!options.empty()) {
    if (options.size() < 4) return false;
    const uint16_t code = get16(options.data()), length = get16(options.data() + 2);
    if (options.size() - 4 < length) return false;
    const auto value = options.subspan(4, length);
    options = options.subspan(size_t{4} + length);
    if (code != kCookieOption || cookie_seen) continue;  // RFC 7873 5.2: only the first counts
    cookie_seen = true;
    if (length != kClientCookie && (length < kShortestCookies || length > kLongestCookies)) return false;
    edns.client_cookie = value.first(kClientCookie);
    edns.server_cookie = value.subspan(kClientCookie);
  }
  return true;
}

/// One record at `at`. False: malformed.
bool read_record(Query& q, size_t& at, bool additional) {
  const bool root_owner = at < q.packet.size() && q.packet[at] == 0;
  if (!skip_name(q.packet, at) || q.packet.size() - at < kFixedRecord) return false;
  const uint8_t* fixed = q.packet.data() + at;
  const auto type = static_cast<RrType>(get16(fixed));
  const uint16_t length = get16(fixed + 8);
  at += kFixedRecord;
  if (q.packet.size() - at < length) return false;
  const auto rdata = q.packet.subspan(at, length);
  at += length;
  if (type == RrType::kTsig) q.tsig = true;
  if (type != RrType::kOpt) return true;
  if (!additional || !root_owner || q.edns) return false;
  Edns& edns = q.edns.emplace();
  edns.udp_size = get16(fixed + 2);
  if (edns.udp_size < 512) edns.udp_size = 512;
  edns.version = fixed[5];
  edns.dnssec_ok = (get16(fixed + 6) & kDnssecOk) != 0;
  // What the options of a later version look like is not known.
  return edns.version != 0 || read_options(rdata, edns);
}

bool read_records(Query& q, size_t at) {
  const uint8_t* header = q.packet.data();
  const size_t before = size_t{get16(header + 6)} + get16(header + 8), additional = get16(header + 10);
  for (size_t i = 0; i < before + additional; ++i)
    if (!read_record(q, at, i >= before)) return false;
  return true;
}

}  // namespace

std::string_view to_text(Rcode rcode) {
  switch (rcode) {
    case Rcode::kNoError: return "NOERROR";
    case Rcode::kFormErr: return "FORMERR";
    case Rcode::kServFail: return "SERVFAIL";
    case Rcode::kNxDomain: return "NXDOMAIN";
    case Rcode::kNotImp: return "NOTIMP";
    case Rcode::kRefused: return "REFUSED";
    case Rcode::kBadVers: return "BADVERS";
    case Rcode::kBadCookie: return "BADCOOKIE";
  }
  return "RESERVED";
}

Parsed parse_query(std::span<const uint8_t> packet, Query& q) {
  q.packet = packet;
  q.name = {};
  q.name_size = 0;
  q.type = q.qclass = 0;
  q.question_end = kHeader;
  q.edns.reset();
  q.tsig = false;
  if (packet.size() < kHeader) return {};
  q.id = get16(packet.data());
  q.flags = get16(packet.data() + 2);
  q.opcode = static_cast<uint8_t>((q.flags & kOpcodeMask) >> 11);
  if (q.flags & kQr) return {};
  // What follows the header of another opcode is not known (RFC 8906 8.3); it is not looked at.
  if (q.opcode != 0) return with(Rcode::kNotImp, false);
  if (q.flags & kTc) return with(Rcode::kFormErr, false);
  const uint16_t questions = get16(packet.data() + 4);
  if (questions == 0) {
    // RFC 7873 5.4: a question for nothing but a cookie.
    const bool cookie = read_records(q, kHeader) && q.edns && !q.edns->client_cookie.empty();
    return with(cookie ? Rcode::kNoError : Rcode::kFormErr, false);
  }
  if (!read_name(q) || packet.size() - kHeader - q.name_size < 4) return with(Rcode::kFormErr, false);
  const uint8_t* fixed = packet.data() + kHeader + q.name_size;
  q.type = get16(fixed);
  q.qclass = get16(fixed + 2);
  q.question_end = kHeader + q.name_size + 4;
  if (questions != 1 || !read_records(q, q.question_end)) return with(Rcode::kFormErr, true);
  if (q.edns && q.edns->version != 0) return with(Rcode::kBadVers, true);
  if (q.qclass != kClassIn && q.qclass != kClassAny) return with(Rcode::kRefused, true);
  return {ParseOutcome::kGood, Rcode::kNoError, true};
}

}  // namespace ls::dns
