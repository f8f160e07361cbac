#include "dns/response.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/forwarder.h"
#include "dns_wire.h"

namespace ls::dns::test {
namespace {

using ::testing::ElementsAre;

Bytes fit(const Bytes& message, const Query& query, size_t limit) {
  Bytes out(65535);
  size_t size = 0;
  if (!fit_response(message, query, limit, out, size)) return {};
  EXPECT_LE(size, limit);
  out.resize(size);
  return out;
}

TEST(DnsResponse, ReadsARealAnswer) {
  Bytes m = response("www.example.org", 1, {cname("", "web.example.org"), a_record(0x01020304, 60, "web.example.org")}, {}, {}, 0, 0x8180, true);
  Response r;
  ASSERT_TRUE(r.read(m));
  EXPECT_EQ(r.records.size(), 2u);
  EXPECT_TRUE(r.edns);
  EXPECT_EQ(r.body_end, m.size() - 11);
  EXPECT_EQ(r.records[1].ttl, 60u);
}

TEST(DnsResponse, EveryCutIsRefusedOrShorter) {
  Bytes m = response("www.example.org", 1, {cname("", "web.example.org"), a_record(0x01020304, 60, "web.example.org")}, {soa("example.org", 9, 9)});
  Response r;
  for (size_t n = 0; n < m.size(); n++) EXPECT_FALSE(r.read({m.data(), n})) << n;
  EXPECT_TRUE(r.read(m));
}

TEST(DnsResponse, PointersLeadToEarlierLabelsOnly) {
  const Bytes good = response("www.example.org", 1, {a_record(1)});
  const size_t owner = 12 + 17 + 4;
  Response r;
  ASSERT_TRUE(r.read(good));
  for (unsigned target = 0; target < good.size() + 8; target++) {
    Bytes m = good;
    m[owner] = static_cast<uint8_t>(0xc0 | target >> 8);
    m[owner + 1] = static_cast<uint8_t>(target);
    // The labels of www.example.org. begin at 12, 16, 24 and 28 (the root).
    EXPECT_EQ(r.read(m), target == 12 || target == 16 || target == 24 || target == 28) << target;
  }
}

TEST(DnsResponse, LoopsAndReservedLabelsAreRefused) {
  Response r;
  Bytes m = response("www.example.org", 1, {a_record(1)});
  m[12] = 0xc0;
  m[13] = 12;
  EXPECT_FALSE(r.read(m));
  for (int kind : {0x40, 0x80}) {
    m = response("www.example.org", 1, {a_record(1)});
    m[12] = static_cast<uint8_t>(kind | 3);
    EXPECT_FALSE(r.read(m));
  }
}

TEST(DnsResponse, DataMustSuitItsType) {
  Response r;
  EXPECT_FALSE(r.read(response("a.b", 1, {{"", 1, 5, {1, 2, 3}}})));
  EXPECT_FALSE(r.read(response("a.b", 28, {{"", 28, 5, {1, 2, 3, 4}}})));
  EXPECT_FALSE(r.read(response("a.b", 5, {{"", 5, 5, {1, 'x'}}})));
  EXPECT_FALSE(r.read(response("a.b", 15, {{"", 15, 5, {0, 10, 1, 'x', 0, 0}}})));
  EXPECT_TRUE(r.read(response("a.b", 15, {{"", 15, 5, {0, 10, 1, 'x', 0}}})));
  EXPECT_FALSE(r.read(response("a.b", 16, {{"", 16, 5, {5, 'x'}}})));
  EXPECT_TRUE(r.read(response("a.b", 4711, {{"", 4711, 5, {5, 'x'}}})));
}

TEST(DnsResponse, OptOnlyOnceAndInAdditional) {
  Response r;
  Rr opt{".", 41, 0, {}};
  EXPECT_FALSE(r.read(response("a.b", 1, {opt})));
  EXPECT_FALSE(r.read(response("a.b", 1, {}, {opt})));
  EXPECT_TRUE(r.read(response("a.b", 1, {}, {}, {opt})));
  EXPECT_FALSE(r.read(response("a.b", 1, {}, {}, {opt, opt})));
}

TEST(FitResponse, LaysTheClientOverIt) {
  Asked asked("WWW.example.ORG", 1, 0xabcd, kRd | kCd, 1232, true);
  Seen s = see(fit(response("wwW.exAmple.org", 1, {a_record(0x01020304)}, {}, {}, 0, 0x81a0, true), asked.query, 1232));
  EXPECT_TRUE(s.well);
  EXPECT_EQ(s.id, 0xabcd);
  EXPECT_EQ(s.question, "WWW.example.ORG.");
  EXPECT_TRUE(s.opt);
  EXPECT_EQ(s.flags & (kAd | kCd | kRd | kRa), kAd | kCd | kRd | kRa);
  Asked plain("www.example.org");
  s = see(fit(response("www.example.org", 1, {a_record(1)}, {}, {}, 0, 0x81a0, true), plain.query, 512));
  EXPECT_FALSE(s.opt);
  EXPECT_FALSE(s.flags & kAd);
  EXPECT_TRUE(fit(response("other.example.org", 1, {a_record(1)}), plain.query, 512).empty());
}

TEST(FitResponse, CutsWholeRecordsAndSaysSo) {
  std::vector<Rr> many;
  for (uint32_t i = 0; i < 100; i++) many.push_back(a_record(i));
  const Bytes m = response("www.example.org", 1, many, {}, {}, 0, 0x8180, true);
  for (size_t limit = 60; limit < 1'700; limit++) {
    Asked asked("www.example.org", 1, 1, kRd, 1232);
    Bytes out = fit(m, asked.query, limit);
    if (out.empty()) continue;
    Seen s = see(out);
    ASSERT_TRUE(s.well);
    const size_t room = (limit - 33 - 11) / 16;
    EXPECT_EQ(s.addresses.size(), std::min<size_t>(room, 100));
    EXPECT_EQ(s.tc, room < 100);
    EXPECT_TRUE(s.opt);
  }
}

TEST(FitResponse, LostAdditionalDataIsNoTruncation) {
  std::vector<Rr> more;
  for (uint32_t i = 0; i < 50; i++) more.push_back(a_record(i, 5, "n.example.org"));
  Asked asked("www.example.org");
  Seen s = see(fit(response("www.example.org", 1, {a_record(1)}, {}, more), asked.query, 512));
  EXPECT_FALSE(s.tc);
  EXPECT_LT(s.records, 51u);
  // The SOA of a negative answer is no courtesy.
  s = see(fit(response("www.example.org", 1, {}, {soa("example.org", 5, 5)}), asked.query, 50));
  EXPECT_TRUE(s.tc);
}

}  // namespace
}  // namespace ls::dns::test
