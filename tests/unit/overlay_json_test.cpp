// Bodies of the two endpoints, the delete body, the CNI file, the capacity report.
#include "overlay/overlay_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "overlay_support.h"

namespace ls::overlay {
namespace {

using Json = nlohmann::json;

NodeState node_one() {
  NodeState n;
  n.allocation.node = ip("10.0.0.1");
  n.allocation.vtep = {{ip("44.128.0.1"), 20}, InterfaceAddress{ip("fd01:a::1"), 64}, *parse_mac("70:b3:d5:80:00:01")};
  Share dcos, dcos6;
  dcos.overlay = "dcos";
  dcos.v4 = net("9.0.0.0/24");
  dcos.mesos_bridge = dcos.docker_bridge = true;
  dcos6.overlay = "dcos6";
  dcos6.state = ShareState::kExhausted;
  dcos6.detail = "no /80 block of fd01:b::/64 is free";
  n.allocation.shares = {dcos, dcos6};
  n.reports = {{"dcos", ReportStatus::kOk, ""}};
  return n;
}

TEST(OverlayJson, TheExampleOfTheSpecification) {
  auto plan = plan_of(raw_plan());
  auto n = node_one();
  const NodeState* all[] = {&n};
  auto body = Json::parse(master_state_json(plan, all));
  auto want = Json::parse(R"({"info": {"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24, "enabled": true},
    "subnet": "9.0.0.0/24", "mesos_bridge": {"name": "m-dcos", "ip": "9.0.0.0/25"}, "docker_bridge": {"name": "d-dcos", "ip": "9.0.0.128/25"},
    "backend": {"vxlan": {"vni": 1024, "vtep_name": "vtep1024", "vtep_ip": "44.128.0.1/20", "vtep_ip6": "fd01:a::1/64", "vtep_mac": "70:b3:d5:80:00:01"}},
    "state": {"status": "STATUS_OK"}})");
  EXPECT_EQ(body["agents"][0]["ip"], "10.0.0.1");
  EXPECT_EQ(body["agents"][0]["overlays"][0], want);
  EXPECT_EQ(body["agents"][0]["overlays"][1]["state"], Json::parse(R"({"status": "STATUS_FAILED", "error": "exhausted: no /80 block of fd01:b::/64 is free"})"));
  EXPECT_FALSE(body["agents"][0]["overlays"][1].contains("subnet6"));
  EXPECT_EQ(body["network"]["vtep_mac_oui"], "70:B3:D5:00:00:00");
}

TEST(OverlayJson, WhatTheNodeShows) {
  auto raw = raw_plan();
  raw.vtep_mtu = 1450;
  auto n = node_one();
  n.reports = {{"dcos", ReportStatus::kFailed, "docker \xff said no"}};
  auto body = Json::parse(agent_overlay_json(plan_of(raw), n, 3));
  EXPECT_EQ(body["ip"], "10.0.0.1");
  EXPECT_EQ(body["configuration_attempts"], 3);
  EXPECT_EQ(body["overlays"][0]["state"]["status"], "STATUS_FAILED");
  EXPECT_EQ(body["overlays"][0]["state"]["error"], "docker \xef\xbf\xbd said no");
  EXPECT_EQ(body["overlays"][0]["backend"]["vxlan"]["vtep_mtu"], 1450);
  n.reports.clear();
  EXPECT_FALSE(Json::parse(agent_overlay_json(plan_of(raw), n, 0))["overlays"][0].contains("state"));
}

TEST(OverlayJson, DeleteBodies) {
  EXPECT_EQ(*parse_delete_body(R"({"agents": ["10.0.0.1", "10.0.0.1"]})"), (std::vector{ip("10.0.0.1"), ip("10.0.0.1")}));
  EXPECT_EQ(parse_delete_body(R"({"agents": []})")->size(), 0u);
  for (auto* bad : {"", "[]", "{}", "{\"agents\": {}}", "{\"agents\": \"10.0.0.1\"}", "{\"agents\": [1]}", "{\"agents\": [\"x\"]}", "{\"agents\": [\"fd01::1\"]}",
                    "{\"agents\": [\"::ffff:10.0.0.1\"]}", "{\"agents\": [\"10.0.0.1\", null]}", "{\"agents\": [\"10.0.0.1\"]"}) {
    EXPECT_FALSE(parse_delete_body(bad)) << bad;
  }
}

TEST(OverlayJson, CniFileOnlyWhereMesosCanUseIt) {
  auto n = node_one();
  auto& s = n.allocation.shares[0];
  auto file = cni_file(s, 1420, "");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->name, "dcos.conf");
  auto json = Json::parse(file->text);
  EXPECT_FALSE(json["delegate"]["ipam"].contains("dataDir"));
  EXPECT_EQ(json["chain"], "M-DCOS");
  EXPECT_EQ(json["excludeDevices"], Json::array({"m-dcos"}));
  EXPECT_EQ(json["delegate"]["ipam"]["routes"], Json::parse(R"([{"dst": "0.0.0.0/0"}])"));
  s.mesos_bridge = false;
  EXPECT_FALSE(cni_file(s, 1420, ""));
  s.mesos_bridge = true;
  s.v4.reset();
  s.v6 = net("fd01:b::/80");
  EXPECT_FALSE(cni_file(s, 1420, ""));
  EXPECT_FALSE(cni_file(n.allocation.shares[1], 1420, ""));
}

TEST(OverlayJson, CapacityReportIsExact) {
  auto raw = raw_plan();
  raw.overlays[1].subnet6 = "2000::/3";
  raw.overlays[1].prefix6 = 125;
  auto plan = plan_of(raw);
  PlanPools pools(plan, {});
  auto body = Json::parse(capacity_json(plan, pools.usage()));
  EXPECT_EQ(body["nodes_by_vtep"], 4094);
  EXPECT_EQ(body["overlays"][0]["agent_subnets"], 65536);
  EXPECT_EQ(body["overlays"][1]["agent_subnets"], "5316911983139663491615228241121378304");
  EXPECT_EQ(body["pools"].size(), 4u);
  EXPECT_EQ(body["pools"][2]["overlay"], "dcos");
  EXPECT_EQ(body["pools"][2]["free"], 65536);
}

}  // namespace
}  // namespace ls::overlay
