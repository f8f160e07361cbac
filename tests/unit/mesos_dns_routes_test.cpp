#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "api/mesos_dns_json.h"
#include "api/mesos_dns_routes.h"
#include "mesos_dns_fake.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

class MesosDns : public testing::Test {
 protected:
  MesosDnsReply get(const std::string& target, const std::string& accept = {}) {
    return routes_.handle({"GET", target, accept, {}, false});
  }
  Json json(const std::string& target) {
    auto r = get(target);
    EXPECT_EQ(r.status, 200u) << target;
    EXPECT_EQ(r.type, "application/json");
    return Json::parse(r.body);
  }
  Json empty_host() { return Json::array({{{"host", ""}, {"ip", ""}}}); }

  FakeMesosDns provider_;
  FakeClock clock_;
  uint64_t state_ = 1;
  MesosDnsRoutes routes_{provider_, clock_, [this] {
                           state_ ^= state_ << 13;
                           state_ ^= state_ >> 7;
                           return state_ ^= state_ << 17;
                         }};
};

TEST_F(MesosDns, LayoutOfTheReference) {
  EXPECT_EQ(get("/v1/version").body,
            "{\n  \"Service\": \"Mesos-DNS\",\n  \"Version\": \"" LS_VERSION
            "\",\n  \"URL\": \"https://github.com/mesosphere/mesos-dns\"\n }");
  MesosDnsJson j;
  j.open('{').key("a").open('[').close(']').key("b").open('{').close('}').key("c").open('[').number(1).text("<&>\n\x01\xff\xe2\x80\xa8");
  j.close(']').key("d").null().key("e").boolean(true).close('}');
  EXPECT_EQ(j.take(),
            "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n   1,\n   \"\\u003c\\u0026\\u003e\\n\\u0001\\ufffd\\u2028\"\n  ],\n  \"d\": null,\n"
            "  \"e\": true\n }");
}

TEST_F(MesosDns, ConfigHasEveryMemberInOrderAndNoSecret) {
  provider_.config_.principal = "me";
  provider_.config_.has_secret = true;
  auto ordered = nlohmann::ordered_json::parse(get("/v1/config").body);
  std::vector<std::string> keys;
  for (auto& [key, value] : ordered.items()) keys.push_back(key);
  EXPECT_THAT(keys, testing::ElementsAre(
                        "RefreshSeconds", "Port", "Timeout", "StateTimeoutSeconds", "ZkDetectionTimeout", "HttpPort", "TTL",
                        "SRVRecordDefaultWeight", "SOASerial", "SOARefresh", "SOARetry", "SOAExpire", "SOAMinttl", "SOAMname", "SOARname",
                        "Masters", "ZoneResolvers", "Resolvers", "IPSources", "Zk", "Domain", "File", "Listener", "HTTPListener",
                        "RecurseOn", "DnsOn", "HttpOn", "ExternalOn", "EnforceRFC952", "SetTruncateBit", "EnumerationOn", "MesosHTTPSOn",
                        "CACertFile", "CertFile", "KeyFile", "MesosCredentials", "IAMConfigFile", "MesosAuthentication"));
  EXPECT_EQ(ordered["MesosCredentials"]["Secret"], "******");
  EXPECT_EQ(ordered["Masters"], nullptr);
  provider_.config_.has_secret = false;
  EXPECT_EQ(json("/v1/config")["MesosCredentials"]["Secret"], "");
}

TEST_F(MesosDns, HostsByEverySpelling) {
  auto one = Json::array({{{"host", "leader.mesos."}, {"ip", "10.0.0.1"}}});
  for (auto* name : {"leader.mesos", "leader.mesos.", "LEADER.MESOS", "leader.%2A.mesos", "leader.*.mesos", "leader.mesos./", "le%61der.mesos"}) {
    EXPECT_EQ(json("/v1/hosts/" + std::string(name)), one) << name;
  }
  for (auto* name : {"nope.mesos", "example.com", ".*", "%2E%2A", "mesos", "..", "a..b.mesos", "xleader.mesos", "leader.xmesos", "."}) {
    auto r = get("/v1/hosts/" + std::string(name));
    if (r.status == 301) continue;  // dot segments
    EXPECT_EQ(Json::parse(r.body), empty_host()) << name;
  }
  EXPECT_EQ(json("/v1/hosts/" + std::string(5000, 'a') + ".mesos"), empty_host());
}

TEST_F(MesosDns, AddressesOfBothFamiliesFirstV4AndInAnyOrder) {
  std::set<std::string> first;
  for (int i = 0; i < 100; i++) {
    auto j = json("/v1/hosts/web.marathon.mesos");
    ASSERT_EQ(j.size(), 3u);
    first.insert(j[0]["ip"]);
    EXPECT_EQ(j[2]["ip"], "fd00::8");
  }
  EXPECT_EQ(first, (std::set<std::string>{"10.0.0.7", "10.0.0.8"}));
}

TEST_F(MesosDns, ServicesHaveOneAddressOfEachFamily) {
  auto j = json("/v1/services/_WEB._tcp.marathon.mesos");
  ASSERT_EQ(j.size(), 2u);
  EXPECT_EQ(j[0]["service"], "_WEB._tcp.marathon.mesos") << "the request's spelling";
  EXPECT_EQ(j[0]["host"], "web.marathon.mesos.");
  EXPECT_EQ(j[0]["port"], "31001");
  EXPECT_EQ(j[1]["ip"], "fd00::8");
  auto none = Json::array({{{"service", ""}, {"host", ""}, {"ip", ""}, {"port", ""}}});
  EXPECT_EQ(json("/v1/services/_nope._tcp.mesos."), none);
  EXPECT_EQ(json("/v1/services/_lost._tcp.marathon.mesos."), none) << "a target without address is left out";
}

TEST_F(MesosDns, NamesThatDnsCannotServeAreStillHere) {
  auto name = FakeMesosDns::long_name() + "-aaaaa-s0.marathon.mesos.";
  EXPECT_EQ(json("/v1/hosts/" + name), Json::array({{{"host", name}, {"ip", "10.0.0.9"}}}));
  auto j = json("/v1/services/_x._tcp.marathon.mesos");
  EXPECT_EQ(j[0]["host"], name);
  EXPECT_EQ(j[0]["port"], "80");
  EXPECT_EQ(json("/v1/hosts/Raw_Name.marathon.mesos"), empty_host()) << "the key is in lower case, the raw name is not";
  auto axfr = json("/v1/axfr");
  EXPECT_EQ(axfr["Records"]["As"]["Raw_Name.marathon.mesos."], Json({"10.0.0.9"}));
  EXPECT_EQ(axfr["Records"]["SRVs"]["_x._tcp.marathon.mesos."], Json({name + ":80"}));
}

TEST_F(MesosDns, TheIndexIsMadeOnceAWhileAndNotForEachQuestion) {
  struct SlowClock final : Clock {
    Instant now() const override { return at += Millis(10); }
    mutable Instant at{std::chrono::hours(1)};
  } clock;
  MesosDnsRoutes routes(provider_, clock, [] { return 0; });
  auto ask = [&] { routes.handle({"GET", "/v1/hosts/leader.mesos", {}, {}, false}); };
  ask();
  EXPECT_EQ(provider_.enumerations, 1);
  for (int i = 0; i < 10; i++) ask();
  EXPECT_EQ(provider_.enumerations, 1) << "nothing changed";
  provider_.add("other.marathon", "10.0.0.2");
  ask();
  EXPECT_EQ(provider_.enumerations, 1) << "one took 10 ms, so the next is not due for 500 ms";
  clock.at += Millis(500);
  ask();
  EXPECT_EQ(provider_.enumerations, 2);
}

TEST_F(MesosDns, EnumerateKeepsOrderAndNull) {
  auto r = get("/v1/enumerate");
  auto j = nlohmann::ordered_json::parse(r.body);
  ASSERT_EQ(j["frameworks"].size(), 2u);
  EXPECT_EQ(j["frameworks"][0].begin().key(), "tasks");
  EXPECT_EQ(j["frameworks"][0]["name"], "marathon");
  auto& tasks = j["frameworks"][0]["tasks"];
  EXPECT_EQ(tasks[0]["records"][1].dump(), R"({"name":"_web._tcp.marathon.mesos.","host":"web.marathon.mesos.:31001","rtype":"SRV"})");
  EXPECT_EQ(tasks[1]["records"], nullptr);
  EXPECT_EQ(j["frameworks"][1]["tasks"], Json::array());
  EXPECT_NE(r.body.find("chronos \\u003c\\u0026\\u003e"), r.body.npos);
  provider_.list_.clear();
  EXPECT_EQ(json("/v1/enumerate"), Json({{"frameworks", nullptr}}));
}

TEST_F(MesosDns, AxfrListsTheZone) {
  auto j = nlohmann::ordered_json::parse(get("/v1/axfr").body);
  EXPECT_EQ(j.begin().key(), "TTL");
  EXPECT_EQ(j["Serial"], 1234);
  EXPECT_EQ(j["Domain"], "mesos");
  EXPECT_EQ(j["Records"]["As"]["web.marathon.mesos."].size(), 2u);
  EXPECT_EQ(j["Records"]["AAAAs"]["web.marathon.mesos."][0], "fd00::8");
  EXPECT_EQ(j["Records"]["SRVs"]["_web._tcp.marathon.mesos."][0], "web.marathon.mesos.:31001");
  std::vector<std::string> names;
  for (auto& [name, list] : j["Records"]["As"].items()) names.push_back(name);
  EXPECT_TRUE(std::ranges::is_sorted(names));
}

TEST_F(MesosDns, EnumerationCanBeOff) {
  provider_.config_.enumeration_on = false;
  EXPECT_EQ(get("/v1/enumerate").status, 404u);
  EXPECT_EQ(get("/v1/axfr").status, 404u);
}

TEST_F(MesosDns, RefusalsOfTheReference) {
  struct Case {
    MesosDnsRequest request;
    unsigned status;
    std::string body;
  };
  for (auto& c : std::vector<Case>{
           {{"GET", "/", {}, {}, false}, 404, "404: Page Not Found"},
           {{"GET", "/v1/nope", {}, {}, false}, 404, "404: Page Not Found"},
           {{"GET", "/V1/version", {}, {}, false}, 404, "404: Page Not Found"},
           {{"GET", "/v1/hosts", {}, {}, false}, 404, "404: Page Not Found"},
           {{"GET", "/v1/hosts/", {}, {}, false}, 404, "404: Page Not Found"},
           {{"GET", "/v1/hosts/a/b", {}, {}, false}, 404, "404: Page Not Found"},
           {{"GET", "/v1/services/a/ports", {}, {}, false}, 404, "404: Page Not Found"},
           {{"POST", "/v1/nope", {}, {}, false}, 404, "404: Page Not Found"},
           {{"POST", "/v1/version", {}, {}, false}, 405, "405: Method Not Allowed"},
           {{"HEAD", "/v1/version", {}, {}, false}, 405, "405: Method Not Allowed"},
           {{"OPTIONS", "/v1/axfr", {}, {}, false}, 405, "405: Method Not Allowed"},
           {{"GET", "/v1/version", "text/html", {}, false}, 406, "406: Not Acceptable"},
           {{"GET", "/v1/version", "application/*", {}, false}, 406, "406: Not Acceptable"},
           {{"GET", "/v1/version", {}, "text/plain", true}, 415, "415: Unsupported Media Type"},
           {{"GET", "/v1/hosts/leader.mesos/ports", {}, {}, false}, 501, "To be implemented..."},
           {{"GET", "/v1/hosts/leader.mesos/ports/", {}, {}, false}, 501, "To be implemented..."},
           {{"GET", "v1/version", {}, {}, false}, 400, "400 Bad Request"},
           {{"GET", "/v1/hosts/%zz", {}, {}, false}, 400, "400 Bad Request"},
       }) {
    auto r = routes_.handle(c.request);
    EXPECT_EQ(r.status, c.status) << c.request.method << " " << c.request.target;
    EXPECT_EQ(r.body, c.body) << c.request.target;
    EXPECT_EQ(r.type, "text/plain; charset=utf-8");
  }
  EXPECT_EQ(get("/v1/version", "text/html, application/json;q=0.5").status, 200u);
  EXPECT_EQ(get("/v1/version", "*/*").status, 200u);
  EXPECT_EQ(get("/v1/version/").status, 200u);
  EXPECT_EQ(get("/v1/version?a=b").status, 200u);
  EXPECT_EQ(get("http://node:8123/v1/version").status, 200u);
  EXPECT_EQ(routes_.handle({"GET", "/v1/version", {}, "application/json; charset=utf-8", true}).status, 200u);
}

TEST_F(MesosDns, UncleanPathsMove) {
  for (auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"//v1/version", "/v1/version"}, {"/v1//version", "/v1/version"}, {"/v1/./version/", "/v1/version/"},
           {"/v1/hosts/../version?x=1", "/v1/version?x=1"}, {"/v1/%2e%2e/a b", "/a%20b"}, {"/../..", "/"}, {"//evil.example/%0d%0a", "/evil.example/%0D%0A"}}) {
    auto r = get(from);
    EXPECT_EQ(r.status, 301u) << from;
    EXPECT_EQ(r.location, to) << from;
  }
  EXPECT_EQ(get("//v1/version?\"><script>").body, "<a href=\"/v1/version?&#34;&gt;&lt;script&gt;\">Moved Permanently</a>.\n\n");
}

}  // namespace
}  // namespace ls::api
