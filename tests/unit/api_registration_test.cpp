#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "api/access_token.h"
#include "registration_node.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;
const std::string kZone = "/v1/zones/reg.thisdcos.directory/records";

class Registrations : public testing::Test {
 protected:
  void SetUp() override { node_.start(); }
  RawReply on_socket(std::string_view method, const std::string& target, std::string_view body = {}, std::string headers = std::string(kJson)) {
    return call(node_.path, method, target, body, headers);
  }
  RawReply on_tcp(std::string_view method, const std::string& target, std::string_view body = {}, std::string headers = std::string(kJson)) {
    return call(node_.port, method, target, body, headers);
  }
  static Json json(const RawReply& r) { return Json::parse(r.body, nullptr, false); }
  Node node_{true};
};

TEST_F(Registrations, PutGetDelete) {
  auto r = on_socket("PUT", kZone + "/Web/A", R"({"data":["10.0.0.1","10.0.0.2"],"ttl":7,"lease":"30s"})");
  ASSERT_EQ(r.status, 201u) << r.body;
  auto etag = r.header("ETag");
  EXPECT_FALSE(etag.empty());
  auto j = json(r);
  EXPECT_EQ(j["name"], "web");
  EXPECT_EQ(j["ttl"], 7);
  EXPECT_EQ(j["lease"], "30s");
  EXPECT_EQ(on_socket("PUT", kZone + "/web/A", R"({"data":["10.0.0.1","10.0.0.2"],"ttl":7,"lease":"30s"})").header("ETag"), etag) << "a renewal";
  auto got = on_socket("GET", kZone + "/web/a");
  EXPECT_EQ(got.status, 200u);
  EXPECT_EQ(got.header("ETag"), etag);
  EXPECT_EQ(json(got)["data"], Json({"10.0.0.1", "10.0.0.2"}));
  auto same = on_socket("GET", kZone + "/web/A", {}, "If-None-Match: " + etag + "\r\n");
  EXPECT_EQ(same.status, 304u);
  EXPECT_TRUE(same.body.empty());
  auto changed = on_socket("PUT", kZone + "/web/A", R"({"data":["10.0.0.3"]})");
  EXPECT_EQ(changed.status, 200u);
  EXPECT_NE(changed.header("ETag"), etag);
  EXPECT_EQ(json(on_socket("GET", "/v1/zones")), Json::parse(R"([{"zone":"reg.thisdcos.directory","registrations":1}])"));
  EXPECT_EQ(json(on_socket("GET", kZone)).size(), 1u);
  auto gone = on_socket("DELETE", kZone + "/web/A");
  EXPECT_EQ(gone.status, 204u);
  EXPECT_TRUE(gone.body.empty());
  EXPECT_EQ(on_socket("DELETE", kZone + "/web/A").status, 404u);
  EXPECT_EQ(on_socket("GET", kZone + "/web/A").status, 404u);
  EXPECT_EQ(json(on_socket("GET", "/v1/zones")), Json::array());
  EXPECT_EQ(on_socket("PUT", kZone + "/%40/MX", R"({"data":["10 mail.example"]})").status, 201u) << "the apex, percent-encoded";
}

TEST_F(Registrations, CompareAndSet) {
  EXPECT_EQ(node_.put("web", "10.0.0.1", std::string(kJson) + "If-Match: \"1\"\r\n").status, 412u);
  EXPECT_EQ(node_.put("web", "10.0.0.1", std::string(kJson) + "If-Match: *\r\n").status, 412u);
  auto r = node_.put("web", "10.0.0.1", std::string(kJson) + "If-None-Match: *\r\n");
  ASSERT_EQ(r.status, 201u) << r.body;
  EXPECT_EQ(node_.put("web", "10.0.0.2", std::string(kJson) + "If-None-Match: *\r\n").status, 412u);
  EXPECT_EQ(node_.put("web", "10.0.0.2", std::string(kJson) + "If-Match: \"abc\"\r\n").status, 412u);
  EXPECT_EQ(node_.put("web", "10.0.0.2", std::string(kJson) + "If-None-Match: \"1\"\r\n").status, 400u);
  auto match = std::string(kJson) + "If-Match: " + r.header("ETag") + "\r\n";
  EXPECT_EQ(node_.put("web", "10.0.0.2", match).status, 200u);
  EXPECT_EQ(node_.put("web", "10.0.0.3", match).status, 412u) << "the ETag was used up";
  EXPECT_EQ(on_socket("DELETE", kZone + "/web/A", {}, match).status, 412u);
  EXPECT_EQ(on_socket("DELETE", kZone + "/web/A", {}, "If-Match: *\r\n").status, 204u);
}

TEST_F(Registrations, OfRacingWritersOneWins) {
  auto r = node_.put("web", "10.0.0.1");
  auto match = std::string(kJson) + "If-Match: " + r.header("ETag") + "\r\n";
  std::atomic<int> won{0}, lost{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) {
    threads.emplace_back([&, i] {
      auto status = node_.put("web", "10.0.1." + std::to_string(i), match).status;
      if (status == 200) won++;
      if (status == 412) lost++;
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(lost, 7);
}

TEST_F(Registrations, ErrorsNameTheField) {
  struct Case {
    std::string target, body;
    unsigned status;
    const char* parameter;
  };
  for (auto& c : std::vector<Case>{
           {"/v1/zones/example.com/records/web/A", R"({"data":["10.0.0.1"]})", 400, "zone"},
           {"/v1/zones/l4lb.thisdcos.directory/records/web/A", R"({"data":["10.0.0.1"]})", 400, "zone"},
           {kZone + "/a..b/A", R"({"data":["10.0.0.1"]})", 400, "name"},
           {kZone + "/web/SOA", R"({"data":["x"]})", 400, "type"},
           {kZone + "/web/NOPE", R"({"data":["x"]})", 400, "type"},
           {kZone + "/web/A", R"({"data":["10.0.0.256"]})", 400, "data"},
           {kZone + "/web/A", R"({"data":"10.0.0.1"})", 400, "data"},
           {kZone + "/web/A", R"({"data":[1]})", 400, "data"},
           {kZone + "/web/A", R"({"ttl":5})", 400, "data"},
           {kZone + "/web/A", R"({"data":["10.0.0.1"],"ttl":-1})", 400, "ttl"},
           {kZone + "/web/A", R"({"data":["10.0.0.1"],"ttl":"5"})", 400, "ttl"},
           {kZone + "/web/A", R"({"data":["10.0.0.1"],"ttl":9999999})", 400, "ttl"},
           {kZone + "/web/A", R"({"data":["10.0.0.1"],"lease":30})", 400, "lease"},
           {kZone + "/web/A", R"({"data":["10.0.0.1"],"lease":"1ms"})", 400, "lease"},
           {kZone + "/web/A", R"({"data":["10.0.0.1"],"colour":1})", 400, "colour"},
           {kZone + "/web/A", "[]", 400, "body"},
           {kZone + "/web/A", "{\"data\":", 400, "body"},
           {kZone + "/web/A", std::string(5000, '['), 400, "body"},
           {kZone + "/%zz/A", R"({"data":["10.0.0.1"]})", 400, "path"},
       }) {
    auto r = on_socket("PUT", c.target, c.body);
    EXPECT_EQ(r.status, c.status) << c.target << " " << c.body.substr(0, 80) << ": " << r.body;
    EXPECT_EQ(json(r).value("parameter", ""), c.parameter) << c.target << " " << c.body.substr(0, 80) << ": " << r.body;
  }
  EXPECT_EQ(on_socket("PUT", kZone + "/web/A", R"({"data":["10.0.0.1"]})", "Content-Type: text/plain\r\n").status, 415u);
  EXPECT_EQ(on_socket("PUT", kZone + "/web/A", R"({"data":["10.0.0.1"]})", "").status, 415u);
  EXPECT_EQ(on_socket("PUT", kZone + "/web/A", R"({"data":["10.0.0.1"]})", "Content-Type: Application/JSON; charset=utf-8\r\n").status, 201u);
  auto conflict = on_socket("PUT", kZone + "/web/CNAME", R"({"data":["a.example"]})");
  EXPECT_EQ(conflict.status, 409u) << conflict.body;
  EXPECT_EQ(on_socket("PUT", kZone + "/web/A", std::string(70'000, ' ')).status, 413u);
  EXPECT_EQ(on_socket("POST", kZone + "/web/A", "{}").header("Allow"), "GET, HEAD, PUT, DELETE");
  EXPECT_EQ(on_socket("PUT", kZone, "{}").status, 405u);
  EXPECT_EQ(on_socket("PUT", "/v1/zones", "{}").status, 405u);
  EXPECT_EQ(on_socket("GET", "/v1/zones/x/y").status, 404u);
  EXPECT_EQ(on_socket("GET", "/v1/zones?x=1").status, 400u);
}

TEST_F(Registrations, TcpReadsButDoesNotChangeWithoutAToken) {
  ASSERT_EQ(node_.put("web", "10.0.0.1").status, 201u);
  EXPECT_EQ(on_tcp("GET", kZone + "/web/A").status, 200u);
  for (auto* path : {"/v1/vips", "/v1/nodes", "/v1/version", "/v1/records", "/v1/metrics", "/metrics", "/livez", "/v1/registrations"}) {
    EXPECT_EQ(on_tcp("GET", path).status, 200u) << path;
  }
  for (auto* path : {"/v1/flows", "/v1/maps", "/v1/maps/ls_be", "/v1/monitor", "/v1/config", "/v1/status", "/v1/dns", "/v1/nothing"}) {
    EXPECT_EQ(on_tcp("GET", path).status, 403u) << path;
  }
  auto r = on_tcp("PUT", kZone + "/web/A", R"({"data":["10.6.6.6"]})");
  EXPECT_EQ(r.status, 403u);
  EXPECT_THAT(r.body, HasSubstr("api.token_file"));
  EXPECT_EQ(on_tcp("DELETE", kZone + "/web/A").status, 403u);
  EXPECT_EQ(on_tcp("PUT", kZone + "/web/A", R"({"data":["10.6.6.6"]})", std::string(kJson) + "Authorization: Bearer \r\n").status, 403u);

  node_.token_file = node_.dir / "token";
  std::ofstream(node_.token_file) << "s3cret-token\n";
  node_.start();
  auto with = [&](std::string token) { return on_tcp("PUT", kZone + "/web/A", R"({"data":["10.0.0.5"]})", std::string(kJson) + "Authorization: " + token + "\r\n").status; };
  auto none = on_tcp("PUT", kZone + "/web/A", R"({"data":["10.6.6.6"]})");
  EXPECT_EQ(none.status, 401u);
  EXPECT_EQ(none.header("WWW-Authenticate"), "Bearer");
  for (auto* bad : {"Bearer s3cret", "Bearer s3cret-token2", "Bearer s3cret-tokeN", "Basic s3cret-token", "s3cret-token", "Bearer s3cret-tokens3cret-token"}) {
    EXPECT_EQ(with(bad), 401u) << bad;
  }
  EXPECT_EQ(json(on_tcp("GET", kZone + "/web/A"))["data"][0], "10.0.0.1");
  EXPECT_EQ(with("Bearer s3cret-token"), 200u);
  std::ofstream(node_.token_file) << "";
  EXPECT_EQ(with("Bearer "), 403u) << "an empty token is no token";
  std::ofstream(node_.token_file) << "next";
  EXPECT_EQ(with("bearer next"), 200u) << "replaced without a restart";
}

TEST(Tokens, SameSecret) {
  EXPECT_TRUE(same_secret("abc", "abc"));
  for (auto* bad : {"", "a", "ab", "abcd", "abcabc", "abd", "xbc"}) EXPECT_FALSE(same_secret(bad, "abc")) << bad;
  EXPECT_FALSE(same_secret("", ""));
}

TEST_F(Registrations, LongPollAnswersWhenSomethingChanges) {
  ASSERT_EQ(node_.put("a", "10.0.0.1").status, 201u);
  auto first = json(on_tcp("GET", "/v1/registrations"));
  EXPECT_EQ(first["full"], true);
  ASSERT_EQ(first["registrations"].size(), 1u);
  auto next = "/v1/registrations?wait=30&after=" + first["version"].dump() + "&epoch=" + first["epoch"].dump() + "&store=" + first["store"].get<std::string>();
  std::vector<std::unique_ptr<Wire>> waiting;
  for (int i = 0; i < 20; i++) {
    waiting.push_back(std::make_unique<Wire>(node_.port));
    waiting.back()->send(request_text("GET", next));
  }
  EXPECT_FALSE(waiting[0]->readable(200)) << "nothing is new";
  EXPECT_EQ(on_tcp("GET", "/livez").status, 200u) << "others are served meanwhile";
  ASSERT_EQ(node_.put("b", "10.0.0.2").status, 201u);
  for (auto& w : waiting) {
    auto j = json(parse_reply(w->read_all()));
    EXPECT_EQ(j["full"], false);
    ASSERT_EQ(j["registrations"].size(), 1u) << j;
    EXPECT_EQ(j["registrations"][0]["name"], "b");
    EXPECT_GT(j["version"], first["version"]);
  }
  auto now = json(on_tcp("GET", next));
  EXPECT_EQ(now["registrations"].size(), 1u) << "newer already: at once";
  auto quiet = json(on_tcp("GET", "/v1/registrations?wait=1&after=" + now["version"].dump()));
  EXPECT_TRUE(quiet["registrations"].empty()) << "its time is over";
  EXPECT_EQ(quiet["version"], now["version"]);
  EXPECT_EQ(on_tcp("GET", "/v1/registrations?after=x").status, 400u);
  EXPECT_EQ(on_tcp("GET", "/v1/registrations?wait=-1").status, 400u);
}

TEST_F(Registrations, ALeaseThatEndsWakesFollowers) {
  ASSERT_EQ(on_socket("PUT", kZone + "/web/A", R"({"data":["10.0.0.1"],"lease":"1s"})").status, 201u);
  auto at = json(on_tcp("GET", "/v1/registrations"));
  auto r = json(on_tcp("GET", "/v1/registrations?wait=30&after=" + at["version"].dump()));
  ASSERT_EQ(r["removed"].size(), 1u) << r;
  EXPECT_EQ(r["removed"][0]["name"], "web");
}

TEST_F(Registrations, EndsWhileSomebodyWaits) {
  Wire w(node_.port);
  auto at = json(on_tcp("GET", "/v1/registrations"));
  w.send(request_text("GET", "/v1/registrations?wait=30&after=" + at["version"].dump()));
  EXPECT_FALSE(w.readable(100));
  node_.stop();
  EXPECT_TRUE(w.readable(5000));
}

TEST(RegistrationsElsewhere, ANodeThatFollowsShowsTheCopyAndTakesNothing) {
  Node node(false);
  node.start();
  EXPECT_EQ(call(node.port, "GET", "/v1/registrations").status, 404u);
  EXPECT_EQ(node.put("web", "10.0.0.1").status, 404u);
  dns::RegistrationFeed copy;
  copy.at = {"abc", 3, 9};
  dns::Registration r;
  r.zone = "reg.thisdcos.directory";
  r.name = "web";
  r.data = {"10.0.0.1"};
  r.ttl = 5;
  r.version = 4;
  copy.registrations = {r};
  node.provider.followed_.with([&](auto& f) { f = std::make_shared<const dns::RegistrationFeed>(copy); });
  EXPECT_EQ(call(node.path, "GET", "/v1/zones/reg.thisdcos.directory/records/web/A").header("ETag"), "\"4\"");
  auto j = Json::parse(call(node.port, "GET", "/v1/registrations").body);
  EXPECT_EQ(j["store"], "abc");
  EXPECT_EQ(j["registrations"].size(), 1u);
}

TEST(TcpListeners, AnAddressThatIsTakenIsAWarningAndComesLater) {
  auto port = free_port();
  auto taken = std::make_unique<UniqueFd>(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(taken->get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  ASSERT_EQ(listen(taken->get(), 16), 0);
  Node node(true, port);
  node.start();
  auto status = [&] { return Json::parse(call(node.path, "GET", "/v1/status").body)["warnings"].dump(); };
  std::string seen;
  for (int i = 0; i < 400 && seen.find("Address already in use") == seen.npos; i++) {
    seen = status();
    usleep(5000);
  }
  EXPECT_THAT(seen, HasSubstr("127.0.0.1:" + std::to_string(port)));
  EXPECT_THAT(seen, HasSubstr("Address already in use"));
  taken.reset();
  bool served = false;
  for (int i = 0; i < 1200 && !served; i++) {
    served = call(port, "GET", "/livez").status == 200;
    usleep(10'000);
  }
  EXPECT_TRUE(served);
  EXPECT_EQ(status(), "[]");
}

TEST(TcpListeners, Limits) {
  Node node(true);
  node.settings.max_tcp_connections = 4;
  node.settings.idle = Millis(500);
  node.start();
  usleep(50'000);
  std::vector<std::unique_ptr<Wire>> held;
  for (int i = 0; i < 4; i++) held.push_back(std::make_unique<Wire>(node.port));
  bool refused = false;
  for (int i = 0; i < 50 && !refused; i++) {
    refused = call(node.port, "GET", "/livez").status == 503;
  }
  EXPECT_TRUE(refused);
  EXPECT_EQ(call(node.path, "GET", "/livez").status, 200u) << "the socket has a limit of its own";
  EXPECT_TRUE(held[0]->readable(5000)) << "closed when idle";
  bool again = false;
  for (int i = 0; i < 400 && !again; i++) {
    again = call(node.port, "GET", "/livez").status == 200;
    usleep(5000);
  }
  EXPECT_TRUE(again);
}

/// Zones for the read endpoints.
class Zones final : public DnsSource {
 public:
  Zones() {
    auto apex = DnsName::parse("l4lb.thisdcos.directory").value();
    auto table = std::make_shared<dns::ZoneTable>(epoch_);
    RecordDelta d;
    auto web = relative_name("web.marathon").value();
    d.add = {address_record(web, ip("11.0.0.1")), address_record(web, ip("fd01:c::1")),
             cname_record(relative_name("alias").value(), DnsName::parse("web.marathon.l4lb.thisdcos.directory").value()),
             srv_record(relative_name("_web._tcp").value(), 0, 1, 8080, web)};
    table->apply(d);
    std::vector<dns::ZoneView> views(2);
    views[0].apex = apex;
    views[0].table = table;
    views[1].apex = DnsName::parse("l4lb.thisdcos.global").value();
    views[1].table = table;
    views[1].is_alias = true;
    routes_ = std::make_shared<const dns::Routes>(std::move(views), std::vector<dns::ForwardGroup>{});
  }
  dns::ServerView view() override { return {}; }
  std::shared_ptr<const dns::Routes> routes(dns::ServiceKind kind) override { return kind == dns::ServiceKind::kResolver ? routes_ : nullptr; }
  Epoch& epoch() override { return epoch_; }
  void explain(dns::ServiceKind, std::vector<uint8_t>, std::function<void(dns::Explained)>) override {}
  size_t flush(const DnsName&) override { return 0; }
  std::vector<std::string> origins(const DnsName&, std::string_view) override { return {}; }

 private:
  Epoch epoch_;
  std::shared_ptr<const dns::Routes> routes_;
};

std::string unchunked(std::string_view in) {
  std::string out;
  while (!in.empty()) {
    auto size = std::stoul(std::string(in.substr(0, in.find("\r\n"))), nullptr, 16);
    in.remove_prefix(in.find("\r\n") + 2);
    out += in.substr(0, size);
    in.remove_prefix(std::min(in.size(), size_t(size + 2)));
  }
  return out;
}

TEST(ReferenceEndpoints, Shapes) {
  Zones zones;
  Node node(true);
  node.provider.source = &zones;
  node.start();
  auto get = [&](const std::string& path) { return call(node.path, "GET", path); };
  auto json = [&](const std::string& path) { return Json::parse(get(path).body, nullptr, false); };
  auto nodes = Json::parse(R"([{"private_ip":"10.0.0.7","public_ips":["192.0.2.7","2001:db8::7"],"hostname":"agent7","updated":"2023-11-14T22:13:20.007Z"}])");
  EXPECT_EQ(json("/v1/nodes"), nodes);
  EXPECT_EQ(json("/v1/nodes?force"), nodes);
  EXPECT_EQ(json("/v1/version")["Service"], "loadstar");
  EXPECT_TRUE(json("/v1/version")["Version"].is_string());
  EXPECT_EQ(json("/v1/config")["lb.flows"], "262144");
  EXPECT_EQ(json("/v1/hosts/web.marathon.L4LB.thisdcos.directory"),
            Json::parse(R"([{"host":"web.marathon.L4LB.thisdcos.directory","ip":"11.0.0.1"}])"));
  EXPECT_EQ(json("/v1/hosts/alias.l4lb.thisdcos.global.")[0]["ip"], "11.0.0.1") << "through an alias";
  EXPECT_EQ(json("/v1/hosts/none.l4lb.thisdcos.directory"), Json::array());
  EXPECT_EQ(json("/v1/hosts/www.example.com"), Json::array());
  EXPECT_EQ(get("/v1/hosts/").status, 400u);
  EXPECT_EQ(get("/v1/hosts/a..b").status, 400u);
  EXPECT_EQ(json("/v1/services/_web._tcp.l4lb.thisdcos.directory"),
            Json::parse(R"([{"service":"_web._tcp.l4lb.thisdcos.directory","host":"web.marathon.l4lb.thisdcos.directory","port":"8080","ip":"11.0.0.1"}])"));
  auto streamed = get("/v1/records");
  EXPECT_EQ(streamed.header("Transfer-Encoding"), "chunked");
  auto records = Json::parse(unchunked(streamed.body), nullptr, false);
  ASSERT_EQ(records.size(), 3u) << streamed.body;
  std::set<std::string> seen;
  for (auto& r : records) seen.insert(r["name"].get<std::string>() + " " + r["rtype"].get<std::string>() + " " + r["host"].get<std::string>());
  EXPECT_TRUE(seen.contains("web.marathon.l4lb.thisdcos.directory A 11.0.0.1"));
  EXPECT_TRUE(seen.contains("_web._tcp.l4lb.thisdcos.directory SRV web.marathon.l4lb.thisdcos.directory:8080"));
  EXPECT_EQ(get("/v1/metrics/dns").status, 200u);
  EXPECT_EQ(get("/v1/metrics/default").body.substr(0, 7), "# HELP ");
  auto unknown = get("/v1/metrics/nope");
  EXPECT_EQ(unknown.status, 404u);
  EXPECT_EQ(unknown.body, "Unknown Registry");
  EXPECT_EQ(get("/lashup/key").status, 404u);
  node.stop();
  node.provider.key = "ybndrfg8";
  node.start();
  EXPECT_EQ(json("/lashup/key"), Json::parse(R"({"zbase32_public_key":"ybndrfg8"})"));
  EXPECT_EQ(get("/lashup/kv/a/b").status, 404u);
  EXPECT_EQ(call(node.path, "POST", "/lashup/kv/a", "1.", "Content-Type: text/plain\r\n").status, 404u) << "nothing is evaluated";
}

}  // namespace
}  // namespace ls::api
