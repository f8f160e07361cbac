// The VIP table: what a task's change does to it, its own view of local containers, reachability, and what a change costs.
#include "derive/vips.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "derive/reachability.h"
#include "derive/vip_diff.h"
#include "state_builders.h"

namespace ls {
namespace {

using test::ip;
using test::placed;
using test::TaskText;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// Feeds tasks without a ClusterState.
class Table {
 public:
  explicit Table(VipOptions options = {}) : vips(std::move(options)) {}
  VipDelta put(const Task& t) {
    StateDelta d;
    auto& last = tasks_[t.framework_id.str() + "/" + t.id];
    auto now = std::make_shared<const Task>(t);
    d.tasks.push_back({.before = last, .after = now});
    last = now;
    return vips.apply(d);
  }
  VipDelta end(const Task& t) {
    StateDelta d;
    auto& last = tasks_[t.framework_id.str() + "/" + t.id];
    d.tasks.push_back({.before = last, .after = std::make_shared<const Task>(t), .removed = true});
    last = nullptr;
    return vips.apply(d);
  }
  std::vector<std::string> backends(const char* service) {
    for (auto& s : vips.full().services) {
      if (s.key.text() != service) continue;
      std::vector<std::string> out;
      for (auto& b : s.backends) out.push_back(b.endpoint().text() + "=" + std::to_string(b.weight));
      return out;
    }
    return {};
  }
  VipDeriver vips;

 private:
  std::map<std::string, TaskPtr> tasks_;
};

Task web(const std::string& id, int port, const std::string& label = "/web:80", Health health = Health::kUnknown,
         MesosState state = MesosState::kRunning) {
  return placed({.id = id, .state = state, .addresses = {"10.0.0.1"}, .ports = {{port, {label}}}, .health = health}, "10.0.0.1");
}

constexpr const char* kWeb = "11.225.36.193:80/tcp";

TEST(Vips, OneTasksLife) {
  Table t;
  EXPECT_TRUE(t.put(web("w", 31000, "/web:80", Health::kUnknown, MesosState::kStaging)).empty());
  auto d = t.put(web("w", 31000, "/web:80", Health::kUnhealthy));
  ASSERT_THAT(d.upsert, SizeIs(1));
  EXPECT_EQ(d.upsert[0].name, "web.marathon");
  EXPECT_EQ(d.upsert[0].label, "web");
  EXPECT_EQ(d.upsert[0].framework, "marathon");
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31000=0"));
  t.put(web("w", 31000, "/web:80", Health::kHealthy));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31000=1"));
  t.put(web("w", 31000, "/web:80", Health::kHealthy, MesosState::kKilling));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31000=0"));
  EXPECT_TRUE(t.put(web("w", 31000, "/web:80", Health::kUnhealthy, MesosState::kKilling)).empty());
  d = t.end(web("w", 31000));
  EXPECT_THAT(d.remove, SizeIs(1));
  EXPECT_EQ(t.vips.service_count(), 0u);
  EXPECT_THAT(t.vips.vips(), IsEmpty());
}

TEST(Vips, LabelsThatFoldAlikeAreOneVip) {
  Table t;
  t.put(web("a", 31000, "/web:80"));
  t.put(web("b", 31001, "web:80"));
  t.put(web("c", 31002, "/W_eb:80"));
  t.put(web("d", 31003, "WEB:80"));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31000=1", "10.0.0.1:31001=1", "10.0.0.1:31003=1"));
  EXPECT_EQ(t.vips.service_count(), 2u);
}

TEST(Vips, BothFamiliesOfANameAndAddressVipsOfTheirOwn) {
  Table t;
  Task dual = placed({.addresses = {"9.0.0.1", "fd01:b::1"}, .ports = {{80, {"/web:80", "198.51.100.3:80", "[fd01:c::3]:80"}}}}, "10.0.0.1");
  t.put(dual);
  EXPECT_EQ(t.vips.service_count(), 4u);
  EXPECT_THAT(t.backends("198.51.100.3:80/tcp"), ElementsAre("9.0.0.1:80=1"));
  EXPECT_THAT(t.backends("[fd01:c::3]:80/tcp"), ElementsAre("[fd01:b::1]:80=1"));
  dual.addresses = {ip("9.0.0.1")};
  auto d = t.put(dual);
  EXPECT_THAT(d.remove, SizeIs(2)) << "no backend of the family: no service";
  VipOptions no6;
  no6.ipv6 = false;
  Table t4(no6);
  dual.addresses = {ip("9.0.0.1"), ip("fd01:b::1")};
  t4.put(dual);
  EXPECT_EQ(t4.vips.service_count(), 3u);
}

TEST(Vips, AHostPortOfAnIpv6AgentIsNoBackendOfAnIpv4Address) {
  Table t;
  t.put(placed({.addresses = {"9.0.0.1"}, .ports = {{31000, {"198.51.100.3:80"}, PortProtocol::kTcp, PortScope::kHost}}}, "fd00::1"));
  EXPECT_EQ(t.vips.service_count(), 0u);
}

TEST(Vips, AnAddressVipInTheRangeIsNotGivenToAName) {
  Table t;
  t.put(web("a", 31000));
  ASSERT_THAT(t.backends(kWeb), SizeIs(1));
  auto d = t.put(web("b", 31001, "11.225.36.193:443"));
  EXPECT_THAT(d.remove, ElementsAre(ServiceKey{ip("11.225.36.193"), 80, Protocol::kTcp}));
  EXPECT_THAT(t.backends("11.225.36.194:80/tcp"), ElementsAre("10.0.0.1:31000=1"));
  t.end(web("b", 31001, "11.225.36.193:443"));
  EXPECT_THAT(t.backends(kWeb), SizeIs(1));
}

TEST(Vips, TheSameEndpointOfTwoTasksIsOneBackendTheRunningOne) {
  Table t;
  t.put(web("old", 31000, "/web:80", Health::kHealthy, MesosState::kKilling));
  t.put(web("young", 31000));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31000=1"));
  t.end(web("old", 31000));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31000=1"));
}

TEST(Vips, FailOpenForUnhealthyIsAChoice) {
  VipOptions open;
  open.fail_open_unhealthy = true;
  for (bool choice : {false, true}) {
    Table t(choice ? open : VipOptions{});
    t.put(web("a", 31000, "/web:80", Health::kUnhealthy));
    t.put(web("b", 31001, "/web:80", Health::kHealthy, MesosState::kKilling));
    EXPECT_THAT(t.backends(kWeb), ElementsAre(choice ? "10.0.0.1:31000=1" : "10.0.0.1:31000=0", "10.0.0.1:31001=0"));
    t.put(web("c", 31002, "/web:80", Health::kHealthy));
    EXPECT_EQ(t.backends(kWeb)[0], "10.0.0.1:31000=0") << "one healthy backend is enough";
  }
}

TEST(Vips, ProblemsAreKeptPerTaskAndGoWithIt) {
  Table t;
  Task bad = placed({.id = "bad", .addresses = {"10.0.0.1"}, .ports = {{80, {"/ok:80", "/no:70000", ":80"}}}}, "10.0.0.1");
  t.put(bad);
  EXPECT_EQ(t.vips.service_count(), 1u);
  ASSERT_THAT(t.vips.problems(), SizeIs(2));
  EXPECT_EQ(t.vips.problems()[0].field, "discovery.ports[0].labels[VIP_1]");
  t.end(bad);
  EXPECT_THAT(t.vips.problems(), IsEmpty());
}

TEST(Vips, FullRangeHarmsOnlyWhoDoesNotFit) {
  VipOptions tiny;
  tiny.named_max = IpAddress::from_v4(0x0b000001);
  Table t(tiny);
  for (int i = 0; i < 3; i++) t.put(web("t" + std::to_string(i), 31000 + i, "/n" + std::to_string(i) + ":80"));
  EXPECT_EQ(t.vips.service_count(), 2u);
  ASSERT_THAT(t.vips.problems(), SizeIs(1));
  EXPECT_NE(t.vips.problems()[0].why.find("no address left"), std::string::npos);
}

TEST(Vips, OwnViewDialsLocalContainers) {
  VipOptions mine;
  mine.own_addresses = {ip("10.0.0.1")};
  Table t(mine);
  TaskText bridge{.id = "b",
                  .addresses = {"172.17.0.2"},
                  .ports = {{31500, {"/web:80"}, PortProtocol::kTcp, PortScope::kHost}},
                  .mappings = {{Protocol::kTcp, 8080, 31500}}};
  t.put(placed(bridge, "10.0.0.1"));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("172.17.0.2:8080=1"));
  TaskText other = bridge;
  other.id = "o";
  t.put(placed(other, "10.0.0.2"));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.2:31500=1", "172.17.0.2:8080=1"));
  // The container moves: the service follows at once.
  bridge.addresses = {"172.17.0.9"};
  EXPECT_THAT(t.put(placed(bridge, "10.0.0.1")).upsert, SizeIs(1));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.2:31500=1", "172.17.0.9:8080=1"));
  // Docker's containers are not rewritten unless asked for.
  bridge.runtime = Runtime::kDocker;
  t.put(placed(bridge, "10.0.0.1"));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31500=1", "10.0.0.2:31500=1"));
}

TEST(Vips, AnotherTasksMappingChangesAService) {
  VipOptions mine;
  mine.own_addresses = {ip("10.0.0.1")};
  Table t(mine);
  // The VIP is asked for by a task on the host network, the mapping comes from another one.
  t.put(web("w", 31500));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31500=1"));
  Task mapped = placed({.id = "m", .addresses = {"172.17.0.2"}, .mappings = {{Protocol::kTcp, 80, 31500}}}, "10.0.0.1");
  EXPECT_THAT(t.put(mapped).upsert, SizeIs(1));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("172.17.0.2:80=1"));
  EXPECT_THAT(t.end(mapped).upsert, SizeIs(1));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:31500=1"));
}

TEST(Vips, UnreachableAgents) {
  Table t;
  auto on = [](const std::string& id, const std::string& address, Health health = Health::kUnknown) {
    return placed({.id = id, .addresses = {address}, .ports = {{80, {"/web:80"}}}, .health = health}, address);
  };
  t.put(on("a", "10.0.0.1"));
  t.put(on("b", "10.0.0.2"));
  EXPECT_THAT(t.vips.set_reachable(ip("10.0.0.1"), false).upsert, SizeIs(1));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:80=0", "10.0.0.2:80=1")) << "its open connections stay: it may be this master that is wrong";
  // Only a drained backend would be left: the healthy ones stay although they cannot be reached.
  t.put(on("b", "10.0.0.2", Health::kUnhealthy));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:80=1", "10.0.0.2:80=0"));
  t.vips.set_reachable(ip("10.0.0.1"), true);
  t.vips.set_reachable(ip("10.0.0.2"), false);
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:80=1", "10.0.0.2:80=0"));
  t.vips.set_reachable(ip("10.0.0.1"), false);
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.1:80=1", "10.0.0.2:80=0")) << "nothing reachable: all stay";
  EXPECT_TRUE(t.vips.set_reachable(ip("10.0.0.77"), false).empty());
  // What Mesos says goes further: its task is over, and so are its connections.
  t.end(on("a", "10.0.0.1"));
  EXPECT_THAT(t.backends(kWeb), ElementsAre("10.0.0.2:80=0"));
}

TEST(Vips, ANameMovesWhenABetterRankedOneTakesItsAddress) {
  // c0 and c199 have the same start address in a range of 254 (spec/cases/vips/name-allocation.json).
  VipOptions small;
  small.named_max = IpAddress::from_v4(0x0b0000fe);
  Table t(small);
  t.put(web("long", 31000, "c199:80"));
  EXPECT_THAT(t.backends("11.0.0.211:80/tcp"), ElementsAre("10.0.0.1:31000=1"));
  auto d = t.put(web("short", 31001, "c0:80"));
  EXPECT_THAT(d.upsert, SizeIs(2));
  EXPECT_THAT(d.remove, IsEmpty()) << "the address only changes hands";
  EXPECT_THAT(t.backends("11.0.0.211:80/tcp"), ElementsAre("10.0.0.1:31001=1"));
  EXPECT_THAT(t.backends("11.0.0.212:80/tcp"), ElementsAre("10.0.0.1:31000=1"));
}

/// One task's change touches the same number of things in a small and in a large cluster.
TEST(Vips, CostOfOneChange) {
  auto cost = [](int tasks) {
    Table t;
    auto one = [](int i, Health health) {
      std::string address = IpAddress::from_v4(0x0a000001u + uint32_t(i / 20)).text();
      return placed({.id = "t" + std::to_string(i),
                     .addresses = {address},
                     .ports = {{31000 + i % 20, {"/s" + std::to_string(i / 10) + ":80", "/s" + std::to_string(i / 10) + ":81"}}, {32000 + i % 20, {}}},
                     .health = health},
                    address);
    };
    for (int i = 0; i < tasks; i++) t.put(one(i, Health::kHealthy));
    VipWork before = t.vips.work();
    auto d = t.put(one(50, Health::kUnhealthy));
    EXPECT_THAT(d.upsert, SizeIs(2));
    t.end(one(50, Health::kUnhealthy));
    t.put(one(50, Health::kHealthy));
    VipWork after = t.vips.work();
    std::printf("%d tasks, 3 changes of one: %llu ports, %llu services, %llu backends, %llu probes\n", tasks,
                (unsigned long long)(after.ports - before.ports), (unsigned long long)(after.vips - before.vips),
                (unsigned long long)(after.backends - before.backends), (unsigned long long)(after.probes - before.probes));
    return std::tuple(after.tasks - before.tasks, after.ports - before.ports, after.vips - before.vips,
                      after.backends - before.backends, after.probes - before.probes);
  };
  EXPECT_EQ(cost(100), cost(20000));
}

TEST(Diff, AddModifyRemove) {
  std::map<int, char> want{{1, 'a'}, {2, 'x'}, {4, 'd'}}, have{{1, 'a'}, {2, 'b'}, {3, 'c'}};
  auto d = diff(want, have);
  EXPECT_THAT(d.add, ElementsAre(std::pair(4, 'd')));
  EXPECT_THAT(d.remove, ElementsAre(std::pair(3, 'c')));
  ASSERT_THAT(d.modify, SizeIs(1));
  EXPECT_EQ(d.modify[0].from, 'b');
  EXPECT_EQ(d.modify[0].to, 'x');
  EXPECT_TRUE(diff(want, want).empty());
}

}  // namespace
}  // namespace ls
