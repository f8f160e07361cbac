#include "packet.h"

#include <cstring>

namespace ls::test {
namespace {

void put16(Bytes& b, uint16_t v) {
  b.push_back(uint8_t(v >> 8));
  b.push_back(uint8_t(v));
}
void put32(Bytes& b, uint32_t v) {
  put16(b, uint16_t(v >> 16));
  put16(b, uint16_t(v));
}
void set16(Bytes& b, size_t at, uint16_t v) {
  b[at] = uint8_t(v >> 8);
  b[at + 1] = uint8_t(v);
}
uint16_t get16(const Bytes& b, size_t at) { return uint16_t(b[at] << 8 | b[at + 1]); }
uint32_t get32(const Bytes& b, size_t at) { return uint32_t(get16(b, at)) << 16 | get16(b, at + 2); }

uint32_t pseudo_sum(const IpAddress& src, const IpAddress& dst, uint8_t proto, size_t len) {
  Bytes b;
  size_t from = src.is_v4() ? 12 : 0;
  b.insert(b.end(), src.bytes().begin() + from, src.bytes().end());
  b.insert(b.end(), dst.bytes().begin() + from, dst.bytes().end());
  put32(b, uint32_t(len));
  put32(b, proto);
  return uint16_t(~checksum(b.data(), b.size()));
}

}  // namespace

uint16_t checksum(const uint8_t* data, size_t len, uint32_t seed) {
  uint64_t sum = seed;
  for (size_t i = 0; i + 1 < len; i += 2) sum += uint32_t(data[i] << 8 | data[i + 1]);
  if (len & 1) sum += uint32_t(data[len - 1] << 8);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return uint16_t(~sum);
}

Packet eth() { return {}; }

Packet& Packet::ip(std::string_view src, std::string_view dst) {
  src_ = IpAddress::parse(src).value();
  dst_ = IpAddress::parse(dst).value();
  return *this;
}
Packet& Packet::ttl(uint8_t v) {
  ttl_ = v;
  return *this;
}
Packet& Packet::ip_options(size_t words) {
  option_words_ = words;
  return *this;
}
Packet& Packet::fragment(uint16_t offset, bool more, uint32_t id) {
  fragmented_ = true;
  frag_offset_ = offset;
  more_ = more;
  frag_id_ = id;
  return *this;
}
Packet& Packet::tcp(uint16_t sport, uint16_t dport, uint8_t flags, uint32_t seq, uint32_t ack) {
  proto_ = 6;
  sport_ = sport;
  dport_ = dport;
  flags_ = flags;
  seq_ = seq;
  ack_ = ack;
  return *this;
}
Packet& Packet::udp(uint16_t sport, uint16_t dport) {
  proto_ = 17;
  sport_ = sport;
  dport_ = dport;
  return *this;
}
Packet& Packet::no_udp_checksum() {
  udp_checksum_ = false;
  return *this;
}
Packet& Packet::payload(std::string_view data) {
  payload_ = data;
  return *this;
}
Packet& Packet::l4_raw(uint8_t proto, Bytes data) {
  proto_ = proto;
  raw_ = std::move(data);
  raw_set_ = true;
  return *this;
}
Packet& Packet::icmp_error(uint8_t type, uint8_t code, const Bytes& frame, size_t quote) {
  Bytes icmp{type, code, 0, 0, 0, 0, 0, 0};
  icmp.insert(icmp.end(), frame.begin() + 14, frame.begin() + 14 + std::min(quote, frame.size() - 14));
  bool v4 = src_.is_v4();
  uint32_t seed = v4 ? 0 : pseudo_sum(src_, dst_, 58, icmp.size());
  set16(icmp, 2, checksum(icmp.data(), icmp.size(), seed));
  return l4_raw(v4 ? 1 : 58, icmp);
}

Bytes Packet::bytes() const {
  bool v4 = src_.is_v4();
  Bytes l4;
  if (raw_set_) {
    l4 = raw_;
  } else if (proto_ == 6) {
    put16(l4, sport_);
    put16(l4, dport_);
    put32(l4, seq_);
    put32(l4, ack_);
    l4.push_back(0x50);
    l4.push_back(flags_);
    put16(l4, 65535);
    put32(l4, 0);
  } else {
    put16(l4, sport_);
    put16(l4, dport_);
    put16(l4, uint16_t(8 + payload_.size()));
    put16(l4, 0);
  }
  if (!raw_set_) {
    l4.insert(l4.end(), payload_.begin(), payload_.end());
    size_t at = proto_ == 6 ? 16 : 6;
    if (proto_ == 6 || udp_checksum_) {
      uint16_t sum = checksum(l4.data(), l4.size(), pseudo_sum(src_, dst_, proto_, l4.size()));
      set16(l4, at, proto_ == 17 && sum == 0 ? 0xffff : sum);
    }
  }
  Bytes ext;
  if (!v4) {
    if (option_words_) {
      ext.assign(option_words_ * 8, 0);
      ext[0] = fragmented_ ? 44 : proto_;
      ext[1] = uint8_t(option_words_ - 1);
      ext[2] = 1;  // PadN over the rest
      ext[3] = uint8_t(option_words_ * 8 - 4);
    }
    if (fragmented_) {
      ext.push_back(proto_);
      ext.push_back(0);
      put16(ext, uint16_t(frag_offset_ | (more_ ? 1 : 0)));
      put32(ext, frag_id_);
    }
  }
  Bytes out{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
  put16(out, v4 ? 0x0800 : 0x86dd);
  if (v4) {
    size_t ihl = 5 + option_words_;
    out.push_back(uint8_t(0x40 | ihl));
    out.push_back(0);
    put16(out, uint16_t(ihl * 4 + l4.size()));
    put16(out, uint16_t(frag_id_));
    put16(out, uint16_t(fragmented_ ? (frag_offset_ / 8) | (more_ ? 0x2000 : 0) : 0x4000));
    out.push_back(ttl_);
    out.push_back(proto_);
    put16(out, 0);
    out.insert(out.end(), src_.bytes().begin() + 12, src_.bytes().end());
    out.insert(out.end(), dst_.bytes().begin() + 12, dst_.bytes().end());
    out.insert(out.end(), option_words_ * 4, 1);
    set16(out, 24, checksum(out.data() + 14, ihl * 4));
  } else {
    put32(out, 0x60000000);
    put16(out, uint16_t(ext.size() + l4.size()));
    out.push_back(option_words_ ? 60 : fragmented_ ? 44 : proto_);
    out.push_back(ttl_);
    out.insert(out.end(), src_.bytes().begin(), src_.bytes().end());
    out.insert(out.end(), dst_.bytes().begin(), dst_.bytes().end());
    out.insert(out.end(), ext.begin(), ext.end());
  }
  out.insert(out.end(), l4.begin(), l4.end());
  return out;
}

Seen see(const Bytes& f) {
  Seen s;
  if (f.size() < 34) return s;
  s.dmac.assign(f.begin(), f.begin() + 6);
  s.smac.assign(f.begin() + 6, f.begin() + 12);
  size_t end;
  if (get16(f, 12) == 0x0800) {
    size_t hlen = (f[14] & 15) * 4u, total = get16(f, 16);
    if (hlen < 20 || f.size() < 14 + hlen || total < hlen || f.size() < 14 + total) return s;
    uint8_t wide[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(wide + 12, &f[26], 4);
    s.src = IpAddress::from_bytes(wide);
    std::memcpy(wide + 12, &f[30], 4);
    s.dst = IpAddress::from_bytes(wide);
    s.ttl = f[22];
    s.proto = f[23];
    s.ip_check_ok = checksum(&f[14], hlen) == 0;
    s.l4 = 14 + hlen;
    end = 14 + total;
  } else {
    if (f.size() < 54) return s;
    s.src = IpAddress::from_bytes(&f[22]);
    s.dst = IpAddress::from_bytes(&f[38]);
    s.ttl = f[21];
    s.proto = f[20];
    s.ip_check_ok = true;
    s.l4 = 54;
    end = 54 + get16(f, 18);
    while (s.proto == 60 || s.proto == 44 || s.proto == 0 || s.proto == 43) {
      if (f.size() < s.l4 + 8) return s;
      size_t len = s.proto == 44 ? 8 : 8 + f[s.l4 + 1] * 8u;
      s.proto = f[s.l4];
      s.l4 += len;
    }
    if (end > f.size()) return s;
  }
  size_t len = end - s.l4;
  if (s.l4 > end) return s;
  uint32_t seed = pseudo_sum(s.src, s.dst, s.proto, len);
  if (s.proto == 6) {
    if (len < 20) return s;
    s.sport = get16(f, s.l4);
    s.dport = get16(f, s.l4 + 2);
    s.seq = get32(f, s.l4 + 4);
    s.ack = get32(f, s.l4 + 8);
    s.tcp_flags = f[s.l4 + 13];
    size_t hlen = (f[s.l4 + 12] >> 4) * 4u;
    if (hlen < 20 || hlen > len) return s;
    s.payload.assign(f.begin() + long(s.l4 + hlen), f.begin() + long(end));
    s.l4_check_ok = checksum(&f[s.l4], len, seed) == 0;
  } else if (s.proto == 17) {
    if (len < 8) return s;
    s.sport = get16(f, s.l4);
    s.dport = get16(f, s.l4 + 2);
    s.payload.assign(f.begin() + long(s.l4 + 8), f.begin() + long(end));
    s.l4_check_ok = (get16(f, s.l4 + 6) == 0 && s.src.is_v4()) || checksum(&f[s.l4], len, seed) == 0;
  } else if (s.proto == 1 || s.proto == 58) {
    if (len < 8) return s;
    s.icmp_type = f[s.l4];
    s.icmp_code = f[s.l4 + 1];
    s.payload.assign(f.begin() + long(s.l4 + 8), f.begin() + long(end));
    s.l4_check_ok = checksum(&f[s.l4], len, s.proto == 1 ? 0 : seed) == 0;
  }
  s.ok = true;
  return s;
}

Seen see_quote(const Bytes& frame) {
  Seen outer = see(frame);
  Bytes inner(14, 0);
  if (!outer.ok || outer.payload.size() < 28) return {};
  bool v4 = outer.payload[0] >> 4 == 4;
  set16(inner, 12, v4 ? 0x0800 : 0x86dd);
  inner.insert(inner.end(), outer.payload.begin(), outer.payload.end());
  // The quote is cut: pad it to the length its header claims, so that the same reader can be used.
  size_t claims = v4 ? get16(inner, 16) : size_t(get16(inner, 18)) + 40;
  if (inner.size() < 14 + claims) inner.resize(14 + claims);
  return see(inner);
}

std::string Seen::text() const {
  std::string f;
  if (tcp_flags & kSyn) f += 'S';
  if (tcp_flags & kAck) f += '.';
  if (tcp_flags & kFin) f += 'F';
  if (tcp_flags & kRst) f += 'R';
  return Endpoint{src, sport}.text() + " > " + Endpoint{dst, dport}.text() +
         (proto == 6 ? " tcp " + f : proto == 17 ? " udp" : " proto " + std::to_string(proto));
}

}  // namespace ls::test
