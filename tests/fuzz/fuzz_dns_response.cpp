/// An upstream's answer as an attacker would make it: walked, cut to every kind of limit, kept and given out again. What a client
/// gets must be read by ldns, be no larger than the limit, and be read by the walker again.
#include <cstring>
#include <memory>
#include <vector>

#include "dns/cache.h"
#include "dns/forwarder.h"
#include "dns/response.h"
#include "fuzz_input.h"

// Last: it defines macros that other headers use as names.
#include <ldns/ldns.h>

using namespace ls;
using namespace ls::dns;

namespace {

using ls::fuzz::require;

/// ldns is the judge for types whose data the walker checks; the data of others is passed on as octets.
bool judged(const Response& r) {
  for (auto& record : r.records) {
    switch (record.type) {
      case 1: case 2: case 5: case 6: case 12: case 15: case 16: case 28: case 33: case 39: break;
      default: return false;
    }
    if (record.rrclass != kClassIn) return false;
  }
  return true;
}

void check(std::span<const uint8_t> out, size_t limit) {
  require(out.size() <= limit, "size above the limit");
  // At the end of a block of its own, so that a read beyond it is seen.
  std::unique_ptr<uint8_t[]> own(new uint8_t[out.size()]);
  std::memcpy(own.get(), out.data(), out.size());
  Response again;
  require(again.read({own.get(), out.size()}), "our own output is malformed");
  if (!judged(again)) return;
  ldns_pkt* packet = nullptr;
  require(ldns_wire2pkt(&packet, own.get(), out.size()) == LDNS_STATUS_OK, "ldns does not read our output");
  require(ldns_pkt_ancount(packet) == again.count(Section::kAnswer), "ldns counts other answers");
  ldns_pkt_free(packet);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const size_t limit = 12 + (size_t{data[0]} << 3), mode = data[1];
  std::unique_ptr<uint8_t[]> own(new uint8_t[size - 2]);
  std::memcpy(own.get(), data + 2, size - 2);
  const std::span<const uint8_t> message{own.get(), size - 2};
  Response r;
  if (!r.read(message) || !r.has_question) return 0;
  std::vector<uint8_t> packet(kHeader);
  put16(packet.data(), 0x1234);
  packet[2] = 1;
  packet[5] = 1;
  packet.insert(packet.end(), message.begin() + kHeader, message.begin() + static_cast<ptrdiff_t>(r.question_end));
  if (mode & 1) {
    packet[11] = 1;
    const uint8_t opt[] = {0, 0, 41, 4, 208, 0, 0, static_cast<uint8_t>(mode & 2 ? 0x80 : 0), 0, 0, 0};
    packet.insert(packet.end(), std::begin(opt), std::end(opt));
  }
  Query query;
  if (parse_query(packet, query).outcome != ParseOutcome::kGood) return 0;
  std::vector<uint8_t> out(65535);
  size_t got = 0;
  if (fit_response(message, query, limit, out, got)) check({out.data(), got}, limit);
  if (fit_response(message, query, 65535, out, got)) check({out.data(), got}, 65535);
  FakeClock clock;
  Cache cache(CacheOptions{});
  cache.store(message, mode & 1 && mode & 2, false, clock.now());
  for (unsigned step = 0; step < 4; step++) {
    if (cache.answer(query, clock.now(), step & 1 ? limit : 65535, true, out, got) != Cache::Hit::kMiss) {
      check({out.data(), got}, step & 1 ? limit : 65535);
      require(std::memcmp(out.data() + kHeader, query.name.data(), query.name_size) == 0, "the question is spelt otherwise");
      require(get16(out.data()) == 0x1234, "another id");
    }
    clock.advance(Millis{step * 200'000u});
  }
  cache.flush(DnsName());
  require(cache.view().bytes == 0, "bytes are left after a flush");
  return 0;
}
