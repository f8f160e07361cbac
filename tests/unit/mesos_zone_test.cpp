// The tables of spec/mesos-dns.md 8 and the verdicts of 15, each with the smallest state that shows it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "derive/dcos_zone.h"
#include "derive/mesos_import.h"
#include "derive/mesos_masters.h"
#include "sources/mesos_state.h"
#include "state_builders.h"

namespace ls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::string number(const Record& r, size_t at) { return std::to_string(uint8_t(r.rdata[at]) << 8 | uint8_t(r.rdata[at + 1])); }

std::string text_of(const Record& r) {
  std::string out = relative_text(r.owner) + " ";
  const auto* bytes = reinterpret_cast<const uint8_t*>(r.rdata.data());
  if (r.type == RrType::kSrv)
    return out + "SRV " + number(r, 2) + " " + number(r, 4) + " " + relative_text(std::string_view(r.rdata).substr(6, r.rdata.size() - 7));
  if (r.type == RrType::kAaaa) return out + "AAAA " + IpAddress::from_bytes(bytes).text();
  return out + "A " + IpAddress::from_v4(uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 | uint32_t(bytes[2]) << 8 | bytes[3]).text();
}

/// A zone that is fed `/master/state` documents.
class World {
 public:
  explicit World(MesosZoneOptions o = {}) : zone(std::move(o)) {}

  MesosZone zone;
  std::vector<DecodeProblem> problems;
  std::multiset<std::string> table;

  void feed(const std::string& slaves, const std::string& frameworks, const std::string& more = "") {
    std::string text = R"({"leader":"master@10.0.0.1:5050","slaves":[)" + slaves + R"(],"frameworks":[)" + frameworks + "]" + more + "}";
    auto decoded = decode_mesos_state(text);
    ASSERT_TRUE(decoded) << decoded.error().text();
    problems = decoded->problems;
    say(std::move(decoded->event));
  }
  void say(Event e) { take(zone.apply(state.apply(std::move(e), clock.now()))); }
  void take(const RecordDelta& d) {
    for (auto& r : d.add) table.insert(text_of(r));
    for (auto& r : d.remove) {
      auto it = table.find(text_of(r));
      ASSERT_NE(it, table.end()) << text_of(r);
      table.erase(it);
    }
    std::multiset<std::string> full;
    for (auto& r : zone.full()) full.insert(text_of(r));
    EXPECT_EQ(full, table);
  }
  std::set<std::string> of(const std::string& owner) const {
    std::set<std::string> out;
    for (auto& l : table)
      if (l.starts_with(owner + " ")) out.insert(l.substr(owner.size() + 1));
    return out;
  }
  std::set<std::string> all() const { return {table.begin(), table.end()}; }

 private:
  ClusterState state;
  FakeClock clock;
};

const std::string kAgent = R"({"id":"X-S0","pid":"slave(1)@10.9.1.20:5051"})";
std::string framework(const std::string& tasks, const std::string& name = "marathon", const std::string& more = "") {
  return R"({"id":"F-)" + name + R"(","name":")" + name + "\"" + more + R"(,"tasks":[)" + tasks + "]}";
}
std::string task(const std::string& more, const std::string& id = "dual.1", const std::string& state = "TASK_RUNNING") {
  return R"({"id":")" + id + R"(","slave_id":"X-S0","state":")" + state + "\"," + more + "}";
}
std::string running(const std::string& addresses, double at = 1) {
  return R"({"state":"TASK_RUNNING","timestamp":)" + std::to_string(at) + R"(,"container_status":{"network_infos":[{"ip_addresses":[)" +
         addresses + "]}]}}";
}
const std::string kTen = R"("statuses":[)" + running(R"({"ip_address":"9.0.0.5"},{"ip_address":"fd01:b:0:0:0:0:0:5"})") + "]";

TEST(MesosZone, Frameworks) {
  MesosZoneOptions o;
  o.lookup = [](std::string_view host) { return host == "sched.example" ? std::vector{test::ip("10.1.1.1")} : std::vector<IpAddress>{}; };
  World w(o);
  w.feed("", framework("", "marathon", R"(,"pid":"scheduler-ab12@10.9.0.11:15101","active":false)") + "," +
                 framework("", "data/kafka", R"(,"hostname":"10.9.1.13")") + "," +
                 framework("", "Team.Big Data/spark_2", R"(,"pid":"s@[fd01::2]:2")") + "," +
                 framework("", "named", R"(,"pid":"s@Sched.Example:7")") + "," + framework("", "nowhere", R"(,"hostname":"h.invalid")") +
                 "," + framework("", "bad", R"(,"pid":"nothing","hostname":"10.9.1.14")"));
  EXPECT_THAT(w.all(), UnorderedElementsAre("marathon A 10.9.0.11", "_framework._tcp.marathon SRV 1 15101 marathon",
                                            "datakafka A 10.9.1.13", "team.bigdataspark-2 AAAA fd01::2",
                                            "_framework._tcp.team.bigdataspark-2 SRV 1 2 team.bigdataspark-2", "named A 10.1.1.1",
                                            "_framework._tcp.named SRV 1 7 named"));
  ASSERT_EQ(w.problems.size(), 1u);
  EXPECT_EQ(w.problems[0].item, "framework F-bad");
}

TEST(MesosZone, AgentsAndB1) {
  World w;
  w.feed(R"({"id":"A-S0","pid":"slave(1)@10.9.1.20:5051"},{"id":"A-S1","pid":"slave(1)@[2001:db8:9::21]:5051","active":false},)"
         R"({"id":"A-S2","hostname":"10.9.1.99"},{"id":"A-S3","pid":""},{"id":"A-S4","pid":null},{"id":"A-S5","pid":"a@b@10.0.0.1:1"})",
         "");
  EXPECT_THAT(w.all(), UnorderedElementsAre("slave A 10.9.1.20", "slave AAAA 2001:db8:9::21", "_slave._tcp SRV 1 5051 slave"));
  EXPECT_EQ(w.problems.size(), 4u);
}

TEST(MesosZone, TaskWithoutDiscovery) {
  MesosZoneOptions o;
  o.sources = {IpSource::kHost, IpSource::kNetinfo};
  World w(o);
  w.feed(kAgent, framework(task(R"("name":"legacy","resources":{"ports":"[7000-7001, 7001-7001]"})",
                                "legacy.00000006-7c1d-11e9-9a1e-70b3d5800001")));
  const std::string c = "legacy-dzqa1-s0";
  for (const std::string& owner : {std::string("legacy.marathon"), c + ".marathon", std::string("legacy.marathon.slave"), c + ".marathon.slave"})
    EXPECT_THAT(w.of(owner), ElementsAre("A 10.9.1.20")) << owner;
  for (auto* owner : {"_legacy._tcp.marathon", "_legacy._udp.marathon", "_legacy._tcp.marathon.slave", "_legacy._udp.marathon.slave"})
    EXPECT_THAT(w.of(owner), ElementsAre("SRV 1 7000 " + c + ".marathon.slave", "SRV 1 7001 " + c + ".marathon.slave")) << owner;
}

TEST(MesosZone, TaskWithDiscovery) {
  World w;
  w.feed(kAgent, framework(task(R"("name":"ignored","resources":{"ports":"[9000-9000]"},"discovery":{"name":"api.web","ports":{"ports":[
      {"number":8080,"name":"http","protocol":"TCP"},{"number":53,"protocol":""},{"number":5,"name":"日本","protocol":"sctp"},
      {"protocol":"udp"},{"number":70000,"protocol":"tcp"}]}},)" + kTen)));
  const std::string c = "api-web-hmikp-s0", raw = "api.web-hmikp-s0";
  EXPECT_THAT(w.of("api-web.marathon"), ElementsAre("A 9.0.0.5", "AAAA fd01:b::5"));
  EXPECT_THAT(w.of("api.web.marathon"), ElementsAre("A 9.0.0.5", "AAAA fd01:b::5"));
  EXPECT_THAT(w.of(raw + ".marathon.slave"), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(w.of("_api-web._tcp.marathon"),
              ElementsAre("SRV 1 53 " + c + ".marathon", "SRV 1 8080 " + c + ".marathon"));
  EXPECT_THAT(w.of("_api-web._udp.marathon"), ElementsAre("SRV 1 0 " + c + ".marathon", "SRV 1 53 " + c + ".marathon"));
  EXPECT_THAT(w.of("_http._api.web._tcp.marathon"), ElementsAre("SRV 1 8080 " + raw + ".marathon"));
  EXPECT_THAT(w.of("_api-web._sctp.marathon"), ElementsAre("SRV 1 5 " + c + ".marathon"));
  EXPECT_THAT(w.of("_api-web._udp.marathon.slave"), ElementsAre("SRV 1 9000 " + c + ".marathon.slave"));
  EXPECT_THAT(w.of("ignored.marathon"), IsEmpty());
  ASSERT_EQ(w.zone.problems().size(), 1u);
  EXPECT_THAT(w.zone.problems()[0].why, HasSubstr("70000"));
  EXPECT_EQ(w.zone.problems()[0].field, "discovery.ports[4]");
}

TEST(MesosZone, PortsWithoutDiscoveryNameAreNoDiscovery) {
  World w;
  w.feed(kAgent, framework(task(R"("name":"x","resources":{"ports":"[1-1]"},"discovery":{"name":"","ports":{"ports":[{"number":2}]}})")));
  EXPECT_THAT(w.of("_x._tcp.marathon"), ElementsAre("SRV 1 1 x-hmikp-s0.marathon.slave"));
}

TEST(MesosZone, WhichTasksCount) {
  World w;
  w.feed(kAgent, framework(task(R"("name":"a")", "1", "TASK_STAGING") + "," + task(R"("name":"b")", "2", "task_running") + "," +
                           R"({"id":"3","name":"c","slave_id":"unknown","state":"TASK_RUNNING"},)" + task(R"("name":"d")", "4", "TASK_KILLING") +
                           "," + task(R"("name":"e","statuses":[{"state":"TASK_RUNNING","timestamp":1,"healthy":false}])", "5")));
  for (auto* name : {"a", "b", "c", "d"}) EXPECT_THAT(w.of(std::string(name) + ".marathon"), IsEmpty()) << name;
  EXPECT_THAT(w.of("e.marathon"), ElementsAre("A 10.9.1.20"));  // B20
  auto list = w.zone.enumerate("mesos", true);
  ASSERT_EQ(list.size(), 1u);
  ASSERT_EQ(list[0].tasks.size(), 1u);
  EXPECT_EQ(list[0].tasks[0].id, "5");

  MesosZoneOptions o;
  o.healthy_only = true;
  World healthy(o);
  healthy.feed(kAgent, framework(task(R"("name":"e","statuses":[{"state":"TASK_RUNNING","timestamp":1,"healthy":false}])")));
  EXPECT_THAT(healthy.of("e.marathon"), IsEmpty());
}

TEST(MesosZone, AddressSources) {
  const std::string labels = R"("labels":[{"key":"Docker.NetworkSettings.IPAddress","value":"172.17.0.9"},
      {"key":"MesosContainerizer.NetworkSettings.IPAddress","value":"172.18.0.9"},{"key":"other","value":"1.1.1.1"}])";
  auto served = [&](std::vector<IpSource> sources, const std::string& statuses) {
    MesosZoneOptions o;
    o.sources = std::move(sources);
    World w(o);
    w.feed(kAgent, framework(task(R"("name":"t","statuses":[)" + statuses + "]")));
    return w.of("t.marathon");
  };
  const std::vector<IpSource> normal{IpSource::kNetinfo, IpSource::kMesos, IpSource::kHost};
  const std::string labelled = R"({"state":"TASK_RUNNING","timestamp":1,)" + labels + "}";
  EXPECT_THAT(served(normal, labelled), ElementsAre("A 172.18.0.9"));
  EXPECT_THAT(served({IpSource::kDocker, IpSource::kMesos}, labelled), ElementsAre("A 172.17.0.9"));
  EXPECT_THAT(served({IpSource::kDocker}, ""), IsEmpty());
  EXPECT_THAT(served(normal, ""), ElementsAre("A 10.9.1.20"));
  // The newest running status, and that alone.
  const std::string killing = R"({"state":"TASK_KILLING","timestamp":40,"container_status":{"network_infos":[{"ip_addresses":[{"ip_address":"9.0.0.40"}]}]}})";
  EXPECT_THAT(served(normal, running(R"({"ip_address":"9.0.0.30"})", 30) + "," + running(R"({"ip_address":"9.0.0.20"})", 20) + "," + killing),
              ElementsAre("A 9.0.0.30"));
  EXPECT_THAT(served(normal, running("", 30) + "," + running(R"({"ip_address":"9.0.0.20"})", 20)), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(served(normal, running(R"({"ip_address":"9.0.0.1"})", 5) + "," + running(R"({"ip_address":"9.0.0.2"})", 5)), ElementsAre("A 9.0.0.1"));
  EXPECT_THAT(served(normal, running(R"({"ip_address":"9.0.0.1"})", -1)), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(served(normal, R"({"state":"TASK_RUNNING","container_status":{"network_infos":[{"ip_address":"9.0.0.7"},{"ip_address":"1.1.1.1","ip_addresses":[{"ip_address":"9.0.0.8"}]}]}})"),
              ElementsAre("A 9.0.0.7", "A 9.0.0.8"));
  EXPECT_THAT(served(normal, running(R"({"ip_address":"host"},{"ip_address":"fe80::1%eth0"},{"ip_address":"010.1.1.1"},{"ip_address":"::ffff:9.1.2.3"})")),
              ElementsAre("A 9.1.2.3"));  // B37
}

TEST(MesosZone, NewestRunningStatusFollowsUpdates) {
  World w;
  w.feed(kAgent, framework(task(R"("name":"t","statuses":[)" + running(R"({"ip_address":"9.0.0.5"})", 10) + "]", "t1")));
  auto update = [&](MesosState state, double at, const char* address) {
    TaskUpdated u = test::update("F-marathon", "t1", MesosState::kRunning);
    u.addresses = {test::ip(address)};
    if (state == MesosState::kRunning) {
      u.running_at = at;
      u.running.netinfo = u.addresses;
    }
    w.say(std::move(u));
    return w.of("t.marathon");
  };
  EXPECT_THAT(update(MesosState::kRunning, 9, "9.0.0.6"), ElementsAre("A 9.0.0.5"));   // older
  EXPECT_THAT(update(MesosState::kRunning, 10, "9.0.0.7"), ElementsAre("A 9.0.0.7"));  // replaces the entry
  EXPECT_THAT(update(MesosState::kKilling, 20, "9.0.0.8"), ElementsAre("A 9.0.0.7"));  // not a running status
}

TEST(MesosZone, WrongMembersGoAlone) {  // B3, B24
  World w;
  w.feed(kAgent + R"(,7,{"pid":"slave(1)@10.9.1.21:5051"})",
         R"(3,null,{"NAME":"f","ID":"F","Tasks":[{"id":"x","name":"x","slave_id":"X-S0","state":"TASK_RUNNING","resources":{"ports":["1"]}},)"
         R"({"id":"y","name":"y","slave_id":"X-S0","state":"TASK_RUNNING","resources":{"ports":"[1-2, a-b, 5, 7-6,70000-70001]"}},)"
         R"({"id":"z","name":"z","slave_id":"X-S0","state":"TASK_RUNNING","resources":{"ports":"1-2"},"discovery":{"name":"z","ports":{"ports":[{"number":"80"},{"number":1.5},{"number":81}]}}},)"
         R"({"name":"no id","slave_id":"X-S0","state":"TASK_RUNNING"}]})");
  EXPECT_THAT(w.of("x.f"), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(w.of("_x._tcp.f"), IsEmpty());
  EXPECT_EQ(w.of("_y._tcp.f").size(), 2u);
  EXPECT_EQ(w.of("_z._tcp.f").size(), 1u);
  EXPECT_GE(w.problems.size(), 8u);
  EXPECT_THAT(w.of("slave"), ElementsAre("A 10.9.1.20"));
}

TEST(MesosState, WhatIsRejected) {
  for (std::string text : {"", "[]", "{", "7", "{}", R"({"frameworks":[]})", R"({"leader":""})", R"({"leader":7,"slaves":[]})"})
    EXPECT_FALSE(decode_mesos_state(text)) << text;
  std::string text = R"({"leader":"master@10.0.0.1:5050"})";
  EXPECT_TRUE(decode_mesos_state(text));
  // The decoder of records knows such a document by its members.
  RecordDecoder decoder;
  text = R"({"version":"1","leader":"master@10.0.0.1:5050","slaves":[{"id":"a","pid":"s@10.0.0.2:1"}],"frameworks":[]})";
  auto decoded = decoder.decode(text);
  ASSERT_TRUE(decoded);
  auto* s = std::get_if<Subscribed>(&decoded->event);
  ASSERT_TRUE(s);
  EXPECT_EQ(s->leader, "master@10.0.0.1:5050");
  EXPECT_EQ(s->snapshot.agents.size(), 1u);
  text = R"({"slaves":[],"frameworks":[]})";
  EXPECT_FALSE(decoder.decode(text));
}

TEST(MesosZone, NamesThatCannotBeServed) {  // B4, B5, B22
  World w;
  w.feed(kAgent, framework(task(R"("name":"日本","resources":{"ports":"[5-5]"})", "n9") + "," + task("\"name\":\"" + std::string(70, 'x') + "\"", "n6") + "," +
                           task(R"("name":"q","discovery":{"name":"Svc.Group_A"})", "d1") + "," + task(R"("name":"q","discovery":{"name":"a..b"})", "d2") +
                           "," + task(R"("name":"q","discovery":{"name":"my_svc"})", "d3")) +
                     "," + framework(task(R"("name":"lost")", "l1"), "日本"));
  EXPECT_THAT(w.of("-dpumm-s0.marathon"), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(w.of("_._tcp.marathon"), ElementsAre("SRV 1 5 -dpumm-s0.marathon.slave"));
  EXPECT_THAT(w.of(std::string(63, 'x') + ".marathon"), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(w.of("svc-group-a.marathon"), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(w.of("svc.group_a.marathon"), IsEmpty());
  EXPECT_THAT(w.of("a--b.marathon"), ElementsAre("A 10.9.1.20"));
  EXPECT_THAT(w.of("my_svc.marathon"), ElementsAre("A 10.9.1.20"));
  for (auto& l : w.table) {
    EXPECT_THAT(l, ::testing::Not(HasSubstr("lost"))) << l;
    EXPECT_THAT(l, ::testing::Not(HasSubstr(".."))) << l;
  }
  EXPECT_GE(w.zone.problems().size(), 4u);
}

TEST(MesosZone, ReservedNamesAndProtocols) {  // B21, B23
  const std::string discovery = R"("name":"x","discovery":{"name":"d","ports":{"ports":[{"number":9,"protocol":"udp,tcp"}]}})";
  for (bool strict : {false, true}) {
    MesosZoneOptions o;
    o.protect_reserved = o.split_protocols = strict;
    World w(o);
    w.feed(kAgent, framework("", "leader", R"(,"pid":"s@10.1.1.1:2")") + "," + framework("", "master12", R"(,"pid":"s@10.1.1.1:2")") + "," +
                       framework("", "masters", R"(,"pid":"s@10.1.1.1:2")") + "," + framework(task(discovery)));
    EXPECT_EQ(w.of("leader").empty(), strict);
    EXPECT_EQ(w.of("master12").empty(), strict);
    EXPECT_EQ(w.of("masters").size(), 1u);
    EXPECT_EQ(w.of("_d._udptcp.marathon").size(), 1u);
    EXPECT_EQ(w.of("_d._udp.marathon").size(), strict ? 1u : 0u);
    EXPECT_EQ(w.of("_d._tcp.marathon").size(), strict ? 1u : 0u);
    EXPECT_EQ(w.zone.problems().size(), 2u);
  }
}

TEST(MesosZone, Masters) {
  World w;
  auto master = [](const char* text) { return parse_master(text).value(); };
  w.take(w.zone.set_masters(master("master@10.9.0.11:5050"), {master("10.9.0.11:5050"), master("10.9.0.12:5050"), master("10.9.0.13:5050")}));
  EXPECT_THAT(w.all(), UnorderedElementsAre("leader A 10.9.0.11", "_leader._tcp SRV 1 5050 leader", "_leader._udp SRV 1 5050 leader",
                                            "master A 10.9.0.11", "master A 10.9.0.12", "master A 10.9.0.13", "master0 A 10.9.0.11",
                                            "master1 A 10.9.0.12", "master2 A 10.9.0.13"));
  // The leader is not in the list: last. An address that is there already under another port is no master of its own.
  w.take(w.zone.set_masters(master("10.9.0.11:5050"), {master("10.9.0.12:5050"), master("10.9.0.12:5051"), master("10.9.0.12:5050")}));
  EXPECT_THAT(w.of("master0"), ElementsAre("A 10.9.0.12"));
  EXPECT_THAT(w.of("master1"), ElementsAre("A 10.9.0.11"));
  EXPECT_THAT(w.of("master2"), IsEmpty());
  // The leader is lost: its records stay.
  w.take(w.zone.set_masters(std::nullopt, {master("10.9.0.12:5050")}));
  EXPECT_THAT(w.of("leader"), ElementsAre("A 10.9.0.11"));
  auto order = ordered_masters(master("10.0.0.9:1"), {master("10.0.0.20:1"), master("10.0.0.3:1"), master("10.0.0.9:1")});
  EXPECT_THAT(order, ElementsAre(master("10.0.0.9:1"), master("10.0.0.3:1"), master("10.0.0.20:1")));  // B32
  for (auto* bad : {"", "a", "a:", "a:0", "a:70000", "fd01::1:5050", ":5050", "master@"}) EXPECT_FALSE(parse_master(bad)) << bad;
}

TEST(MesosZone, HostNamesThatChange) {  // B2, B9
  std::map<std::string, std::vector<IpAddress>, std::less<>> known;
  MesosZoneOptions o;
  o.server_name = "ns1";
  o.lookup = [&](std::string_view host) {
    auto it = known.find(host);
    return it == known.end() ? std::vector<IpAddress>{} : it->second;
  };
  World w(o);
  w.feed(R"({"id":"X-S0","pid":"slave(1)@Agent.example:5051"})", framework(task(R"("name":"t","resources":{"ports":"[5-5]"})")));
  w.take(w.zone.set_masters(parse_master("m.example:5050"), {*parse_master("n.example:5050"), *parse_master("m.example:5050")}));
  w.take(w.zone.set_own_addresses({test::ip("10.0.0.7"), test::ip("fd01::7")}));
  EXPECT_THAT(w.of("ns1"), ElementsAre("A 10.0.0.7", "AAAA fd01::7"));
  EXPECT_THAT(w.of("t.marathon"), IsEmpty());
  EXPECT_EQ(w.of("_t._tcp.marathon").size(), 1u);  // its target may dangle
  known = {{"agent.example", {test::ip("10.0.0.5")}}, {"m.example", {test::ip("10.0.0.1")}}};
  w.take(w.zone.host_changed("agent.example"));
  w.take(w.zone.host_changed("m.example"));
  EXPECT_THAT(w.of("t.marathon"), ElementsAre("A 10.0.0.5"));
  EXPECT_THAT(w.of("t.marathon.slave"), ElementsAre("A 10.0.0.5"));
  EXPECT_THAT(w.of("slave"), ElementsAre("A 10.0.0.5"));
  EXPECT_THAT(w.of("master1"), ElementsAre("A 10.0.0.1"));  // n.example keeps its number
  known.clear();
  w.take(w.zone.host_changed("agent.example"));
  EXPECT_THAT(w.of("t.marathon"), IsEmpty());
}

TEST(MesosZone, OriginsNameTaskAndRow) {
  World w;
  w.feed(kAgent, framework(task(R"("name":"t","resources":{"ports":"[5-5]"})")));
  auto origins = [&](const char* name) { return w.zone.origins(relative_name(name).value()); };
  EXPECT_THAT(origins("t.marathon"), ElementsAre("task dual.1 of marathon: name t, row 1"));
  EXPECT_THAT(origins("_t._tcp.marathon"), ElementsAre("task dual.1 of marathon: name t, row 6"));
  EXPECT_THAT(origins("slave"), ElementsAre("agent X-S0: rule G"));
  EXPECT_THAT(origins("u.marathon"), IsEmpty());
}

TEST(MesosImport, BadEntriesGoAlone) {
  auto zone = import_mesos_zone(R"({"Domain":"Mesos.","Records":{"As":{"a.mesos.":["10.0.0.1","fd01::1",7,"x"],"b.other.":["10.0.0.2"],
      "c.mesos.":"10.0.0.3",".mesos.":["10.0.0.4"]},"AAAAs":7,"SRVs":{"_s._tcp.mesos.":["a.mesos.:80","a.mesos.:0","a.mesos.","a.other.:80","a.mesos.:70000"]}}})");
  ASSERT_TRUE(zone);
  ASSERT_EQ(zone->records.size(), 2u);
  EXPECT_EQ(zone->problem_count, 11u);
  for (auto* bad : {"", "[]", "{}", R"({"Domain":7})", R"({"Domain":"a..b"})"}) EXPECT_FALSE(import_mesos_zone(bad)) << bad;
}

TEST(DcosZone, AddressOfARunningTaskIsFollowed) {
  Task before = test::placed({.id = "app", .addresses = {"9.0.0.1"}}, "10.0.0.1");
  Task after = test::placed({.id = "app", .addresses = {"9.0.0.2"}}, "10.0.0.1");
  StateDelta delta;
  delta.tasks.push_back({std::make_shared<const Task>(before), std::make_shared<const Task>(after)});
  RecordDelta d = dcos_records(delta);
  EXPECT_EQ(d.add.size(), 2u);  // containerip and autoip
  EXPECT_EQ(d.remove.size(), 2u);
}

TEST(DcosZone, NodeAndServiceNames) {
  Service s;
  s.key.address = test::ip("11.0.0.1");
  s.name = "web.marathon";
  ASSERT_EQ(l4lb_records(s).size(), 1u);
  EXPECT_EQ(relative_text(l4lb_records(s)[0].owner), "web.marathon");
  s.name = ".marathon";
  EXPECT_TRUE(l4lb_records(s).empty());
  EXPECT_EQ(thisnode_records(test::ip("10.0.0.1"), std::vector{test::ip("1.2.3.4")}).size(), 2u);
  EXPECT_EQ(dcos_master_records({test::ip("10.0.0.1")}, std::vector{test::ip("10.0.0.1"), test::ip("10.0.0.2")}).size(), 3u);
  EXPECT_TRUE(zk_records({}).empty());
}

}  // namespace
}  // namespace ls
