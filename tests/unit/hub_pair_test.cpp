// The follower against the real hub::Server: the state at the far end is that of the near one, whatever happens between.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "hub/server.h"
#include "sources/hub.h"
#include "state_builders.h"
#include "util/log.h"

namespace ls {
namespace {

using namespace std::chrono_literals;
using namespace test;
using std::chrono::steady_clock;
using testing::HasSubstr;

/// A ClusterState behind a source, as the daemon has it.
struct Follower : HubSink {
  HubSource* source = nullptr;
  ClusterState state;
  size_t snapshots = 0, changes = 0, connected = 0, lost = 0;
  hub::SourceHealth health;
  std::vector<double> ages;

  void on_connected(const SourceInfo&) override { ++connected; }
  void on_snapshot(hub::Image image) override {
    hub::Position at{source->run(), image.seq};
    for (auto& e : hub::events_of(std::move(image), kDefaultHeartbeat)) state.apply(std::move(e), Instant{});
    source->applied(at);
    ++snapshots;
  }
  void on_changes(hub::Changes c) override {
    hub::Position at{source->run(), c.last};
    if (auto age = source->age_of(c.received_us)) ages.push_back(std::chrono::duration<double>(*age).count());
    for (auto& e : hub::events_of(std::move(c))) state.apply(std::move(e), Instant{});
    source->applied(at);
    ++changes;
  }
  void on_health(const hub::SourceHealth& h) override { health = h; }
  void on_disconnected(const Error&) override { ++lost; }
};

/// Everything of a state as text, in an order of its own.
std::map<std::string, std::string> all_of(const ClusterState& state) {
  std::map<std::string, std::string> out;
  auto all = state.everything();
  for (auto& a : all.agents) out["agent " + a.agent.id.str()] = a.agent.hostname + " " + a.address.text();
  for (auto& f : all.frameworks) out["framework " + f.framework.id.str()] = f.framework.name.str();
  for (auto& t : all.tasks) {
    auto& k = *t.after;
    out["task " + k.framework_id.str() + " " + k.id] = fmt::format("{} {} {} {} {}", k.agent_id.view(), k.agent_address.text(), k.framework_name.view(), int(k.phase()), int(k.health));
  }
  return out;
}

class HubPair : public testing::Test {
 protected:
  HubPair() {
    log::set_level(log::Level::kError);
    dir = std::filesystem::temp_directory_path() / fmt::format("ls-hub-pair-{}", ::getpid());
    std::filesystem::create_directories(dir);
    options.listen = {*Endpoint::parse("127.0.0.1:0")};
    options.batch = 2ms;
    config.node = "node-1";
    config.backoff_min = 5ms;
    config.backoff_max = 20ms;
    config.connect_timeout = config.response_timeout = 2s;
  }
  ~HubPair() override {
    source.reset();
    server.reset();
    std::filesystem::remove_all(dir);
  }

  void serve() {
    server.reset();
    auto made = hub::Server::start(options);
    ASSERT_TRUE(made) << made.error().text();
    server = std::move(*made);
    auto bound = server->bound();
    ASSERT_EQ(bound.size(), 1u);
    options.listen = bound;  // the next one takes its place
    config.masters = {bound[0].text()};
    server->change(master.everything(), steady_clock::now());
    hub::SourceHealth h;
    h.connected = h.synced = true;
    h.leader = "10.0.0.1:5050";
    server->health(h);
  }
  void follow() {
    auto made = make_hub_source(io, config, follower);
    ASSERT_TRUE(made) << made.error().text();
    source = std::move(*made);
    follower.source = source.get();
    source->start();
  }
  void tell(Event event) { server->change(master.apply(std::move(event), Instant{}), steady_clock::now()); }
  bool run_until(const std::function<bool()>& done, Millis limit = 10s) {
    auto end = steady_clock::now() + limit;
    while (!done()) {
      if (steady_clock::now() > end) return false;
      io.restart();
      io.run_one_for(5ms);
    }
    return true;
  }
  bool equal() {
    return run_until([&] { return all_of(follower.state) == all_of(master); });
  }
  /// Anything that may happen in a cluster.
  void happen(int events) {
    for (int i = 0; i < events; ++i) {
      auto a = fmt::format("A{}", random() % 6), f = fmt::format("F{}", random() % 3), t = fmt::format("t{}", random() % 40);
      switch (random() % 8) {
        case 0: tell(AgentAdded{agent(a, fmt::format("10.0.{}.{}", random() % 2, a[1] - '0' + 1)), {}}); break;
        case 1: tell(AgentRemoved{SharedText(a)}); break;
        case 2: tell(FrameworkAdded{framework(f, "name-" + f), false}); break;
        case 3: tell(FrameworkRemoved{SharedText(f)}); break;
        case 4: tell(update(f, t, MesosState::kFinished)); break;
        case 5: tell(update(f, t, MesosState::kKilling)); break;
        default: tell(TaskAdded{task({.framework = f, .id = t, .agent = a, .ports = {{.number = int64_t(random() % 9000), .vips = {"/web:80"}}}}), false});
      }
    }
  }

  boost::asio::io_context io;
  std::filesystem::path dir;
  hub::ServerOptions options;
  HubConfig config;
  ClusterState master;
  std::unique_ptr<hub::Server> server;
  Follower follower;
  std::unique_ptr<HubSource> source;
  std::mt19937 random{11};
};

TEST_F(HubPair, AnyHistoryGivesTheSameState) {
  master.apply(Subscribed{}, Instant{});
  serve();
  happen(30);
  follow();
  ASSERT_TRUE(run_until([&] { return follower.snapshots == 1; }));
  for (int round = 0; round < 12; ++round) {
    happen(25);
    ASSERT_TRUE(equal()) << "round " << round;
  }
  EXPECT_EQ(follower.snapshots, 1u);
  EXPECT_EQ(follower.lost, 0u);
  EXPECT_EQ(follower.health.leader, "10.0.0.1:5050");
  EXPECT_EQ(source->hub_status().faults, 0u);
  // A hub that was restarted, and changes while nobody listened.
  serve();
  happen(30);
  ASSERT_TRUE(run_until([&] { return follower.snapshots == 2; }));
  ASSERT_TRUE(equal());
  EXPECT_EQ(source->hub_status().faults, 0u);
}

TEST_F(HubPair, AgesAreMeasured) {
  master.apply(Subscribed{}, Instant{});
  serve();
  follow();
  ASSERT_TRUE(run_until([&] { return source->age_of(0).has_value(); }));
  happen(5);
  ASSERT_TRUE(equal());
  ASSERT_TRUE(run_until([&] { return !follower.ages.empty(); }));
  double slack = std::chrono::duration<double>(source->clock_error()).count();
  for (double age : follower.ages) {
    EXPECT_GE(age, -slack);
    EXPECT_LT(age, 5.0);
  }
}

TEST_F(HubPair, TokensMustMatch) {
  auto token = [&](const std::string& name, const std::string& text) {
    std::ofstream(dir / name) << text << "\n";
    return (dir / name).string();
  };
  options.token_file = token("right", "s3cr3t");
  config.token_file = token("wrong", "other");
  serve();
  follow();
  ASSERT_TRUE(run_until([&] { return !source->status().last_error.empty(); }));
  EXPECT_THAT(source->status().last_error, HasSubstr("answered 401"));
  token("wrong", "s3cr3t");  // files are read at each attempt
  ASSERT_TRUE(run_until([&] { return follower.snapshots == 1; }));
}

TEST_F(HubPair, BothEndsShowTheirCertificates) {
  auto sh = [&](const std::string& c) { return std::system(fmt::format("cd {} && {} 2>/dev/null", dir.string(), c).c_str()) == 0; };
  auto key = [](const std::string& name) { return fmt::format("-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {}.key", name); };
  for (std::string ca : {"ca", "other"}) ASSERT_TRUE(sh(fmt::format("openssl req -x509 {} -out {}.pem -subj /CN={} -days 2", key(ca), ca, ca)));
  for (std::string name : {"server", "elsewhere", "client"}) {
    std::ofstream(dir / (name + ".ext")) << "subjectAltName=" << (name == "server" ? "IP:127.0.0.1" : name == "client" ? "DNS:node" : "IP:127.0.0.2") << "\n";
    ASSERT_TRUE(sh(fmt::format("openssl req {0} -out {1}.csr -subj /CN={1} && openssl x509 -req -in {1}.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
                               "-out {1}.pem -days 2 -extfile {1}.ext", key(name), name)));
  }
  auto path = [&](const std::string& name) { return (dir / name).string(); };
  auto error = [&] {
    source.reset();
    follow();
    EXPECT_TRUE(run_until([&] { return !source->status().last_error.empty() || follower.snapshots > 0; }));
    return source->status().last_error;
  };
  options.client_ca_file = path("ca.pem");
  options.cert_file = path("elsewhere.pem");
  options.key_file = path("elsewhere.key");
  config.tls = true;
  config.ca_file = path("ca.pem");
  config.cert_file = path("client.pem");
  config.key_file = path("client.key");
  serve();
  EXPECT_THAT(error(), HasSubstr("TLS handshake"));
  options.cert_file = path("server.pem");
  options.key_file = path("server.key");
  serve();
  config.ca_file = path("other.pem");
  EXPECT_THAT(error(), HasSubstr("TLS handshake"));
  config.ca_file = path("ca.pem");
  config.cert_file.clear();
  config.key_file.clear();
  EXPECT_NE(error(), "") << "without a certificate nobody follows";
  EXPECT_EQ(follower.snapshots, 0u);
  config.cert_file = path("client.pem");
  config.key_file = path("client.key");
  EXPECT_EQ(error(), "");
  EXPECT_EQ(follower.snapshots, 1u);
}

}  // namespace
}  // namespace ls
