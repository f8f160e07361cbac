#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "api/mesos_dns_http.h"
#include "mesos_dns_fake.h"
#include "util/unique_fd.h"

namespace ls::api {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class Connection {
 public:
  explicit Connection(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = connect(fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
  }
  void send(std::string_view text) { (void)!::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  std::string read_all(std::chrono::milliseconds time = 5000ms) { return read([](auto&) { return false; }, time); }
  std::string read(const std::function<bool(const std::string&)>& enough, std::chrono::milliseconds time = 5000ms) {
    auto end = std::chrono::steady_clock::now() + time;
    std::string out;
    while (!enough(out)) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
      pollfd p{fd_.get(), POLLIN, 0};
      if (left <= 0 || poll(&p, 1, int(left)) <= 0) break;
      char buf[65536];
      auto n = recv(fd_.get(), buf, sizeof buf, 0);
      if (n <= 0) {
        closed = true;
        break;
      }
      out.append(buf, size_t(n));
    }
    return out;
  }
  bool connected = false, closed = false;

 private:
  UniqueFd fd_;
};

class MesosDnsServer : public testing::Test {
 protected:
  void start(std::function<void(MesosDnsHttp::Settings&)> change = {}) {
    MesosDnsHttp::Settings s;
    s.listen = {*Endpoint::parse("127.0.0.1:0")};
    if (change) change(s);
    auto r = MesosDnsHttp::start(s, provider_);
    ASSERT_TRUE(r) << r.error().text();
    server_ = std::move(*r);
    port_ = server_->listeners()[0].endpoint.port;
  }
  std::string exchange(const std::string& request) {
    Connection c(port_);
    c.send(request);
    return c.read_all();
  }

  FakeMesosDns provider_;
  std::unique_ptr<MesosDnsHttp> server_;
  uint16_t port_ = 0;
};

TEST_F(MesosDnsServer, AnswersAndKeepsTheConnection) {
  start();
  Connection c(port_);
  for (int i = 0; i < 3; i++) {
    c.send("GET /v1/hosts/leader.mesos HTTP/1.1\r\nHost: x\r\n\r\n");
    auto r = c.read([](auto& text) { return text.ends_with("\n ]"); });
    EXPECT_THAT(r, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(r, HasSubstr("Content-Type: application/json\r\n"));
    EXPECT_THAT(r, EndsWith("[\n  {\n   \"host\": \"leader.mesos.\",\n   \"ip\": \"10.0.0.1\"\n  }\n ]"));
  }
  EXPECT_FALSE(c.closed);
}

TEST_F(MesosDnsServer, RefusalsOverTheWire) {
  start();
  EXPECT_THAT(exchange("HEAD /v1/version HTTP/1.0\r\n\r\n"), testing::AllOf(StartsWith("HTTP/1.0 405"), EndsWith("\r\n\r\n")));
  EXPECT_THAT(exchange("GET //v1/version HTTP/1.0\r\n\r\n"), HasSubstr("Location: /v1/version\r\n"));
  EXPECT_THAT(exchange("nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(exchange("GET /" + std::string(10000, 'a') + " HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 431"));
  EXPECT_THAT(exchange("POST /v1/version HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"), StartsWith("HTTP/1.1 413"));
}

TEST_F(MesosDnsServer, TooManyConnectionsOfOneClientAre503) {
  start([](auto& s) { s.max_per_client = 2; });
  Connection a(port_), b(port_);
  for (auto* c : {&a, &b}) {
    c->send("GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(c->read([](auto& t) { return t.ends_with("}"); }), StartsWith("HTTP/1.1 200"));
  }
  Connection third(port_);
  EXPECT_THAT(third.read_all(), testing::AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Retry-After: 1")));
  a.send("GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(a.read([](auto& t) { return t.ends_with("}"); }), StartsWith("HTTP/1.1 200"));
}

TEST_F(MesosDnsServer, AnIdleConnectionIsClosed) {
  start([](auto& s) { s.idle = Millis(100); });
  Connection c(port_);
  EXPECT_EQ(c.read_all(), "");
  EXPECT_TRUE(c.closed);
}

TEST_F(MesosDnsServer, ListingsOnTheirWayAreCounted) {
  start([](auto& s) {
    s.max_large = 1;
    s.large_bytes = 1000;
  });
  provider_.list_ = {{"f", {}}};
  for (int i = 0; i < 50000; i++) {
    provider_.list_[0].tasks.push_back({"n", "i", {{"a.mesos.", std::string(400, 'x'), "A"}}, true});
  }
  Connection slow(port_);
  slow.send("GET /v1/enumerate HTTP/1.1\r\nHost: x\r\n\r\n");
  auto begun = slow.read([](auto& t) { return !t.empty(); });
  EXPECT_THAT(begun, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(exchange("GET /v1/enumerate HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 503"));
  EXPECT_THAT(exchange("GET /v1/version HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200"));
  EXPECT_THAT(slow.read([](auto& t) { return t.ends_with("\n }"); }, 20000ms), EndsWith("\n }"));
}

TEST_F(MesosDnsServer, APortThatIsTakenIsTriedAgain) {
  UniqueFd other(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  ASSERT_EQ(bind(other.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
  ASSERT_EQ(listen(other.get(), 1), 0);
  getsockname(other.get(), reinterpret_cast<sockaddr*>(&a), &size);
  start([&](auto& s) { s.listen = {{*IpAddress::parse("127.0.0.1"), ntohs(a.sin_port)}, *Endpoint::parse("[::1]:0")}; });
  auto l = server_->listeners();
  EXPECT_FALSE(l[0].bound);
  EXPECT_THAT(l[0].error, HasSubstr("in use"));
  EXPECT_TRUE(l[1].bound) << l[1].error;
  other = UniqueFd();
  for (int i = 0; i < 1000 && !server_->listeners()[0].bound; i++) std::this_thread::sleep_for(10ms);
  EXPECT_TRUE(server_->listeners()[0].bound);
  EXPECT_THAT(exchange("GET /v1/version HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200"));
  EXPECT_GT(server_->beats(), 0u);
}

TEST_F(MesosDnsServer, EndsWithClientsConnected) {
  start();
  Connection c(port_);
  c.send("GET /v1/ver");
  std::this_thread::sleep_for(50ms);
  server_.reset();
  EXPECT_EQ(c.read_all(), "");
  EXPECT_TRUE(c.closed);
}

}  // namespace
}  // namespace ls::api
