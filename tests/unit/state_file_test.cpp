// The state that is kept on the disk: what can happen to the file, and what a daemon makes of it.
#include "app/state_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "app/cluster.h"
#include "sources/checked_file.h"
#include "state_builders.h"
#include "util/log.h"

namespace ls {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

StateDelta cluster_of(int tasks) {
  ClusterState state;
  Subscribed s;
  s.snapshot.agents = {agent("A1", "10.0.0.11"), agent("A2", "10.0.0.12")};
  s.snapshot.frameworks = {framework("F", "marathon")};
  for (int i = 0; i < tasks; ++i) {
    s.snapshot.tasks.push_back(task(
        {.id = fmt::format("t{}", i), .agent = i % 2 ? "A2" : "A1", .addresses = {i % 2 ? "10.0.0.12" : "10.0.0.11"}, .ports = {{.number = 8000 + i, .vips = {"/web:80"}}}}));
  }
  state.apply(std::move(s), Instant{});
  return state.everything();
}

SavedState saved(int tasks = 2) {
  SavedState s;
  s.saved = std::chrono::system_clock::time_point(1'700'000'000s);
  s.hosts = {"10.0.0.1", "master.example"};
  s.leader = "10.0.0.1:5050";
  s.masters = {"10.0.0.1:5050", "10.0.0.2:5050"};
  s.leader_id = "id-1";
  s.elected = std::chrono::system_clock::time_point(1'699'999'999'500ms);
  s.image = image_of(cluster_of(tasks));
  return s;
}

class StateFile : public testing::Test {
 protected:
  void SetUp() override {
    log::set_level(log::Level::kError);
    std::string dir = (fs::temp_directory_path() / "ls-state-XXXXXX").string();
    ASSERT_NE(mkdtemp(dir.data()), nullptr);
    dir_ = dir;
    file_ = dir_ / "cluster";
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string bytes() const {
    std::ifstream in(file_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& text) const { std::ofstream(file_, std::ios::binary | std::ios::trunc) << text; }
  std::string error() const {
    auto loaded = load_state(file_);
    return loaded ? "" : loaded.error().text();
  }
  int error_code() const {
    auto loaded = load_state(file_);
    return loaded ? 0 : loaded.error().code.value();
  }
  /// Runs `body` in a child; gives its exit code.
  static int in_child(const std::function<int()>& body) {
    pid_t pid = fork();
    if (pid == 0) _exit(body());
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  fs::path dir_, file_;
};

TEST_F(StateFile, GivesBackWhatWasSaved) {
  ASSERT_TRUE(save_state(file_, saved(3)));
  auto got = load_state(file_);
  ASSERT_TRUE(got) << got.error().text();
  auto want = saved(3);
  EXPECT_EQ(got->saved, want.saved);
  EXPECT_EQ(got->hosts, want.hosts);
  EXPECT_EQ(got->leader, want.leader);
  EXPECT_EQ(got->masters, want.masters);
  EXPECT_EQ(got->leader_id, want.leader_id);
  EXPECT_EQ(got->elected, want.elected);
  ClusterState again;
  for (auto& event : hub::events_of(std::move(got->image), kDefaultHeartbeat)) again.apply(std::move(event), Instant{});
  EXPECT_EQ(again.task_count(), 3u);
  EXPECT_EQ(again.task("F", "t1")->agent_address, ip("10.0.0.12"));
  EXPECT_EQ(again.task("F", "t1")->framework_name.view(), "marathon");
  EXPECT_THAT(again.agents(), SizeIs(2));
}

TEST_F(StateFile, DamageAtEveryOctetIsFound) {
  ASSERT_TRUE(save_state(file_, saved(1)));
  const auto good = bytes();
  for (size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] = char(bad[i] ^ (1 << (i % 8)));
    write(bad);
    ASSERT_EQ(error_code(), EILSEQ) << "octet " << i << " of " << good.size();
  }
  for (size_t size = 0; size < good.size(); size += size < 64 ? 1 : 31) {
    write(good.substr(0, size));
    ASSERT_EQ(error_code(), EILSEQ) << "cut after " << size;
  }
  write(good + "x");
  EXPECT_EQ(error_code(), EILSEQ);
}

TEST_F(StateFile, WhatIsNoStateIsAnError) {
  EXPECT_EQ(error_code(), ENOENT);
  write("");
  EXPECT_EQ(error_code(), EILSEQ);
  // Whole files by their checksum, of another format or with other contents.
  ASSERT_TRUE(save_checked(file_, "loadstar-state 0", "{}\n{}"));
  EXPECT_EQ(error_code(), EILSEQ);
  auto format = fmt::format("loadstar-state 1.{}", hub::kFormat);
  auto image = hub::encode(hub::Image{});
  for (std::string text : {std::string(), std::string("{}"), "\n" + image, "[]\n" + image, "{}\n" + image, "{\"saved\":-1}\n" + image,
                           "{\"saved\":1e300}\n" + image, "{\"saved\":99999999999999999}\n" + image, "{\"saved\":1,\"hosts\":1}\n" + image,
                           "{\"saved\":1,\"hosts\":[1]}\n" + image, "{\"saved\":1,\"leader\":[]}\n" + image,
                           "{\"saved\":1,\"elected_us\":\"x\"}\n" + image, std::string("{\"saved\":1}\n"), std::string("{\"saved\":1}\n{}"),
                           "{\"saved\":1}\n" + hub::encode(hub::Beat{}), "{\"saved\":1}\n" + image.substr(0, image.size() - 1)}) {
    ASSERT_TRUE(save_checked(file_, format, text));
    EXPECT_EQ(error_code(), EILSEQ) << text;
  }
  ASSERT_TRUE(save_checked(file_, format, "{\"saved\":1,\"later\":{}}\n" + image));
  EXPECT_EQ(error(), "") << "keys of later versions are skipped";
  fs::remove(file_);
  fs::create_directory(file_);
  EXPECT_NE(error(), "");
}

TEST_F(StateFile, FullDiskAndReadOnlyFolderKeepTheFormerFile) {
  if (geteuid() != 0) GTEST_SKIP() << "needs a mount namespace of its own";
  auto folder = dir_ / "small";
  fs::create_directory(folder);
  int code = in_child([&] {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 10;
    if (mount("ls-state", folder.c_str(), "tmpfs", 0, "size=64k") != 0) return 11;
    auto file = folder / "cluster";
    if (!save_state(file, saved(1))) return 1;
    auto full = save_state(file, saved(2000));
    if (full || full.error().code.value() != ENOSPC) return 2;
    auto kept = load_state(file);
    if (!kept || kept->image.tasks.size() != 1) return 3;
    if (!fs::is_directory(folder) || std::distance(fs::directory_iterator(folder), {}) != 1) return 4;  // nothing is left beside it
    if (mount("ls-state", folder.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) != 0) return 12;
    auto refused = save_state(file, saved(2));
    if (refused || refused.error().code.value() != EROFS) return 5;
    kept = load_state(file);
    return kept && kept->image.tasks.size() == 1 ? 0 : 6;
  });
  EXPECT_EQ(code, 0);
}

TEST_F(StateFile, KilledWhileWriting) {
  ASSERT_TRUE(save_state(file_, saved(1)));
  for (int round = 0; round < 12; ++round) {
    pid_t pid = fork();
    if (pid == 0) {
      for (int tasks = 1;; tasks = tasks == 1 ? 300 : 1) (void)save_state(file_, saved(tasks));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(1500 + 1700 * round));
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    auto got = load_state(file_);
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_TRUE(got->image.tasks.size() == 1 || got->image.tasks.size() == 300) << got->image.tasks.size();
  }
}

TEST_F(StateFile, TheSameClusterSharesAHost) {
  EXPECT_TRUE(same_cluster({"a", "b"}, {"b", "c"}));
  EXPECT_FALSE(same_cluster({"a", "b"}, {"c"}));
  EXPECT_FALSE(same_cluster({}, {"c"}));
}

TEST_F(StateFile, TheKeeperWritesWhatChanged) {
  boost::asio::io_context io;
  int taken = 0;
  {
    StateKeeper keeper(io, file_, 0ms, [&] { return ++taken, saved(taken); });
    keeper.changed();
    auto work = boost::asio::make_work_guard(io);  // the writing thread is none
    for (int i = 0; i < 500 && !fs::exists(file_); ++i) io.run_one_for(10ms);
    EXPECT_EQ(error(), "");
    keeper.changed();
    keeper.stop();
  }
  EXPECT_EQ(taken, 2);
  auto got = load_state(file_);
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(got->image.tasks.size(), 2u);
  EXPECT_LT(std::chrono::system_clock::now() - got->saved, 1min);
}

TEST_F(StateFile, AKeeperThatCouldNotWriteDoesNotWaitForItsNextTurn) {
  boost::asio::io_context io;
  auto work = boost::asio::make_work_guard(io);  // the writing thread is none
  auto folder = dir_ / "later";
  StateKeeper keeper(io, folder / "cluster", 1h, [] { return saved(1); });
  keeper.changed();
  for (int i = 0; i < 500 && keeper.error().empty(); ++i) io.run_one_for(10ms);
  ASSERT_NE(keeper.error(), "");
  fs::create_directory(folder);
  for (int i = 0; i < 6000 && !keeper.error().empty(); ++i) io.run_one_for(10ms);
  EXPECT_EQ(keeper.error(), "");
  EXPECT_TRUE(load_state(folder / "cluster"));
}

// --- the daemon's use of it ------------------------------------------------------------------------------------------------

hub::SourceHealth fed(const std::string& leader = {}, const std::vector<IpAddress>& unreachable = {}) {
  hub::SourceHealth h;
  h.connected = h.synced = true;
  h.leader = leader;
  if (!leader.empty()) h.masters = {leader};
  h.unreachable = unreachable;
  return h;
}

class RestoredCluster : public StateFile {
 protected:
  RestoredCluster() {
    config.mesos.masters = {*parse_master_address("10.0.0.1:5050")};
    hooks.connected = [] {};
    hooks.leader = [this](const std::string& l) { leaders.push_back(l); };
    hooks.masters = [this](auto& list) { masters = list.size(); };
    hooks.snapshot = [this](const StateDelta& d) {
      ++snapshots;
      from_disk = cluster->restored().has_value();
      changed = d.tasks.size();
    };
    hooks.changed = [this](const StateDelta&, VipDelta&&, std::string_view k, Instant at) {
      kinds.emplace_back(k);
      received = at;
    };
  }
  ~RestoredCluster() override {
    if (cluster) cluster->stop();
  }
  void start() {
    config.store.path = dir_ / "store.db";
    if (cluster) cluster->stop();
    cluster = std::make_unique<Cluster>(io, config, clock, hooks);
    ASSERT_TRUE(cluster->start());
  }
  void connect(const std::string& leader_id, int64_t elected_ms = 1'699'999'999'500) {
    SourceInfo info;
    info.endpoint = "10.0.0.1:5050";
    info.leader_id = leader_id;
    info.elected = std::chrono::system_clock::time_point(std::chrono::milliseconds(elected_ms));
    cluster->on_connected(info);
  }
  /// Only the agent A1, with its one task.
  void mesos_knows_half() {
    cluster->on_record(PaddedRecord::copy_of(
        R"({"type":"SUBSCRIBED","subscribed":{"heartbeat_interval_seconds":15,"get_state":{"get_agents":{"agents":[{"agent_info":{"id":{"value":"A1"},)"
        R"("hostname":"10.0.0.11"},"active":true,"version":"1","pid":"slave(1)@10.0.0.11:5051"}]},"get_frameworks":{"frameworks":[{"framework_info":)"
        R"({"id":{"value":"F"},"name":"marathon","user":"r"},"active":true}]},"get_tasks":{"tasks":[{"name":"t0","task_id":{"value":"t0"},)"
        R"("framework_id":{"value":"F"},"agent_id":{"value":"A1"},"state":"TASK_RUNNING"}]}}}})"));
  }

  boost::asio::io_context io;
  Config config;
  FakeClock clock;
  Cluster::Hooks hooks;
  std::unique_ptr<Cluster> cluster;
  std::vector<std::string> leaders, kinds;
  size_t masters = 0, changed = 0;
  int snapshots = 0;
  bool from_disk = false;
  Instant received{};
};

TEST_F(RestoredCluster, IsThereBeforeTheSource) {
  ASSERT_TRUE(save_state(file_, saved(2)));
  start();
  EXPECT_EQ(snapshots, 1);
  EXPECT_TRUE(from_disk);
  EXPECT_EQ(changed, 2u);
  EXPECT_EQ(cluster->state().task_count(), 2u);
  EXPECT_THAT(cluster->vips().full().services, SizeIs(1));
  EXPECT_THAT(leaders, ElementsAre("10.0.0.1:5050"));
  EXPECT_EQ(masters, 2u);
  EXPECT_THAT(cluster->warnings(), ElementsAre(HasSubstr("state from disk, saved ")));
}

TEST_F(RestoredCluster, ANewLeaderMayNotKnowAllAgentsYet) {
  ASSERT_TRUE(save_state(file_, saved(2)));
  start();
  connect("id-2");
  mesos_knows_half();
  EXPECT_FALSE(from_disk);
  EXPECT_THAT(cluster->warnings(), ElementsAre(HasSubstr("does not know yet: 1;")));
  EXPECT_EQ(cluster->state().task_count(), 2u);
  EXPECT_THAT(cluster->state().held_agents(), ElementsAre("A2"));
}

TEST_F(RestoredCluster, TheSameLeaderElectedAnewIsANewLeader) {
  ASSERT_TRUE(save_state(file_, saved(2)));
  start();
  connect("id-1", 1'700'000'100'000);
  mesos_knows_half();
  EXPECT_EQ(cluster->state().task_count(), 2u);
}

TEST_F(RestoredCluster, TheLeaderOfBeforeIsBelieved) {
  ASSERT_TRUE(save_state(file_, saved(2)));
  start();
  connect("id-1");
  cluster->on_disconnected({});
  connect("id-1");  // what the first one would have said was never heard
  mesos_knows_half();
  EXPECT_EQ(cluster->state().task_count(), 1u);
  EXPECT_THAT(cluster->state().held_agents(), IsEmpty());
}

TEST_F(RestoredCluster, AHubReplacesIt) {
  ASSERT_TRUE(save_state(file_, saved(4)));
  config.source.kind = SourceKind::kHub;
  config.hub.masters = {"10.0.0.1:62081"};  // by its host the same cluster as that of a Mesos source
  start();
  EXPECT_TRUE(from_disk);
  connect("");
  cluster->on_health(fed("10.0.0.2:5050"));
  cluster->on_snapshot(image_of(cluster_of(1)));
  EXPECT_EQ(snapshots, 2);
  EXPECT_FALSE(from_disk);
  EXPECT_EQ(cluster->state().task_count(), 1u);
  EXPECT_THAT(cluster->state().held_agents(), IsEmpty());
  EXPECT_THAT(leaders, ElementsAre("10.0.0.1:5050", "10.0.0.2:5050"));
  EXPECT_EQ(masters, 1u);
  hub::Changes c;
  c.first = c.last = 1;
  c.tasks.push_back({.before = nullptr, .after = std::make_shared<const Task>(placed({.id = "new", .agent = "A1", .ports = {{.number = 1, .vips = {"/web:80"}}}}, "10.0.0.11"))});
  cluster->on_changes(std::move(c));
  EXPECT_EQ(cluster->state().task_count(), 2u);
  EXPECT_THAT(kinds, ElementsAre("hub_unmeasured")) << "the clocks were not compared";
}

TEST_F(RestoredCluster, WhatAHubCannotReachGetsNothingNew) {
  config.source.kind = SourceKind::kHub;
  config.hub.masters = {"10.0.0.1:62081"};
  start();
  connect("");
  cluster->on_health(fed());
  cluster->on_snapshot(image_of(cluster_of(2)));
  auto serving = [&] {
    auto service = cluster->vips().full().services.at(0);
    EXPECT_EQ(service.backends.size(), 2u);
    return std::count_if(service.backends.begin(), service.backends.end(), [](auto& b) { return b.weight > 0; });
  };
  ASSERT_EQ(serving(), 2);
  cluster->on_health(fed("", {ip("10.0.0.12")}));
  EXPECT_EQ(serving(), 1);
  EXPECT_THAT(kinds, ElementsAre("agent_unreachable"));
  cluster->on_health(fed());
  EXPECT_EQ(serving(), 2);
}

TEST_F(RestoredCluster, WhatAHubCannotReachWaitsForItsSnapshot) {
  ASSERT_TRUE(save_state(file_, saved(4)));
  config.source.kind = SourceKind::kHub;
  config.hub.masters = {"10.0.0.1:62081"};
  start();
  connect("");
  cluster->on_health(fed("", {ip("10.0.0.12")}));
  EXPECT_THAT(kinds, IsEmpty()) << "what the kernel has may be newer than what is of the disk";
  cluster->on_snapshot(image_of(cluster_of(2)));
  EXPECT_FALSE(from_disk);
  auto service = cluster->vips().full().services.at(0);
  ASSERT_THAT(service.backends, SizeIs(2));
  EXPECT_EQ(service.backends[0].weight, 1);
  EXPECT_EQ(service.backends[1].weight, 0);
  EXPECT_THAT(kinds, IsEmpty());
}

TEST_F(RestoredCluster, TheLeaderThatIsKeptIsTheOneThatToldTheState) {
  start();
  connect("id-1");
  mesos_knows_half();
  cluster->on_disconnected({});
  connect("id-2");  // and nothing is heard from it before the end
  cluster->stop();
  EXPECT_EQ(load_state(file_)->leader_id, "id-1");
  start();
  connect("id-2");
  EXPECT_TRUE(cluster->leader_changed()) << "it may not know all agents yet";
}

/// A Mesos master that answers SUBSCRIBE and then says what the test wants it to, or nothing.
struct MuteMaster {
  explicit MuteMaster(boost::asio::io_context& i) : io(i), acceptor(i, {boost::asio::ip::address_v4::loopback(), 0}) { accept(); }
  uint16_t port() const { return acceptor.local_endpoint().port(); }
  void accept() {
    acceptor.async_accept([this](boost::system::error_code ec, Tcp::socket s) {
      if (ec) return;
      socket = std::make_unique<Tcp::socket>(std::move(s));
      said.clear();
      read();
      accept();
    });
  }
  void read() {
    socket->async_read_some(boost::asio::buffer(bytes), [this](boost::system::error_code ec, size_t n) {
      if (ec) return;
      said.append(bytes.data(), n);
      if (said.find("GET_MASTER") != said.npos) {
        write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        said.clear();
      } else if (said.find("SUBSCRIBE") != said.npos) {
        write("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        ++subscribers;
        said.clear();
      }
      read();
    });
  }
  void write(const std::string& text) { boost::asio::write(*socket, boost::asio::buffer(text)); }
  void tell(const std::string& record) {
    auto framed = fmt::format("{}\n{}", record.size(), record);
    write(fmt::format("{:x}\r\n{}\r\n", framed.size(), framed));
  }
  using Tcp = boost::asio::ip::tcp;
  boost::asio::io_context& io;
  Tcp::acceptor acceptor;
  std::unique_ptr<Tcp::socket> socket;
  std::array<char, 4096> bytes{};
  std::string said;
  int subscribers = 0;
};

/// What a hub says of its source is by this: a connection alone feeds nobody.
TEST_F(RestoredCluster, AFeedIsWhatBringsAWholeState) {
  MuteMaster master(io);
  config.mesos.masters = {*parse_master_address(fmt::format("127.0.0.1:{}", master.port()))};
  config.mesos.backoff_min = config.mesos.backoff_max = 5ms;
  auto run_until = [&](const std::function<bool()>& done) {
    for (int i = 0; i < 1000 && !done(); ++i) {
      io.restart();
      io.run_one_for(10ms);
    }
    return done();
  };
  start();
  ASSERT_TRUE(run_until([&] { return cluster->source().connected; }));
  EXPECT_FALSE(cluster->fed().connected) << "nothing came yet";
  const std::string whole = R"({"type":"SUBSCRIBED","subscribed":{"heartbeat_interval_seconds":15,"get_state":{}}})";
  clock.advance(100s);
  master.tell(whole);
  ASSERT_TRUE(run_until([&] { return cluster->fed().connected; }));
  Instant whole_at = clock.now();
  clock.advance(40s);
  master.tell(R"({"type":"HEARTBEAT"})");
  ASSERT_TRUE(run_until([&] { return cluster->events().contains("heartbeat"); }));
  clock.advance(50s);
  master.socket->close();
  ASSERT_TRUE(run_until([&] { return master.subscribers == 2 && cluster->source().connected; })) << "it is there again";
  EXPECT_FALSE(cluster->fed().connected) << "and says nothing";
  EXPECT_EQ(cluster->fed().since, whole_at + 40s) << "its state is as old as the last word";
  clock.advance(500s);
  EXPECT_EQ(cluster->fed().since, whole_at + 40s);
  master.tell(whole);
  ASSERT_TRUE(run_until([&] { return cluster->fed().connected; }));
}

TEST_F(RestoredCluster, OfAnotherClusterOrDamagedIsNotTaken) {
  auto other = saved(2);
  other.hosts = {"192.0.2.1"};
  ASSERT_TRUE(save_state(file_, other));
  start();
  EXPECT_EQ(snapshots, 0);
  EXPECT_THAT(cluster->warnings(), ElementsAre(HasSubstr("another cluster, whose masters are 192.0.2.1")));
  write("x");
  start();
  EXPECT_EQ(snapshots, 0);
  EXPECT_THAT(cluster->warnings(), ElementsAre(HasSubstr("could not be used")));
  ASSERT_TRUE(save_state(file_, saved(2)));
  config.state.save_every = 0ms;  // it is not kept, and so not read
  start();
  EXPECT_EQ(snapshots, 0);
}

TEST_F(RestoredCluster, IsSavedAtTheEndAndComesBack) {
  start();
  EXPECT_EQ(snapshots, 0);
  connect("id-7");
  mesos_knows_half();
  cluster->stop();
  auto got = load_state(file_);
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(got->leader_id, "id-7");
  EXPECT_EQ(got->leader, "10.0.0.1:5050");
  EXPECT_THAT(got->hosts, ElementsAre("10.0.0.1"));
  start();
  EXPECT_TRUE(from_disk);
  EXPECT_EQ(cluster->state().task_count(), 1u);
}

}  // namespace
}  // namespace ls
