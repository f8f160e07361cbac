// The stand-in says what a master says, in its order (spec/mesos-state.md section 9.3), and all of it is
// JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "mesos_standin.h"
#include "sources/mesos.h"

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

struct Sink : ls::SourceSink {
  std::vector<json> events;
  void on_connected(const ls::SourceInfo&) override {}
  void on_record(ls::PaddedRecord r) override {
    events.push_back(json::parse(r.text(), nullptr, false));
    EXPECT_FALSE(events.back().is_discarded()) << r.text();
  }
  void on_disconnected(const ls::Error&) override {}
};

class Standin : public testing::Test {
 protected:
  Standin() {
    ls::StandinOptions options;
    options.listen = {"127.0.0.1:0", "127.0.0.1:0"};
    standin = std::move(*ls::MesosStandin::listen(io, options));
    ls::MesosConfig config;
    config.masters = {standin->address()};
    config.backoff_min = config.backoff_max = 5ms;
    source = std::move(*ls::make_mesos_source(io, config, sink));
    source->start();
  }
  void run_until(const std::function<bool()>& done) {
    auto end = std::chrono::steady_clock::now() + 10s;
    while (!done() && std::chrono::steady_clock::now() < end) {
      io.restart();
      io.run_one_for(20ms);
    }
    ASSERT_TRUE(done());
  }
  /// Runs a script to its end, then until `n` more events came; gives those.
  std::vector<json> say(const std::string& script, size_t n) {
    size_t had = sink.events.size();
    bool over = false;
    standin->run(script, [&](ls::Result<std::string> r) {
      EXPECT_TRUE(r) << r.error().text();
      over = true;
    });
    run_until([&] { return over && sink.events.size() >= had + n; });
    io.run_for(20ms);  // more would be wrong
    return {sink.events.begin() + static_cast<long>(had), sink.events.end()};
  }
  static std::vector<std::string> types(const std::vector<json>& events) {
    std::vector<std::string> out;
    for (const auto& e : events) {
      out.push_back(e["type"]);
      if (out.back() == "TASK_UPDATED") out.back() = e["task_updated"]["state"];
    }
    return out;
  }
  std::string refused(const std::string& line) {
    auto r = standin->command(line);
    return r ? "accepted" : r.error().text();
  }

  boost::asio::io_context io;
  Sink sink;
  std::unique_ptr<ls::MesosStandin> standin;
  std::unique_ptr<ls::Source> source;
};

const char* const kCluster =
    "agent add A1 10.0.0.11 hostname=a1.example ip6=fd01::11 region=r zone=z attribute=rack:r1\n"
    "framework add F1 marathon\n";

TEST_F(Standin, LifeOfATask) {
  EXPECT_THAT(types(say("wait subscribers 1", 2)), ElementsAre("SUBSCRIBED", "HEARTBEAT"));
  EXPECT_THAT(types(say(kCluster, 2)), ElementsAre("AGENT_ADDED", "FRAMEWORK_ADDED"));
  auto added = say(
      "task add t.1 F1 A1 name=\"we b\\\"\" port=31001 vip=/web:80 vip=1.2.3.4:5 scope=host port_label=a=b=c "
      "label=k=v container=docker docker_network=BRIDGE container_port=80 health=false",
      4);
  EXPECT_THAT(types(added), ElementsAre("TASK_ADDED", "TASK_STARTING", "TASK_RUNNING", "TASK_RUNNING"));
  const auto& task = added[0]["task_added"]["task"];
  EXPECT_EQ(task["state"], "TASK_STAGING");
  EXPECT_EQ(task["name"], "we b\"");
  EXPECT_FALSE(task.contains("statuses"));
  EXPECT_TRUE(task.contains("health_check"));
  EXPECT_EQ(task["discovery"]["ports"]["ports"][0]["labels"]["labels"].dump(),
            R"([{"key":"VIP_0","value":"/web:80"},{"key":"VIP_1","value":"1.2.3.4:5"},)"
            R"({"key":"network-scope","value":"host"},{"key":"a","value":"b=c"}])");
  EXPECT_EQ(task["container"]["docker"]["port_mappings"][0]["host_port"], 31001);
  const auto& starting = added[1]["task_updated"]["status"];
  EXPECT_EQ(starting["container_status"]["network_infos"][0]["ip_addresses"].dump(),
            R"([{"ip_address":"10.0.0.11","protocol":"IPv4"},{"ip_address":"fd01::11","protocol":"IPv6"}])");
  EXPECT_FALSE(added[2]["task_updated"]["status"].contains("healthy"));
  EXPECT_EQ(added[3]["task_updated"]["status"]["healthy"], false);
  EXPECT_GT(added[3]["task_updated"]["status"]["timestamp"], added[2]["task_updated"]["status"]["timestamp"]);

  EXPECT_TRUE(say("task ip t.1 10.9.9.9", 0).empty());  // no event
  auto healthy = say("task health t.1 true", 1);
  EXPECT_EQ(healthy[0]["task_updated"]["status"]["container_status"]["network_infos"][0]["ip_addresses"][0]
                   ["ip_address"],
            "10.9.9.9");
  EXPECT_THAT(types(say("task state t.1 TASK_KILLING\ntask state t.1 TASK_KILLED", 2)),
              ElementsAre("TASK_KILLING", "TASK_KILLED"));
  auto again = say("drop\nwait subscribers 1", 2);
  EXPECT_TRUE(again[0]["subscribed"]["get_state"]["get_tasks"]["tasks"].empty());
  EXPECT_EQ(again[0]["subscribed"]["get_state"]["get_tasks"]["completed_tasks"].size(), 1u);
  EXPECT_EQ(again[0]["subscribed"]["heartbeat_interval_seconds"], 15.0);
}

TEST_F(Standin, AgentsThatGoAndComeBack) {
  say("wait subscribers 1", 2);
  say(std::string(kCluster) + "task add t F1 A1 port=1", 5);
  EXPECT_THAT(types(say("agent unreachable A1", 1)), ElementsAre("TASK_UNREACHABLE"));
  auto snapshot = say("drop\nwait subscribers 1", 2)[0]["subscribed"]["get_state"];
  EXPECT_TRUE(snapshot["get_agents"]["agents"].empty());
  EXPECT_TRUE(snapshot["get_agents"]["recovered_agents"].empty());
  EXPECT_EQ(snapshot["get_tasks"]["unreachable_tasks"].size(), 1u);
  auto back = say("agent back A1", 2);
  EXPECT_THAT(types(back), ElementsAre("TASK_ADDED", "AGENT_ADDED"));
  EXPECT_EQ(back[0]["task_added"]["task"]["state"], "TASK_RUNNING");
  EXPECT_THAT(types(say("agent remove A1", 2)), ElementsAre("TASK_LOST", "AGENT_REMOVED"));
  say("agent add A2 10.0.0.12\ntask add u F1 A2", 4);
  EXPECT_THAT(types(say("agent gone A2", 1)), ElementsAre("TASK_GONE_BY_OPERATOR"));
  EXPECT_THAT(types(say("framework remove F1", 1)), ElementsAre("FRAMEWORK_REMOVED"));
}

TEST_F(Standin, FailoverWithTheFrameworksLast) {
  say("wait subscribers 1", 2);
  say(std::string(kCluster) + "agent add A2 10.0.0.12\ntask add t F1 A1 port=1\ntask add u F1 A2 port=1", 9);
  auto seen = say("failover 2 every=30ms frameworks=late except=A2\nwait settled", 6);
  EXPECT_THAT(types(seen), ElementsAre("SUBSCRIBED", "HEARTBEAT", "AGENT_ADDED", "FRAMEWORK_ADDED",
                                       "TASK_ADDED", "FRAMEWORK_UPDATED"));
  EXPECT_EQ(seen[0]["subscribed"]["get_state"]["get_agents"]["recovered_agents"].size(), 2u);
  EXPECT_EQ(seen[3]["framework_added"]["framework"]["recovered"], true);
  EXPECT_EQ(seen[5]["framework_updated"]["framework"]["connected"], true);
  auto again = say("drop\nwait subscribers 1", 2)[0]["subscribed"]["get_state"];
  EXPECT_EQ(again["get_agents"]["agents"].size(), 1u);
  EXPECT_EQ(again["get_agents"]["recovered_agents"].size(), 1u);
  EXPECT_THAT(types(say("agent back A2", 2)), ElementsAre("TASK_ADDED", "AGENT_ADDED"));
}

TEST_F(Standin, BulkIsWhatItSays) {
  say("wait subscribers 1", 2);
  auto seen = say("bulk 40 4 10", 4 + 1 + 40);
  auto state = say("drop\nwait subscribers 1", 2)[0]["subscribed"]["get_state"];
  EXPECT_EQ(state["get_tasks"]["tasks"].size(), 40u);
  EXPECT_EQ(state["get_agents"]["agents"].size(), 4u);
  std::set<std::string> vips;
  for (const auto& t : state["get_tasks"]["tasks"]) {
    vips.insert(t["discovery"]["ports"]["ports"][0]["labels"]["labels"][0]["value"]);
  }
  EXPECT_EQ(vips.size(), 10u);
}

TEST_F(Standin, MistakesAreTold) {
  standin->command("agent add A1 10.0.0.11");
  standin->command("framework add F1 x");
  EXPECT_THAT(refused("nonsense"), HasSubstr("unknown command nonsense"));
  EXPECT_THAT(refused("task add t F2 A1"), HasSubstr("no framework F2"));
  EXPECT_THAT(refused("task add t F1 A2"), HasSubstr("no agent A2"));
  EXPECT_THAT(refused("task add t F1 A1 vip=/x:1"), HasSubstr("say port= before it"));
  EXPECT_THAT(refused("task add t F1 A1 prot=tcp"), HasSubstr("unknown option prot"));
  EXPECT_THAT(refused("task state nope TASK_KILLED"), HasSubstr("no task nope"));
  EXPECT_THAT(refused("leader 3"), HasSubstr("no master 3"));
  EXPECT_THAT(refused("heartbeat soon"), HasSubstr("no duration"));
  EXPECT_THAT(refused("echo \"open"), HasSubstr("not closed"));
  EXPECT_EQ(refused("  # a comment"), "accepted");
  bool over = false;
  standin->run("echo a\nbroken\necho b", [&](ls::Result<std::string> r) {
    over = true;
    ASSERT_FALSE(r);
    EXPECT_THAT(r.error().text(), HasSubstr("line 2: unknown command broken"));
  });
  run_until([&] { return over; });
}

}  // namespace
