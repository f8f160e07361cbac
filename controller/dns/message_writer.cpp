#include "dns/message_writer.h"

namespace ls::dns {
namespace {

constexpr uint16_t kPointerLimit = 0x4000, kOpcodeBits = 0x7800, kDnssecOk = 0x8000, kCookieOption = 10;

/// True when `wire` has a label that begins at `place`.
bool label_begins(std::string_view wire, size_t place) {
  size_t at = 0;
  while (at < place) at += static_cast<uint8_t>(wire[at]) + size_t{1};
  return at == place;
}

}  // namespace

bool MessageWriter::find_suffix(std::string_view suffix, uint16_t& at) const {
  for (size_t i = 0; i < known_count_; ++i) {
    const Known& k = known_[i];
    if (!k.wire.ends_with(suffix)) continue;
    const size_t place = k.wire.size() - suffix.size();
    if (k.at + place >= kPointerLimit || !label_begins(k.wire, place)) continue;
    at = static_cast<uint16_t>(k.at + place);
    return true;
  }
  return false;
}

/// Writes a name, its end as a pointer where that is known. `name_at`: where the whole name can be pointed at.
bool MessageWriter::name(std::string_view wire, uint16_t& name_at) {
  size_t own = 0;
  uint16_t pointer = 0;
  bool found = false;
  while (wire[own] != 0 && !found) {
    found = find_suffix(wire.substr(own), pointer);
    if (!found) own += static_cast<uint8_t>(wire[own]) + size_t{1};
  }
  name_at = found && own == 0 ? pointer : static_cast<uint16_t>(at_);
  if (room() < own + 2) return false;
  std::memcpy(out_ + at_, wire.data(), own);
  at_ += own;
  if (found) {
    put16(static_cast<uint16_t>(0xc000 | pointer));
  } else {
    out_[at_++] = 0;
  }
  return true;
}

bool MessageWriter::record_with_name(Section s, uint16_t owner, RrType type, uint32_t ttl, std::string_view front, std::string_view wire,
                                     uint16_t& name_at) {
  const size_t start = at_;
  if (room() < 12 + front.size()) return false;
  fixed(owner, type, ttl, 0);
  const size_t data = at_;
  if (!front.empty()) std::memcpy(out_ + at_, front.data(), front.size());
  at_ += front.size();
  bool fits;
  if (type == RrType::kSrv) {
    name_at = static_cast<uint16_t>(at_);
    fits = room() >= wire.size();
    if (fits) {
      std::memcpy(out_ + at_, wire.data(), wire.size());
      at_ += wire.size();
    }
  } else {
    fits = name(wire, name_at);
  }
  if (!fits) {
    at_ = start;
    return false;
  }
  const size_t length = at_ - data;
  out_[data - 2] = static_cast<uint8_t>(length >> 8);
  out_[data - 1] = static_cast<uint8_t>(length);
  ++counts_[static_cast<size_t>(s)];
  return true;
}

bool MessageWriter::soa_name(const DnsName& name, const DnsName& apex, uint16_t apex_at) {
  const bool below = name.is_within(apex);
  const std::string_view own = name.wire().substr(0, name.wire().size() - (below ? apex.wire().size() : 0));
  if (room() < own.size() + 2) return false;
  std::memcpy(out_ + at_, own.data(), own.size());
  at_ += own.size();
  if (below) put16(static_cast<uint16_t>(0xc000 | apex_at));
  return true;
}

bool MessageWriter::soa(Section s, uint16_t owner, uint16_t apex_at, uint32_t ttl, const ZoneView& view, uint32_t serial) {
  const size_t start = at_;
  const Soa& soa = view.soa;
  if (room() < 12) return false;
  fixed(owner, RrType::kSoa, ttl, 0);
  const size_t data = at_;
  if (!soa_name(soa.mname, view.apex, apex_at) || !soa_name(soa.rname, view.apex, apex_at) || room() < 20) {
    at_ = start;
    return false;
  }
  for (const uint32_t v : {serial, soa.refresh, soa.retry, soa.expire, soa.minimum}) put32(v);
  const size_t length = at_ - data;
  out_[data - 2] = static_cast<uint8_t>(length >> 8);
  out_[data - 1] = static_cast<uint8_t>(length);
  ++counts_[static_cast<size_t>(s)];
  return true;
}

bool MessageWriter::record_named(Section s, std::string_view owner, RrType type, uint32_t ttl, std::string_view rdata) {
  const size_t start = at_;
  uint16_t unused;
  if (name(owner, unused) && room() >= 10 + rdata.size()) {
    fixed_behind_owner(type, ttl, rdata.size());
    std::memcpy(out_ + at_, rdata.data(), rdata.size());
    at_ += rdata.size();
    ++counts_[static_cast<size_t>(s)];
    return true;
  }
  at_ = start;
  return false;
}

bool MessageWriter::record_below(Section s, std::string_view relative, uint16_t apex, RrType type, uint32_t ttl, std::string_view rdata) {
  if (room() < relative.size() + 12 + rdata.size()) return false;
  std::memcpy(out_ + at_, relative.data(), relative.size());
  at_ += relative.size();
  return record(s, apex, type, ttl, rdata);
}

size_t MessageWriter::finish(Rcode rcode, uint16_t extra_flags, uint16_t udp_size, std::span<const uint8_t> cookie) {
  const auto code = static_cast<uint16_t>(rcode);
  uint16_t flags = static_cast<uint16_t>(kQr | (query_.flags & kOpcodeBits) | extra_flags | (code & 0xf));
  if (query_.opcode == 0) flags |= query_.flags & (kRd | kCd);
  if (query_.edns) {
    out_[at_++] = 0;
    put16(static_cast<uint16_t>(RrType::kOpt));
    put16(udp_size);
    out_[at_++] = static_cast<uint8_t>(code >> 4);
    out_[at_++] = 0;  // version
    put16(query_.edns->dnssec_ok ? kDnssecOk : 0);
    put16(static_cast<uint16_t>(cookie.empty() ? 0 : kOptionHead + cookie.size()));
    if (!cookie.empty()) {
      put16(kCookieOption);
      put16(static_cast<uint16_t>(cookie.size()));
      std::memcpy(out_ + at_, cookie.data(), cookie.size());
      at_ += cookie.size();
    }
    ++counts_[static_cast<size_t>(Section::kAdditional)];
  }
  const size_t end = at_;
  at_ = 0;
  put16(query_.id);
  put16(flags);
  put16(question_ ? 1 : 0);
  for (const uint16_t n : counts_) put16(n);
  at_ = end;
  return end;
}

}  // namespace ls::dns
