#include "sources/master_address.h"

#include <gtest/gtest.h>

#include "sources/leader_identity.h"

namespace {

using ls::LeaderChange;
using ls::MasterAddress;

std::string parsed(std::string_view text) {
  auto r = ls::parse_master_address(text);
  return r ? r->text() : "error";
}

TEST(MasterAddress, Forms) {
  EXPECT_EQ(parsed("10.0.0.1:5051"), "10.0.0.1:5051");
  EXPECT_EQ(parsed("10.0.0.1"), "10.0.0.1:5050");
  EXPECT_EQ(parsed("m1.example.com:1"), "m1.example.com:1");
  EXPECT_EQ(parsed("[fd01::1]:5050"), "[fd01::1]:5050");
  EXPECT_EQ(parsed("[fd01::1]"), "[fd01::1]:5050");
  EXPECT_EQ(ls::parse_master_address("[fd01::1]:7")->host, "fd01::1");
  for (const char* bad : {"", ":5050", "h:", "h:0", "h:65536", "h:5x", "h:-1", "fd01::1", "[fd01::1", "[fd01::1]x", "[]:1",
                          "a b:1", "a/b:1", "h:1:2", "h@x:1", "h\r\nX: y:1"}) {
    EXPECT_EQ(parsed(bad), "error") << bad;
  }
}

std::string location(std::string_view text, bool tls = false) {
  auto r = ls::parse_location(text, MasterAddress{"asked", 5050}, "/api/v1", tls);
  return r ? r->master.text() + " " + r->path : "error";
}

TEST(MasterAddress, Locations) {
  EXPECT_EQ(location("//127.0.0.1:5060/master/api/v1"), "127.0.0.1:5060 /master/api/v1");
  EXPECT_EQ(location("//[::1]:5060/master/api/v1?a=b"), "[::1]:5060 /master/api/v1?a=b");
  EXPECT_EQ(location("//127.0.0.1:5060"), "127.0.0.1:5060 /api/v1");
  EXPECT_EQ(location("http://m:1/x"), "m:1 /x");
  EXPECT_EQ(location("https://m/x"), "m:80 /x");  // the scheme of the request is kept
  EXPECT_EQ(location("http://m/x", true), "m:443 /x");
  EXPECT_EQ(location("/master/api/v1"), "asked:5050 /master/api/v1");
  EXPECT_EQ(location("//m:1/x#frag"), "m:1 /x");
  for (const char* bad : {"", "//", "///x", "//m:0/x", "x", "//u:p@m:1/x", "//m:1/a b", "//m:1/a\r\nb"}) {
    EXPECT_EQ(location(bad), "error") << bad;
  }
}

TEST(MasterAddress, QuotesAnswersOnOneShortLine) {
  EXPECT_EQ(ls::quote_answer("No leader\r\n\x1b[0m\n"), "No leader   [0m");
  EXPECT_EQ(ls::quote_answer(std::string(1000, 'a')).size(), 200u);
  EXPECT_EQ(ls::quote_answer("\n\n"), "");
}

TEST(LeaderIdentity, ReadsGetMaster) {
  auto id = ls::parse_get_master(
      R"({"type":"GET_MASTER","get_master":{"master_info":{"id":"m-1","ip":1},"start_time":1.5,"elected_time":1795365731.7}})");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->id, "m-1");
  EXPECT_EQ(id->elected_s, 1795365731.7);
  EXPECT_TRUE(ls::parse_get_master(R"({"get_master":{"master_info":{"id":"m"}}})"));
  EXPECT_FALSE(ls::parse_get_master(R"({"get_master":{"master_info":{"id":"m"},"elected_time":-1}})")->elected_s);
  for (const char* bad : {"", "[]", "{", "{}", R"({"get_master":1})", R"({"get_master":{"master_info":[]}})",
                          R"({"get_master":{"master_info":{"id":""}}})", R"({"get_master":{"master_info":{"id":1}}})"}) {
    EXPECT_FALSE(ls::parse_get_master(bad)) << bad;
  }
}

TEST(LeaderIdentity, ComparesWithTheStreamBefore) {
  ls::LeaderMemory m;
  ls::LeaderIdentity a{"a", 1.0}, a_again{"a", 2.0}, b{"b", 1.0};
  EXPECT_EQ(m.seen(a), LeaderChange::kFirst);
  EXPECT_EQ(m.seen(a), LeaderChange::kSame);
  EXPECT_EQ(m.seen(a_again), LeaderChange::kChanged);
  EXPECT_EQ(m.seen(b), LeaderChange::kChanged);
  EXPECT_EQ(m.seen(std::nullopt), LeaderChange::kUnknown);
  EXPECT_EQ(m.seen(b), LeaderChange::kSame);
  ls::LeaderMemory blind;
  EXPECT_EQ(blind.seen(std::nullopt), LeaderChange::kFirst);
  EXPECT_EQ(blind.seen(a), LeaderChange::kUnknown);
  EXPECT_EQ(blind.seen(a), LeaderChange::kSame);
}

}  // namespace
