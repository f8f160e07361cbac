#pragma once
/// Messages put together from two: aliases of our zones and what an upstream says of the name they lead to.
/// No I/O, thread: any. What comes from upstreams is hostile: every offset is checked, compression is
/// followed at most 127 steps backwards.
#include <cstdint>
#include <span>
#include <vector>

#include "dns/query.h"

namespace ls::dns {

/// A question for `target` on behalf of `query`: its type, RD, CD and DNSSEC wish.
std::vector<uint8_t> chain_question(const Query& query, const DnsName& target, uint16_t id);

/// `out[0, size)` holds an answer to `query` that ends with an alias; the answer records of `reply` follow
/// it, the rest of both is left out, an OPT with `cookie` is appended where the question had one. Rcode of
/// `reply`, AA of the alias, RA set. Records that do not fit `limit` are dropped with TC. False: `reply` or
/// the alias is malformed, `out` is not to be used.
bool append_chain(const Query& query, std::span<const uint8_t> reply, size_t limit,
                  std::span<const uint8_t> cookie, uint16_t udp_size, std::span<uint8_t> out, size_t& size);

}  // namespace ls::dns
