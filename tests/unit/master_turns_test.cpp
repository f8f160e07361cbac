// Masters that take turns at a store in a real ZooKeeper, each with its API, its own node and its copy; and an agent that follows them.
#include "app/master_turns.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "app/config.h"
#include "overlay_support.h"
#include "registration_node.h"
#include "store_support.h"
#include "zk/session.h"
#include "zookeeper_fixture.h"

namespace ls {
namespace {

using Json = nlohmann::json;
using api::call;
using api::kJson;
using namespace std::chrono_literals;

constexpr const char* kZone = "reg.thisdcos.directory";

/// Records of a node's zones: what its DNS would answer.
struct Zones {
  void apply(const std::string& zone, const RecordDelta& d) {
    for (auto& r : d.add) have[zone].insert(r);
    for (auto& r : d.remove) {
      auto it = have[zone].find(r);
      ASSERT_NE(it, have[zone].end());
      have[zone].erase(it);
      removed++;
    }
  }
  size_t count() const {
    auto it = have.find(kZone);
    return it == have.end() ? 0 : it->second.size();
  }
  std::map<std::string, std::multiset<Record>> have;
  size_t removed = 0;
};

class TurnsProvider : public api::FakeProvider {
 public:
  dns::Registry* registry() override { return registrations->registry(); }
  std::shared_ptr<const dns::RegistrationFeed> followed() override { return registrations->followed(); }
  std::optional<std::string> other_leads() override { return turns->other_leads(); }
  api::OverlaySource* overlay() override { return service; }
  Registrations* registrations = nullptr;
  MasterTurns* turns = nullptr;
  OverlayService* service = nullptr;
};

/// loadstard of a master but for the kernel.
class Master {
 public:
  Master(boost::asio::io_context& io, const std::string& zk, int number) : port(api::free_port()), number_(number) {
    write_file(dir_.path() / "token", "secret\n");
    ConfigText text{"x.toml",
                    "[node]\nroles = [\"master\"]\naddress = \"10.0.0." + std::to_string(number) + "\"\n[mesos]\nmasters = [\"m:5050\"]\n[store]\nkind = \"zookeeper\"\nzookeeper = \"" + zk +
                        "\"\nsession = \"2s\"\nadvertise = \"" + address() + "\"\npath = \"" + (dir_.path() / "store.db").native() +
                        "\"\n[overlay]\ncheck_address = false\n[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24\n[api]\nlisten = [\"" + address() +
                        "\"]\ntoken_file = \"" + (dir_.path() / "token").native() + "\"\n"};
    auto loaded = parse_config({&text, 1});
    EXPECT_TRUE(loaded.good()) << report(loaded);
    config_ = loaded.config;
    overlay = std::make_unique<OverlayService>(config_, clock_);
    overlay->start();
    turns = std::make_unique<MasterTurns>(io, config_, clock_, *overlay);
    registrations = std::make_unique<Registrations>(io, config_, [this](const std::string& zone, const RecordDelta& d) { zones.apply(zone, d); });
    EXPECT_TRUE(registrations->start());
    provider_.registrations = registrations.get();
    provider_.turns = turns.get();
    provider_.service = overlay.get();
    api::Server::Settings s;
    s.socket = path();
    s.token_file = config_.api.token_file;
    s.listen = config_.api.listen;
    auto server = api::Server::start(s, provider_);
    EXPECT_TRUE(server) << server.error().text();
    server_ = std::move(*server);
    OverlayLinkEvents events;
    events.fed = [this](overlay::AllocationFeed&& f) {
      if (f.full) peers.clear();
      for (auto& n : f.nodes) peers[n.node.text()] = n.vtep.v4.text();
      for (auto& n : f.removed) peers.erase(n.text());
    };
    events.allocated = [this](overlay::RegistrationAnswer&& a) { own.insert(a.allocation.vtep.v4.text()); };
    auto made = turns->make_link(std::move(events), std::nullopt, server_->poster());
    EXPECT_TRUE(made);
    link = std::move(*made);
    link->start();
    link->say({overlay::request("10.0.0." + std::to_string(number)), {}});
    auto started = turns->start(server_->poster(), *registrations);
    EXPECT_TRUE(started) << started.error().text();
  }
  ~Master() { stop(); }
  void stop() {
    registrations->stop();
    link->stop();
    server_.reset();
    turns->stop();
  }
  std::string path() const { return (dir_.path() / "api.sock").native(); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port); }
  bool leads() const { return turns->view()->leading; }
  api::RawReply put(const std::string& name, const std::string& to) {
    return call(path(), "PUT", std::string("/v1/zones/") + kZone + "/records/" + name + "/A", "{\"data\":[\"" + to + "\"]}", kJson);
  }
  /// The VTEP a node gets; empty: it got none.
  std::string enroll(const std::string& node) {
    auto r = call(path(), "POST", "/v1/overlay/nodes", overlay::registration_text({overlay::request(node), {}}), kJson);
    auto answer = overlay::parse_answer(r.body);
    return r.status == 200 && answer ? answer->allocation.vtep.v4.text() : "";
  }

  uint16_t port;
  Zones zones;
  std::map<std::string, std::string> peers;  ///< what its own node knows
  std::set<std::string> own;                 ///< VTEPs that its own node was told to have
  std::unique_ptr<OverlayService> overlay;
  std::unique_ptr<MasterTurns> turns;
  std::unique_ptr<Registrations> registrations;
  std::unique_ptr<OverlayLink> link;

 private:
  int number_;
  StoreDir dir_;
  Config config_;
  SystemClock clock_;
  TurnsProvider provider_;
  std::unique_ptr<api::Server> server_;
};

class MasterTurnsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto path = std::string("/") + testing::UnitTest::GetInstance()->current_test_info()->name();
    for (int i = 0; i < 3; i++) masters_.push_back(std::make_unique<Master>(io_, zk_.url(path), i + 1));
    FollowerOptions o;
    for (auto& m : masters_) o.masters.push_back(m->address());
    o.times.backoff_min = 20ms;
    o.times.retry_first = 100ms;
    o.times.wait = 1s;
    auto f = RegistrationFollower::make(io_, o, [this](const std::string& zone, RecordDelta d) { agent_.apply(zone, d); });
    ASSERT_TRUE(f);
    follower_ = std::move(*f);
    follower_->start();
  }
  void TearDown() override {
    follower_->stop();
    for (auto& m : masters_) m->stop();
    io_.restart();
    io_.run_for(20ms);
    follower_.reset();
    masters_.clear();
  }
  bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 6000; i++) {
      if (done()) return true;
      io_.restart();
      io_.run_for(5ms);
    }
    return false;
  }
  Master* leader() {
    Master* found = nullptr;
    for (auto& m : masters_) {
      if (!m->leads()) continue;
      if (found) return nullptr;
      found = m.get();
    }
    return found;
  }
  Master* next_leader(const Master* but = nullptr) {
    return eventually([&] { return leader() && leader() != but; }) ? leader() : nullptr;
  }
  Master* other(const Master* than) {
    for (auto& m : masters_) {
      if (m.get() != than) return m.get();
    }
    return nullptr;
  }
  /// Everybody has `names` records of the zone, and nobody ever lost one.
  void expect_names(size_t names) {
    EXPECT_TRUE(eventually([&] {
      return agent_.count() == names && std::all_of(masters_.begin(), masters_.end(), [&](auto& m) { return m->zones.count() == names; });
    })) << agent_.count()
        << " " << masters_[0]->zones.count() << " " << masters_[1]->zones.count() << " " << masters_[2]->zones.count() << ", wanted " << names;
    EXPECT_EQ(agent_.removed, 0u);
    for (auto& m : masters_) EXPECT_EQ(m->zones.removed, 0u);
  }

  ZookeeperServer zk_;
  boost::asio::io_context io_;
  std::vector<std::unique_ptr<Master>> masters_;
  Zones agent_;
  std::unique_ptr<RegistrationFollower> follower_;
};

TEST_F(MasterTurnsTest, NamesAndAddressesStayWhateverHappensToTheLeader) {
  auto* first = next_leader();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->put("web1", "10.1.0.1").status, 201u);
  auto vtep = first->enroll("10.0.1.1");
  EXPECT_FALSE(vtep.empty());
  expect_names(1);

  // One that does not lead says who does, and followers go on to that one.
  auto* waits = other(first);
  ASSERT_TRUE(eventually([&] { return waits->turns->view()->leader == first->address(); }));
  for (auto& r : {waits->put("no", "10.1.0.9"), call(waits->path(), "GET", "/v1/registrations?wait=1"), call(waits->path(), "GET", "/v1/overlay/allocations"),
                  call(waits->path(), "GET", "/overlay-master/state")}) {
    EXPECT_EQ(r.status, 503u) << r.body;
    EXPECT_EQ(Json::parse(r.body)["leader"], first->address());
    EXPECT_NE(r.head.find("X-Loadstar-Leader: " + first->address()), std::string::npos) << r.head;
  }
  EXPECT_EQ(call(waits->path(), "GET", std::string("/v1/zones/") + kZone + "/records/web1/A").status, 200u) << "reading works everywhere";

  // Its session ends.
  auto at = std::chrono::steady_clock::now();
  zk_.close_session(int64_t(first->turns->session()));
  auto* second = next_leader(first);
  ASSERT_TRUE(second);
  ASSERT_TRUE(eventually([&] { return second->put("web2", "10.1.0.2").status == 201; }));
  std::printf("a new leader writes %lld ms after the session ended\n", (long long)std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - at).count());
  expect_names(2);
  EXPECT_EQ(first->put("web3", "10.1.0.3").status, 503u);
  EXPECT_EQ(second->enroll("10.0.1.1"), vtep) << "same node, same address, at whichever master";
  auto another = second->enroll("10.0.1.2");
  EXPECT_FALSE(another.empty());
  EXPECT_NE(another, vtep) << "nothing is given twice";
  // The nodes of the masters themselves follow whoever leads, and keep what they have.
  ASSERT_TRUE(eventually([&] {
    return std::all_of(masters_.begin(), masters_.end(), [](auto& m) { return m->own.size() == 1 && m->peers.size() == 5; });
  })) << masters_[0]->peers.size()
      << masters_[1]->peers.size() << masters_[2]->peers.size() << " " << masters_[0]->own.size() << masters_[1]->own.size() << masters_[2]->own.size();

  // The ensemble is down: nothing is withdrawn, nothing new is taken.
  zk_.kill();
  ASSERT_TRUE(eventually([&] { return std::none_of(masters_.begin(), masters_.end(), [](auto& m) { return m->leads(); }); }));
  EXPECT_EQ(second->put("web3", "10.1.0.3").status, 503u);
  EXPECT_EQ(call(second->path(), "GET", std::string("/v1/zones/") + kZone + "/records/web2/A").status, 200u);
  expect_names(2);
  EXPECT_FALSE(second->turns->warnings().empty());
  at = std::chrono::steady_clock::now();
  zk_.start();
  auto* third = next_leader();
  ASSERT_TRUE(third);
  ASSERT_TRUE(eventually([&] { return third->put("web3", "10.1.0.3").status == 201; }));
  std::printf("a leader writes %lld ms after the ensemble is back\n", (long long)std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - at).count());
  expect_names(3);
  EXPECT_EQ(third->enroll("10.0.1.1"), vtep);
  EXPECT_EQ(third->enroll("10.0.1.2"), another);
  for (auto& m : masters_) EXPECT_EQ(m->own.size(), 1u);

  // A leader that ends in good order.
  third->stop();
  auto* fourth = next_leader(third);
  ASSERT_TRUE(fourth);
  ASSERT_TRUE(eventually([&] { return fourth->put("web4", "10.1.0.4").status == 201; }));
  EXPECT_TRUE(eventually([&] { return agent_.count() == 4; }));
  EXPECT_EQ(agent_.removed, 0u);
}

TEST_F(MasterTurnsTest, ADamagedRecordIsNamedAndNothingIsWithdrawn) {
  auto* first = next_leader();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->put("web1", "10.1.0.1").status, 201u);
  expect_names(1);
  zk::Session session({.url = *zk::parse_url(zk_.url("/x"))});
  session.start();
  ASSERT_TRUE(eventually([&] { return session.status().state == zk::SessionState::kConnected; }));
  auto node = "/ADamagedRecordIsNamedAndNothingIsWithdrawn/store/dns.registrations/reg.thisdcos.directory%20A%20web1";
  auto good = zk::wait<zk::Node>(5s, [&](auto done) { session.get(node, {}, std::move(done)); });
  ASSERT_TRUE(good) << good.error().text();
  auto set = [&](const std::string& value) { return zk::wait<zk::Stat>(5s, [&](auto done) { session.set(node, value, -1, std::move(done)); }); };
  ASSERT_TRUE(set(good->value + "x"));
  zk_.close_session(int64_t(first->turns->session()));
  // Whoever's turn it would be says what is wrong; no turn begins.
  ASSERT_TRUE(eventually([&] {
    return std::any_of(masters_.begin(), masters_.end(), [&](auto& m) { return m->turns->view()->last_error.find(node) != std::string::npos; });
  }));
  EXPECT_FALSE(leader());
  expect_names(1);
  ASSERT_TRUE(set(good->value));
  ASSERT_TRUE(next_leader());
  expect_names(1);
  session.stop();
}

TEST(StaleLeader, ItsRegistrationsAreNotBelieved) {
  boost::asio::io_context io;
  Zones zones;
  auto f = RegistrationFollower::make(io, {.masters = {}, .told = true, .file = {}, .times = {}}, [&](const std::string& zone, const RecordDelta& d) { zones.apply(zone, d); });
  ASSERT_TRUE(f);
  (*f)->start();
  auto feed = [&](uint64_t epoch, bool elected, std::vector<std::string> names, std::string store = "s") {
    dns::RegistrationFeed out{.at = {std::move(store), epoch, 1}, .registrations = {}, .removed = {}, .elected = elected};
    for (auto& n : names) out.registrations.push_back({kZone, n, RrType::kA, {"10.0.0.1"}, 5, std::nullopt, 0, 1});
    return (*f)->give(std::move(out)).has_value();
  };
  EXPECT_TRUE(feed(5, true, {"a", "b"}));
  EXPECT_FALSE(feed(4, true, {"a"})) << "its turn is over, first of the list or not";
  EXPECT_EQ(zones.count(), 2u);
  EXPECT_TRUE(feed(6, true, {"a", "b", "c"}));
  EXPECT_TRUE(feed(5, false, {"a"})) << "a master of its own whose file was put back is believed when it is the first";
  EXPECT_TRUE(feed(1, true, {}, "t")) << "another store";
  (*f)->stop();
  io.run_for(1ms);
}

}  // namespace
}  // namespace ls
