// How Mesos masters announce themselves in ZooKeeper.
#include "sources/zk_members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ls {
namespace {

using testing::ElementsAre;

TEST(ZkMembers, NamesWithANumberCount) {
  EXPECT_EQ(master_node_number("json.info_0000000003"), 3);
  EXPECT_EQ(master_node_number("json.info_-2147483648"), INT32_MIN) << "very old directories overflow";
  for (auto* name : {"log_replicas", "info_0000000003", "0000000003", "json.info_", "json.info_12x", "json.info_4294967296", "json.info_+1", ""}) {
    EXPECT_FALSE(master_node_number(name)) << name;
  }
  EXPECT_TRUE(old_master_node("info_0000000003"));
  EXPECT_TRUE(old_master_node("0000000003"));
  for (auto* name : {"log_replicas", "json.info_0000000003", "info_", "info_x", ""}) EXPECT_FALSE(old_master_node(name)) << name;
}

TEST(ZkMembers, MasterInfo) {
  auto m = parse_master_info(7, R"({"address":{"hostname":"m1","ip":"10.0.0.7","port":5050},"hostname":"m1","id":"a-b","ip":117440522,"pid":"master@10.0.0.7:5050","port":5050,"version":"1.11.0"})");
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_EQ(*m, (ZkMaster{7, "a-b", {"10.0.0.7", 5050}}));
  auto text = [](std::string_view json) {
    auto r = parse_master_info(1, json);
    return r ? r->address.text() : "error";
  };
  EXPECT_EQ(text(R"({"id":"x","ip":16777343,"port":5051})"), "127.0.0.1:5051") << "without an address";
  EXPECT_EQ(text(R"({"address":{"ip":"fd01::1","port":5050}})"), "[fd01::1]:5050");
  EXPECT_EQ(text(R"({"address":{"hostname":"m1.example","port":5050}})"), "m1.example:5050");
  EXPECT_EQ(text(R"({"address":{"ip":"","port":5050},"ip":16777343,"port":5051})"), "127.0.0.1:5051") << "an address that cannot be used";
  for (auto* bad : {"", "[]", "{}", "null", R"({"address":{"ip":"1.2.3.4"}})", R"({"address":{"port":5050}})", R"({"ip":-1,"port":5050})", R"({"ip":1,"port":70000})",
                    R"({"ip":4294967296,"port":1})", R"({"address":{"ip":7,"port":5050}})", R"({"address":{"ip":"1.2.3.4","port":0}})",
                    R"({"address":{"ip":"1.2.3.4\r\nX: y","port":5050}})", R"({"address":{"hostname":"a/b","port":5050}})", R"({"address":[]})"}) {
    EXPECT_EQ(text(bad), "error") << bad;
  }
  EXPECT_EQ(text(R"({"ip":16777343,"port":5051,"x":")" + std::string(1 << 20, 'x') + "\"}"), "error") << "no MasterInfo is as large";
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
