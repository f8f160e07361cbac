// ZooKeeper's texts: addresses of ensembles, and how Mesos masters announce themselves.
#include "sources/zk_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ls {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(ZkUrl, Reads) {
  auto u = parse_zk_url("zk://h1,h2:2182,[fd01::1]:2183,h1:2181/mesos/prod");
  ASSERT_TRUE(u) << u.error().text();
  EXPECT_EQ(u->hosts(), "h1:2181,h2:2182,[fd01::1]:2183") << "each server once";
  EXPECT_EQ(u->path, "/mesos/prod");
  EXPECT_EQ(u->text(), "zk://h1:2181,h2:2182,[fd01::1]:2183/mesos/prod");
  auto login = parse_zk_url("zk://mesos:p@ss:word@h1/mesos");
  ASSERT_TRUE(login) << login.error().text();
  EXPECT_EQ(login->user, "mesos");
  EXPECT_EQ(login->password, "p@ss:word");
  EXPECT_THAT(login->text(), Not(HasSubstr("word")));
  EXPECT_EQ(parse_zk_url("zk://h1/")->path, "/");
}

TEST(ZkUrl, WhatIsWrongIsNamedWithoutThePassword) {
  auto error = [](std::string_view text) {
    auto u = parse_zk_url(text);
    return u ? "taken" : u.error().text();
  };
  EXPECT_THAT(error("http://h1/mesos"), HasSubstr("zk://"));
  EXPECT_THAT(error("zk://h1"), HasSubstr("no path"));
  EXPECT_THAT(error("zk:///mesos"), Not("taken"));
  EXPECT_THAT(error("zk://h1,,h2/mesos"), Not("taken"));
  EXPECT_THAT(error("zk://h1:0/mesos"), Not("taken"));
  EXPECT_THAT(error("zk://h1/mesos/"), HasSubstr("end with a slash"));
  EXPECT_THAT(error("zk://h1/a//b"), HasSubstr("empty part"));
  EXPECT_THAT(error("zk://h1/a/../b"), HasSubstr("\"..\""));
  EXPECT_THAT(error("zk://user@h1/mesos"), HasSubstr("user and password"));
  EXPECT_THAT(error("zk://user:secret@h1"), Not(HasSubstr("secret")));
  EXPECT_THAT(error("zk://user:secret@h1:x/mesos"), Not(HasSubstr("secret")));
}

TEST(ZkMembers, NamesWithANumberCount) {
  EXPECT_EQ(master_node_number("json.info_0000000003"), 3);
  EXPECT_EQ(master_node_number("json.info_-2147483648"), INT32_MIN) << "very old directories overflow";
  for (auto* name : {"log_replicas", "info_0000000003", "0000000003", "json.info_", "json.info_12x", "json.info_4294967296", ""})
    EXPECT_FALSE(master_node_number(name)) << name;
}

TEST(ZkMembers, MasterInfo) {
  auto m = parse_master_info(7, R"({"address":{"hostname":"m1","ip":"10.0.0.7","port":5050},"hostname":"m1","id":"a-b","ip":117440522,"pid":"master@10.0.0.7:5050","port":5050,"version":"1.11.0"})");
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_EQ(*m, (ZkMaster{7, "a-b", {"10.0.0.7", 5050}}));
  auto old = parse_master_info(1, R"({"id":"x","ip":16777343,"port":5051})");
  ASSERT_TRUE(old) << old.error().text();
  EXPECT_EQ(old->address.text(), "127.0.0.1:5051");
  EXPECT_EQ(parse_master_info(1, R"({"address":{"ip":"fd01::1","port":5050}})")->address.text(), "[fd01::1]:5050");
  for (auto* bad : {"", "[]", "{}", R"({"address":{"ip":"1.2.3.4"}})", R"({"address":{"port":5050}})", R"({"ip":-1,"port":5050})", R"({"ip":1,"port":70000})",
                    R"({"ip":4294967296,"port":1})", R"({"address":{"ip":7,"port":5050}})"})
    EXPECT_FALSE(parse_master_info(1, bad)) << bad;
}

TEST(ZkMembers, TheLeaderComesFirstTheOthersByAddress) {
  auto order = [](std::vector<ZkMaster> all) {
    std::vector<std::string> out;
    for (auto& m : masters_in_order(std::move(all))) out.push_back(m.text());
    return out;
  };
  EXPECT_THAT(order({{5, "c", {"c", 1}}, {3, "b", {"b", 1}}, {9, "a", {"a", 1}}}), ElementsAre("b:1", "a:1", "c:1"));
  EXPECT_THAT(order({{5, "old", {"c", 1}}, {8, "new", {"c", 1}}, {6, "b", {"b", 1}}}), ElementsAre("c:1", "b:1")) << "a restarted one has two nodes for a while";
  EXPECT_THAT(order({{-3, "w", {"w", 1}}, {4, "x", {"x", 1}}}), ElementsAre("w:1", "x:1"));
  EXPECT_TRUE(order({}).empty());
}

}  // namespace
}  // namespace ls
