// /v1/overlay/node and its neighbours, the status and the metrics of a node of the overlay: without sockets where none is needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "api/client.h"
#include "api/overlay_node_views.h"
#include "api/router_overlay_node.h"
#include "api/server.h"
#include "overlay_node_fake.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class ApiOverlayNode : public testing::Test {
 protected:
  Reply ask(std::string method, std::string target, Caller caller = {}) {
    Request q;
    q.method = std::move(method);
    q.target = std::move(target);
    q.caller = std::move(caller);
    return router_.handle(q, {});
  }
  Reply get(std::string target) { return ask("GET", std::move(target)); }
  /// The whole of a body that is made in pieces.
  static std::string whole(Reply r) {
    if (!r.parts) return r.body;
    std::string out;
    while (auto part = r.parts()) out += *part;
    return out;
  }
  Json json(std::string target) { return Json::parse(whole(get(std::move(target)))); }
  std::vector<std::string> names(const Json& list) {
    std::vector<std::string> out;
    for (auto& n : list) out.push_back(n["node"]);
    return out;
  }

  FakeOverlayProvider provider_;
  Router router_{provider_};
};

TEST_F(ApiOverlayNode, TheNodeWithItsShares) {
  auto j = json("/v1/overlay/node");
  EXPECT_EQ(j["state"], "ok");
  EXPECT_EQ(j["heard_s"], 2.0);
  EXPECT_EQ(j["device"], "vtep1024");
  EXPECT_EQ(j["mtu"], 1450);
  EXPECT_EQ(j["registrations"], 5);
  EXPECT_EQ(j["probe_talks"]["lost_there"], 1);
  EXPECT_EQ(j["hooks"][0], (Json{{"hook", "overlay_out"}, {"result", "tunnel"}, {"packets", 1000}, {"bytes", 64000}}));
  EXPECT_EQ(j["shares"][0], (Json{{"overlay", "dcos"}, {"v4", "9.0.3.0/24"}, {"v6", ""}, {"state", "ok"}, {"detail", ""}, {"mesos4", "9.0.3.0/25"},
                                  {"docker4", "9.0.3.128/25"}, {"mesos6", ""}, {"docker6", ""}, {"pool4", "9.0.0.0/8"}, {"pool6", ""}, {"status", "ok"},
                                  {"error", ""}, {"cni_file", "/etc/loadstar/cni/dcos.conflist"}, {"docker_network", "dcos: made"}}));
  EXPECT_EQ(j["shares"][1]["mesos6"], "fd01:b:0:0:3::/81");
  EXPECT_EQ(j["shares"][1]["docker6"], "") << "the Docker half is not used";
  auto v = sample_overlay_node();
  v.heard_s = -1;
  provider_.node.set(v);
  EXPECT_TRUE(json("/v1/overlay/node")["heard_s"].is_null());
}

TEST_F(ApiOverlayNode, HalvesOfShares) {
  EXPECT_EQ(overlay_half("9.0.3.0/24", false), "9.0.3.0/25");
  EXPECT_EQ(overlay_half("9.0.3.0/24", true), "9.0.3.128/25");
  EXPECT_EQ(overlay_half("0.0.0.0/0", true), "128.0.0.0/1");
  EXPECT_EQ(overlay_half("9.0.3.6/31", true), "9.0.3.7/32");
  EXPECT_EQ(overlay_half("fd00::/80", true), "fd00::8000:0:0/81");
  for (auto* none : {"", "9.0.3.1/32", "9.0.3.0/33", "9.0.3.7/24", "fd00::1/128", "x/24", "9.0.3.0"}) EXPECT_EQ(overlay_half(none, true), "") << none;
}

TEST_F(ApiOverlayNode, WhoTakesNoPartSaysSo) {
  auto refused = [&](const char* method, const char* target) {
    auto r = ask(method, target);
    EXPECT_EQ(r.status, 404u) << target;
    EXPECT_THAT(Json::parse(r.body)["error"].get<std::string>(), HasSubstr("takes no part in the overlay")) << target;
  };
  auto all = [&] {
    refused("GET", "/v1/overlay/node");
    refused("GET", "/v1/overlay/nodes");
    refused("GET", "/v1/overlay/trace?address=9.0.0.1");
    refused("POST", "/v1/overlay/check");
    EXPECT_FALSE(json("/v1/status").contains("overlay_node"));
    EXPECT_THAT(get("/metrics").body, Not(HasSubstr("loadstar_overlay_")));
  };
  provider_.takes_part = false;
  all();
  provider_.takes_part = true;
  provider_.node.set(std::nullopt);
  all();
  provider_.node.set(OverlayNodeView{});
  all();
  // A machine that only gives addresses out lists the nodes all the same.
  provider_.gives = true;
  EXPECT_EQ(names(json("/v1/overlay/nodes")), std::vector<std::string>{"10.0.0.77"});
}

TEST_F(ApiOverlayNode, NodesAreFiltered) {
  provider_.node.fill(600);
  auto& peers = provider_.node.peers;
  peers[ip("10.0.0.9")].shares = {{"dcos", "", "", "exhausted", "no block of 9.0.0.0/8 is free", true, true}, {"other", "11.0.9.0/24", "", "ok", "", true, false}};
  peers[ip("10.0.2.8")].self = true;
  auto all = json("/v1/overlay/nodes");
  ASSERT_EQ(all.size(), 600u);
  EXPECT_EQ(all[0]["node"], "10.0.0.1");
  EXPECT_EQ(all[599]["node"], "10.0.2.88");
  EXPECT_EQ(all[8]["shares"].size(), 2u);
  EXPECT_EQ(all[519]["self"], true);
  auto node9 = std::vector<std::string>{"10.0.0.9"};
  for (auto* query : {"node=10.0.0.9", "overlay=other", "state=exhausted", "overlay=dcos&state=exhausted", "node=10.0.0.9&overlay=other"}) {
    EXPECT_EQ(names(json(std::string("/v1/overlay/nodes?") + query)), node9) << query;
  }
  for (auto* query : {"node=10.0.9.9", "node=fd00::1", "node=10.0.0.8&state=exhausted", "overlay=other&state=exhausted", "overlay=nope", "state=conflict", "after=10.0.2.88", "after=fd00::1"}) {
    EXPECT_EQ(json(std::string("/v1/overlay/nodes?") + query), Json::array()) << query;
  }
  EXPECT_EQ(names(json("/v1/overlay/nodes?after=10.0.0.255&limit=2")), (std::vector<std::string>{"10.0.1.0", "10.0.1.1"}));
  EXPECT_EQ(json("/v1/overlay/nodes?limit=256").size(), 256u);
  EXPECT_EQ(json("/v1/overlay/nodes?limit=257").size(), 257u);
  provider_.node.peers.clear();
  EXPECT_EQ(whole(get("/v1/overlay/nodes")), "[\n]\n");
  provider_.node.fill(256);
  EXPECT_EQ(json("/v1/overlay/nodes").size(), 256u) << "a last page that is exactly full";
}

TEST_F(ApiOverlayNode, WrongParametersAreNamed) {
  for (auto [target, name] : {std::pair("/v1/overlay/nodes?node=web", "node"), {"/v1/overlay/nodes?after=10.0.0", "after"}, {"/v1/overlay/nodes?state=good", "state"},
                              {"/v1/overlay/nodes?limit=0", "limit"}, {"/v1/overlay/nodes?limit=x", "limit"}, {"/v1/overlay/nodes?page=1", "page"},
                              {"/v1/overlay/nodes?node=%0", "node"}, {"/v1/overlay/node?node=1", "node"}, {"/v1/overlay/trace", "address"},
                              {"/v1/overlay/trace?address=", "address"}, {"/v1/overlay/trace?address=web%0a", "address"}, {"/v1/overlay/trace?addr=9.0.0.1", "addr"}}) {
    auto r = get(target);
    EXPECT_EQ(r.status, 400u) << target;
    EXPECT_EQ(Json::parse(r.body)["parameter"], name) << target;
  }
  auto r = ask("POST", "/v1/overlay/check?node=all");
  EXPECT_EQ(r.status, 400u);
  EXPECT_EQ(Json::parse(r.body)["parameter"], "node");
}

TEST_F(ApiOverlayNode, MethodsAndListeners) {
  for (auto* target : {"/v1/overlay/node", "/v1/overlay/trace?address=9.0.3.7"}) EXPECT_EQ(ask("POST", target).status, 405u) << target;
  for (auto* method : {"GET", "HEAD", "PUT"}) EXPECT_EQ(ask(method, "/v1/overlay/check").headers, (std::vector<std::pair<std::string, std::string>>{{"Allow", "POST"}})) << method;
  provider_.gives = true;
  EXPECT_EQ(ask("PUT", "/v1/overlay/nodes").headers, (std::vector<std::pair<std::string, std::string>>{{"Allow", "GET, HEAD, POST"}}));
  EXPECT_EQ(ask("POST", "/v1/overlay/nodes").status, 200u) << "a registration stays what it is";
  Caller tcp{.on_socket = false, .may_change = true};
  for (auto* target : {"/v1/overlay/node", "/v1/overlay/nodes", "/v1/overlay/trace?address=9.0.3.7"}) EXPECT_EQ(ask("GET", target, tcp).status, 403u) << target;
  EXPECT_EQ(ask("POST", "/v1/overlay/check", tcp).status, 403u);
  EXPECT_EQ(ask("POST", "/v1/overlay/check", {.may_change = false, .refusal = "you are nobody"}).status, 403u);
}

TEST_F(ApiOverlayNode, Trace) {
  auto j = json("/v1/overlay/trace?address=9.0.3.7");
  EXPECT_EQ(j["kind"], "container");
  EXPECT_EQ(j["self"], true);
  EXPECT_EQ(j["steps"].size(), 2u);
  EXPECT_EQ(get("/v1/overlay/trace?address=9.9.9.9").status, 500u);
}

TEST_F(ApiOverlayNode, HostileTextsStayInTheirPlace) {
  auto v = sample_overlay_node();
  v.problem = "\xff\xfe\"}\n\x1b[2J";
  v.shares[0].share.overlay = "a\"b\\c\n";
  v.warnings = {std::string("w\0x", 3)};
  provider_.node.set(v);
  auto p = sample_peer(1);
  p.id = "x\",\n]\n{\"node\":\"evil\xff";
  p.shares[0].overlay = "\n";
  provider_.node.peers[ip("10.0.0.1")] = p;
  EXPECT_EQ(json("/v1/overlay/node")["warnings"][0], std::string("w\0x", 3));
  auto text = whole(get("/v1/overlay/nodes"));
  EXPECT_EQ(Json::parse(text).size(), 1u);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << "one node a line";
  EXPECT_NO_THROW(json("/v1/status"));
  auto metrics = get("/metrics").body;
  EXPECT_THAT(metrics, HasSubstr(R"(loadstar_overlay_config_failed{overlay="a\"b\\c\n"} 0)"));
}

TEST_F(ApiOverlayNode, AListThatDoesNotRiseEnds) {
  class Stuck : public FakeOverlayNode {
   public:
    std::vector<OverlayPeerView> nodes(const std::string&, size_t most) const override { return std::vector<OverlayPeerView>(most, sample_peer(1)); }
  };
  class P : public FakeProvider {
   public:
    OverlayNodeSource* overlay_node() override { return &stuck; }
    Stuck stuck;
  } p;
  Router router(p);
  Request q;
  q.method = "GET";
  q.target = "/v1/overlay/nodes";
  EXPECT_LE(Json::parse(whole(router.handle(q, {}))).size(), 2 * kNodesAPiece);
}

TEST_F(ApiOverlayNode, OneCheckAtATime) {
  OverlayCheckTurn turn;
  const OverlayCheckTurn::Instant t0{};
  auto first = turn.begin(t0);
  ASSERT_NE(first, 0u);
  EXPECT_EQ(turn.begin(t0 + std::chrono::seconds(59)), 0u);
  auto end = turn.ender(first);
  // One that never ended is given up; its late end does not end the next one.
  auto second = turn.begin(t0 + kOverlayCheckTime);
  ASSERT_NE(second, 0u);
  end();
  EXPECT_EQ(turn.begin(t0 + std::chrono::seconds(61)), 0u);
  turn.ender(second)();
  EXPECT_NE(turn.begin(t0 + std::chrono::seconds(61)), 0u);
}

TEST_F(ApiOverlayNode, CheckAnswersWhenItIsDone) {
  provider_.node.answer = {true, 2, 1, {{"10.0.0.4", "44.128.0.4", false, 0, "no answer: UDP 64000 may be blocked"}, {"10.0.0.5", "44.128.0.5", true, 0.5, ""}}};
  auto r = ask("POST", "/v1/overlay/check?node=10.0.0.4");
  ASSERT_TRUE(r.later);
  EXPECT_EQ(r.patience, Millis(60'000));
  EXPECT_EQ(ask("POST", "/v1/overlay/check").status, 409u);
  std::function<Reply()> made;
  r.later([&](std::function<Reply()> make) { made = std::move(make); });
  EXPECT_EQ(provider_.node.asked_for, "10.0.0.4");
  auto j = Json::parse(whole(made()));
  EXPECT_EQ(j["broken"], 1);
  EXPECT_EQ(j["asked"], 2);
  EXPECT_EQ(j["results"][0], (Json{{"node", "10.0.0.4"}, {"vtep", "44.128.0.4"}, {"ok", false}, {"rtt_ms", nullptr}, {"cause", "no answer: UDP 64000 may be blocked"}}));
  EXPECT_EQ(j["results"][1]["rtt_ms"], 0.5);
  provider_.node.answer.results.assign(3000, {"10.0.0.4", "44.128.0.4", true, 1, ""});
  r = ask("POST", "/v1/overlay/check");
  ASSERT_TRUE(r.later) << "the one before has ended";
  r.later([&](std::function<Reply()> make) { made = std::move(make); });
  EXPECT_EQ(Json::parse(whole(made()))["results"].size(), 3000u);
}

TEST_F(ApiOverlayNode, StatusAndItsWarnings) {
  auto v = sample_overlay_node();
  v.state = "failed";
  v.problem = "the device vtep1024 cannot be made";
  v.warnings = {"offload is switched off"};
  provider_.node.set(v);
  auto j = json("/v1/status");
  EXPECT_EQ(j["overlay_node"]["state"], "failed");
  EXPECT_EQ(j["overlay_node"]["lacking"], Json::array({"dcos6"}));
  EXPECT_EQ(j["warnings"], Json::array({"the overlay of this node: the device vtep1024 cannot be made", "the overlay of this node: offload is switched off"}));
  EXPECT_THAT(j["headline"].get<std::string>(), HasSubstr("2 warnings"));
}

TEST_F(ApiOverlayNode, Metrics) {
  provider_.gives = true;
  auto text = get("/metrics").body;
  for (auto* line : {"loadstar_overlay_node_state{state=\"ok\"} 1", "loadstar_overlay_node_state{state=\"failed\"} 0", "loadstar_overlay_master_age_seconds 2",
                     "loadstar_overlay_register_sent_total 5", "loadstar_overlay_register_failures_total 1", "loadstar_overlay_updates_received_total 7",
                     "loadstar_overlay_peers 2", "loadstar_overlay_entries 9", "loadstar_overlay_entry_conflicts 0", "loadstar_overlay_repaired_total 4",
                     "loadstar_overlay_mtu_bytes 1450", "loadstar_overlay_underlay_mtu_bytes 1500", "loadstar_overlay_warnings 0",
                     "loadstar_overlay_config_failed{overlay=\"dcos\"} 0", "loadstar_overlay_config_failed{overlay=\"dcos6\"} 1",
                     "loadstar_overlay_without_share 0", "loadstar_overlay_offload{state=\"good\"} 1", "loadstar_overlay_offload{state=\"off\"} 0",
                     "loadstar_overlay_probe_talks_total{result=\"good\"} 6", "loadstar_overlay_probe_talks_total{result=\"lost_there\"} 1", "loadstar_overlay_docker_failures_total 3",
                     "loadstar_overlay_packets_total{hook=\"overlay_out\",result=\"tunnel\"} 1000", "loadstar_overlay_bytes_total{hook=\"overlay_in\",result=\"stack\"} 180"}) {
    EXPECT_THAT(text, HasSubstr(std::string(line) + "\n"));
  }
  std::ifstream file(LS_SOURCE_DIR "/docs/operate/metrics.md");
  std::string doc((std::istreambuf_iterator<char>(file)), {});
  std::set<std::string> seen;
  std::istringstream lines(text);
  for (std::string l; std::getline(lines, l);) {
    if (!l.starts_with("# TYPE loadstar_overlay_")) continue;
    auto name = l.substr(7, l.find(' ', 7) - 7);
    EXPECT_NE(doc.find("`" + name + "`"), doc.npos) << name;
    EXPECT_TRUE(seen.insert(name).second) << name << " is shown twice";
  }
}

class ApiOverlayServer : public testing::Test {
 protected:
  void SetUp() override {
    auto r = Server::start({.socket = path_, .group = {}, .deferred = Millis(50)}, provider_);
    ASSERT_TRUE(r) << r.error().text();
    server_ = std::move(*r);
  }
  TempDir dir_;
  const std::string path_ = dir_ / "api.sock";
  FakeOverlayProvider provider_;
  std::unique_ptr<Server> server_;
};

TEST_F(ApiOverlayServer, ManyNodesComeInPiecesAndOthersAreServedMeanwhile) {
  provider_.node.fill(65'536);
  Client client(path_);
  size_t nodes = 0, others = 0;
  auto r = client.lines("/v1/overlay/nodes", [&](std::string_view line) {
    if (!line.starts_with('{')) return true;
    if (nodes++ % 10'000 == 0) others += client.get("/v1/overlay/node")->status == 200;
    return true;
  });
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(nodes, provider_.node.peers.size());
  EXPECT_EQ(others, 7u);
  EXPECT_EQ(provider_.node.largest, kNodesAPiece) << "never all at once";
  // Nothing matches: the pieces are empty, and the answer is whole.
  auto none = client.get("/v1/overlay/nodes?state=conflict");
  ASSERT_TRUE(none) << none.error().text();
  EXPECT_EQ(none->body, "[\n]\n");
  // One node is found without looking at the others.
  provider_.node.calls = 0;
  auto one = client.get("/v1/overlay/nodes?node=10.0.200.7");
  EXPECT_EQ(Json::parse(one->body).size(), 1u);
  EXPECT_LE(provider_.node.calls, 2u);
}

TEST_F(ApiOverlayServer, ACheckMayTakeLongerThanOtherAnswers) {
  std::thread source;
  provider_.node.on_check = [&](std::function<void(OverlayCheckView)> done) {
    // Longer than what the server was told for deferred answers.
    source = std::thread([done = std::move(done)] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      done({true, 0, 0, {}});
    });
  };
  auto r = Client(path_).post("/v1/overlay/check");
  source.join();
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(r->status, 200u) << r->body;
  EXPECT_EQ(Json::parse(r->body)["results"], Json::array());
}

}  // namespace
}  // namespace ls::api
