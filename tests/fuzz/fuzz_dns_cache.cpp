/// Sequences of operations on the cache against a map with the same rules. The cache may forget (it is bounded), but what it answers must be
/// what was stored last, with the right age, and never after its time.
#include <map>
#include <string>
#include <vector>

#include "dns/cache.h"
#include "dns/response.h"
#include "fuzz_input.h"

using namespace ls;
using namespace ls::dns;

namespace {

using ls::fuzz::require;

struct Entry {
  Instant stored;
  uint32_t ttl, address;
};

std::vector<uint8_t> question(unsigned n, bool response) {
  std::vector<uint8_t> m(kHeader);
  put16(m.data() + 2, response ? 0x8180 : 0x0100);
  m[5] = 1;
  const std::string label = "n" + std::to_string(n);
  m.push_back(static_cast<uint8_t>(label.size()));
  m.insert(m.end(), label.begin(), label.end());
  m.insert(m.end(), {3, static_cast<uint8_t>(n % 2 ? 'o' : 'e'), 'd', 'd', 0, 0, 1, 0, 1});
  return m;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  CacheOptions options;
  options.bytes = 2'000 + size_t{data[0]} * 64;
  options.stale_for = Millis{data[1] * 1'000};
  Cache cache(options);
  FakeClock clock;
  std::map<unsigned, Entry> model;
  std::vector<uint8_t> out(4096);
  uint32_t address = 0;
  for (size_t i = 2; i + 1 < size; i += 2) {
    const unsigned n = data[i + 1] % 64;
    switch (data[i] % 8) {
      case 0: case 1: {
        auto m = question(n, true);
        m[7] = 1;
        const uint32_t ttl = data[i] >> 3;
        const uint8_t record[] = {0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, static_cast<uint8_t>(ttl), 0, 4};
        m.insert(m.end(), std::begin(record), std::end(record));
        m.resize(m.size() + 4);
        put32(m.data() + m.size() - 4, ++address);
        cache.store(m, false, false, clock.now());
        if (ttl) model[n] = {clock.now(), ttl, address};
        break;
      }
      case 2: clock.advance(Millis{data[i + 1] * 20}); break;
      case 3: {
        auto q = question(n, false);
        Query query;
        parse_query(q, query);
        cache.failed(query, clock.now());
        break;
      }
      case 4: {
        cache.flush(*DnsName::parse(n % 2 ? "odd" : "edd"));
        std::erase_if(model, [&](auto& e) { return e.first % 2 == n % 2; });
        break;
      }
      default: {
        auto q = question(n, false);
        Query query;
        parse_query(q, query);
        size_t got = 0;
        const bool stale = data[i] & 0x80;
        const auto hit = cache.answer(query, clock.now(), out.size(), stale, out, got);
        if (hit == Cache::Hit::kMiss) break;
        Response r;
        require(r.read({out.data(), got}), "malformed");
        if (r.rcode == Rcode::kServFail) break;  // a failure that is remembered
        auto it = model.find(n);
        require(it != model.end(), "an answer that was never stored");
        require(r.records.size() == 1 && get32(out.data() + r.records[0].rdata) == it->second.address, "an old answer");
        const auto ends = it->second.stored + std::chrono::seconds(it->second.ttl);
        if (hit == Cache::Hit::kStale) {
          require(clock.now() >= ends && clock.now() < ends + options.stale_for, "stale at the wrong time");
        } else {
          require(clock.now() < ends, "fresh after its time");
          const auto age = std::chrono::duration_cast<std::chrono::seconds>(clock.now() - it->second.stored).count();
          require(r.records[0].ttl == it->second.ttl - age, "wrong TTL");
        }
      }
    }
    require(cache.view().bytes <= options.bytes, "more bytes than allowed");
  }
  return 0;
}
