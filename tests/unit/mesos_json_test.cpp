// The decoder: every field it reads, what it does with rubbish, and how much memory a large snapshot takes.
#include "sources/mesos_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "state/cluster_state.h"

namespace ls {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kTask = R"({"type":"TASK_ADDED","task_added":{"task":{
  "name":"app","task_id":{"value":"t1"},"framework_id":{"value":"F"},"agent_id":{"value":"A"},"state":"TASK_RUNNING",
  "health_check":{"type":"HTTP"},
  "discovery":{"visibility":"FRAMEWORK","name":"disco","ports":{"ports":[
    {"number":31001,"name":"http","protocol":"TCP","labels":{"labels":[
       {"key":"VIP_0","value":"/web:80"},{"key":"vip_x","value":"a:1"},{"key":"Vip_1","value":"no:1"},{"key":"VIP_2"},{"key":"network-scope","value":"host"}]}},
    {"number":70000,"protocol":"udp,tcp","labels":{"labels":[{"key":"VIP_0","value":"/big:1"}]}},
    {"number":4294967295}]}},
  "labels":{"labels":[{"key":"vip_PORT0","value":"tcp://u:53"},{"key":"team","value":"x"}]},
  "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},
    {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":9000,"end":9001},{"begin":"9500","end":9500}]}},
    {"type":"SCALAR","scalar":{"value":77.0},"name":"ports"}],
  "container":{"type":"DOCKER","docker":{"port_mappings":[{"host_port":31001,"container_port":80,"protocol":"tcp"}]},
               "network_infos":[{"port_mappings":[{"host_port":1,"container_port":2,"protocol":"tcp"}]}]},
  "statuses":[
    {"state":"TASK_RUNNING","timestamp":300.5,"healthy":true,"container_status":{"network_infos":[{"ip_addresses":[
        {"protocol":"IPv4","ip_address":"9.0.1.5"},{"ip_address":"9.0.1.300"},{"ip_address":"fd01:c::2/64"}]}]}},
    {"state":"TASK_STARTING","timestamp":100,"healthy":false,"container_status":{"network_infos":[{"ip_addresses":[{"ip_address":"9.9.9.9"}]}]}}],
  "future":{"deep":[1,{"x":null}]}}}})";

Decoded decode(std::string text) {
  RecordDecoder decoder;
  auto d = decoder.decode(text);
  EXPECT_TRUE(d.has_value()) << d.error().text();
  return d ? std::move(*d) : Decoded{UnknownEvent{}, {}};
}

TEST(MesosJson, EveryFieldOfATask) {
  Decoded d = decode(kTask);
  EXPECT_THAT(d.problems, IsEmpty());
  const Task& t = std::get<TaskAdded>(d.event).task;
  EXPECT_EQ(t.id, "t1");
  EXPECT_EQ(t.framework_id.view(), "F");
  EXPECT_EQ(t.agent_id.view(), "A");
  EXPECT_EQ(t.spec->name, "disco");
  EXPECT_EQ(t.state, MesosState::kRunning);
  EXPECT_EQ(t.health, Health::kHealthy);
  EXPECT_TRUE(t.spec->health_check);
  EXPECT_EQ(t.spec->runtime, Runtime::kDocker);
  EXPECT_THAT(t.spec->mappings, ElementsAre(PortMapping{Protocol::kTcp, 80, 31001}));
  EXPECT_THAT(t.addresses, ElementsAre(*IpAddress::parse("9.0.1.5"), *IpAddress::parse("fd01:c::2")));
  EXPECT_THAT(t.spec->port_resources, ElementsAre(PortRange{9000, 9001}, PortRange{9500, 9500}, PortRange{77, 77}));
  EXPECT_THAT(t.spec->vip_labels, ElementsAre(VipLabel{"vip_PORT0", "tcp://u:53"}));
  ASSERT_THAT(t.spec->ports, SizeIs(3));
  EXPECT_EQ(t.spec->ports[0].protocol, PortProtocol::kTcp);
  EXPECT_EQ(t.spec->ports[0].scope, PortScope::kHost);
  EXPECT_THAT(t.spec->ports[0].vips, ElementsAre(VipLabel{"VIP_0", "/web:80"}, VipLabel{"vip_x", "a:1"}));
  EXPECT_EQ(t.spec->ports[1].number, 70000);
  EXPECT_EQ(t.spec->ports[1].protocol, PortProtocol::kOther);
  EXPECT_EQ(t.spec->ports[1].name, "default");
  EXPECT_EQ(t.spec->ports[2].number, 4294967295);
  EXPECT_EQ(t.spec->ports[2].protocol, PortProtocol::kMissing);
}

TEST(MesosJson, AddressesOfAnOlderStatusWhenTheNewestHasNone) {
  Decoded d = decode(R"({"task_added":{"task":{"task_id":{"value":"t"},"framework_id":{"value":"F"},"agent_id":{"value":"A"},
    "statuses":[{"state":"TASK_RUNNING","timestamp":1,"container_status":{"network_infos":[{"ip_addresses":[{"ip_address":"9.0.0.1"}]}]}},
                {"state":"TASK_KILLING","timestamp":2}]}}})");
  const Task& t = std::get<TaskAdded>(d.event).task;
  EXPECT_EQ(t.state, MesosState::kKilling);
  EXPECT_THAT(t.addresses, ElementsAre(*IpAddress::parse("9.0.0.1")));
}

TEST(MesosJson, EachKindOfEvent) {
  auto is = [](const char* text, auto type) { return std::holds_alternative<decltype(type)>(decode(text).event); };
  EXPECT_TRUE(is(R"({"type":"HEARTBEAT"})", Heartbeat{}));
  EXPECT_TRUE(is(R"({"type":"NEW_THING","new_thing":{"a":[]}})", UnknownEvent{}));
  EXPECT_TRUE(is(R"({"type":"AGENT_REMOVED","agent_removed":{"agent_id":{"value":"A"}}})", AgentRemoved{}));
  EXPECT_TRUE(is(R"({"framework_removed":{"framework_info":{"id":{"value":"F"}}},"type":"FRAMEWORK_REMOVED"})", FrameworkRemoved{}));
  auto added = std::get<FrameworkAdded>(decode(R"({"type":"FRAMEWORK_UPDATED","framework_updated":{"framework":{
    "framework_info":{"name":"m","id":{"value":"F"}},"active":true}}})").event);
  EXPECT_EQ(added.framework.name.view(), "m");
  auto agent = std::get<AgentAdded>(decode(R"({"type":"AGENT_ADDED","agent_added":{"agent":{"pid":"slave(1)@10.0.0.1:5051",
    "agent_info":{"hostname":"h","id":{"value":"A"}}}}})").event);
  EXPECT_EQ(agent.agent.pid, "slave(1)@10.0.0.1:5051");
  EXPECT_EQ(agent.agent.hostname, "h");
  auto update = std::get<TaskUpdated>(decode(R"({"type":"TASK_UPDATED","task_updated":{"framework_id":{"value":"F"},
    "status":{"task_id":{"value":"t"},"agent_id":{"value":"A"},"state":"TASK_RUNNING","healthy":true},"state":"TASK_KILLING"}})").event);
  EXPECT_EQ(update.state, MesosState::kKilling);
  EXPECT_EQ(update.healthy, true);
}

TEST(MesosJson, HeartbeatInterval) {
  auto interval = [](const std::string& value) {
    return std::get<Subscribed>(decode(R"({"type":"SUBSCRIBED","subscribed":{)" + value + "}}").event).heartbeat;
  };
  EXPECT_EQ(interval(R"("heartbeat_interval_seconds":2.5)"), Millis(2500));
  EXPECT_EQ(interval(""), Millis(15000));
  EXPECT_EQ(interval(R"("heartbeat_interval_seconds":0)"), Millis(15000));
  EXPECT_EQ(interval(R"("heartbeat_interval_seconds":1e300)"), Millis(15000));
}

TEST(MesosJson, BareStateAndTheAgentsForm) {
  auto d = decode(R"({"get_state":{"get_tasks":{"launched_tasks":[
    {"task_id":{"value":"t"},"framework_id":{"value":"F"},"agent_id":{"value":"A"},"state":"TASK_RUNNING"}]}}})");
  EXPECT_THAT(std::get<Subscribed>(d.event).snapshot.tasks, SizeIs(1));
  d = decode(R"({"type":"GET_STATE","get_state":{"get_tasks":{"launched_tasks":[{"task_id":{"value":"x"}}],"tasks":[
    {"task_id":{"value":"t"},"framework_id":{"value":"F"},"agent_id":{"value":"A"}}],"completed_tasks":[{"a":1}]},
    "get_agents":{"recovered_agents":[{"id":{"value":"R"},"hostname":"h"}]}}})");
  auto& s = std::get<Subscribed>(d.event).snapshot;
  EXPECT_THAT(s.tasks, SizeIs(1));
  EXPECT_THAT(s.recovered_agents, SizeIs(1));
}

TEST(MesosJson, OneUnreadableThingHarmsNoOther) {
  auto d = decode(R"({"type":"SUBSCRIBED","subscribed":{"get_state":{"get_agents":{"agents":[{"agent_info":{}},7,
      {"agent_info":{"id":{"value":"A"},"hostname":17}}]},
    "get_tasks":{"tasks":[
      "text",
      {"task_id":{"value":"noframework"},"agent_id":{"value":"A"}},
      {"task_id":{"value":"odd"},"framework_id":{"value":"F"},"agent_id":{"value":"A"},"state":9,"statuses":{"a":1},
       "discovery":{"ports":{"ports":[{"number":"x","protocol":"tcp","labels":{"labels":[{"key":"VIP_0","value":"/a:1"}]}},
                                      {"number":1e999,"protocol":[]},{"number":80,"protocol":"tcp"}]}}},
      {"task_id":{"value":"good"},"framework_id":{"value":"F"},"agent_id":{"value":"A"},"state":"TASK_RUNNING"}]}}}})");
  auto& s = std::get<Subscribed>(d.event).snapshot;
  ASSERT_THAT(s.tasks, SizeIs(2));
  EXPECT_EQ(s.tasks[0].id, "odd");
  EXPECT_EQ(s.tasks[0].spec->ports.back().number, 80);
  EXPECT_EQ(s.tasks[1].id, "good");
  ASSERT_THAT(s.agents, SizeIs(1));
  bool named = false;
  for (auto& p : d.problems)
    named = named || (p.item == "task F/odd" && p.field.find("discovery.ports[0].number") != std::string::npos);
  EXPECT_TRUE(named) << "the problem names the task and the field";
  EXPECT_GE(d.problem_count, 5u);
}

TEST(MesosJson, ATenantsBrokenBytesDoNotHideTheCluster) {
  std::string text = kTask;
  text.replace(text.find("/web:80"), 4, "/w\xff\xc3");
  text.replace(text.find("team"), 4, "te\x01m");
  EXPECT_EQ(std::get<TaskAdded>(decode(text).event).task.spec->ports[0].vips[0].value, "/w??:80");
}

TEST(MesosJson, NoPaddingIsRefused) {
  char text[] = "{}";
  RecordDecoder decoder;
  EXPECT_FALSE(decoder.decode(text, 2, 3));
  EXPECT_FALSE(decoder.decode(text, 0, kJsonPadding - 1));
}

TEST(MesosJson, NotAnObject) {
  RecordDecoder decoder;
  for (std::string text : {"", "[]", "17", "{", "{\"type\":", "nul", "\"x\""}) EXPECT_FALSE(decoder.decode(text)) << text;
  std::string good = kTask;
  EXPECT_TRUE(decoder.decode(good)) << "the decoder is usable after an error";
}

/// Whatever is cut off or changed: an answer or an error, never a crash, and the next record is read.
TEST(MesosJson, CutAndMutatedRecords) {
  RecordDecoder decoder;
  std::string whole = kTask;
  ClusterState state;
  size_t decoded = 0;
  auto feed = [&](std::string text) {
    auto d = decoder.decode(text);
    if (!d) return;
    decoded++;
    state.apply(std::move(d->event), Instant{});
  };
  for (size_t cut = 0; cut < whole.size(); cut++) feed(whole.substr(0, cut));
  std::mt19937 random(1);
  for (int i = 0; i < 20000; i++) {
    std::string text = whole;
    for (int k = int(random() % 4); k >= 0; k--) {
      static const char kBytes[] = "{}[]\",:0e-\\u\xff\n";
      text[random() % text.size()] = random() % 2 ? kBytes[random() % (sizeof kBytes - 1)] : char(random());
    }
    feed(std::move(text));
  }
  EXPECT_GT(decoded, 1000u);
}

TEST(MesosJson, Recordings) {
  std::filesystem::path folder = std::string(LS_SHARED_DIR) + "/spec/captures/standalone";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no recordings: 1 test skipped";
  RecordDecoder decoder;
  size_t read = 0;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.path().string().ends_with(".get_state.json")) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::string whole(std::istreambuf_iterator<char>(in), {});
    std::mt19937 random(unsigned(whole.size()));
    for (int i = 0; i < 200; i++) {
      std::string text = whole.substr(0, i == 0 ? whole.size() : random() % whole.size());
      auto d = decoder.decode(text);
      if (i == 0) {
        ASSERT_TRUE(d) << entry.path();
        EXPECT_THAT(d->problems, IsEmpty());
      }
    }
    read++;
  }
  EXPECT_GT(read, 10u);
}

/// 100,000 tasks as the recordings have them; prints what one takes, and fails if it grows out of proportion.
TEST(MesosJson, LargeSnapshot) {
  constexpr size_t kTasks = 100000;
  std::string text = R"({"type":"SUBSCRIBED","subscribed":{"get_state":{"get_agents":{"agents":[)";
  for (int i = 0; i < 1000; i++)
    text += (i ? "," : "") + std::string(R"({"agent_info":{"hostname":"10.0.0.1","id":{"value":"9cbdd4a2-2ec7-4783-b158-be1b49ac1dbb-S)") +
            std::to_string(i) + R"("}},"pid":"slave(1)@10.0.0.1:5051"})";
  text += R"(]},"get_frameworks":{"frameworks":[{"framework_info":{"name":"marathon","id":{"value":"9cbdd4a2-2ec7-4783-b158-be1b49ac1dbb-0000"}}}]},"get_tasks":{"tasks":[)";
  const std::string status = R"({"task_id":{"value":"x"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","agent_id":{"value":"S"},"executor_id":{"value":"e"},"timestamp":1795365737.4,"uuid":"0yX0Fvd2RYqKXl0XhZcFYQ==","container_status":{"container_id":{"value":"a2c1ffae-8b3c-44f5-8f0e-1f62c8a2dbd8"},"network_infos":[{"ip_addresses":[{"protocol":"IPv4","ip_address":"10.0.0.1"}]}]}})";
  const std::string labels = R"("labels":{"labels":[{"key":"owner","value":"somebody in some team who likes long labels"},{"key":"build","value":"0123456789abcdef0123456789abcdef"}]})";
  for (size_t i = 0; i < kTasks; i++) {
    std::string n = std::to_string(i);
    text += (i ? "," : "") + std::string(R"({"name":"service-)") + n + R"(","task_id":{"value":"service-)" + n +
            R"(.5b3a9c1e-aa55-11ee-8c90-0242ac120002"},"framework_id":{"value":"9cbdd4a2-2ec7-4783-b158-be1b49ac1dbb-0000"},"agent_id":{"value":"9cbdd4a2-2ec7-4783-b158-be1b49ac1dbb-S)" +
            std::to_string(i % 1000) + R"("},"state":"TASK_RUNNING","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"role":"*"},{"name":"mem","type":"SCALAR","scalar":{"value":32.0},"role":"*"},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":31000}]},"role":"*"}],"statuses":[)" +
            status + "," + status + R"(],)" + labels + R"(,"discovery":{"visibility":"FRAMEWORK","name":"service-)" + n +
            R"(","ports":{"ports":[{"number":31000,"name":"http","protocol":"tcp","labels":{"labels":[{"key":"VIP_0","value":"/service-)" +
            std::to_string(i % 5000) + R"(:80"}]}}]}},"container":{"type":"MESOS"}})";
  }
  text += "]}}}}";
  RecordDecoder decoder;
  auto d = decoder.decode(text);
  ASSERT_TRUE(d);
  EXPECT_EQ(d->problem_count, 0u);
  size_t text_bytes = text.size();
  text = std::string();
  ClusterState state;
  state.apply(std::move(d->event), Instant{});
  ASSERT_EQ(state.task_count(), kTasks);
  size_t bytes = 0;
  state.for_each_task([&](const TaskPtr& t) { bytes += memory_bytes(*t); });
  std::printf("snapshot of %zu tasks: text %zu bytes a task, kept %zu bytes a task\n", kTasks, text_bytes / kTasks, bytes / kTasks);
  EXPECT_LT(bytes / kTasks, 700u);
}

}  // namespace
}  // namespace ls
