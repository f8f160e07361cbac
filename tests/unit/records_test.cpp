// Records relative to a zone, and their absolute form.
#include "derive/records.h"

#include <gtest/gtest.h>

namespace ls {
namespace {

using namespace std::string_literals;

TEST(Records, TypesHaveNamesBothWays) {
  for (unsigned n = 0; n < 65536; ++n) {
    const auto type = static_cast<RrType>(n);
    EXPECT_EQ(parse_rr_type(to_text(type)), type) << n;
  }
  EXPECT_EQ(parse_rr_type("aaaa"), RrType::kAaaa);
  EXPECT_EQ(parse_rr_type("type1"), RrType::kA);
  for (const char* text : {"", "TYPE", "TYPE65536", "TYPE-1", "TYPE1x", "B", "AA"}) EXPECT_FALSE(parse_rr_type(text)) << text;
}

TEST(Records, Addresses) {
  EXPECT_EQ(address_record("\3web", *IpAddress::parse("10.0.0.1"), 7), (Record{"\3web", RrType::kA, "\x0a\0\0\1"s, 7}));
  const auto six = address_record("", *IpAddress::parse("fd01::2"));
  EXPECT_EQ(six.type, RrType::kAaaa);
  EXPECT_EQ(six.rdata, "\xfd\1\0\0\0\0\0\0\0\0\0\0\0\0\0\2"s);
}

TEST(Records, ApexIsFilledIn) {
  const auto mesos = *DnsName::parse("mesos");
  const auto srv = srv_record("\4_web", 1, 2, 8080, "\3web");
  EXPECT_EQ(srv.rdata, "\0\1\0\2\x1f\x90\3web\xff"s);
  EXPECT_EQ(absolute_rdata(srv.type, srv.rdata, mesos), "\0\1\0\2\x1f\x90\3web\5mesos\0"s);
  EXPECT_EQ(target_of(srv.type, srv.rdata, mesos)->text(), "web.mesos.");
  const auto alias = cname_record("\3www", *DnsName::parse("x.example"));
  EXPECT_EQ(target_of(alias.type, alias.rdata, mesos)->text(), "x.example.");
  EXPECT_EQ(absolute_rdata(RrType::kA, "abcd", mesos), "abcd");
  EXPECT_FALSE(target_of(RrType::kA, "abcd", mesos));
  EXPECT_FALSE(absolute_rdata(RrType::kSrv, "short", mesos));
  EXPECT_FALSE(absolute_rdata(RrType::kCname, "\3we", mesos));
  const std::string label = "\77" + std::string(63, 'x');
  EXPECT_FALSE(absolute_rdata(RrType::kCname, label + label + label + label.substr(0, 1) + std::string(63, 'y') + kApexMark, mesos));
}

}  // namespace
}  // namespace ls
