// Our alias and an upstream's answer in one message.
#include <gtest/gtest.h>

#include <string>

#include "dns/chain.h"

namespace ls::dns {
namespace {

using Bytes = std::vector<uint8_t>;
using namespace std::string_literals;

Bytes bytes(const std::string& s) { return Bytes(s.begin(), s.end()); }
std::string u16(unsigned v) { return {char(v >> 8), char(v)}; }
std::string record(const std::string& owner, unsigned type, const std::string& rdata) {
  return owner + u16(type) + u16(1) + u16(0) + u16(60) + u16(unsigned(rdata.size())) + rdata;
}

const std::string kAsked = "\1a\1z\0"s, kTarget = "\1x\2ex\0"s;
std::string header(unsigned flags, unsigned questions, unsigned answers, unsigned ns = 0, unsigned extra = 0) {
  return u16(7) + u16(flags) + u16(questions) + u16(answers) + u16(ns) + u16(extra);
}

struct Chain : ::testing::Test {
  Bytes question, out = Bytes(4096);
  Query query;
  size_t size = 0;
  void SetUp() override {
    question = bytes(header(kRd, 1, 0, 0, 1) + kAsked + u16(1) + u16(1) + "\0"s + u16(41) + u16(1232) + u16(0) + u16(0) + u16(0));
    ASSERT_EQ(parse_query(question, query).outcome, ParseOutcome::kGood);
    std::string alias = header(kQr | kAa | kRd, 1, 1) + kAsked + u16(1) + u16(1) + record("\xc0\x0c", 5, kTarget);
    std::copy(alias.begin(), alias.end(), out.begin());
    size = alias.size();
  }
  bool append(const std::string& reply, size_t limit = 1232) {
    return append_chain(query, bytes(reply), limit, {}, 1232, out, size);
  }
  std::string text() const { return {out.begin(), out.begin() + size}; }
};

const std::string kQuestion = kTarget + u16(1) + u16(1);

TEST_F(Chain, AddressesFollowWithNamesWrittenOut) {
  ASSERT_TRUE(append(header(kQr | kRd | kRa, 1, 2, 1) + kQuestion + record("\xc0\x0c", 5, "\1y\xc0\x0e"s) + record("\1y\xc0\x0e"s, 1, "\1\2\3\4") +
                     record("\xc0\x0e", 2, "\xc0\x0c")));
  EXPECT_EQ(text(), header(kQr | kAa | kRd | kRa, 1, 3, 0, 1) + kAsked + u16(1) + u16(1) + record("\xc0\x0c", 5, kTarget) +
                        record(kTarget, 5, "\1y\2ex\0"s) + record("\1y\2ex\0"s, 1, "\1\2\3\4") + "\0"s + u16(41) + u16(1232) +
                        u16(0) + u16(0) + u16(0));
}

TEST_F(Chain, RcodeIsTheUpstreams) {
  ASSERT_TRUE(append(header(kQr | kRd | kRa | 3, 1, 0) + kQuestion));
  EXPECT_EQ(out[3] & 0xf, 3);
  EXPECT_EQ(out[7], 1) << "the alias";
}

TEST_F(Chain, WhatDoesNotFitIsLeftOutWithTc) {
  std::string many = header(kQr | kRd | kRa, 1, 200) + kQuestion;
  for (int i = 0; i < 200; i++) many += record("\xc0\x0c", 1, "\1\2\3\4");
  ASSERT_TRUE(append(many, 512));
  EXPECT_LE(size, 512u);
  EXPECT_GT(size, 480u);
  EXPECT_TRUE(out[2] & 2);
}

TEST_F(Chain, HostileRepliesAreRefused) {
  const std::string bad[] = {
      "", header(kQr, 1, 1), header(kQr, 1, 1) + kQuestion, header(kQr, 1, 1) + kQuestion + "\xc0\x1a",
      header(kQr, 1, 1) + kQuestion + record("\xc0\x16", 1, "\1\2\3\4"),                // to itself
      header(kQr, 1, 1) + kQuestion + record("\xc0\x00"s, 1, "\1\2\3\4"),               // into the header
      header(kQr, 1, 1) + kQuestion + record("\xc0\xff", 1, "\1\2\3\4"),                // forwards
      header(kQr, 1, 1) + kQuestion + record("\x41"s, 1, "\1\2\3\4"),                   // a reserved label
      header(kQr, 1, 1) + kQuestion + record("\xc0\x0c", 15, "\1"),                     // too short for its type
      header(kQr, 1, 1) + kQuestion + record("\xc0\x0c", 5, "\5ab"),                    // runs over its end
      header(kQr, 1, 1) + kQuestion + "\xc0\x0c" + u16(1) + u16(1) + u16(0) + u16(1) + u16(4) + "\1\2",
  };
  for (auto& b : bad) {
    size_t before = size;
    EXPECT_FALSE(append(b)) << b.size();
    size = before;
  }
}

TEST(ChainQuestion, CarriesTypeFlagsAndWishes) {
  auto packet = bytes(u16(9) + u16(kRd | kCd) + u16(1) + u16(0) + u16(0) + u16(1) + kAsked + u16(28) + u16(1) + "\0"s + u16(41) + u16(1232) +
                      u16(0) + u16(0x8000) + u16(0));
  Query query, made;
  ASSERT_EQ(parse_query(packet, query).outcome, ParseOutcome::kGood);
  auto q = chain_question(query, *DnsName::parse("x.ex."), 77);
  ASSERT_EQ(parse_query(q, made).outcome, ParseOutcome::kGood);
  EXPECT_EQ(made.id, 77);
  EXPECT_EQ(made.flags, kRd | kCd);
  EXPECT_EQ(made.type, 28);
  EXPECT_EQ(made.folded(), kTarget);
  EXPECT_TRUE(made.edns && made.edns->dnssec_ok);
}

}  // namespace
}  // namespace ls::dns
