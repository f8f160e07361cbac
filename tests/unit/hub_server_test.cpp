// A hub and its followers over real sockets on loopback.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "hub/history.h"
#include "hub_client.h"

namespace ls::hub {
namespace {

using namespace test;
using testing::HasSubstr;
using testing::StartsWith;

/// Many changes at once: more than the socket buffers of one connection hold.
constexpr size_t kHeavy = 20'000;

TEST(HubServer, SnapshotThenDeltas) {
  Hub hub;
  for (int i = 0; i < 50; i++) hub.task("t" + std::to_string(i));
  Client c(hub.port());
  ASSERT_TRUE(c.follow()) << c.said;
  EXPECT_THAT(c.said, HasSubstr("application/recordio"));
  ASSERT_TRUE(c.until(hub.seq));
  EXPECT_EQ(c.images, 1);
  EXPECT_EQ(tasks_of(c.state), tasks_of(hub.state));
  EXPECT_EQ(c.state.agents(), hub.state.agents());
  for (int i = 40; i < 80; i++) {
    hub.task("t" + std::to_string(i));
    if (i % 3 == 0) hub.say(ls::test::update("F", "t" + std::to_string(i - 20), MesosState::kFailed));
  }
  hub.say(AgentAdded{ls::test::agent("B", "10.0.0.2")});
  hub.say(AgentRemoved{SharedText("A")});
  ASSERT_TRUE(c.until(hub.seq));
  EXPECT_EQ(c.images, 1);
  EXPECT_EQ(tasks_of(c.state), tasks_of(hub.state));
  EXPECT_EQ(c.state.agents(), hub.state.agents());
  auto s = hub.server->status();
  EXPECT_EQ(s.seq, hub.seq);
  EXPECT_EQ(s.followers, 1u);
  EXPECT_EQ(s.snapshots, 1u);
  EXPECT_EQ(s.connects, 1u);
  auto followers = hub.server->followers().value();
  ASSERT_EQ(followers.size(), 1u);
  EXPECT_EQ(followers[0].node, "n1");
  EXPECT_THAT(followers[0].address, StartsWith("127.0.0.1:"));
  EXPECT_EQ(followers[0].seq, hub.seq);
  EXPECT_EQ(followers[0].behind, 0u);
}

TEST(HubServer, WhoAsksAStuckHubIsNotStuck) {
  std::atomic<bool> blocked{false}, go_on{false};
  ServerOptions o;
  o.on_follower = [&](const IpAddress&, bool there) {
    if (!there) return;
    blocked = true;
    while (!go_on) std::this_thread::sleep_for(1ms);
  };
  Hub hub(std::move(o));
  ASSERT_TRUE(comes([&] { return hub.server->status().beats > 1; }));
  Client c(hub.port());
  c.get("/v1/hub?node=n1");
  ASSERT_TRUE(comes([&] { return blocked.load(); }));
  auto before = hub.server->status().beats;
  auto late = hub.server->followers(Millis(30));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, std::errc::timed_out);
  EXPECT_THAT(late.error().text(), HasSubstr("ask the hub's thread who follows"));
  EXPECT_EQ(hub.server->status().beats, before);
  EXPECT_TRUE(comes([&] { return hub.server->status().beat_age_s > 0.3; })) << "how long it stands still is shown";
  std::atomic<size_t> told{0};
  hub.server->ask_followers([&](std::vector<FollowerView> all) { told = all.size(); });
  EXPECT_EQ(told, 0u) << "asking waits for nothing";
  go_on = true;
  EXPECT_TRUE(comes([&] { return told == 1; }));
  EXPECT_TRUE(comes([&] { return hub.server->status().beats > before; }));
  EXPECT_EQ(hub.server->followers().value().size(), 1u);
}

TEST(HubServer, GoesOnWhereAFollowerWas) {
  Hub hub;
  Position at;
  ClusterState kept;
  {
    Client c(hub.port());
    ASSERT_TRUE(c.follow());
    ASSERT_TRUE(c.until(hub.seq));
    at = c.at;
  }
  EXPECT_TRUE(comes([&] { return hub.server->status().followers == 0; }));
  hub.task("t1");
  hub.task("t2");
  Client c(hub.port());
  c.at = at;
  ASSERT_TRUE(c.follow(at));
  ASSERT_TRUE(c.until(hub.seq));
  EXPECT_EQ(c.images, 0);
  EXPECT_EQ(c.state.task_count(), 2u);
  EXPECT_EQ(hub.server->status().resumed, 1u);

  // Another run, a number that was never there, a number of the future.
  for (Position wrong : {Position{"0123456789abcdef", at.seq}, Position{at.run, hub.seq + 1}, Position{at.run, 0}}) {
    Client d(hub.port());
    ASSERT_TRUE(d.follow(wrong));
    ASSERT_TRUE(d.until(hub.seq));
    EXPECT_EQ(d.images, 1);
    EXPECT_EQ(tasks_of(d.state), tasks_of(hub.state));
  }
}

TEST(HubServer, AShortHistoryMeansANewSnapshot) {
  ServerOptions o;
  o.history = 1000;
  o.batch = 1ms;
  Hub hub(o);
  Client c(hub.port());
  ASSERT_TRUE(c.follow());
  ASSERT_TRUE(c.until(hub.seq));
  auto at = c.at;
  for (int i = 0; i < 30; i++) {
    hub.task("t" + std::to_string(i), 100);
    ASSERT_TRUE(c.until(hub.seq));  // who keeps up needs no history
  }
  EXPECT_EQ(c.images, 1);
  Client d(hub.port());
  ASSERT_TRUE(d.follow(at));
  ASSERT_TRUE(d.until(hub.seq));
  EXPECT_EQ(d.images, 1);
  EXPECT_EQ(tasks_of(d.state), tasks_of(hub.state));
  EXPECT_LE(hub.server->status().history_bytes, 1000u);
}

/// One does not read. What it misses is dropped, and when it reads again it gets a snapshot; the other one has had everything long before.
TEST(HubServer, ASlowFollowerDelaysNobody) {
  ServerOptions o;
  o.history = 256 << 10;
  o.batch = 1ms;
  o.send_buffer = 16 << 10;
  Hub hub(o);
  Client slow(hub.port(), 4096), good(hub.port());
  ASSERT_TRUE(slow.follow({}, "", "slow"));
  ASSERT_TRUE(good.follow({}, "", "good"));
  ASSERT_TRUE(slow.until(hub.seq) && good.until(hub.seq));
  for (int i = 0; i < 300; i++) {
    hub.task("t" + std::to_string(i % 7), kHeavy);
    hub.say(ls::test::update("F", "t" + std::to_string(i % 7), MesosState::kFailed));
    ASSERT_TRUE(good.until(hub.seq)) << i;
  }
  hub.task("last");
  ASSERT_TRUE(good.until(hub.seq));
  EXPECT_EQ(good.images, 1);
  auto s = hub.server->status();
  EXPECT_LE(s.history_bytes, o.history + 2 * kHeavy);
  auto followers = hub.server->followers().value();
  ASSERT_EQ(followers.size(), 2u);
  EXPECT_EQ(followers[0].behind, 0u);
  EXPECT_GT(followers[1].behind, 100u);
  ASSERT_TRUE(slow.until(hub.seq));
  EXPECT_EQ(slow.images, 2);
  EXPECT_EQ(tasks_of(slow.state), tasks_of(hub.state));
  EXPECT_EQ(hub.server->status().dropped_behind, 1u);
  hub.task("more");
  ASSERT_TRUE(slow.until(hub.seq));
  EXPECT_EQ(slow.images, 2);
}

TEST(HubServer, WhoMakesNoProgressIsDropped) {
  ServerOptions o;
  o.send_buffer = 16 << 10;
  o.stuck = 300ms;
  o.idle = 300ms;
  Hub hub(o);
  Client stuck(hub.port(), 4096), half(hub.port()), quiet(hub.port());
  ASSERT_TRUE(stuck.follow());
  ASSERT_TRUE(stuck.until(hub.seq));
  ASSERT_TRUE(quiet.follow());
  half.send("GET /v1/hub HT");
  for (int i = 0; i < 100; i++) hub.task("t", kHeavy), hub.say(ls::test::update("F", "t", MesosState::kFailed));
  ASSERT_TRUE(quiet.until(hub.seq));
  EXPECT_TRUE(comes([&] { return hub.server->status().followers == 1; }));
  EXPECT_EQ(half.read_all(), "");
  EXPECT_EQ(hub.server->status().failed, 2u);  // and whoever follows without a change is left alone
  hub.task("u");
  EXPECT_TRUE(quiet.until(hub.seq));
}

TEST(HubServer, ClosedUntilTheWholeClusterIsKnown) {
  Hub hub({}, false);
  Client early(hub.port());
  EXPECT_FALSE(early.follow());
  EXPECT_THAT(early.said, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(early.said, HasSubstr("Retry-After: "));
  hub.task("t");
  hub.sync();
  hub.task("u");
  Client c(hub.port());
  ASSERT_TRUE(comes([&] { return hub.server->status().seq == hub.seq; }));
  ASSERT_TRUE(c.follow());
  ASSERT_TRUE(c.until(hub.seq));
  EXPECT_EQ(tasks_of(c.state), tasks_of(hub.state));
}

TEST(HubServer, BeatsTellWhereTheSourceStands) {
  ServerOptions o;
  o.heartbeat = 50ms;
  Hub hub(o);
  Client c(hub.port());
  ASSERT_TRUE(c.follow());
  ASSERT_TRUE(c.until(hub.seq));
  while (c.beats < 3) c.take(*c.record());
  EXPECT_TRUE(c.source.connected);
  Hub calm;  // beats every 5 s: a change of health is told at once
  Client d(calm.port());
  ASSERT_TRUE(d.follow());
  ASSERT_TRUE(d.until(calm.seq));
  SourceHealth h{.connected = false, .synced = true, .lost_ms = 10, .leader = "10.0.0.9:5050", .masters = {}, .unreachable = {ls::test::ip("10.0.0.3")}};
  calm.server->health(h);
  d.take(*d.record());
  EXPECT_EQ(d.source, h);
}

TEST(HubServer, BadRequests) {
  Hub hub;
  auto answer = [&](const std::string& text) {
    Client c(hub.port());
    c.send(text);
    return c.read_all();
  };
  EXPECT_THAT(answer("GARBAGE\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15)), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET /v1/hub?x=" + std::string(20'000, 'a')), StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(answer("POST /v1/hub HTTP/1.1\r\nHost: h\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(answer("GET /v1/hub?run=x&after=-1 HTTP/1.1\r\nHost: h\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(answer("GET /v1/hub HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"), StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(hub.server->status().refused, 7u);
  Client c(hub.port());  // nobody was harmed
  ASSERT_TRUE(c.follow({}, "", "a%00b%zz<" + std::string(500, 'n')));
  ASSERT_TRUE(c.until(hub.seq));
  EXPECT_THAT(hub.server->followers().value().at(0).node, StartsWith("a?b%zz<nnn"));
  EXPECT_EQ(hub.server->followers().value().at(0).node.size(), 128u);
}

TEST(HubServer, TheClockOnOneConnection) {
  Hub hub;
  Client c(hub.port());
  int64_t last = 0;
  for (int i = 0; i < 3; i++) {
    auto text = c.ask("GET /v1/hub/time HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_THAT(text, StartsWith("HTTP/1.1 200"));
    auto now = std::stoll(text.substr(text.find("clock_us\":") + 10));
    EXPECT_GT(now, last);
    last = now;
  }
}

TEST(HubServer, ThousandsOfRequestsAtOnceOnOneConnection) {
  Hub hub;
  Client c(hub.port(), 4 << 20);
  constexpr size_t kRequests = 8000;
  std::string request = "GET /v1/hub/time HTTP/1.1\r\n\r\n", all;
  for (size_t i = 0; i < kRequests; i++) all += request;
  ASSERT_GE(all.size(), 200'000u);
  std::thread sender([&] { c.send(all); });
  std::string said;
  size_t answers = 0;
  while (answers < kRequests) {
    auto part = c.read();
    if (part.empty()) break;
    said += part;
    for (size_t at; (at = said.find("clock_us")) != said.npos; answers++) said.erase(0, at + 8);
  }
  sender.join();
  EXPECT_EQ(answers, kRequests);
}

TEST(HubServer, NoMoreFollowersThanAllowed) {
  ServerOptions o;
  o.max_followers = 2;
  Hub hub(o);
  Client a(hub.port()), c(hub.port());
  auto b = std::make_unique<Client>(hub.port());
  ASSERT_TRUE(a.follow() && b->follow());
  ASSERT_FALSE(c.follow());
  EXPECT_THAT(c.said, StartsWith("HTTP/1.1 503"));
  b.reset();
  ASSERT_TRUE(comes([&] { return hub.server->status().followers == 1; }));
  Client d(hub.port());
  EXPECT_TRUE(d.follow());
}

TEST(HubServer, TwoThousandConnects) {
  std::atomic<int> there = 0, came = 0;
  ServerOptions o;
  o.on_follower = [&](const IpAddress& from, bool is) {
    EXPECT_EQ(from.text(), "127.0.0.1");
    there += is ? 1 : -1;
    came += is;
  };
  Hub hub(o);
  for (int i = 0; i < 2000; i++) {
    Client c(hub.port());
    ASSERT_TRUE(c.connected);
    c.get("/v1/hub");
    if (i % 3) continue;  // leaves without a look at what comes
    c.send("more that nobody asked for");
    ASSERT_THAT(c.read(), StartsWith("HTTP/1.1 200"));
  }
  EXPECT_TRUE(comes([&] { return hub.server->status().followers == 0 && there == 0; }));
  EXPECT_GE(came, 667);
  EXPECT_LE(hub.server->status().snapshots_made, 3u);  // one text for all
}

/// What a machine without power does: its connections stand, and nothing is acknowledged.
TEST(HubServer, WhoAcknowledgesNothingCountsAsGone) {
  std::atomic<int> there = 0, told = 0;
  ServerOptions o;
  o.heartbeat = 100ms;
  o.on_follower = [&](const IpAddress&, bool is) { there += is ? 1 : -1, told++; };
  Hub hub(o);
  auto dead = std::make_unique<Client>(hub.port());
  Client lives(hub.port());
  ASSERT_TRUE(dead->follow() && lives.follow());
  ASSERT_TRUE(dead->until(hub.seq) && lives.until(hub.seq));
  for (int beats = lives.beats; lives.beats < beats + 5;) lives.take(*lives.record());
  EXPECT_EQ(there, 2);
  EXPECT_EQ(told, 2) << "who reads nothing is there all the same";
  dead->hear(false);
  EXPECT_TRUE(comes([&] { return there == 1; }));
  EXPECT_EQ(hub.server->status().followers, 2u);
  dead->hear(true);
  EXPECT_TRUE(comes([&] { return there == 2; })) << "what was lost is sent again";
  dead->hear(false);
  EXPECT_TRUE(comes([&] { return there == 1; }));
  dead.reset();  // its end is heard of, and told once
  EXPECT_TRUE(comes([&] { return hub.server->status().followers == 1; }));
  EXPECT_EQ(there, 1);
}

TEST(HubServer, EndsWithStreamsOpen) {
  auto hub = std::make_unique<Hub>();
  std::vector<std::unique_ptr<Client>> all;
  for (int i = 0; i < 20; i++) {
    all.push_back(std::make_unique<Client>(hub->port()));
    ASSERT_TRUE(all.back()->follow());
  }
  all.push_back(std::make_unique<Client>(hub->port()));  // says nothing
  for (int i = 0; i < 200; i++) hub->task("t" + std::to_string(i), kHeavy);
  hub.reset();
  for (auto& c : all) c->read_all();
}

TEST(HubServer, APortInUseIsTriedAgain) {
  Hub first;
  ServerOptions o;
  o.listen = {Endpoint{ls::test::ip("127.0.0.1"), first.port()}};
  o.bind_again = 50ms;
  Hub second(o);
  EXPECT_TRUE(second.server->bound().empty());
  ASSERT_EQ(second.server->status().warnings.size(), 1u);
  EXPECT_THAT(second.server->status().warnings[0], HasSubstr(std::to_string(first.port())));
  first.server.reset();
  ASSERT_TRUE(comes([&] { return second.server->bound().size() == 1; }));
  EXPECT_TRUE(second.server->status().warnings.empty());
  Client c(second.port());
  EXPECT_TRUE(c.follow());
}

// ---- who may follow ----

class HubAccess : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/hub-test-XXXXXX";
    dir_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
    return dir_ / name;
  }
  void make(const std::string& what) { ASSERT_EQ(system(("cd " + dir_.string() + " && (" + what + ") >/dev/null 2>&1").c_str()), 0) << what; }
  void authority(const std::string& ca) {
    make("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " + ca + ".key -out " + ca + ".pem -subj /CN=" + ca + " -days 2");
  }
  void certificate(const std::string& ca, const std::string& name) {
    make(fmt::format("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {0}.key -out {0}.csr -subj /CN={0} && "
                     "openssl x509 -req -in {0}.csr -CA {1}.pem -CAkey {1}.key -CAcreateserial -out {0}.pem -days 2",
                     name, ca));
  }
  std::string file(const std::string& name) const { return dir_ / name; }
  std::filesystem::path dir_;
};

TEST_F(HubAccess, AToken) {
  ServerOptions o;
  o.token_file = write("token", "secret\n");
  o.look_at_files = 50ms;
  Hub hub(o);
  auto try_with = [&](const std::string& header) {
    Client c(hub.port());
    c.follow({}, header);
    return c.said.substr(9, 3);
  };
  EXPECT_EQ(try_with(""), "401");
  EXPECT_EQ(try_with("Authorization: Bearer wrong\r\n"), "401");
  EXPECT_EQ(try_with("Authorization: Bearer secre\r\n"), "401");
  EXPECT_EQ(try_with("Authorization: Basic secret\r\n"), "401");
  EXPECT_EQ(try_with("authorization: bearer secret\r\n"), "200");
  Client time(hub.port());
  EXPECT_THAT(time.ask("GET /v1/hub/time HTTP/1.1\r\nHost: h\r\n\r\n"), StartsWith("HTTP/1.1 401"));
  write("token", "another\n");
  EXPECT_TRUE(comes([&] { return try_with("Authorization: Bearer another\r\n") == "200"; }));
  EXPECT_EQ(try_with("Authorization: Bearer secret\r\n"), "401");
  std::filesystem::remove(o.token_file);
  EXPECT_TRUE(comes([&] { return hub.server->status().warnings.size() == 1; }));
  EXPECT_EQ(try_with("Authorization: Bearer another\r\n"), "200");

  EXPECT_FALSE(Server::start(o));
  o.token_file = write("token", "\n");
  EXPECT_FALSE(Server::start(o));
}

TEST_F(HubAccess, CertificatesOnBothSides) {
  authority("ca");
  authority("other");
  certificate("ca", "server");
  certificate("ca", "node");
  certificate("other", "stranger");
  ServerOptions o;
  o.cert_file = file("server.pem");
  o.key_file = file("server.key");
  o.client_ca_file = file("ca.pem");
  o.look_at_files = 50ms;
  Hub hub(o);
  for (int i = 0; i < 20; i++) hub.task("t" + std::to_string(i), kHeavy);
  auto let_in = [&](const TlsFiles& files) {
    Client c(hub.port());
    // With TLS 1.3 a client learns at its first reading that it is not wanted.
    return c.tls(files) && c.follow();
  };
  EXPECT_FALSE(let_in({file("ca.pem"), "", ""}));
  EXPECT_FALSE(let_in({file("ca.pem"), file("stranger.pem"), file("stranger.key")}));
  const TlsFiles good{file("ca.pem"), file("node.pem"), file("node.key")};
  Client c(hub.port());
  ASSERT_TRUE(c.tls(good));
  ASSERT_TRUE(c.follow());
  ASSERT_TRUE(c.until(hub.seq));
  EXPECT_EQ(tasks_of(c.state), tasks_of(hub.state));
  for (int i = 0; i < 200; i++) hub.task("u" + std::to_string(i), kHeavy);
  ASSERT_TRUE(c.until(hub.seq));
  EXPECT_EQ(c.images, 1);
  EXPECT_EQ(tasks_of(c.state), tasks_of(hub.state));

  Client plain(hub.port());  // HTTP to a port of TLS
  EXPECT_FALSE(plain.follow());
  EXPECT_EQ(plain.said.find("200"), std::string::npos);

  // Another authority's certificate is put in place of the server's: the stream stands, new ones see the new one.
  certificate("other", "next");
  make("cp next.key server.key && cp next.pem server.pem");
  EXPECT_TRUE(comes([&] { return let_in({file("other.pem"), file("node.pem"), file("node.key")}); }));
  hub.task("v");
  EXPECT_TRUE(c.until(hub.seq));
  write("server.pem", "nothing");
  EXPECT_TRUE(comes([&] { return hub.server->status().warnings.size() == 1; }));
  EXPECT_TRUE(let_in({file("other.pem"), file("node.pem"), file("node.key")}));

  EXPECT_FALSE(Server::start(o));  // at the start it is an error
  o.cert_file.clear();
  EXPECT_FALSE(Server::start(o));
}

// ---- history, batches ----

TEST(HubBatch, KeepsTheOrder) {
  Batch b;
  StateDelta agent, tasks;
  agent.agents = {{ls::test::agent("A", "10.0.0.1"), {}, false}};
  auto t = std::make_shared<const Task>(ls::test::task({}));
  tasks.tasks = {{nullptr, t, false}, {nullptr, t, true}};
  b.add(tasks, 5);
  b.add(tasks, 6);
  b.add(agent, 7);
  b.add(tasks, 8);
  b.add(agent, 9);  // an agent twice: another record
  uint64_t seq = 10;
  auto out = b.take(seq);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(std::tie(out[0].first, out[0].last, out[0].received_us), std::make_tuple(11u, 17u, 5));
  EXPECT_EQ(std::tie(out[1].first, out[1].last, out[1].received_us), std::make_tuple(18u, 18u, 9));
  EXPECT_EQ(seq, 18u);
  EXPECT_TRUE(b.empty());

  StateDelta large;
  large.frameworks = {{ls::test::framework("F", "new"), false}, {ls::test::framework("G", "old"), true}};
  large.agents = agent.agents;
  large.tasks.assign(2 * Batch::kTasks + 1, {nullptr, t, false});
  b.add(large, 1);
  out = b.take(seq);
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0].frameworks.size(), 1u);
  EXPECT_FALSE(out[0].frameworks[0].removed);
  EXPECT_TRUE(out[0].agents.empty());
  EXPECT_EQ(out[2].agents.size(), 1u);
  EXPECT_TRUE(out[2].frameworks.at(0).removed);
  EXPECT_EQ(out[2].last, seq);
}

TEST(HubHistory, OldEntriesGo) {
  History h(100);
  h.restart(7);
  EXPECT_TRUE(h.holds(7));
  EXPECT_FALSE(h.holds(6));
  EXPECT_EQ(h.after(7), nullptr);
  auto text = framed(std::string(30, 'x'));  // 33 octets
  h.add(8, 9, text);
  h.add(10, 10, text);
  h.add(11, 14, text);
  EXPECT_TRUE(h.holds(7) && h.holds(9) && h.holds(10) && h.holds(14));
  EXPECT_FALSE(h.holds(8) || h.holds(12) || h.holds(15));
  EXPECT_EQ(h.after(9)->last, 10u);
  EXPECT_EQ(h.bytes_after(9), 66u);
  EXPECT_EQ(h.changes(), 7u);
  h.add(15, 15, text);
  EXPECT_FALSE(h.holds(7));
  EXPECT_TRUE(h.holds(9));
  EXPECT_EQ(h.bytes(), 99u);
  h.add(16, 16, framed(std::string(5000, 'x')));
  EXPECT_TRUE(h.holds(15));  // the newest stays
  EXPECT_EQ(h.changes(), 1u);
  h.restart(20);
  EXPECT_EQ(h.bytes(), 0u);
  EXPECT_FALSE(h.holds(15));
}

}  // namespace
}  // namespace ls::hub
