// Ports of a task: merging, scopes, the host network, and what happens to bad ones.
#include "derive/ports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "state_builders.h"

namespace ls {
namespace {

using test::placed;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::vector<std::string> values(const TaskPort& p) {
  std::vector<std::string> out;
  for (auto& v : p.vips) out.push_back(v.value);
  return out;
}

TEST(Ports, MappingAndHostScopeMerge) {
  auto ports = task_ports(placed({.addresses = {"172.17.0.2"},
                                  .ports = {{31500, {"/b:80"}, PortProtocol::kTcp, PortScope::kHost}},
                                  .mappings = {{Protocol::kTcp, 8080, 31500}, {Protocol::kUdp, 8080, 31500}}},
                                 "10.0.0.1"),
                          nullptr);
  ASSERT_THAT(ports, SizeIs(2));
  EXPECT_EQ(ports[0].port, 8080);
  EXPECT_EQ(ports[0].host_port, 31500);
  EXPECT_THAT(values(ports[0]), ElementsAre("/b:80"));
  EXPECT_THAT(ports[1].vips, IsEmpty());
}

TEST(Ports, TwoHostPortsOfOneContainerPortStayTwo) {
  Task t = placed({.addresses = {"172.17.0.2"}, .mappings = {{Protocol::kTcp, 80, 31001}, {Protocol::kTcp, 80, 31002}}}, "10.0.0.1");
  EXPECT_THAT(task_ports(t, nullptr), SizeIs(2));
}

TEST(Ports, OneBadPortIsLeftOutAloneAndNamed) {
  std::vector<VipProblem> problems;
  auto ports = task_ports(placed({.addresses = {"10.0.0.1"},
                                  .ports = {{80, {"/a:1"}, PortProtocol::kMissing},
                                            {80, {"/b:1"}, PortProtocol::kOther},
                                            {80, {"/c:1"}, PortProtocol::kTcp, PortScope::kInvalid},
                                            {0, {"/d:1"}, PortProtocol::kTcp, PortScope::kHost},
                                            {70000, {"/e:1"}},
                                            {-5, {"/f:1"}},
                                            {70001, {}},
                                            {9000, {"/ok:1"}}},
                                  .resources = {{9000, 9000}},
                                  .labels = {{"vip_port3", "tcp://x:80"}}},
                                 "10.0.0.1"),
                          &problems);
  ASSERT_THAT(ports, SizeIs(1));
  EXPECT_EQ(ports[0].port, 9000);
  EXPECT_THAT(problems, SizeIs(7)) << "the port without VIP labels is nobody's trouble";
  EXPECT_EQ(problems[0].field, "labels[vip_port3]");
  EXPECT_EQ(problems[1].field, "discovery.ports[0].protocol");
  EXPECT_EQ(problems[1].task, "marathon/t");
}

TEST(Ports, HugeRangesAreNotLaidOut) {
  Task t = placed({.addresses = {"10.0.0.1"},
                   .resources = {{5, 5}, {10, uint64_t(1) << 53}},
                   .labels = {{"vip_port0", "tcp://a:1"}, {"vip_port2", "tcp://b:1"}, {"vip_port99999999999", "tcp://c:1"}}},
                  "10.0.0.1");
  std::vector<VipProblem> problems;
  auto ports = task_ports(t, &problems);
  ASSERT_THAT(ports, SizeIs(2));
  EXPECT_EQ(ports[1].port, 11);
  EXPECT_THAT(problems, SizeIs(1));
}

TEST(Ports, EndpointsByNetwork) {
  TaskPort host{.protocol = Protocol::kTcp, .port = 80, .host_port = 31000, .name = "", .vips = {}};
  TaskPort container{.protocol = Protocol::kTcp, .port = 80, .host_port = 0, .name = "", .vips = {}};
  Task t = placed({.addresses = {"9.0.0.1", "fd01::1"}}, "10.0.0.1");
  EXPECT_THAT(port_endpoints(t, host), ElementsAre(Endpoint{test::ip("10.0.0.1"), 31000}));
  EXPECT_THAT(port_endpoints(t, container),
              ElementsAre(Endpoint{test::ip("9.0.0.1"), 80}, Endpoint{test::ip("fd01::1"), 80}));
}

TEST(Ports, LocalPortsAreOfTheAgentsFamily) {
  Task t = placed({.addresses = {"fd01::1", "9.0.0.1"}, .mappings = {{Protocol::kTcp, 80, 31000}}}, "10.0.0.1");
  EXPECT_THAT(local_ports(t, task_ports(t, nullptr)), ElementsAre(LocalPort{Protocol::kTcp, 31000, {test::ip("9.0.0.1"), 80}}));
  t.addresses = {};
  EXPECT_THAT(local_ports(t, task_ports(t, nullptr)), IsEmpty());
}

}  // namespace
}  // namespace ls
