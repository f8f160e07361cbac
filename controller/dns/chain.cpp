#include "dns/chain.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "dns/wire_bytes.h"

namespace ls::dns {
namespace {

constexpr size_t kOptSize = 11, kFixed = 10;

struct Writer {
  std::span<uint8_t> out;
  size_t size, limit;
  bool full = false;
  void put(const uint8_t* data, size_t n) {
    if (size + n > limit) {
      full = true;
      return;
    }
    std::memcpy(out.data() + size, data, n);
    size += n;
  }
};

/// A name with its pointers followed. Each pointer must lead backwards, so that it ends.
std::optional<size_t> expand(std::span<const uint8_t> packet, size_t at,
                             std::array<uint8_t, DnsName::kMaxWire>& out, size_t& length) {
  std::optional<size_t> end;
  size_t lowest = at;
  length = 0;
  for (;;) {
    if (at >= packet.size()) return {};
    uint8_t octet = packet[at];
    if ((octet & 0xc0) == 0xc0) {
      if (at + 1 >= packet.size()) return {};
      size_t to = size_t(octet & 0x3f) << 8 | packet[at + 1];
      if (!end) end = at + 2;
      if (to >= lowest || to < kHeader) return {};
      at = lowest = to;
      continue;
    }
    if (octet > DnsName::kMaxLabel || at + 1 + octet > packet.size() || length + 1 + octet > out.size())
      return {};
    std::memcpy(out.data() + length, packet.data() + at, size_t(1) + octet);
    length += size_t(1) + octet;
    at += size_t(1) + octet;
    if (octet == 0) return end ? end : at;
  }
}

/// Copies one record with its names written out. The types of RFC 1035 whose data may be compressed (RFC 3597
/// 4) are known here.
bool copy_record(std::span<const uint8_t> packet, size_t& at, Writer& w) {
  std::array<uint8_t, DnsName::kMaxWire> name;
  size_t length = 0, start = w.size;
  auto end = expand(packet, at, name, length);
  if (!end || *end + kFixed > packet.size()) return false;
  const uint8_t* fixed = packet.data() + *end;
  uint16_t type = load16(fixed), rdlength = load16(fixed + 8);
  size_t data = *end + kFixed, stop = data + rdlength;
  if (stop > packet.size()) return false;
  at = stop;
  w.put(name.data(), length);
  w.put(fixed, kFixed);
  size_t rdata_at = w.size;
  size_t before = 0, names = 0;
  switch (RrType(type)) {
    case RrType::kNs:
    case RrType::kCname:
    case RrType::kPtr:
      names = 1;
      break;
    case RrType::kMx:
      before = 2, names = 1;
      break;
    case RrType::kSrv:
      before = 6, names = 1;
      break;
    case RrType::kSoa:
      names = 2;
      break;
    default:
      break;
  }
  if (before > rdlength) return false;
  w.put(packet.data() + data, before);
  data += before;
  for (size_t i = 0; i < names; i++) {
    auto next = expand(packet.first(stop), data, name, length);
    if (!next || *next > stop) return false;
    w.put(name.data(), length);
    data = *next;
  }
  w.put(packet.data() + data, stop - data);
  if (w.full)
    w.size = start;
  else
    store16(w.out.data() + rdata_at - 2, uint16_t(w.size - rdata_at));
  return true;
}

/// Offset behind the name at `at`, without following pointers; nullopt when it does not end inside.
std::optional<size_t> skip_name(std::span<const uint8_t> packet, size_t at) {
  while (at < packet.size()) {
    uint8_t octet = packet[at];
    if ((octet & 0xc0) == 0xc0) return at + 2 <= packet.size() ? std::optional(at + 2) : std::nullopt;
    if (octet > DnsName::kMaxLabel) return {};
    at += size_t(1) + octet;
    if (octet == 0) return at;
  }
  return {};
}

/// Offset behind the question and `answers` records.
std::optional<size_t> behind_answers(std::span<const uint8_t> packet, size_t questions, size_t answers) {
  size_t at = kHeader;
  for (size_t i = 0; i < questions + answers; i++) {
    auto end = skip_name(packet, at);
    if (!end) return {};
    at = *end + (i < questions ? 4 : kFixed);
    if (at > packet.size()) return {};
    if (i >= questions) at += load16(packet.data() + at - 2);
    if (at > packet.size()) return {};
  }
  return at;
}

void write_opt(uint16_t udp_size, bool dnssec_ok, std::span<const uint8_t> cookie, Writer& w) {
  uint8_t opt[kOptSize + 4] = {0, 0, 41};
  store16(opt + 3, udp_size);
  opt[7] = dnssec_ok ? 0x80 : 0;
  if (!cookie.empty()) {
    store16(opt + 9, uint16_t(cookie.size() + 4));
    store16(opt + 11, 10);  // COOKIE, RFC 7873
    store16(opt + 13, uint16_t(cookie.size()));
  }
  w.put(opt, cookie.empty() ? kOptSize : sizeof opt);
  if (!cookie.empty()) w.put(cookie.data(), cookie.size());
}

}  // namespace

std::vector<uint8_t> chain_question(const Query& query, const DnsName& target, uint16_t id) {
  std::vector<uint8_t> q(kHeader + target.wire().size() + 4 + kOptSize);
  store16(q.data(), id);
  store16(q.data() + 2, query.flags & (kRd | kCd));
  q[5] = 1;
  std::copy(target.wire().begin(), target.wire().end(), q.begin() + kHeader);
  size_t at = kHeader + target.wire().size();
  store16(q.data() + at, query.type);
  store16(q.data() + at + 2, kClassIn);
  q.resize(at + 4);
  if (query.edns) {
    q.resize(at + 4 + kOptSize);
    Writer w{q, at + 4, q.size()};
    write_opt(1232, query.edns->dnssec_ok, {}, w);
    q[11] = 1;
  }
  return q;
}

bool append_chain(const Query& query, std::span<const uint8_t> reply, size_t limit,
                  std::span<const uint8_t> cookie, uint16_t udp_size, std::span<uint8_t> out, size_t& size) {
  if (reply.size() < kHeader || size < kHeader) return false;
  size_t have = load16(out.data() + 6);
  auto end = behind_answers(out.first(size), load16(out.data() + 4), have);
  auto question = behind_answers(reply, load16(reply.data() + 4), 0);
  if (!end || !question) return false;
  size_t room = query.edns ? kOptSize + (cookie.empty() ? 0 : cookie.size() + 4) : 0;
  limit = std::min(limit, out.size());
  if (*end + room > limit) return false;
  Writer w{out, *end, limit - room};
  size_t at = *question, added = 0, wanted = load16(reply.data() + 6);
  for (; added < wanted; added++) {
    if (!copy_record(reply, at, w)) return false;
    if (w.full) break;
  }
  uint16_t flags = (load16(out.data() + 2) & ~(kAd | 0xf)) | kRa | (load16(reply.data() + 2) & 0xf);
  if (w.full || (load16(reply.data() + 2) & kTc)) flags |= kTc;
  store16(out.data() + 2, flags);
  store16(out.data() + 6, uint16_t(have + added));
  store16(out.data() + 8, 0);
  store16(out.data() + 10, query.edns ? 1 : 0);
  w.limit = limit;
  w.full = false;
  if (query.edns) write_opt(udp_size, query.edns->dnssec_ok, cookie, w);
  size = w.size;
  return true;
}

}  // namespace ls::dns
