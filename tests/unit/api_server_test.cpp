#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "api/client.h"
#include "api/server.h"
#include "api_fake.h"
#include "util/unique_fd.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;
using testing::HasSubstr;

/// A connection that says what HTTP clients do not.
class Raw {
 public:
  explicit Raw(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    path.copy(a.sun_path, sizeof a.sun_path - 1);
    connected = connect(fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
  }
  void send(std::string_view text) {
    while (!text.empty()) {
      auto n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(size_t(n));
    }
  }
  /// Until `want` was seen, the server closed, or so much time passed.
  std::string read_until(std::string_view want, std::chrono::milliseconds time = 5000ms) {
    auto end = std::chrono::steady_clock::now() + time;
    std::string out;
    while (want.empty() || out.find(want) == out.npos) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
      pollfd p{fd_.get(), POLLIN, 0};
      if (left <= 0 || poll(&p, 1, int(left)) <= 0) break;
      char buf[65536];
      auto n = recv(fd_.get(), buf, sizeof buf, 0);
      closed = n <= 0;
      if (closed) break;
      out.append(buf, size_t(n));
    }
    return out;
  }
  std::string read_all(std::chrono::milliseconds time = 5000ms) { return read_until("", time); }
  bool connected = false, closed = false;

 private:
  UniqueFd fd_;
};

bool eventually(const std::function<bool()>& done) {
  for (int i = 0; i < 1000; i++) {
    if (done()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

class ApiServer : public testing::Test {
 protected:
  void SetUp() override { start({}); }

  void start(std::function<void(Server::Settings&)> change) {
    server_.reset();
    Server::Settings s;
    s.socket = path_;
    if (change) change(s);
    auto r = Server::start(s, provider_);
    ASSERT_TRUE(r) << r.error().text();
    server_ = std::move(*r);
  }
  HttpReply get(std::string_view target, std::string_view etag = {}) {
    auto r = Client(path_, 5000ms).get(target, etag);
    EXPECT_TRUE(r) << target << ": " << (r ? "" : r.error().text());
    return r ? *r : HttpReply{};
  }
  Json json(std::string_view target, unsigned status = 200) {
    auto r = get(target);
    EXPECT_EQ(r.status, status) << target << ": " << r.body;
    return Json::parse(r.body, nullptr, false);
  }

  TempDir dir_;
  const std::string path_ = dir_ / "api.sock";
  FakeProvider provider_;
  std::unique_ptr<Server> server_;
};

TEST_F(ApiServer, LivenessFollowsTheLoops) {
  EXPECT_EQ(get("/livez").status, 200u);
  EXPECT_EQ(get("/livez").body, "ok\n");
  auto s = ready_status();
  s.loops[0].beat_age_s = 11;
  provider_.set(s);
  auto r = get("/livez");
  EXPECT_EQ(r.status, 503u);
  EXPECT_EQ(r.body, "loop control stands still for 11 s\n");
}

TEST_F(ApiServer, ReadinessListsTheStates) {
  auto r = get("/readyz");
  EXPECT_EQ(r.status, 200u);
  EXPECT_EQ(r.body, "READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050\n");
  auto s = ready_status();
  s.ready = false;
  for (size_t i = 5; i < 7; i++) s.startup[i] = {s.startup[i].name, false, 3};
  provider_.set(s);
  r = get("/readyz?verbose");
  EXPECT_EQ(r.status, 503u);
  EXPECT_THAT(r.body, HasSubstr("[+] in_sync, 3 min 0 s ago\n[-] reconciled\n[-] serving\nNOT READY: 5 of 7: waiting for reconciled"));
  EXPECT_THAT(get("/readyz").body, testing::Not(HasSubstr("[+]")));
}

TEST_F(ApiServer, StatusHasEverything) {
  auto j = json("/v1/status");
  EXPECT_EQ(j["headline"], "READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050");
  EXPECT_EQ(j["startup"].size(), 7u);
  EXPECT_EQ(j["startup"][3]["name"], "source_connected");
  EXPECT_EQ(j["source"]["events"]["task_updated"], 41);
  EXPECT_EQ(j["attachments"][0]["state"], "attached");
  EXPECT_EQ(j["tables"]["backends"]["draining"], 1);
  EXPECT_EQ(j["maps"][0]["entries"], 3);
  ASSERT_EQ(j["loops"].size(), 2u);
  EXPECT_EQ(j["loops"][1]["name"], "admin");
  for (auto* list : {"probes", "problems", "warnings", "reconcile"}) EXPECT_TRUE(j[list].is_array()) << list;
}

TEST_F(ApiServer, VipsHasTheShapeOfTheSpecAndAnEtag) {
  auto r = get("/v1/vips");
  EXPECT_EQ(r.status, 200u);
  auto j = Json::parse(r.body);
  ASSERT_EQ(j.size(), 2u);
  for (auto& v : j) {
    EXPECT_EQ(v.size(), 3u);
    for (auto& b : v["backend"]) EXPECT_EQ(b.size(), 2u);
  }
  ASSERT_FALSE(r.etag.empty());
  EXPECT_EQ(r.etag.front(), '"');
  auto again = get("/v1/vips", r.etag);
  EXPECT_EQ(again.status, 304u);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(again.etag, r.etag);
  EXPECT_EQ(get("/v1/vips", "\"other\", " + r.etag).status, 304u);
  auto vips = sample_vips();
  vips[1].backends.pop_back();
  provider_.set(vips);
  auto changed = get("/v1/vips", r.etag);
  EXPECT_EQ(changed.status, 200u);
  EXPECT_NE(changed.etag, r.etag);
  // A restart with the same table gives the same tag.
  provider_.set(sample_vips());
  start({});
  EXPECT_EQ(get("/v1/vips", r.etag).status, 304u);
}

TEST_F(ApiServer, ServicesAndBackendsCanBeSelected) {
  EXPECT_EQ(json("/v1/services").size(), 3u);
  auto j = json("/v1/services?vip=web.marathon%3A80%2Ftcp");
  ASSERT_EQ(j.size(), 2u);
  EXPECT_EQ(j[0]["key"], "11.0.0.1:80/tcp");
  EXPECT_EQ(j[0]["number"], 1);
  EXPECT_EQ(j[0]["backends"][1]["weight"], 0);
  EXPECT_EQ(j[0]["backends"][1]["state"], "draining");
  EXPECT_EQ(json("/v1/services?vip=none").size(), 0u);
  EXPECT_FALSE(get("/v1/services").etag.empty());
  auto b = json("/v1/backends?vip=10.99.0.1");
  ASSERT_EQ(b.size(), 1u);
  EXPECT_EQ(b[0]["service"], "10.99.0.1:5432/tcp");
  EXPECT_EQ(b[0]["task"], "db\x1b[31m\xef\xbf\xbd") << "bytes that are not UTF-8 are replaced, not an error";
  EXPECT_EQ(json("/v1/backends").size(), 4u);
}

TEST_F(ApiServer, FlowsAreFilteredAndLimited) {
  auto j = json("/v1/flows");
  EXPECT_EQ(j["flows"].size(), 3u);
  EXPECT_EQ(j["truncated"], false);
  EXPECT_EQ(j["flows"][0]["client"], "10.1.0.2:40000");
  EXPECT_EQ(json("/v1/flows?limit=2")["flows"].size(), 2u);
  EXPECT_EQ(json("/v1/flows?limit=2")["truncated"], true);
  EXPECT_EQ(json("/v1/flows?limit=3")["truncated"], false);
  EXPECT_EQ(json("/v1/flows?vip=web.marathon&state=closing")["flows"].size(), 1u);
  EXPECT_EQ(json("/v1/flows?backend=%234")["flows"][0]["state"], "udp");
}

TEST_F(ApiServer, MapsAreListedAndDumped) {
  auto j = json("/v1/maps");
  ASSERT_EQ(j.size(), 3u);
  EXPECT_EQ(j[2]["entries"], nullptr);
  auto r = get("/v1/maps/ls_be");
  EXPECT_EQ(r.body,
            "{\"key\":1,\"value\":{\"addr\":\"10.0.0.7\",\"gen\":7,\"port\":31001,\"proto\":\"tcp\",\"state\":\"active\",\"svc\":0}}\n"
            "{\"key\":3,\"value\":{\"addr\":\"10.0.0.7\",\"gen\":7,\"port\":31003,\"proto\":\"tcp\",\"state\":\"active\",\"svc\":0}}\n");
  EXPECT_FALSE(r.truncated);
  r = get("/v1/maps/ls_be?limit=1");
  EXPECT_EQ(std::count(r.body.begin(), r.body.end(), '\n'), 1);
  EXPECT_TRUE(r.truncated);
  r = get("/v1/maps/ls_be?all=1");
  EXPECT_EQ(std::count(r.body.begin(), r.body.end(), '\n'), 5);
  EXPECT_THAT(json("/v1/maps/nope", 404)["error"], "no map is named 'nope'");
  EXPECT_THAT(json("/v1/maps/", 404)["error"], "no map is named ''");
  EXPECT_THAT(json("/v1/maps/ls_events", 409)["error"].get<std::string>(), HasSubstr("ring buffer"));
}

TEST_F(ApiServer, CountersAreNamed) {
  auto j = json("/v1/drops");
  EXPECT_EQ(j[0]["reason"], "no_backend");
  EXPECT_EQ(j[0]["hook"], "port_in");
  EXPECT_EQ(j[0]["count"], 7);
  EXPECT_EQ(json("/v1/stats")[0]["verdict"], "forward");
}

TEST_F(ApiServer, AFailingKernelIsA500WithItsText) {
  provider_.broken = true;
  EXPECT_EQ(json("/v1/drops", 500)["error"], "read ls_drops: Operation not permitted");
  EXPECT_EQ(json("/v1/maps", 500)["error"], "list the maps: Operation not permitted");
  auto m = get("/metrics");
  EXPECT_EQ(m.status, 200u);
  EXPECT_THAT(m.body, HasSubstr("loadstar_scrape_errors_total{part=\"drops\"} 1\n"));
  EXPECT_THAT(m.body, testing::Not(HasSubstr("loadstar_drops_total{")));
  EXPECT_THAT(m.body, HasSubstr("loadstar_ready 1\n"));
}

TEST_F(ApiServer, WrongRequestsSayWhatIsWrong) {
  auto j = json("/nope?x=1", 404);
  EXPECT_EQ(j["error"], "there is no path '/nope'");
  EXPECT_THAT(j["routes"], testing::Contains("/v1/vips"));
  json("/v1/vips/", 404);
  for (auto& [target, parameter] : std::vector<std::pair<const char*, const char*>>{
           {"/v1/flows?limit=0", "limit"},
           {"/v1/flows?limit=100001", "limit"},
           {"/v1/flows?limit=12x", "limit"},
           {"/v1/flows?limit=", "limit"},
           {"/v1/flows?state=open", "state"},
           {"/v1/flows?backend=x", "backend"},
           {"/v1/flows?vip=a:b", "vip"},
           {"/v1/flows?vpi=a", "vpi"},
           {"/v1/flows?vip=%zz", "vip"},
           {"/v1/flows?vip=%4", "vip"},
           {"/v1/services?vip=11.0.0.1/sctp", "vip"},
           {"/v1/backends?vip=", "vip"},
           {"/v1/vips?limit=1", "limit"},
           {"/v1/maps/ls_be?all=maybe", "all"},
           {"/v1/monitor?type=drop,nwe", "type"},
           {"/v1/monitor?type=", "type"},
           {"/v1/monitor?hook=eth0", "hook"},
           {"/readyz?verbose=maybe", "verbose"},
       }) {
    auto e = json(target, 400);
    EXPECT_EQ(e["parameter"], parameter) << target;
    EXPECT_THAT(e["error"].get<std::string>(), HasSubstr("'" + std::string(parameter) + "'")) << target;
  }
  EXPECT_THAT(json("/v1/monitor?type=nwe", 400)["error"].get<std::string>(), HasSubstr("drop, new, reply, dead, icmp, sock"));
}

TEST_F(ApiServer, MethodsOtherThanGetAreRefused) {
  for (auto* method : {"POST", "PUT", "DELETE", "PATCH", "BREW"}) {
    Raw c(path_);
    c.send(std::string(method) + " /v1/vips HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    auto r = c.read_all();
    EXPECT_THAT(r, testing::StartsWith("HTTP/1.1 405 ")) << method;
    EXPECT_THAT(r, HasSubstr("Allow: GET, HEAD"));
  }
  Raw c(path_);
  c.send("POST /nope HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(c.read_all(), testing::StartsWith("HTTP/1.1 404 "));
}

TEST_F(ApiServer, HeadGivesTheLengthWithoutTheBody) {
  Raw c(path_);
  c.send("HEAD /v1/vips HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  auto r = c.read_all();
  EXPECT_THAT(r, testing::StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(r, HasSubstr("Content-Length: " + std::to_string(get("/v1/vips").body.size())));
  EXPECT_THAT(r, testing::EndsWith("\r\n\r\n"));
}

TEST_F(ApiServer, AConnectionServesManyRequestsAndPipelines) {
  Raw c(path_);
  for (int i = 0; i < 3; i++) {
    c.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(c.read_until("ok\n"), HasSubstr("200 OK"));
  }
  c.send("GET /livez HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n");
  auto r = c.read_all();
  EXPECT_THAT(r, HasSubstr("ok\n"));
  EXPECT_THAT(r, HasSubstr("READY"));
  EXPECT_TRUE(c.closed);
}

TEST_F(ApiServer, LimitsOfHeaderAndBody) {
  Raw big_header(path_);
  big_header.send("GET /livez HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n");
  EXPECT_THAT(big_header.read_all(), testing::StartsWith("HTTP/1.1 431 "));
  Raw good_header(path_);
  good_header.send("GET /livez HTTP/1.1\r\nX: " + std::string(7000, 'x') + "\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(good_header.read_all(), testing::StartsWith("HTTP/1.1 200 "));
  Raw big_body(path_);
  big_body.send("POST /livez HTTP/1.1\r\nContent-Length: 70000\r\n\r\n");
  EXPECT_THAT(big_body.read_all(), testing::StartsWith("HTTP/1.1 413 "));
  Raw chunked(path_);
  chunked.send("POST /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n12000\r\n" + std::string(0x12000, 'x'));
  EXPECT_THAT(chunked.read_all(), testing::StartsWith("HTTP/1.1 413 "));
  Raw garbage(path_);
  garbage.send("\x16\x03\x01 not http at all\r\n\r\n");
  EXPECT_THAT(garbage.read_all(), testing::StartsWith("HTTP/1.1 400 "));
  EXPECT_EQ(get("/livez").status, 200u);
}

TEST_F(ApiServer, IdleConnectionsAreClosed) {
  start([](auto& s) { s.idle = 100ms; });
  Raw silent(path_), half(path_);
  half.send("GET /livez HT");
  silent.read_all(3000ms);
  half.read_all(3000ms);
  EXPECT_TRUE(silent.closed);
  EXPECT_TRUE(half.closed);
}

TEST_F(ApiServer, TooManyConnectionsAreToldSo) {
  start([](auto& s) { s.max_connections = 3; });
  std::vector<std::unique_ptr<Raw>> held;
  for (int i = 0; i < 3; i++) {
    held.push_back(std::make_unique<Raw>(path_));
    held.back()->send("GET /livez HTTP/1.1\r\n\r\n");
    EXPECT_THAT(held.back()->read_until("ok\n"), HasSubstr("200 OK"));
  }
  auto r = get("/livez");
  EXPECT_EQ(r.status, 503u);
  EXPECT_THAT(r.body, HasSubstr("3 connections"));
  held.pop_back();
  EXPECT_TRUE(eventually([&] { return get("/livez").status == 200; }));
}

TEST_F(ApiServer, ParallelClientsAllGetTheirAnswer) {
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; t++) {
    threads.emplace_back([&, t] {
      const char* targets[] = {"/v1/status", "/v1/vips", "/metrics", "/v1/flows"};
      for (int i = 0; i < 25; i++) {
        auto r = Client(path_, 5000ms).get(targets[(t + i) % 4]);
        good += r && r->status == 200;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 200);
}

TEST_F(ApiServer, MonitorStreamsWhatWasAskedFor) {
  std::vector<Json> lines;
  std::thread reader([&] {
    auto r = Client(path_).lines("/v1/monitor?type=drop&vip=web.marathon", [&](std::string_view line) {
      lines.push_back(Json::parse(line));
      return lines.size() < 3;
    });
    EXPECT_TRUE(r);
  });
  ASSERT_TRUE(eventually([&] { return provider_.wanted == 1u << LS_EVENT_DROP; }));
  auto other = drop_event();
  other.type = LS_EVENT_NEW;
  provider_.hub.publish(other);
  other = drop_event();
  other.vip_name = "db.marathon";
  provider_.hub.publish(other);
  for (int i = 0; i < 3; i++) provider_.hub.publish(drop_event());
  reader.join();
  ASSERT_EQ(lines.size(), 3u);
  for (auto& l : lines) EXPECT_EQ(l["vip"], "web.marathon");
  // The client has left: the programs are told to stop sending.
  EXPECT_TRUE(eventually([&] { return provider_.wanted == 0; }));
}

TEST_F(ApiServer, ASlowMonitorLosesEventsAndIsToldHowMany) {
  start([](auto& s) { s.monitor_events = 100; });
  Raw slow(path_);
  slow.send("GET /v1/monitor HTTP/1.1\r\nHost: x\r\n\r\n");
  slow.read_until("\r\n\r\n");
  const int sent = 20000;  // about 5 MB, far more than the socket's buffer
  for (int i = 0; i < sent; i++) {
    provider_.hub.publish(drop_event());
    if (i % 50 == 0) std::this_thread::yield();
  }
  EXPECT_GT(provider_.hub.lost(), 0u);
  EXPECT_EQ(get("/livez").status, 200u) << "others are served meanwhile";
  // Reading on, every event is either there or counted as lost.
  std::string text;
  uint64_t got = 0, lost = 0;
  for (int i = 0; i < 100 && got + lost < uint64_t(sent); i++) {
    text += slow.read_until("\"lost\"", 200ms);
    got = lost = 0;
    for (size_t at = 0; (at = text.find("\"type\":\"drop\"", at)) != text.npos; at++) got++;
    std::regex count("\"type\":\"lost\",\"count\":(\\d+)");
    for (std::sregex_iterator m(text.begin(), text.end(), count), end; m != end; ++m) lost += std::stoull((*m)[1]);
  }
  EXPECT_EQ(got + lost, uint64_t(sent));
  EXPECT_EQ(lost, provider_.hub.lost());
  EXPECT_THAT(get("/metrics").body, HasSubstr("loadstar_events_lost_total{at=\"subscriber\"} " + std::to_string(lost)));
}

TEST_F(ApiServer, AMonitorThatNeverReadsIsCutOff) {
  start([](auto& s) { s.idle = 200ms; });
  Raw stuck(path_);
  stuck.send("GET /v1/monitor HTTP/1.1\r\nHost: x\r\n\r\n");
  stuck.read_until("\r\n\r\n");
  EXPECT_TRUE(eventually([&] {
    for (int i = 0; i < 2000; i++) provider_.hub.publish(drop_event());
    return provider_.wanted == 0;
  }));
}

TEST_F(ApiServer, AQuietMonitorStaysOpenBeyondTheIdleLimit) {
  start([](auto& s) { s.idle = 100ms; });
  Raw quiet(path_);
  quiet.send("GET /v1/monitor HTTP/1.1\r\nHost: x\r\n\r\n");
  quiet.read_until("\r\n\r\n");
  quiet.read_until("drop", 500ms);
  EXPECT_FALSE(quiet.closed);
  provider_.hub.publish(drop_event());
  EXPECT_THAT(quiet.read_until("\n", 2000ms), HasSubstr("no_backend"));
}

TEST_F(ApiServer, StoppingEndsStreamsAndRemovesTheSocket) {
  Raw monitor(path_), idle(path_);
  monitor.send("GET /v1/monitor HTTP/1.1\r\nHost: x\r\n\r\n");
  monitor.read_until("\r\n\r\n");
  server_.reset();
  monitor.read_all();
  EXPECT_TRUE(monitor.closed);
  EXPECT_EQ(access(path_.c_str(), F_OK), -1);
  EXPECT_EQ(provider_.wanted, 0u);
  auto r = Client(path_).get("/livez");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, std::errc::no_such_file_or_directory);
}

TEST_F(ApiServer, PublishingWhileItStopsIsSafe) {
  for (int round = 0; round < 20; round++) {
    start({});
    Raw monitor(path_);
    monitor.send("GET /v1/monitor HTTP/1.1\r\nHost: x\r\n\r\n");
    monitor.read_until("\r\n\r\n");
    std::atomic<bool> stop{false};
    std::thread publisher([&] {
      while (!stop) provider_.hub.publish(drop_event());
    });
    server_.reset();
    stop = true;
    publisher.join();
  }
}

TEST_F(ApiServer, BeatsWhileItLives) {
  auto before = server_->beats();
  EXPECT_TRUE(eventually([&] { return server_->beats() > before; }));
}

TEST_F(ApiServer, SocketHasItsMode) {
  struct stat st {};
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0660u);
}

TEST_F(ApiServer, ASecondServerIsRefusedAndTheFirstGoesOn) {
  auto second = Server::start({.socket = path_, .group = {}}, provider_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, std::errc::address_in_use) << second.error().text();
  EXPECT_EQ(get("/livez").status, 200u);
}

TEST_F(ApiServer, ASocketThatNobodyListensOnIsReplaced) {
  server_.reset();
  {
    UniqueFd left(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    path_.copy(a.sun_path, sizeof a.sun_path - 1);
    ASSERT_EQ(bind(left.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    ASSERT_EQ(listen(left.get(), 1), 0);
    // Another program's live socket, which does not know our lock.
    auto r = Server::start({.socket = path_, .group = {}}, provider_);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, std::errc::address_in_use);
  }
  start({});
  EXPECT_EQ(get("/livez").status, 200u);
}

TEST_F(ApiServer, WhatIsNotASocketIsLeftAlone) {
  auto file = dir_ / "file";
  std::ofstream(file) << "precious";
  auto r = Server::start({.socket = file, .group = {}}, provider_);
  ASSERT_FALSE(r);
  EXPECT_THAT(r.error().text(), HasSubstr("is not a socket"));
  EXPECT_EQ(std::filesystem::file_size(file), 8u);
}

TEST_F(ApiServer, AnotherSocketUnderOurNameIsNotRemoved) {
  std::filesystem::remove(path_);
  std::ofstream(path_) << "somebody else's";
  server_.reset();
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(ApiServer, BadSettingsAreErrors) {
  EXPECT_THAT(Server::start({.socket = dir_ / "x", .group = "no-such-group-here"}, provider_).error().text(),
              HasSubstr("no group 'no-such-group-here'"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "x"));
  EXPECT_FALSE(Server::start({.socket = "/tmp/" + std::string(120, 'x'), .group = {}}, provider_));
  EXPECT_FALSE(Server::start({.socket = dir_ / "a/b/c/sock", .group = {}}, provider_));
  EXPECT_TRUE(Server::start({.socket = dir_ / "new/sock", .group = {}}, provider_));
}

TEST(ApiClient, SaysWhyTheDaemonCannotBeReached) {
  TempDir dir;
  EXPECT_EQ(Client(dir / "none").get("/livez").error().code, std::errc::no_such_file_or_directory);
  auto path = dir / "dead";
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  path.copy(a.sun_path, sizeof a.sun_path - 1);
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  EXPECT_EQ(Client(path).get("/livez").error().code, std::errc::connection_refused);
  ASSERT_EQ(listen(fd.get(), 4), 0);  // listens, never answers
  EXPECT_EQ(Client(path, 100ms).get("/livez").error().code, std::errc::timed_out);
  EXPECT_EQ(Client(dir / std::string(200, 'x').c_str()).get("/").error().code, std::errc::filename_too_long);
}

/// Every sample of one name, "name{labels} value" lines.
std::vector<std::string> samples(const std::string& text, const std::string& name) {
  std::vector<std::string> out;
  std::istringstream lines(text);
  for (std::string l; std::getline(lines, l);) {
    if (l.starts_with(name + "{") || l.starts_with(name + " ")) out.push_back(l);
  }
  return out;
}

TEST_F(ApiServer, MetricsHaveTheNamesOfTheList) {
  auto text = get("/metrics").body;
  for (auto* line : {
           "loadstar_build_info{version=\"1.2.3\"} 1",
           "loadstar_ready 1",
           "loadstar_startup_state{state=\"in_sync\"} 1",
           "loadstar_source_connected{source=\"mesos\"} 1",
           "loadstar_source_age_seconds{source=\"mesos\"} 2",
           "loadstar_source_events_total{source=\"mesos\",kind=\"task_updated\"} 41",
           "loadstar_reconcile_runs_total{driver=\"lb\"} 12",
           "loadstar_reconcile_errors_total{driver=\"lb\"} 1",
           "loadstar_reconcile_seconds_count{driver=\"lb\"} 2",
           "loadstar_drift_repaired_total{driver=\"lb\"} 3",
           "loadstar_map_entries{map=\"ls_svc\"} 3",
           "loadstar_map_capacity{map=\"ls_svc\"} 65536",
           "loadstar_map_update_errors_total{map=\"ls_svc\",errno=\"E2BIG\"} 2",
           "loadstar_packets_total{hook=\"port_in\",verdict=\"forward\"} 100",
           "loadstar_bytes_total{hook=\"port_in\",verdict=\"forward\"} 64000",
           "loadstar_drops_total{hook=\"port_in\",reason=\"no_backend\"} 7",
           "loadstar_flows{state=\"udp\"} 4",
           "loadstar_flow_overflows_total 5",
           "loadstar_vips 3",
           "loadstar_vip_backends{state=\"draining\"} 1",
           "loadstar_vip_problems 0",
           "loadstar_events_lost_total{at=\"ring\"} 6",
           "loadstar_attachments{state=\"attached\"} 1",
           "loadstar_convergence_seconds_bucket{kind=\"task\",le=\"0.01\"} 9",
           "loadstar_convergence_seconds_bucket{kind=\"task\",le=\"+Inf\"} 14",
           "loadstar_convergence_seconds_sum{kind=\"task\"} 1.5",
           "loadstar_loop_lag_seconds{loop=\"control\"} 0.001",
       }) {
    EXPECT_THAT(text, HasSubstr(std::string(line) + "\n"));
  }
  EXPECT_EQ(samples(text, "loadstar_map_entries").size(), 2u) << "a ring buffer has no count of entries";
  EXPECT_EQ(samples(text, "loadstar_loop_lag_seconds").size(), 2u);
  // No name of a tenant and no client address is a label.
  for (auto* secret : {"web", "10.1.0.2", "marathon"}) EXPECT_THAT(text, testing::Not(HasSubstr(secret)));
}

TEST_F(ApiServer, EveryMetricIsDocumented) {
  std::ifstream file(LS_SOURCE_DIR "/docs/operate/metrics.md");
  std::string doc((std::istreambuf_iterator<char>(file)), {});
  std::istringstream lines(get("/metrics").body);
  for (std::string l; std::getline(lines, l);) {
    if (!l.starts_with("# TYPE ")) continue;
    auto name = l.substr(7, l.find(' ', 7) - 7);
    EXPECT_THAT(doc, HasSubstr("`" + name)) << name;
  }
}

TEST_F(ApiServer, EveryRouteIsDocumented) {
  std::ifstream file(LS_SOURCE_DIR "/docs/operate/api.md");
  std::string doc((std::istreambuf_iterator<char>(file)), {});
  for (auto& route : json("/nope", 404)["routes"]) {
    auto path = route.get<std::string>();
    EXPECT_THAT(doc, HasSubstr("`" + path.substr(0, path.find('?')))) << path;
  }
}

TEST_F(ApiServer, PromtoolAcceptsTheMetrics) {
  if (system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  auto file = dir_ / "metrics";
  std::ofstream(file) << get("/metrics").body;
  auto out = dir_ / "out";
  int rc = system(("promtool check metrics <" + file + " >" + out + " 2>&1").c_str());
  std::ifstream said(out);
  std::string text((std::istreambuf_iterator<char>(said)), {});
  EXPECT_EQ(rc, 0) << text;
  EXPECT_EQ(text, "");
}

}  // namespace
}  // namespace ls::api
