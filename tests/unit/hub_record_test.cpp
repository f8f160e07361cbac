// Records of the hub: every field survives, odd text too, and what is no record is refused with the key that is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "hub/record.h"
#include "state_builders.h"

namespace ls::hub {
namespace {

Result<std::optional<Record>> read(const std::string& text) {
  std::string padded = text + std::string(64, '\0');
  return decode({padded.data(), text.size()}, padded.size());
}
template <class T>
T round(const T& value) {
  auto back = read(encode(value));
  EXPECT_TRUE(back) << back.error().text() << "\n" << encode(value);
  return std::get<T>(**back);
}

/// Every octet, broken and correct UTF-8, the mark itself.
const std::string kOdd = [] {
  std::string s = "\xef\xa3\xbf--\xef\xa3\xbf" "41\xed\xa0\x80\xf5\xc0\xaf\xe6\x97\xa5\xf0\x9f\x98\x80\\\"/";
  for (int c = 0; c < 256; c++) s += char(c);
  return s + "\xe6\x97";
}();

std::shared_ptr<TaskSpec> full_spec() {
  auto s = std::make_shared<TaskSpec>();
  s->name = "svc" + kOdd;
  s->task_name = "";
  s->discovered = s->renamed = s->health_check = true;
  s->mappings_from_status = false;
  s->runtime = Runtime::kDocker;
  s->ports = {{std::numeric_limits<int64_t>::min(), 65535, PortProtocol::kOther, PortScope::kInvalid, true, SharedText("udp," + kOdd), "", {{"VIP_0", kOdd}, {"", ""}}},
              {std::numeric_limits<int64_t>::max(), 0, PortProtocol::kUdp, PortScope::kHost, false, {}, "p", {}},
              {-1, 1, PortProtocol::kOther, PortScope::kNone, false, SharedText("x"), "q", {}}};
  s->mappings = {{Protocol::kUdp, 65535, 1}, {Protocol::kTcp, 0, 0}};
  s->port_resources = {{0, std::numeric_limits<uint64_t>::max()}, {31000, 32000}};
  s->vip_labels = {{"vip_port0", "/a:80"}};
  return s;
}

Task full_task() {
  Task t;
  t.framework_id = SharedText("F" + kOdd);
  t.agent_id = SharedText("A");
  t.id = kOdd;
  t.copy = 65535;
  t.spec = full_spec();
  t.addresses = {test::ip("9.0.0.1"), test::ip("fd01::1"), IpAddress()};
  t.status_mappings = {{Protocol::kTcp, 1, 65535}};
  t.state = MesosState::kUnreachable;
  t.health = Health::kUnhealthy;
  t.running_at = 1700000000.1234567;
  t.running = std::make_shared<const RunningAddresses>(RunningAddresses{{test::ip("1.2.3.4")}, {}, {test::ip("::1"), test::ip("0.0.0.0")}});
  t.agent_address = test::ip("10.0.0.1");
  t.framework_known = true;
  t.framework_name = SharedText(kOdd);
  return t;
}

void expect_same(const Task& a, const Task& b) {
  EXPECT_EQ(a.framework_id, b.framework_id);
  EXPECT_EQ(a.agent_id, b.agent_id);
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.copy, b.copy);
  EXPECT_EQ(*a.spec, *b.spec);
  EXPECT_EQ(a.addresses, b.addresses);
  EXPECT_EQ(a.status_mappings, b.status_mappings);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.health, b.health);
  EXPECT_EQ(a.running_at, b.running_at);
  ASSERT_EQ(!a.running, !b.running);
  if (a.running) {
    EXPECT_EQ(*a.running, *b.running);
  }
  EXPECT_EQ(a.agent_address, b.agent_address);
  EXPECT_EQ(a.framework_known, b.framework_known);
  EXPECT_EQ(a.framework_name, b.framework_name);
}

TEST(HubRecord, EveryFieldOfATaskSurvives) {
  Image image;
  image.seq = std::numeric_limits<uint64_t>::max();
  std::vector<Task> tasks{full_task(), Task(), full_task()};
  tasks[1].id = "plain";
  tasks[2].framework_known = false;  // a name without being known
  tasks[2].running = nullptr;
  for (int i = 0; i < 15; i++) {  // each optional field alone
    Task t;
    t.id = "t" + std::to_string(i);
    t.framework_id = SharedText("F");
    t.agent_id = SharedText(i % 2 ? "A" : "B");
    t.state = MesosState(i);
    if (i == 0) t.health = Health::kHealthy;
    if (i == 1) t.running_at = 0;
    if (i == 2) t.copy = 1;
    if (i == 3) t.addresses = {test::ip("9.0.0.1")};
    if (i == 4) t.status_mappings = {{Protocol::kTcp, 1, 2}};
    if (i == 5) t.running = std::make_shared<const RunningAddresses>();
    if (i == 6) t.agent_address = test::ip("10.0.0.7");
    if (i == 7) t.framework_known = true;
    if (i == 8) t.framework_name = SharedText("n");
    if (i == 9) t.running_at = -5e-324;
    if (i == 10) t.running_at = 1e308;
    tasks.push_back(t);
  }
  auto odd = std::make_shared<TaskSpec>();
  odd->task_name = "not renamed, and yet there";
  tasks.back().spec = odd;
  for (auto& t : tasks) image.tasks.push_back(std::make_shared<const Task>(t));
  image.agents = {{{SharedText("A"), kOdd, "slave(1)@10.0.0.1:5051"}, test::ip("10.0.0.1"), false}, {{SharedText("B"), "", ""}, {}, false}};
  image.recovered = {SharedText("C"), SharedText("A")};
  image.frameworks = {{SharedText("F"), SharedText(kOdd), "h", "s@1.2.3.4:5"}, {SharedText("G"), SharedText(), "", ""}};
  auto back = round(image);
  EXPECT_EQ(back.seq, image.seq);
  ASSERT_EQ(back.tasks.size(), tasks.size());
  for (size_t i = 0; i < tasks.size(); i++) {
    SCOPED_TRACE(i);
    expect_same(*back.tasks[i], tasks[i]);
  }
  EXPECT_EQ(back.tasks[0]->spec, back.tasks[2]->spec);  // one object for equal descriptions
  ASSERT_EQ(back.agents.size(), 2u);
  for (size_t i = 0; i < 2; i++) {
    EXPECT_EQ(back.agents[i].agent, image.agents[i].agent);
    EXPECT_EQ(back.agents[i].address, image.agents[i].address);
  }
  EXPECT_EQ(back.recovered, image.recovered);
  EXPECT_EQ(back.frameworks, image.frameworks);
}

TEST(HubRecord, NumbersThatJsonCannotHold) {
  Image image;
  for (double d : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), std::nan("")}) {
    Task t;
    t.id = "t";
    t.running_at = d;
    image.tasks.push_back(std::make_shared<const Task>(t));
  }
  auto back = round(image);
  EXPECT_EQ(back.tasks[0]->running_at, std::numeric_limits<double>::max());
  EXPECT_EQ(back.tasks[1]->running_at, -std::numeric_limits<double>::max());
  EXPECT_EQ(back.tasks[2]->running_at, -1);
}

TEST(HubRecord, ChangesSurvive) {
  Changes c{.first = 7, .last = 12, .received_us = -3, .agents = {}, .frameworks = {}, .tasks = {}, .recovered = {}};
  c.agents = {{{SharedText("A"), "h", "p"}, test::ip("fd00::1"), false}, {{SharedText("B"), "", ""}, {}, true}};
  c.frameworks = {{{SharedText("F"), SharedText("n"), "", "p"}, false}, {{SharedText("G"), {}, "", ""}, true}};
  c.recovered = {{SharedText("A"), false}, {SharedText("C"), true}};
  auto t = std::make_shared<const Task>(full_task());
  c.tasks = {{nullptr, t, false}, {nullptr, t, true}, {nullptr, t, false}};
  auto back = round(c);
  EXPECT_EQ(std::tie(back.first, back.last, back.received_us), std::tie(c.first, c.last, c.received_us));
  ASSERT_EQ(back.agents.size(), 2u);
  EXPECT_EQ(back.agents[0].agent, c.agents[0].agent);
  EXPECT_TRUE(back.agents[1].removed);
  EXPECT_EQ(back.agents[1].agent.id.view(), "B");
  ASSERT_EQ(back.frameworks.size(), 2u);
  EXPECT_EQ(back.frameworks[0].framework, c.frameworks[0].framework);
  EXPECT_TRUE(back.frameworks[1].removed);
  ASSERT_EQ(back.recovered.size(), 2u);
  EXPECT_FALSE(back.recovered[0].waited_for);
  ASSERT_EQ(back.tasks.size(), 3u);
  expect_same(*back.tasks[0].after, *t);
  EXPECT_TRUE(back.tasks[1].removed);
  EXPECT_EQ(back.tasks[1].after->id, t->id);
  EXPECT_EQ(back.tasks[1].after->framework_id, t->framework_id);
  EXPECT_EQ(back.tasks[1].after->copy, t->copy);
}

TEST(HubRecord, HelloAndBeatSurvive) {
  Hello h{.format = 1, .at = {"0123456789abcdef", 42}, .snapshot = false, .heartbeat_ms = 5000, .clock_us = 1234567890123, .version = "0.1.0", .source = {}};
  h.source = {true, true, 17, "10.0.0.1:5050", {"10.0.0.1:5050", "m2:5050"}, {test::ip("10.0.0.9"), test::ip("fd01::9")}};
  auto back = round(h);
  EXPECT_EQ(back.at, h.at);
  EXPECT_EQ(back.source, h.source);
  EXPECT_EQ(std::tie(back.format, back.snapshot, back.heartbeat_ms, back.clock_us, back.version),
            std::tie(h.format, h.snapshot, h.heartbeat_ms, h.clock_us, h.version));
  auto beat = round(Beat{.seq = 5, .clock_us = 6, .source = h.source});
  EXPECT_EQ(beat.seq, 5u);
  EXPECT_EQ(beat.clock_us, 6);
  EXPECT_EQ(beat.source, h.source);
}

TEST(HubRecord, WhatALaterVersionSaysIsSkipped) {
  auto later = read(R"({"t":"weather","sky":[1,{"a":[]}]})");
  ASSERT_TRUE(later) << later.error().text();
  EXPECT_FALSE(*later);
  auto image = read(R"({"t":"snapshot","more":{"x":[[]]},"seq":1,"agents":[["A","h","p","10.0.0.1",{"new":1}]],)"
                    R"("tasks":[["t",["F","n",true,9],["A","10.0.0.1",8],{"n":"x","zz":[1]},2,1,1.5,0,["9.0.0.1"],[[6,1,2,3]],[[],[],[],4],"new"]]})");
  ASSERT_TRUE(image) << image.error().text();
  auto& task = *std::get<Image>(**image).tasks.at(0);
  EXPECT_EQ(task.framework_name.view(), "n");
  EXPECT_EQ(task.status_mappings.size(), 1u);
}

TEST(HubRecord, ErrorsNameTheKey) {
  auto refused = [](const std::string& text, const char* with) {
    auto r = read(text);
    EXPECT_FALSE(r) << text;
    if (!r) {
      EXPECT_THAT(r.error().text(), testing::HasSubstr(with)) << text;
    }
  };
  refused("", "read a record of a hub");
  refused("[]", "is not an object");
  refused("{}", "t is missing");
  refused(R"({"t":"snapshot"})", "seq is missing");
  refused(R"({"t":"snapshot","seq":-1})", "seq");
  refused(R"({"t":"snapshot","seq":1.5})", "seq");
  refused(R"({"t":"snapshot","seq":1} 2)", "read a record");
  refused(R"({"t":"snapshot","seq":1,"tasks":[["t",0,["A"],{},2]]})", "tasks[0]: refers to number 0 of 0");
  refused(R"({"t":"snapshot","seq":1,"tasks":[["t",["F"],["A"],{},2],["u",0,0,1,2]]})", "tasks[1]: refers to number 1 of 1");
  refused(R"({"t":"snapshot","seq":1,"tasks":[["t",["F"],["A"],{},99]]})", "99 is above 14");
  refused(R"({"t":"snapshot","seq":1,"tasks":[["t",["F"],["A"],{}]]})", "tasks[0]: has 4 elements");
  refused(R"({"t":"snapshot","seq":1,"tasks":[[null,"t","F"]]})", "gone");
  refused(R"({"t":"snapshot","seq":1,"tasks":[["t",["F"],["A","10.0.0.300"],{},2]]})", "no address");
  refused(R"({"t":"snapshot","seq":1,"tasks":[["t",["F"],["A"],{"m":[[7,1,1]]},2]]})", "7 is no protocol");
  refused(R"({"t":"snapshot","seq":1,"tasks":[["t",["F"],["A"],{"m":[[6,70000,1]]},2]]})", "70000 is above 65535");
  refused(R"({"t":"snapshot","seq":1,"agents":[["A"]]})", "agents[0]: has 1 elements");
  refused(R"({"t":"snapshot","seq":1,"agents":{}})", "agents: is not a list");
  refused("{\"t\":\"beat\",\"seq\":1,\"us\":1,\"source\":{\"leader\":\"\xef\xa3\xbfzz\"}}", "U+F8FF");
  refused(R"({"t":"changes","first":5,"last":4,"us":1})", "before");
  refused(R"({"t":"changes","first":0,"last":4,"us":1})", "first");
  refused(R"({"t":"hello","format":1,"run":"","seq":0,"us":0})", "run");
  refused("{\"t\":\"beat\",\"seq\":1,\"us\":1,\"x\":\"\xff\"}", "UTF-8");
  EXPECT_FALSE(decode("{}", 2));  // no padding
}

/// Cut anywhere, a record is refused.
TEST(HubRecord, ATornRecordIsRefused) {
  Image image;
  image.seq = 3;
  image.tasks = {std::make_shared<const Task>(full_task())};
  image.agents = {{{SharedText("A"), "h", "p"}, test::ip("10.0.0.1"), false}};
  auto whole = encode(image);
  for (size_t n = 0; n < whole.size(); n++) EXPECT_FALSE(read(whole.substr(0, n))) << n;
}

}  // namespace
}  // namespace ls::hub
