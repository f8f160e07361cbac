// An alias of ours with any answer of an upstream behind it: stays inside its limit, and what comes out can
// be read.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dns/chain.h"
#include "dns/response.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ls::dns;
  if (size < 2) return 0;
  // a.z. A, with OPT; its answer so far: a.z. CNAME x.ex.
  static const uint8_t kAsked[] = {0, 7, 1, 0, 0, 1, 0, 0,  0, 0,    0, 1, 1, 'a', 1, 'z',
                                   0, 0, 1, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0,   0, 0};
  static const uint8_t kAlias[] = {0,   7, 0x85, 0, 0,  1, 0, 1, 0,    0,  0,   0,   1,
                                   'a', 1, 'z',  0, 0,  1, 0, 1, 0xc0, 12, 0,   5,   0,
                                   1,   0, 0,    0, 60, 0, 6, 1, 'x',  2,  'e', 'x', 0};
  Query query;
  if (parse_query(kAsked, query).outcome != ParseOutcome::kGood) std::abort();
  size_t limit = 100 + data[0] * 257u;
  std::vector<uint8_t> out(limit), reply(data + 1, data + size);
  std::copy(std::begin(kAlias), std::end(kAlias), out.begin());
  size_t length = sizeof kAlias;
  if (!append_chain(query, reply, limit, {}, 1232, out, length)) return 0;
  if (length > limit) std::abort();
  Response response;
  // Data of types that are not looked into here may be malformed for the reader, but only when it is so in
  // `reply`.
  Response given;
  if (given.read(reply) && !response.read(std::span<const uint8_t>(out).first(length))) std::abort();
  return 0;
}
