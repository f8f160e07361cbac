#pragma once
/// Response: an answer of an upstream, walked once with every bound checked. Points into the message. Thread: one.
/// Cost: O(octets of the message). The object keeps its memory, so one is used again and again without allocation.
/// Source: RFC 1035 4.1 (message, compression), RFC 3597 4 (only the old types may hold compressed names), RFC 6891 (OPT).
///
/// What is refused: lengths that lead out of the message or of the record, names above 255 octets, labels of the reserved kinds,
/// pointers that lead elsewhere than to a label of an earlier name (so loops cannot be, and no name changes when TTLs do), data whose length or names do not suit a known type, an OPT
/// outside the additional section or a second one. Octets behind the last record are ignored.
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dns/query.h"

namespace ls::dns {

enum class Section : uint8_t { kAnswer, kAuthority, kAdditional };

struct ResponseRecord {
  uint16_t owner = 0;  ///< offsets into the message: of the owner's name,
  uint16_t fixed = 0;  ///< of the type behind it (TTL: fixed + 4),
  uint16_t rdata = 0;  ///< of the data
  uint16_t rdata_size = 0;
  uint16_t type = 0, rrclass = 0;
  uint32_t ttl = 0;    ///< as sent
  Section section = Section::kAnswer;
  size_t end() const { return size_t{rdata} + rdata_size; }
};

/// Where labels of names start: the only places a pointer may lead to.
class LabelMap {
 public:
  void reset(size_t octets) { bits_.assign((octets + 63) / 64, 0); }
  void mark(size_t at) { bits_[at / 64] |= uint64_t{1} << at % 64; }
  bool has(size_t at) const { return at / 64 < bits_.size() && bits_[at / 64] >> at % 64 & 1; }

 private:
  std::vector<uint64_t> bits_;
};

struct Response {
  std::span<const uint8_t> message;
  uint16_t id = 0, flags = 0;
  Rcode rcode = Rcode::kNoError;          ///< with the upper bits of OPT
  bool has_question = false;
  std::span<const uint8_t> question_name; ///< wire form, as spelt there
  uint16_t question_type = 0, question_class = 0;
  size_t question_end = kHeader;
  std::vector<ResponseRecord> records;    ///< in order, without OPT
  size_t body_end = kHeader;              ///< behind the last record before OPT, or behind the last
  size_t body_records = 0;                ///< how many of `records` lie before body_end
  std::optional<Edns> edns;
  LabelMap labels;

  /// False: malformed; then only `id` and `flags` may be read, and these only when the message has a header.
  bool read(std::span<const uint8_t> bytes);
  /// Upper-case letters do not matter (RFC 4343).
  bool answers(const Query& query) const;
  size_t count(Section section) const;    ///< among the first body_records
};

inline uint16_t get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
inline uint32_t get32(const uint8_t* at) { return uint32_t{get16(at)} << 16 | get16(at + 2); }
inline void put16(uint8_t* at, uint16_t v) {
  at[0] = static_cast<uint8_t>(v >> 8);
  at[1] = static_cast<uint8_t>(v);
}
inline void put32(uint8_t* at, uint32_t v) {
  put16(at, static_cast<uint16_t>(v >> 16));
  put16(at + 2, static_cast<uint16_t>(v));
}

/// Goes over a name at `at`, pointers followed; `end`: behind it. False: malformed. With `out` (DnsName::kMaxWire octets) also
/// writes it without compression, folded, and its size. With `labels`, pointers must lead to what is marked there, and the name's own
/// labels are marked; without, they must lead backwards.
bool read_name(std::span<const uint8_t> message, size_t at, size_t& end, LabelMap* labels, uint8_t* out = nullptr, size_t* out_size = nullptr);

/// Size of the OPT that goes to a client, and writing it (RFC 6891 6.1.2, RFC 7873 for the cookie).
size_t opt_size(const Query& query, std::span<const uint8_t> cookie);
size_t write_opt(const Query& query, std::span<const uint8_t> cookie, uint8_t* out);
inline constexpr uint16_t kUdpSize = 1232;  ///< what is offered to others (DNS flag day 2020)

/// Flags of an answer to `query` made of an upstream's `flags`: QR, RA, the client's RD and CD; AD only for a client that understands it
/// (RFC 6840 5.8: AD or DO set in the question).
uint16_t reply_flags(const Query& query, uint16_t flags);

/// Writes the answer in `response` (read well) as the reply to `query`, as fit_response() does.
bool write_reply(const Response& response, const Query& query, size_t limit, std::span<const uint8_t> cookie, std::span<uint8_t> out,
                 size_t& size);

}  // namespace ls::dns
