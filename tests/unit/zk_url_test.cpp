// Addresses of ZooKeeper ensembles, paths, and hosts with ports.
#include "zk/url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "zk/addresses.h"

namespace ls::zk {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ZkUrl, Reads) {
  auto u = parse_url("zk://h1,h2:2182,[fd01::1]:2183,h1:2181/mesos/prod");
  ASSERT_TRUE(u) << u.error().text();
  EXPECT_EQ(u->hosts(), "h1:2181,h2:2182,[fd01::1]:2183") << "each server once";
  EXPECT_EQ(u->path, "/mesos/prod");
  EXPECT_EQ(u->text(), "zk://h1:2181,h2:2182,[fd01::1]:2183/mesos/prod");
  auto login = parse_url("zk://mesos:p@ss:word@h1/mesos");
  ASSERT_TRUE(login) << login.error().text();
  EXPECT_EQ(login->user, "mesos");
  EXPECT_EQ(login->password, "p@ss:word");
  EXPECT_THAT(login->text(), Not(HasSubstr("word")));
  EXPECT_EQ(parse_url("zk://h1/")->path, "/");
}

TEST(ZkUrl, WhatIsWrongIsNamedWithoutThePassword) {
  auto error = [](std::string_view text) {
    auto u = parse_url(text);
    return u ? "taken" : u.error().text();
  };
  EXPECT_THAT(error("http://h1/mesos"), HasSubstr("zk://"));
  EXPECT_THAT(error("zk://h1"), HasSubstr("no path"));
  for (auto* bad : {"zk:///mesos", "zk://h1,,h2/mesos", "zk://h1,/mesos", "zk://h1:0/mesos", "zk://fd01::1/mesos", "zk://[10.0.0.1]/mesos"})
    EXPECT_THAT(error(bad), HasSubstr("ZooKeeper server")) << bad;
  EXPECT_THAT(error("zk://h1/mesos/"), HasSubstr("end with a slash"));
  EXPECT_THAT(error("zk://h1/a//b"), HasSubstr("empty part"));
  EXPECT_THAT(error("zk://h1/a/../b"), HasSubstr("\"..\""));
  EXPECT_THAT(error("zk://h1/a\tb"), HasSubstr("control character"));
  EXPECT_THAT(error("zk://user@h1/mesos"), HasSubstr("user and password"));
  for (auto* bad : {"zk://user:secret@h1", "zk://user:secret@h1:x/mesos", "zk://user:sec/ret@h1/mesos", "zk://user:secret/@h1/mesos"}) {
    EXPECT_THAT(error(bad), Not("taken")) << bad;
    EXPECT_THAT(error(bad), Not(HasSubstr("sec"))) << bad;
  }
}

TEST(ZkUrl, Joins) {
  EXPECT_EQ(join("/mesos", "leader"), "/mesos/leader");
  EXPECT_EQ(join("/", "a"), "/a");
}

TEST(ZkAddresses, LiteralsNeedNoNameService) {
  const std::string no_name(70, 'x');  // a label has at most 63 octets, so nobody is asked
  auto found = look_up({{"127.0.0.1", 1}, {"fd01::1", 2}, {"127.0.0.1", 1}, {no_name, 3}});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_THAT(*found, testing::UnorderedElementsAre(HostPort{"127.0.0.1", 1}, HostPort{"fd01::1", 2})) << "a name without an address costs only itself";
  auto none = look_up({{no_name, 3}});
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().text(), HasSubstr(no_name));
}

TEST(ZkAddresses, Greetings) {
  std::vector<unsigned char> good(41);
  good[3] = 37;
  good[10] = 0x27, good[11] = 0x10;  // 10 s
  good[23] = 16;
  auto check = [](std::vector<unsigned char> bytes, bool again = false) { return check_greeting(bytes.data(), bytes.size(), again); };
  EXPECT_EQ(check(good), Greeting::kGood);
  for (size_t n = 0; n < kGreetingSize; n++) EXPECT_EQ(check({good.begin(), good.begin() + long(n)}), Greeting::kIncomplete) << n;
  auto refusal = good;
  refusal[10] = refusal[11] = 0;
  EXPECT_EQ(check(refusal), Greeting::kBad) << "a new session cannot have expired";
  EXPECT_EQ(check(refusal, true), Greeting::kGood);
  for (size_t at : {0, 3, 4, 8, 23}) {
    auto bad = good;
    bad[at] ^= 0x40;
    EXPECT_EQ(check(bad), Greeting::kBad) << at;
  }
  std::string http = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(check({http.begin(), http.end()}), Greeting::kBad);
  EXPECT_EQ(check({'H', 'T', 'T', 'P'}), Greeting::kBad);
}

TEST(HostPorts, Forms) {
  auto parsed = [](std::string_view text) {
    auto r = parse_host_port(text, std::nullopt, "server");
    return r ? r->text() : r.error().text();
  };
  EXPECT_EQ(parsed("m1.example_x:1"), "m1.example_x:1");
  EXPECT_EQ(parsed("[fe80::1%eth0]:5050"), "[fe80::1%eth0]:5050");
  EXPECT_EQ(parsed("m1"), "server \"m1\": no port");
  for (auto* bad : {"[10.0.0.1]:1", "[::ffff:10.0.0.1]:1", "[fe80::1%]:1", "[fe80::1%a b]:1", "-a:1", ".a:1", "a:+1", "a:1 "})
    EXPECT_THAT(parsed(bad), testing::StartsWith("server \"")) << bad;
}

}  // namespace
}  // namespace ls::zk
