#pragma once
/// Builds answers out of zones: everything loadstar knows itself. No I/O. Threads: any, each call inside an Epoch::Guard.
///
/// A: the records of the name and type, else NODATA or NXDOMAIN with SOA, as the view's rules say. Aliases (CNAME) are followed
/// inside and across the views of `routes`, in chain order; one that leaves them ends the answer with `outside` set, so that the
/// resolver can go on with an upstream. SRV and NS answers carry their targets' addresses in the additional section as far as
/// they fit. Dropping additional records does not set TC; dropping answers does (spec B8).
/// Owner names repeat the question's spelling (0x20). ANY: over TCP everything, over UDP one set (RFC 8482).
/// Cost: O(answer). No allocation.
#include <cstdint>
#include <span>

#include "dns/query.h"
#include "dns/routes.h"

namespace ls::dns {

struct AnswerLimits {
  bool tcp = false;
  uint16_t udp_max = 1232;        ///< cap on what EDNS offers (RFC 6891, DNS flag day 2020)
  bool truncate_bit = true;       ///< false: TC is never set (lessons.md 38: a per-client-range exception)
  uint64_t random = 0;            ///< of the caller, fresh for each answer: rotation
  std::span<const uint8_t> cookie;  ///< client + server cookie to send back; empty: none
};

struct Answer {
  size_t size = 0;  ///< octets written; never more than the limit
  Rcode rcode = Rcode::kNoError;
  bool truncated = false;
  bool outside = false;     ///< an alias leads to `target`, which no view holds
  DnsName target;           ///< only with `outside`
  const ZoneView* zone = nullptr;
};

/// `view` must be what `routes` finds for the question.
Answer answer_from_zone(const Query&, const ZoneView& view, const Routes& routes, const AnswerLimits&, std::span<uint8_t> out);

/// An answer without records: the header, the question if it was readable, an OPT if the question had one.
size_t plain_answer(const Query&, Rcode, bool question, const AnswerLimits&, std::span<uint8_t> out, uint16_t extra_flags = 0);

/// Largest answer that may be sent: 65535 over TCP; else what EDNS offers up to udp_max, 512 without.
size_t size_limit(const Query&, const AnswerLimits&);

/// A whole zone for AXFR (RFC 5936): messages, each with its two-octet length in front, ready for TCP. Inside one Guard.
std::vector<uint8_t> transfer(const Query&, const ZoneView&);

}  // namespace ls::dns
