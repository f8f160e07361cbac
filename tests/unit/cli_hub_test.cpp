// What operators are shown of hub, followers, agents and ZooKeeper: the API's answers and metrics, and what the program makes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "api/router_hub.h"
#include "cli/hub_commands.h"
#include "cli_fixture.h"

namespace ls {
namespace {

using namespace api;
using Json = nlohmann::json;
using testing::HasSubstr;
using testing::Not;

/// A master with a hub, or with whatever a test leaves of it.
class FakeHubProvider : public FakeProvider {
 public:
  FakeHubProvider() {
    auto s = ready_status();
    HubView h;
    h.run = "00112233445566ff";
    h.seq = 1042;
    h.listen = {"10.0.0.1:62081"};
    h.token = true;
    h.followers = 2;
    h.max_followers = 12'000;
    h.connects = 5;
    h.resumed = 2;
    h.snapshots = 4;
    h.dropped_behind = 1;
    h.refused = 3;
    h.failed = 6;
    h.history_bytes = 2048;
    h.history_limit = 64 << 20;
    h.history_changes = 12;
    h.snapshot_bytes = 5 << 20;
    h.snapshots_made = 2;
    h.sent_bytes = 30 << 20;
    s.hub = h;
    s.agents = AgentsView{7, 1, {"10.0.0.5"}, false};
    s.turns = TurnsView{.leading = true, .leader = "10.0.0.1:62080", .term = 4, .candidates = {"10.0.0.1:62080", "10.0.0.2:62080"}, .connected = true,
                        .server = "10.0.0.9:2181", .last_error = "", .terms = 2, .sessions = 3, .expired = 1, .losses = 2, .since_s = 65, .leads_s = 60};
    s.source.zookeeper = MastersView{.connected = false, .server = "", .last_error = "no server answers", .masters = {"10.0.0.1:5050", "10.0.0.2:5050"},
                                     .sessions = 1, .expired = 0, .losses = 1, .since_s = 12, .leads_s = 3600};
    set(s);
  }
  /// A node that follows instead.
  void follow() {
    auto s = ready_status();
    s.source.kind = "hub";
    s.source.endpoint = "10.0.0.1:62081";
    s.source.kept_s = 90;
    FollowView f;
    f.run = "00112233445566ff";
    f.seq = 1000;
    f.behind = 42;
    f.clock_error_s = 0.0005;
    f.masters = 3;
    f.place = 1;
    f.connects = 4;
    f.reconnects = 3;
    f.failures = 3;
    f.snapshots = 2;
    f.resumed = 2;
    f.moves = 1;
    f.faults = 1;
    f.bytes = 12345;
    f.starved_s = 31;
    f.leader = "10.0.0.1:5050";
    s.source.hub = f;
    s.agents = AgentsView{std::nullopt, 25, {"10.0.0.5", "10.0.0.6"}, false};
    set(s);
    serves = false;
  }
  bool hub_followers(std::function<void(std::vector<HubFollowerView>)> done) override {
    if (!serves) return false;
    if (answers) done(followers);
    return true;
  }

  bool serves = true, answers = true;
  std::vector<HubFollowerView> followers{{"n3", "10.0.0.13:40000", 1042, 0, 11520}, {"n4\x1b[31m\xff", "10.0.0.14:40001", 1000, 42, 3}};
};

class ApiHub : public testing::Test {
 protected:
  Reply ask(std::string method, std::string target, Caller caller = {}) {
    Request q;
    q.method = std::move(method);
    q.target = std::move(target);
    q.caller = std::move(caller);
    return router_.handle(q, {});
  }
  /// What comes of a reply that comes later; nullopt: nothing yet.
  static std::optional<Reply> finished(Reply r) {
    std::optional<Reply> out;
    if (!r.later) return r;
    r.later([&](std::function<Reply()> make) { out = make(); });
    return out;
  }
  static std::string whole(Reply r) {
    if (!r.parts) return r.body;
    std::string out;
    while (auto part = r.parts()) out += *part;
    return out;
  }
  FakeHubProvider provider_;
  Router router_{provider_};
};

TEST_F(ApiHub, Followers) {
  auto reply = finished(ask("GET", "/v1/hub/followers"));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200u);
  auto j = Json::parse(whole(*reply));
  ASSERT_EQ(j.size(), 2u);
  EXPECT_EQ(j[0], (Json{{"node", "n3"}, {"address", "10.0.0.13:40000"}, {"seq", 1042}, {"behind", 0}, {"connected_s", 11520.0}}));
  provider_.followers.clear();
  EXPECT_EQ(Json::parse(whole(*finished(ask("GET", "/v1/hub/followers")))), Json::array());
  // More than go into one piece, and every one of them once.
  for (int i = 0; i < 1234; i++) provider_.followers.push_back({"n" + std::to_string(i), "10.0.0.1:1", 1, 0, 1});
  j = Json::parse(whole(*finished(ask("GET", "/v1/hub/followers"))));
  ASSERT_EQ(j.size(), 1234u);
  EXPECT_EQ(j[1233]["node"], "n1233");
}

TEST_F(ApiHub, FollowersOfNobodyAndOfAHubThatIsStuck) {
  provider_.answers = false;
  auto promise = ask("GET", "/v1/hub/followers");
  ASSERT_TRUE(promise.later) << "the admin thread must not wait";
  EXPECT_EQ(promise.patience, kHubPatience);
  EXPECT_FALSE(finished(promise));
  provider_.serves = false;
  auto none = finished(ask("GET", "/v1/hub/followers"));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->status, 404u);
  EXPECT_THAT(none->body, HasSubstr("serves no hub"));
  EXPECT_EQ(ask("POST", "/v1/hub/followers").status, 405u);
  EXPECT_EQ(ask("GET", "/v1/hub/followers?x=1").status, 400u);
  EXPECT_EQ(ask("GET", "/v1/hub/followers", Caller{.on_socket = false}).status, 403u) << "addresses of nodes are shown on the socket only";
}

TEST_F(ApiHub, Status) {
  auto j = Json::parse(ask("GET", "/v1/status").body);
  EXPECT_EQ(j["hub"]["run"], "00112233445566ff");
  EXPECT_EQ(j["hub"]["history"], (Json{{"bytes", 2048}, {"limit", 64 << 20}, {"changes", 12}}));
  EXPECT_EQ(j["hub"]["dropped_behind"], 1);
  EXPECT_EQ(j["agents"], (Json{{"watched", 7}, {"unreachable", 1}, {"addresses", {"10.0.0.5"}}, {"isolated", false}}));
  EXPECT_EQ(j["turns"]["term"], 4);
  EXPECT_EQ(j["turns"]["losses"], 2);
  EXPECT_EQ(j["source"]["zookeeper"]["leads_s"], 3600.0);
  EXPECT_FALSE(j["source"].contains("hub"));
  EXPECT_FALSE(j["source"].contains("kept_s"));
  provider_.follow();
  j = Json::parse(ask("GET", "/v1/status").body);
  EXPECT_EQ(j["source"]["hub"]["behind"], 42);
  EXPECT_EQ(j["source"]["hub"]["clock_error_s"], 0.0005);
  EXPECT_EQ(j["source"]["kept_s"], 90.0);
  EXPECT_TRUE(j["agents"]["watched"].is_null());
  EXPECT_FALSE(j.contains("hub"));
  EXPECT_FALSE(j.contains("turns"));
}

TEST_F(ApiHub, Metrics) {
  std::ifstream file(LS_SOURCE_DIR "/docs/operate/metrics.md");
  std::string doc((std::istreambuf_iterator<char>(file)), {});
  std::string all;
  for (bool follows : {false, true}) {
    if (follows) provider_.follow();
    auto text = ask("GET", "/metrics").body;
    all += text;
    std::set<std::string> seen;
    std::istringstream lines(text);
    for (std::string l; std::getline(lines, l);) {
      if (!l.starts_with("# TYPE ")) continue;
      auto name = l.substr(7, l.find(' ', 7) - 7);
      EXPECT_NE(doc.find("`" + name + "`"), doc.npos) << name;
      EXPECT_TRUE(seen.insert(name).second) << name << " is shown twice";
    }
    EXPECT_EQ(seen.contains("loadstar_hub_followers"), !follows);
    EXPECT_EQ(seen.contains("loadstar_agents_watched"), !follows);
    EXPECT_EQ(seen.contains("loadstar_hub_client_connected"), follows);
  }
  for (auto* line : {"loadstar_hub_followers 2", "loadstar_hub_followers_max 12000", "loadstar_hub_seq 1042", "loadstar_hub_streams_total 5", "loadstar_hub_resumed_total 2",
                     "loadstar_hub_snapshots_sent_total 4", "loadstar_hub_snapshots_made_total 2", "loadstar_hub_dropped_behind_total 1", "loadstar_hub_refused_total 3",
                     "loadstar_hub_failed_total 6", "loadstar_hub_history_bytes 2048", "loadstar_hub_history_changes 12", "loadstar_hub_listening 1", "loadstar_agents_watched 7",
                     "loadstar_agents_unreachable 1", "loadstar_agents_isolated 0", "loadstar_leader 1", "loadstar_term 4", "loadstar_zookeeper_connected 1",
                     "loadstar_zookeeper_losses_total 2", "loadstar_masters_zookeeper_connected 0", "loadstar_masters_known 2", "loadstar_masters_zookeeper_losses_total 1",
                     "loadstar_source_from_disk 0", "loadstar_source_from_disk 1", "loadstar_hub_client_connected 1", "loadstar_hub_client_preferred 0",
                     "loadstar_hub_client_behind 42", "loadstar_hub_client_hub_fed 0", "loadstar_hub_client_clock_error_seconds 0.0005", "loadstar_hub_client_reconnects_total 3",
                     "loadstar_hub_client_faults_total 1", "loadstar_agents_unreachable 25"}) {
    EXPECT_THAT(all, HasSubstr("\n" + std::string(line) + "\n"));
  }
}

class CliHub : public CliTest<FakeHubProvider> {};

TEST_F(CliHub, Ls) {
  auto r = cli("hub ls");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, "NODE      ADDRESS          CHANGE  BEHIND   CONNECTED\n"
                   "n3        10.0.0.13:40000    1042       0  3 h 12 min\n"
                   "n4?[31m\xef\xbf\xbd  10.0.0.14:40001    1000      42         3 s\n");
  EXPECT_EQ(Json::parse(cli("-o json hub ls").out).size(), 2u);
  provider_.followers.clear();
  r = cli("hub ls");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, "no node follows this master\n");
  provider_.serves = false;
  r = cli("hub ls");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: this node serves no hub\n");
}

TEST_F(CliHub, StatusOfAMaster) {
  auto r = cli("status");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("\nmasters    10.0.0.1:5050, 10.0.0.2:5050 (the first leads, since 1 h 0 min), ZooKeeper not connected since 12 s, lost 1 times, last error: no server answers\n"
                               "turn       this master leads, term 4, since 1 min 0 s, 2 in line, ZooKeeper 10.0.0.9:2181 since 1 min 5 s, lost 2 times, 1 sessions expired\n"
                               "hub        2 of at most 12000 followers, change 1042 of run 00112233445566ff, at 10.0.0.1:62081, token\n"
                               "           5 streams: 2 went on, 4 snapshots; 1 fell behind, 3 refused, 6 failed\n"
                               "           history of 12 changes in 2.0 KiB of 64.0 MiB, snapshot 5.0 MiB, sent 30.0 MiB\n"
                               "agents     7 watched, 1 cannot be reached: 10.0.0.5\n"));
}

TEST_F(CliHub, StatusOfANodeThatFollows) {
  provider_.follow();
  auto r = cli("status");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("\nfollows    change 1000 of run 00112233445566ff, 42 behind, choice 2 of 3 masters, 3 reconnects, 2 snapshots, 1 FAULTS, clocks compared to 0.50 ms\n"
                               "           that hub has been without its own source for 31 s\n"
                               "           served from this node's disk, saved 1 min 30 s ago\n"
                               "agents     25 cannot be reached, as the hub says: 10.0.0.5, 10.0.0.6, ...\n"));
  EXPECT_THAT(r.out, Not(HasSubstr("\nhub  ")));
}

}  // namespace
}  // namespace ls
