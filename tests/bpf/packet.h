#pragma once
/// Packets for prog-test-run: a builder that reads like the packet, and a reader that checks every checksum.
///
///   auto p = eth().ip("10.0.0.1", "11.0.0.1").tcp(40000, 80, kSyn);
///   Seen s = see(bytes);  s.src, s.dport, s.ip_check_ok, s.l4_check_ok ...
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "util/address.h"

namespace ls::test {

using Bytes = std::vector<uint8_t>;

enum TcpFlags : uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16 };

/// Builds one Ethernet frame. Calls go from the outside in; `bytes()` fills lengths and checksums.
class Packet {
 public:
  Packet& ip(std::string_view src, std::string_view dst);  ///< family from the text
  Packet& ttl(uint8_t v);
  Packet& ip_options(size_t words);            ///< IPv4: NOP options; IPv6: a destination options header of 8*words bytes
  Packet& fragment(uint16_t offset_bytes, bool more, uint32_t id);
  Packet& tcp(uint16_t sport, uint16_t dport, uint8_t flags, uint32_t seq = 1000, uint32_t ack = 2000);
  Packet& udp(uint16_t sport, uint16_t dport);
  Packet& no_udp_checksum();
  Packet& payload(std::string_view data);
  Packet& l4_raw(uint8_t proto, Bytes data);   ///< transport bytes as they are
  /// An ICMP error that quotes the first `quote` bytes of another frame's IP packet.
  Packet& icmp_error(uint8_t type, uint8_t code, const Bytes& frame, size_t quote = 64);
  Bytes bytes() const;

 private:
  IpAddress src_, dst_;
  uint8_t ttl_ = 64, proto_ = 0, flags_ = 0;
  size_t option_words_ = 0;
  bool fragmented_ = false, more_ = false, udp_checksum_ = true;
  uint16_t frag_offset_ = 0, sport_ = 0, dport_ = 0;
  uint32_t frag_id_ = 0, seq_ = 0, ack_ = 0;
  std::string payload_;
  Bytes raw_;
  bool raw_set_ = false;
};

Packet eth();

/// What a reader that trusts nothing sees.
struct Seen {
  bool ok = false;  ///< all headers could be read and lengths agree
  IpAddress src, dst;
  uint8_t proto = 0, ttl = 0, tcp_flags = 0, icmp_type = 0, icmp_code = 0;
  uint16_t sport = 0, dport = 0;
  uint32_t seq = 0, ack = 0;
  bool ip_check_ok = false, l4_check_ok = false;
  size_t l4 = 0;        ///< offset of the transport header
  Bytes payload;        ///< after the transport header
  Bytes dmac, smac;
  std::string text() const;  ///< "10.0.0.1:40000 > 11.0.0.1:80 tcp S"
};
Seen see(const Bytes& frame);
/// The packet an ICMP error quotes, as a frame, and the reading of it (checksums of a cut quote are not judged).
Seen see_quote(const Bytes& frame);

uint16_t checksum(const uint8_t* data, size_t len, uint32_t seed = 0);

}  // namespace ls::test
