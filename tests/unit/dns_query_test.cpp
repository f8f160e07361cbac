// Questions as ldns writes them, and everything that is wrong with a question (RFC 8906, 6891, 7873, 9619).
#include "dns/query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns_ldns.h"
#include "dns_world.h"

namespace ls::dns {
namespace {

using namespace std::string_literals;
using test::Ask;
using test::write_query;

std::vector<uint8_t> bytes(const std::string& s) { return {s.begin(), s.end()}; }

/// Header with these counts, then `rest`.
std::vector<uint8_t> packet(uint16_t flags, int qd, int an, int ns, int ar, const std::string& rest) {
  std::vector<uint8_t> out{0x12, 0x34, static_cast<uint8_t>(flags >> 8), static_cast<uint8_t>(flags)};
  for (const int n : {qd, an, ns, ar}) out.push_back(static_cast<uint8_t>(n >> 8)), out.push_back(static_cast<uint8_t>(n));
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}
const std::string kQuestion = "\3web\5mesos\0\0\1\0\1"s;
std::string opt(const std::string& options = "", int version = 0, int size = 1232) {
  std::string out = "\0\0\x29"s;
  out += static_cast<char>(size >> 8), out += static_cast<char>(size);
  out += '\0', out += static_cast<char>(version), out += "\0\0"s;
  out += static_cast<char>(options.size() >> 8), out += static_cast<char>(options.size());
  return out + options;
}

TEST(ParseQuery, ReadsWhatLdnsWrites) {
  const std::vector<std::string> names{"web.mesos.", "WeB.Mesos.", ".", "a\\.b.c.", "\\000\\255.x.", std::string(63, 'x') + "." + std::string(63, 'y') + ".z."};
  for (const auto& name : names)
    for (const char* type : {"A", "AAAA", "SRV", "ANY", "TYPE4711", "AXFR"})
      for (const int edns : {-1, 512, 1232, 65535})
        for (const bool dnssec : {false, true}) {
          const auto wire = write_query({name, type, edns, dnssec, 99});
          ASSERT_FALSE(wire.empty()) << name;
          Query q;
          const Parsed parsed = parse_query(wire, q);
          EXPECT_EQ(parsed.outcome, ParseOutcome::kGood) << name << " " << type;
          EXPECT_EQ(q.id, 99);
          EXPECT_EQ(q.opcode, 0);
          EXPECT_TRUE(q.flags & kRd);
          const auto parsed_name = DnsName::from_wire(q.name);
          ASSERT_TRUE(parsed_name);
          EXPECT_EQ(*parsed_name, test::name_of(name));
          EXPECT_EQ(q.folded(), test::name_of(name).folded().wire());
          EXPECT_EQ(static_cast<RrType>(q.type), *parse_rr_type(type));
          EXPECT_EQ(q.qclass, kClassIn);
          EXPECT_EQ(q.edns.has_value(), edns >= 0);
          if (q.edns) {
            EXPECT_EQ(q.edns->udp_size, edns);
            EXPECT_EQ(q.edns->dnssec_ok, dnssec);
          }
          EXPECT_FALSE(q.tsig);
        }
}

struct Odd {
  const char* what;
  std::vector<uint8_t> packet;
  ParseOutcome outcome;
  Rcode rcode;
  bool question;
};

TEST(ParseQuery, OddQuestions) {
  constexpr auto kIgnore = ParseOutcome::kIgnore, kRcode = ParseOutcome::kRcode, kGood = ParseOutcome::kGood;
  const std::string record = "\0\0\1\0\1\0\0\0\0\0\4abcd"s;
  const std::string cookie8 = "\0\x0a\0\x08"s + "12345678";
  const std::vector<Odd> odd{
      {"empty", {}, kIgnore, Rcode::kNoError, false},
      {"shorter than a header", bytes("01234567890"), kIgnore, Rcode::kNoError, false},
      {"a response", packet(kQr, 1, 0, 0, 0, kQuestion), kIgnore, Rcode::kNoError, false},
      {"good", packet(0, 1, 0, 0, 0, kQuestion), kGood, Rcode::kNoError, true},
      {"bytes behind the message", packet(0, 1, 0, 0, 0, kQuestion + "garbage"), kGood, Rcode::kNoError, true},
      {"header only", packet(0, 0, 0, 0, 0, ""), kRcode, Rcode::kFormErr, false},
      {"question missing", packet(0, 1, 0, 0, 0, ""), kRcode, Rcode::kFormErr, false},
      {"name cut off", packet(0, 1, 0, 0, 0, "\3we"), kRcode, Rcode::kFormErr, false},
      {"no type", packet(0, 1, 0, 0, 0, "\3web\0"s), kRcode, Rcode::kFormErr, false},
      {"no class", packet(0, 1, 0, 0, 0, "\3web\0\0\1\0"s), kRcode, Rcode::kFormErr, false},
      {"pointer in the question", packet(0, 1, 0, 0, 0, "\xc0\x0c\0\1\0\1"s), kRcode, Rcode::kFormErr, false},
      {"label of 64", packet(0, 1, 0, 0, 0, "\x40"s + std::string(64, 'x') + "\0\0\1\0\1"s), kRcode, Rcode::kFormErr, false},
      {"name of 256", packet(0, 1, 0, 0, 0, "\x3e"s + std::string(62, 'x') + "\x3f"s + std::string(63, 'x') + "\x3f"s + std::string(63, 'x') +
                                                "\x3f"s + std::string(63, 'x') + "\0\0\1\0\1"s), kRcode, Rcode::kFormErr, false},
      {"two questions", packet(0, 2, 0, 0, 0, kQuestion + kQuestion), kRcode, Rcode::kFormErr, true},
      {"class CH", packet(0, 1, 0, 0, 0, "\3web\0\0\1\0\3"s), kRcode, Rcode::kRefused, true},
      {"class NONE", packet(0, 1, 0, 0, 0, "\3web\0\0\1\0\xfe"s), kRcode, Rcode::kRefused, true},
      {"class ANY", packet(0, 1, 0, 0, 0, "\3web\0\0\1\0\xff"s), kGood, Rcode::kNoError, true},
      {"truncated question", packet(kTc, 1, 0, 0, 0, kQuestion), kRcode, Rcode::kFormErr, false},
      {"reserved bit", packet(0x40, 1, 0, 0, 0, kQuestion), kGood, Rcode::kNoError, true},
      {"opcode IQUERY", packet(0x0800, 1, 0, 0, 0, kQuestion), kRcode, Rcode::kNotImp, false},
      {"opcode STATUS", packet(0x1000, 1, 0, 0, 0, kQuestion), kRcode, Rcode::kNotImp, false},
      {"opcode NOTIFY", packet(0x2000, 1, 0, 0, 0, kQuestion), kRcode, Rcode::kNotImp, false},
      {"opcode UPDATE", packet(0x2800, 1, 0, 0, 0, kQuestion), kRcode, Rcode::kNotImp, false},
      {"opcode 15, header only", packet(0x7800, 0, 0, 0, 0, ""), kRcode, Rcode::kNotImp, false},
      {"a record in the answer", packet(0, 1, 1, 0, 0, kQuestion + record), kGood, Rcode::kNoError, true},
      {"a record that is not there", packet(0, 1, 1, 0, 0, kQuestion), kRcode, Rcode::kFormErr, true},
      {"a record cut off", packet(0, 1, 0, 1, 0, kQuestion + record.substr(0, record.size() - 1)), kRcode, Rcode::kFormErr, true},
      {"a record whose owner is a pointer", packet(0, 1, 0, 0, 1, kQuestion + "\xc0\x0c" + record.substr(1)), kGood, Rcode::kNoError, true},
      {"a record whose owner is half a pointer", packet(0, 1, 0, 0, 1, kQuestion + "\xc0"), kRcode, Rcode::kFormErr, true},
      {"EDNS", packet(0, 1, 0, 0, 1, kQuestion + opt()), kGood, Rcode::kNoError, true},
      {"EDNS, unknown option", packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x64\0\2ab"s)), kGood, Rcode::kNoError, true},
      {"EDNS, unknown flag", packet(0, 1, 0, 0, 1, kQuestion + "\0\0\x29\4\xd0\0\0\0\x80\0\0"s), kGood, Rcode::kNoError, true},
      {"EDNS version 1", packet(0, 1, 0, 0, 1, kQuestion + opt("", 1)), kRcode, Rcode::kBadVers, true},
      {"EDNS version 1, options of a kind unknown", packet(0, 1, 0, 0, 1, kQuestion + opt("\0", 1)), kRcode, Rcode::kBadVers, true},
      {"EDNS twice", packet(0, 1, 0, 0, 2, kQuestion + opt() + opt()), kRcode, Rcode::kFormErr, true},
      {"EDNS in the answer section", packet(0, 1, 1, 0, 0, kQuestion + opt()), kRcode, Rcode::kFormErr, true},
      {"EDNS with an owner", packet(0, 1, 0, 0, 1, kQuestion + "\1x" + opt()), kRcode, Rcode::kFormErr, true},
      {"EDNS option cut off", packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x64\0\3ab"s)), kRcode, Rcode::kFormErr, true},
      {"EDNS option head cut off", packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x64\0"s)), kRcode, Rcode::kFormErr, true},
      {"EDNS longer than the packet", packet(0, 1, 0, 0, 1, kQuestion + opt("abcd").substr(0, 13)), kRcode, Rcode::kFormErr, true},
      {"cookie", packet(0, 1, 0, 0, 1, kQuestion + opt(cookie8)), kGood, Rcode::kNoError, true},
      {"cookie of 9", packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x0a\0\x09"s + "123456789")), kRcode, Rcode::kFormErr, true},
      {"cookie of 7", packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x0a\0\x07"s + "1234567")), kRcode, Rcode::kFormErr, true},
      {"cookie of 41", packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x0a\0\x29"s + std::string(41, 'c'))), kRcode, Rcode::kFormErr, true},
      {"nothing but a cookie", packet(0, 0, 0, 0, 1, opt(cookie8)), kRcode, Rcode::kNoError, false},
      {"nothing but EDNS", packet(0, 0, 0, 0, 1, opt()), kRcode, Rcode::kFormErr, false},
  };
  for (const Odd& o : odd) {
    Query q;
    const Parsed parsed = parse_query(o.packet, q);
    EXPECT_EQ(parsed.outcome, o.outcome) << o.what;
    EXPECT_EQ(to_text(parsed.rcode), to_text(o.rcode)) << o.what;
    if (o.outcome != kIgnore) {
      EXPECT_EQ(parsed.question_readable, o.question) << o.what;
    }
  }
}

TEST(ParseQuery, Cookies) {
  Query q;
  auto wire = packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x0a\0\x10"s + "client01server01"));
  ASSERT_EQ(parse_query(wire, q).outcome, ParseOutcome::kGood);
  EXPECT_EQ(std::string(q.edns->client_cookie.begin(), q.edns->client_cookie.end()), "client01");
  EXPECT_EQ(std::string(q.edns->server_cookie.begin(), q.edns->server_cookie.end()), "server01");
  wire = packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x0a\0\x08"s + "client01"));
  ASSERT_EQ(parse_query(wire, q).outcome, ParseOutcome::kGood);
  EXPECT_TRUE(q.edns->server_cookie.empty());
}

TEST(ParseQuery, SmallPayloadsCountAs512) {
  Query q;
  auto wire = packet(0, 1, 0, 0, 1, kQuestion + opt("", 0, 100));
  ASSERT_EQ(parse_query(wire, q).outcome, ParseOutcome::kGood);
  EXPECT_EQ(q.edns->udp_size, 512);
}

TEST(ParseQuery, TsigIsSeen) {
  Query q;
  const auto wire = packet(0, 1, 0, 0, 1, kQuestion + "\3key\0\0\xfa\0\xff\0\0\0\0\0\0"s);
  ASSERT_EQ(parse_query(wire, q).outcome, ParseOutcome::kGood);
  EXPECT_TRUE(q.tsig);
}

/// A packet that ends anywhere is never read past its end (the sanitizers look), and never good.
TEST(ParseQuery, EveryPrefix) {
  const auto whole = packet(0, 1, 0, 0, 1, kQuestion + opt("\0\x0a\0\x10"s + "client01server01"));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<uint8_t> part(whole.begin(), whole.begin() + static_cast<long>(size));
    Query q;
    EXPECT_NE(parse_query(part, q).outcome, ParseOutcome::kGood) << size;
  }
}

}  // namespace
}  // namespace ls::dns
