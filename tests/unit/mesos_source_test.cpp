// The real source against the stand-in on loopback, both on the test's own io_context.
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cstdlib>
#include <thread>

#include "mesos_source_support.h"

namespace mesos_source_test {
namespace {

using asio::ip::tcp;

TEST_F(MesosSource, SnapshotThenEvents) {
  start_standin();
  say("task add t0 F1 A1 name=web port=31000 vip=/web:80");
  start_source();
  ASSERT_TRUE(subscribed());
  EXPECT_THAT(sink.records[0], testing::StartsWith(R"({"type":"SUBSCRIBED")"));
  EXPECT_THAT(sink.records[0], HasSubstr(R"("VIP_0")"));
  EXPECT_EQ(sink.records[1], R"({"type":"HEARTBEAT"})");
  const auto& info = sink.connected[0];
  EXPECT_EQ(info.endpoint, standin->address());
  EXPECT_EQ(info.leader, LeaderChange::kFirst);
  EXPECT_EQ(info.leader_id, "standin-1-1");
  ASSERT_TRUE(info.elected);
  EXPECT_LT(std::chrono::system_clock::now() - *info.elected, 60s);

  say("task add t1 F1 A1 name=web port=31001 vip=/web:80");
  say("task state t1 TASK_KILLED");
  ASSERT_TRUE(run_until([&] { return sink.count("TASK_KILLED") == 1; }));
  EXPECT_EQ(sink.count(R"({"type":"TASK_ADDED")"), 1u);
  EXPECT_EQ(sink.count(R"({"type":"TASK_UPDATED")"), 3u);

  auto status = source->status();
  EXPECT_TRUE(status.connected);
  EXPECT_EQ(status.endpoint, standin->address());
  EXPECT_EQ(status.records, sink.records.size());
  EXPECT_GT(status.bytes, sink.records[0].size());
  EXPECT_EQ(status.reconnects, 0u);
  EXPECT_EQ(status.last_error, "");
  ASSERT_TRUE(status.last_byte_age);
  EXPECT_LT(*status.last_byte_age, 5s);
  source->stop();
  EXPECT_TRUE(run_until([&] { return standin->subscribers() == 0; }));
  EXPECT_TRUE(sink.lost.empty());
}

TEST_F(MesosSource, ChunkBordersMeanNothing) {
  options.chunk_size = 3;
  start_standin();
  say("task add t0 F1 A1 port=31000 vip=/web:80");
  start_source();
  ASSERT_TRUE(subscribed());
  say("task add t1 F1 A1 port=31001 vip=/web:80");
  ASSERT_TRUE(run_until([&] { return sink.count("TASK_RUNNING") == 2; }));
  EXPECT_THAT(sink.records[0], testing::EndsWith("}}"));
}

TEST_F(MesosSource, FollowsTheRedirectOfAStandByMaster) {
  start_standin(3);
  say("leader 3");
  config.masters = {standin->address(1)};
  start_source();
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(sink.connected[0].endpoint, standin->address(3));
}

TEST_F(MesosSource, ARedirectLoopIsNotYet) {
  start_standin(2);
  say("answer 1 redirect " + standin->address(2));
  say("answer 2 redirect " + standin->address(1));
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 3; }));
  EXPECT_THAT(error(), HasSubstr("which was asked already: no leader yet"));
  EXPECT_THAT(error(), HasSubstr(standin->address(1)));
  EXPECT_TRUE(sink.connected.empty());
  say("answer 1 redirect " + standin->address(1));  // to itself: restarted at its old address
  uint64_t seen = source->status().failures;
  ASSERT_TRUE(run_until([&] { return source->status().failures >= seen + 2; }));
  EXPECT_THAT(error(), HasSubstr("no leader yet"));
  say("answer 1 normal");
  ASSERT_TRUE(subscribed());
}

TEST_F(MesosSource, AtMostThreeRedirects) {
  start_standin(5);
  for (int i = 1; i <= 4; ++i)
    say(fmt::format("answer {} redirect {}", i, standin->address(static_cast<size_t>(i) + 1)));
  say("leader 5");
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr("more than 3 redirects"));
  say("answer 4 normal");
  say("leader 4");
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(sink.connected[0].endpoint, standin->address(4));
}

TEST_F(MesosSource, WaitsForALeader) {
  start_standin();
  say("leader none");
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 2; }));
  EXPECT_EQ(error(), fmt::format("master {}: answered 503 \"No leader elected\"", standin->address()));
  EXPECT_FALSE(source->status().connected);
  say("answer 1 404 \"404 Not Found.\"");
  ASSERT_TRUE(run_until([&] { return error().find("answered 404") != std::string::npos; }));
  say("down 1");
  ASSERT_TRUE(run_until([&] { return error().find("connect: ") != std::string::npos; }));
  say("answer 1 normal");
  say("up 1");
  say("leader 1");
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(error(), "");
}

TEST_F(MesosSource, TriesTheMastersInTurn) {
  start_standin(3);
  say("leader 3");
  say("down 1");
  say("answer 2 500 oops");
  config.masters = {standin->address(1), standin->address(2), standin->address(3)};
  start_source();
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(source->status().failures, 2u);
  say("leader none");
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 10; }));
  // All that was said in one round.
  EXPECT_THAT(error(), HasSubstr(standin->address(1)));
  EXPECT_THAT(error(), HasSubstr("answered 500 \"oops\""));
  EXPECT_THAT(error(), HasSubstr("No leader elected"));
}

TEST_F(MesosSource, BackoffGrowsToItsLimitWithAnyHalf) {
  config.backoff_min = 20ms;
  config.backoff_max = 80ms;
  start_standin();
  say("answer 1 503 later");
  start_source();
  std::vector<ls::Instant> at;
  uint64_t seen = 0;
  ASSERT_TRUE(run_until([&] {
    if (uint64_t n = source->status().failures; n != seen) {
      seen = n;
      at.push_back(std::chrono::steady_clock::now());
    }
    return seen == 12;
  }));
  EXPECT_GE(at[1] - at[0], 9ms);
  for (size_t i = 4; i < at.size(); ++i) EXPECT_GE(at[i] - at[i - 1], 38ms) << i;
  EXPECT_LE(at[11] - at[3], 8 * 80ms + 3s);
}

TEST_F(MesosSource, BasicAuthentication) {
  options.principal = "loadstar";
  options.secret = "s3cret:\"x";
  start_standin(2);
  say("leader 2");
  config.principal = "loadstar";
  config.secret_file = file("secret", "wrong-secret\n");
  config.masters = {standin->address(1)};
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_EQ(error(), fmt::format("master {}: answered 401 \"401 Unauthorized.\"", standin->address(1)));
  file("secret", "s3cret:\"x\n");  // replaced while running; sent to the redirect's target as well
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(sink.connected[0].endpoint, standin->address(2));
}

TEST_F(MesosSource, TokenAuthentication) {
  options.token = "abc.def.ghi";
  start_standin();
  config.token_file = file("token", "abc.def.ghi");
  start_source();
  ASSERT_TRUE(subscribed());
}

TEST_F(MesosSource, ACutInTheMiddleOfARecordGivesNoPartOfIt) {
  start_standin();
  start_source();
  ASSERT_TRUE(subscribed());
  size_t before = sink.records.size();
  say("drop mid");
  ASSERT_TRUE(run_until([&] { return sink.lost.size() == 1; }));
  EXPECT_EQ(sink.records.size(), before);
  EXPECT_THAT(sink.lost[0], HasSubstr("the peer closed the connection in the middle"));
  EXPECT_THAT(sink.lost[0], HasSubstr(standin->address()));
  ASSERT_TRUE(subscribed(2));
  EXPECT_EQ(sink.connected[1].leader, LeaderChange::kSame);
  EXPECT_EQ(source->status().reconnects, 1u);
}

TEST_F(MesosSource, SilenceOfThreeIntervalsEndsTheStream) {
  options.heartbeat = 10s;
  start_standin();
  say("silence");
  start_source();
  ASSERT_TRUE(run_until([&] { return sink.records.size() == 2; }));
  auto began = std::chrono::steady_clock::now();
  source->set_heartbeat_interval(60ms);  // as the decoder of SUBSCRIBED would
  // The read under way still has the assumed interval; any byte ends it.
  say("event \"{}\"");
  ASSERT_TRUE(run_until([&] { return sink.lost.size() == 1; }));
  EXPECT_GE(std::chrono::steady_clock::now() - began, 170ms);
  EXPECT_THAT(sink.lost[0], HasSubstr("silent for 180 ms"));
  ASSERT_TRUE(run_until([&] { return sink.connected.size() == 2; }));
}

TEST_F(MesosSource, EveryByteCountsAsLife) {
  options.heartbeat = 100s;
  start_standin();
  say("silence");
  start_source();
  sink.during_record = [&] { source->set_heartbeat_interval(200ms); };
  ASSERT_TRUE(run_until([&] { return sink.records.size() == 2; }));
  for (int i = 0; i < 15; ++i) {  // 1.5 s with events and without a heartbeat
    run_for(100ms);
    say("event \"{}\"");
  }
  EXPECT_TRUE(sink.lost.empty());
}

TEST_F(MesosSource, ASlowConsumerIsWaitedFor) {
  options.heartbeat = 20ms;
  config.heartbeat_interval = 100ms;
  start_standin();
  start_source();
  ASSERT_TRUE(subscribed());
  bool slow = true;
  sink.during_record = [&] {
    if (slow) std::this_thread::sleep_for(400ms);  // longer than the silence that would end the stream
    slow = false;
  };
  for (int i = 0; i < 50; ++i) say(fmt::format("event \"{{\\\"n\\\":{}}}\"", i));
  ASSERT_TRUE(run_until([&] { return sink.count("\"n\":49") == 1; }));
  EXPECT_TRUE(sink.lost.empty());
  EXPECT_EQ(sink.count("\"n\":"), 50u);
}

TEST_F(MesosSource, TellsWhetherTheLeaderChanged) {
  start_standin(2);
  say("task add t1 F1 A1 port=31000 vip=/web:80");
  config.masters = {standin->address(1), standin->address(2)};
  start_source();
  ASSERT_TRUE(subscribed());
  say("drop");
  ASSERT_TRUE(subscribed(2));
  EXPECT_EQ(sink.connected[1].leader, LeaderChange::kSame);
  sink.records.clear();

  say("failover 2 every=50ms");
  ASSERT_TRUE(run_until([&] { return sink.connected.size() == 3 && !sink.records.empty(); }));
  EXPECT_EQ(sink.connected[2].leader, LeaderChange::kChanged);
  EXPECT_EQ(sink.connected[2].endpoint, standin->address(2));
  EXPECT_EQ(sink.connected[2].leader_id, "standin-2-2");
  ASSERT_TRUE(run_until([&] { return sink.count(R"({"type":"AGENT_ADDED")") == 1; }));
  // An agent that comes back: its tasks first, then itself.
  ASSERT_THAT(sink.records[0], HasSubstr(R"("recovered_agents":[{"hostname":"10.0.0.11")"));
  EXPECT_THAT(sink.records[0], HasSubstr(R"("tasks":[])"));
  size_t task = 0, agent = 0;
  for (size_t i = 0; i < sink.records.size(); ++i) {
    if (sink.records[i].starts_with(R"({"type":"TASK_ADDED")")) task = i;
    if (sink.records[i].starts_with(R"({"type":"AGENT_ADDED")")) agent = i;
  }
  EXPECT_GT(task, 0u);
  EXPECT_GT(agent, task);

  say("deny GET_MASTER");
  say("drop");
  ASSERT_TRUE(run_until([&] { return sink.connected.size() == 4; }));
  EXPECT_EQ(sink.connected[3].leader, LeaderChange::kUnknown);
  EXPECT_EQ(sink.connected[3].leader_id, "");
}

TEST_F(MesosSource, AnAnswerThatNeverComes) {
  config.response_timeout = 150ms;
  start_standin();
  say("answer 1 hang");
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr("wait for the answer: Connection timed out"));
  say("answer 1 normal");
  ASSERT_TRUE(subscribed());
}

TEST_F(MesosSource, ARecordAboveTheLimitNamesIt) {
  config.record_limit = 100;
  start_standin();
  start_source();
  ASSERT_TRUE(run_until([&] { return sink.lost.size() == 1; }));
  EXPECT_THAT(sink.lost[0], HasSubstr("above the limit of 100 bytes"));
  EXPECT_TRUE(sink.records.empty());
}

TEST_F(MesosSource, StopFromInsideARecordIsTheLastCall) {
  start_standin();
  start_source();
  sink.during_record = [&] { source->stop(); };
  ASSERT_TRUE(run_until([&] { return !sink.records.empty(); }));
  run_for(100ms);
  EXPECT_EQ(sink.records.size(), 1u);  // the heartbeat came in the same read
  EXPECT_TRUE(sink.lost.empty());
  EXPECT_EQ(standin->subscribers(), 0u);
}

TEST_F(MesosSource, MayGoAtAnyMoment) {
  start_standin();
  config.masters = {standin->address()};
  for (int turns = 0; turns < 30; ++turns) {
    RecordingSink short_lived;
    auto s = ls::make_mesos_source(io, config, short_lived);
    ASSERT_TRUE(s);
    (*s)->start();
    io.restart();
    for (int i = 0; i < turns; ++i) io.run_one_for(5ms);
    s->reset();
  }
  run_for(50ms);
  EXPECT_TRUE(run_until([&] { return standin->subscribers() == 0; }));
}

/// Says the same bytes to everyone, on a thread of its own.
class Parrot {
 public:
  /// `answer` gets the request; what it gives is sent, then the connection is closed.
  explicit Parrot(std::function<std::string(const std::string&)> answer) : acceptor_(io_, {tcp::v4(), 0}) {
    port_ = acceptor_.local_endpoint().port();
    thread_ = std::thread([this, answer] {
      while (true) {
        boost::system::error_code ec;
        tcp::socket s(io_);
        acceptor_.accept(s, ec);
        if (ec || over_) return;
        std::string request(4096, '\0');
        request.resize(s.read_some(asio::buffer(request), ec));
        if (ec) continue;
        asio::write(s, asio::buffer(answer(request)), ec);
      }
    });
  }
  ~Parrot() {
    over_ = true;
    boost::system::error_code ec;
    tcp::socket s(io_);
    s.connect({asio::ip::address_v4::loopback(), port_}, ec);
    thread_.join();
  }
  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }

 private:
  asio::io_context io_;
  tcp::acceptor acceptor_;
  uint16_t port_ = 0;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

TEST_F(MesosSource, AServerThatClosesAfterEachAnswer) {
  Parrot parrot([](const std::string& request) -> std::string {
    if (request.find("SUBSCRIBE") == std::string::npos) {
      return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";  // says keep-alive, does not do it
    }
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: "
           "chunked\r\n\r\n3\r\n1\na\r\n";
  });
  config.masters = {parrot.address()};
  start_source();
  ASSERT_TRUE(run_until([&] { return !sink.lost.empty(); }));
  EXPECT_EQ(sink.records[0], "a");
}

TEST_F(MesosSource, AServerThatSpeaksSomethingElse) {
  Parrot no_json([](const std::string&) {
    return "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
  });
  Parrot no_http([](const std::string&) { return "SSH-2.0-x\r\n"; });
  Parrot no_recordio([](const std::string&) {
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}\n";
  });
  config.masters = {no_json.address()};
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr("content type \"text/html\" instead of application/json"));
  source.reset();
  config.masters = {no_http.address()};
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr(no_http.address()));
  source.reset();
  config.masters = {no_recordio.address()};
  start_source();
  ASSERT_TRUE(run_until([&] { return !sink.lost.empty(); }));
  EXPECT_THAT(sink.lost[0], HasSubstr("'{' in its length"));
}

TEST_F(MesosSource, ASecretThatIsSentBackIsNotShown) {
  Parrot echo([](const std::string& request) {
    return fmt::format("HTTP/1.1 500 No\r\nContent-Length: {}\r\n\r\n{}", request.size(),
                       request.substr(request.find("Auth")) + std::string(request.find("Auth"), ' '));
  });
  config.masters = {echo.address()};
  config.token_file = file("token", "very-secret-token\r\n");
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr("token=***"));
  EXPECT_THAT(error(), Not(HasSubstr("very-secret")));
}

TEST_F(MesosSource, BadConfigurationIsRefusedAtOnce) {
  auto problem = [&](auto change) {
    ls::MesosConfig c = config;
    c.masters = {"127.0.0.1:1"};
    change(c);
    auto s = ls::make_mesos_source(io, c, sink);
    return s ? std::string() : s.error().text();
  };
  EXPECT_EQ(problem([](auto&) {}), "");
  EXPECT_THAT(problem([](auto& c) { c.masters.clear(); }), HasSubstr("no Mesos master"));
  EXPECT_THAT(problem([](auto& c) { c.masters = {"h:x"}; }), HasSubstr("\"x\" is not a port"));
  EXPECT_THAT(problem([](auto& c) { c.principal = "p"; }), HasSubstr("go together"));
  EXPECT_THAT(problem([](auto& c) { c.token_file = "/does/not/exist"; }),
              HasSubstr("/does/not/exist: No such file"));
  EXPECT_THAT(problem([&](auto& c) { c.token_file = file("t", "a\nb"); }), HasSubstr("control character"));
  EXPECT_THAT(problem([&](auto& c) { c.token_file = file("t", "\n"); }), HasSubstr("is empty"));
  EXPECT_THAT(problem([&](auto& c) { c.token_file = dir.string(); }), HasSubstr("read secret file"));
  EXPECT_THAT(problem([](auto& c) { c.backoff_min = 0s; }), HasSubstr("backoff"));
  EXPECT_THAT(problem([](auto& c) {
                c.tls = true;
                c.ca_file = "/does/not/exist";
              }),
              HasSubstr("load certificate authorities from /does/not/exist"));
  EXPECT_THAT(problem([](auto& c) { c.cert_file = "x"; }), HasSubstr("go together"));
}

/// An authority, a server certificate for 127.0.0.1, one for another address, a client certificate.
class MesosSourceTls : public MesosSource {
 protected:
  void SetUp() override {
    std::string d = dir.string();
    auto sh = [](const std::string& c) { return std::system((c + " 2>/dev/null").c_str()) == 0; };
    auto key = [](const std::string& name) {
      return fmt::format("-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {}.key", name);
    };
    for (std::string ca : {"ca", "other"}) {
      ASSERT_TRUE(sh(
          fmt::format("cd {} && openssl req -x509 {} -out {}.pem -subj /CN={} -days 2", d, key(ca), ca, ca)));
    }
    std::pair<std::string, std::string> leaves[] = {
        {"server", "IP:127.0.0.1"}, {"elsewhere", "IP:127.0.0.2,DNS:localhost"}, {"client", "DNS:loadstar"}};
    for (const auto& [name, san] : leaves) {
      file(name + ".ext", "subjectAltName=" + san + "\n");
      ASSERT_TRUE(sh(
          fmt::format("cd {0} && openssl req {1} -out {2}.csr -subj /CN={2} && openssl x509 -req -in {2}.csr "
                      "-CA ca.pem -CAkey ca.key -CAcreateserial -out {2}.pem -days 2 -extfile {2}.ext",
                      d, key(name), name)));
    }
    config.tls = true;
    config.ca_file = path("ca.pem");
  }
  std::string path(const std::string& name) const { return (dir / name).string(); }
  void serve(const std::string& name) {
    options.cert_file = path(name + ".pem");
    options.key_file = path(name + ".key");
  }
};

TEST_F(MesosSourceTls, RightAuthorityAndRedirect) {
  serve("server");
  start_standin(2);
  say("leader 2");
  start_source();
  ASSERT_TRUE(subscribed());
  EXPECT_EQ(sink.connected[0].endpoint, standin->address(2));
  say("drop mid");
  ASSERT_TRUE(subscribed(2));
}

TEST_F(MesosSourceTls, WrongAuthority) {
  serve("server");
  config.ca_file = path("other.pem");
  start_standin();
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr("TLS handshake (unable to get local issuer certificate)"));
  EXPECT_TRUE(sink.connected.empty());
}

TEST_F(MesosSourceTls, CertificateOfAnotherHost) {
  serve("elsewhere");
  start_standin();
  config.masters = {standin->address()};
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr("TLS handshake"));
  EXPECT_TRUE(sink.connected.empty());
  source.reset();
  // By its name it is the right one.
  config.masters = {"localhost" + standin->address().substr(standin->address().rfind(':'))};
  start_source();
  ASSERT_TRUE(subscribed());
}

TEST_F(MesosSourceTls, ClientCertificate) {
  serve("server");
  options.client_ca_file = path("ca.pem");
  start_standin();
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_TRUE(sink.connected.empty());
  source.reset();
  config.cert_file = path("client.pem");
  config.key_file = path("client.key");
  start_source();
  ASSERT_TRUE(subscribed());
}

TEST_F(MesosSourceTls, PlainTextPeer) {
  Parrot plain([](const std::string&) { return "HTTP/1.1 400 Bad Request\r\n\r\n"; });
  config.masters = {plain.address()};
  start_source();
  ASSERT_TRUE(run_until([&] { return source->status().failures >= 1; }));
  EXPECT_THAT(error(), HasSubstr("TLS handshake"));
}

}  // namespace
}  // namespace mesos_source_test
