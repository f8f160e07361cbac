#pragma once
/// MessageWriter: lays a response into a buffer, record by record, never past its limit. A record that does not fit is not there at
/// all. Knows the question and the names of aliases, and points at them (RFC 1035 4.1.4). Thread: one. Allocates nothing.
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "dns/query.h"
#include "dns/routes.h"

namespace ls::dns {

enum class Section : uint8_t { kAnswer, kAuthority, kAdditional };

inline constexpr uint16_t kQuestionName = kHeader;  ///< where the question's name is
inline constexpr size_t kOptSize = 11, kOptionHead = 4;

class MessageWriter {
 public:
  /// Copies the question. `limit` is at most out.size() and holds at least header, question and what is written by finish().
  MessageWriter(const Query& query, std::span<uint8_t> out, size_t limit, bool question)
      : query_(query), out_(out.data()), limit_(limit), at_(kHeader) {
    counts_ = {};
    if (!question || query.question_end == kHeader) return;
    std::memcpy(out_ + kHeader, query.packet.data() + kHeader, query.question_end - kHeader);
    at_ = query.question_end;
    question_ = true;
  }

  size_t size() const { return at_; }
  size_t room() const { return limit_ - at_; }
  uint16_t count(Section s) const { return counts_[static_cast<size_t>(s)]; }
  /// What was written from `at` on: a name that is not compressed.
  std::string_view written(size_t at) const { return {reinterpret_cast<const char*>(out_) + at, at_ - at}; }
  /// Back to an earlier place, with so many records in the section that is being written.
  void cut(size_t size, Section s, uint16_t count) {
    at_ = size;
    counts_[static_cast<size_t>(s)] = count;
  }

  /// Owner (at `owner` in this message), type, class IN, TTL, and data as it is.
  bool record(Section s, uint16_t owner, RrType type, uint32_t ttl, std::string_view rdata) {
    if (room() < 12 + rdata.size()) return false;
    fixed(owner, type, ttl, rdata.size());
    std::memcpy(out_ + at_, rdata.data(), rdata.size());
    at_ += rdata.size();
    ++counts_[static_cast<size_t>(s)];
    return true;
  }
  /// The record of a type with a name in its data: `front` octets, then `name`. SRV names are not compressed (RFC 2782). Gives the place of
  /// the name in `name_at`.
  bool record_with_name(Section s, uint16_t owner, RrType type, uint32_t ttl, std::string_view front, std::string_view name,
                        uint16_t& name_at);
  /// The view's SOA. Its names are compressed against the view's apex alone, which stands at `apex_at` in this message: where a name ends with the
  /// apex (label by label, without case), a pointer takes the apex's place; else it is whole. So the record's octets depend on nothing
  /// but the view and that place, and the kernel can keep them (abi/dns.h ls_dns_view).
  bool soa(Section s, uint16_t owner, uint16_t apex_at, uint32_t ttl, const ZoneView& view, uint32_t serial);
  /// Like record(), for an owner whose place is not known: it is written, or pointed at where it is in the message already.
  bool record_named(Section s, std::string_view owner, RrType type, uint32_t ttl, std::string_view rdata);
  /// Like record(), for an owner that is nowhere yet: `relative` labels, then what is at `apex`.
  bool record_below(Section s, std::string_view relative, uint16_t apex, RrType type, uint32_t ttl, std::string_view rdata);

  /// Lets later names point to this one. `wire`: folded, absolute; must stay as long as the writer.
  void know(std::string_view wire, uint16_t at) {
    if (known_count_ < known_.size()) known_[known_count_++] = {wire, at};
  }

  /// Header and OPT. `extra_flags`: AA, TC, RA. Returns the message's size.
  size_t finish(Rcode rcode, uint16_t extra_flags, uint16_t udp_size, std::span<const uint8_t> cookie);

 private:
  struct Known {
    std::string_view wire;
    uint16_t at;
  };

  void put16(uint16_t v) {
    out_[at_++] = static_cast<uint8_t>(v >> 8);
    out_[at_++] = static_cast<uint8_t>(v);
  }
  void put32(uint32_t v) {
    put16(static_cast<uint16_t>(v >> 16));
    put16(static_cast<uint16_t>(v));
  }
  void fixed(uint16_t owner, RrType type, uint32_t ttl, size_t length) {
    put16(static_cast<uint16_t>(0xc000 | owner));
    fixed_behind_owner(type, ttl, length);
  }
  void fixed_behind_owner(RrType type, uint32_t ttl, size_t length) {
    put16(static_cast<uint16_t>(type));
    put16(kClassIn);
    put32(ttl);
    put16(static_cast<uint16_t>(length));
  }
  bool name(std::string_view wire, uint16_t& name_at);
  bool soa_name(const DnsName& name, const DnsName& apex, uint16_t apex_at);
  bool find_suffix(std::string_view suffix, uint16_t& at) const;

  const Query& query_;
  uint8_t* const out_;
  const size_t limit_;
  size_t at_;
  std::array<uint16_t, 3> counts_;
  bool question_ = false;
  std::array<Known, 8> known_;
  size_t known_count_ = 0;
};

}  // namespace ls::dns
