// The shapes of results (spec/cni.md, 1.2), there and back.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cni/result.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;

AddResult example() {
  AddResult r;
  r.interfaces = {{"m-dcos", "0a:58:09:00:00:01", "", 1420}, {"ls1", "02:00:00:00:00:01", "", 1420}, {"eth0", "02:00:00:00:00:02", "/run/netns/x", 1420}};
  r.ips = {*parse_cidr("9.0.0.2/25"), *parse_cidr("fd01:b::2/81")};
  r.ips[0].gateway = IpAddress::parse("9.0.0.1");
  r.ips[1].gateway = IpAddress::parse("fd01:b::1");
  r.ips[0].interface = r.ips[1].interface = 2;
  r.routes = *parse_routes(Json::parse(R"([{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd01:b::1"}])"), "r");
  return r;
}

Json document(Version v) { return Json::parse(*result_document(v, example())); }

TEST(CniResult, OldShape) {
  for (auto v : {Version::k010, Version::k020}) {
    EXPECT_EQ(document(v), Json::parse(R"({"cniVersion":")" + std::string(to_text(v)) + R"(",
      "ip4":{"ip":"9.0.0.2/25","gateway":"9.0.0.1","routes":[{"dst":"0.0.0.0/0","gw":"9.0.0.1"}]},
      "ip6":{"ip":"fd01:b::2/81","gateway":"fd01:b::1","routes":[{"dst":"::/0","gw":"fd01:b::1"}]},"dns":{}})"));
  }
  AddResult none;
  EXPECT_FALSE(result_document(Version::k020, none));
  EXPECT_TRUE(result_document(Version::k100, none));
}

TEST(CniResult, NewShape) {
  for (auto v : {Version::k030, Version::k031, Version::k040, Version::k100, Version::k110}) {
    auto j = document(v);
    EXPECT_EQ(j["cniVersion"], to_text(v));
    ASSERT_EQ(j["ips"].size(), 2u);
    EXPECT_EQ(j["ips"][0]["address"], "9.0.0.2/25");
    EXPECT_EQ(j["ips"][0]["gateway"], "9.0.0.1");
    EXPECT_EQ(j["ips"][1]["interface"], 2);
    EXPECT_EQ(j["ips"][0].contains("version"), v < Version::k100);
    EXPECT_EQ(j["ips"][1].value("version", ""), v < Version::k100 ? "6" : "");
    EXPECT_EQ(j["interfaces"][2]["sandbox"], "/run/netns/x");
    EXPECT_FALSE(j["interfaces"][0].contains("sandbox"));
    EXPECT_EQ(j["interfaces"][0].contains("mtu"), v == Version::k110);
    EXPECT_EQ(j["routes"][0], Json::parse(R"({"dst":"0.0.0.0/0"})"));
    EXPECT_FALSE(j.contains("ip4"));
  }
}

TEST(CniResult, ReadsWhatItWrites) {
  for (auto v : {Version::k030, Version::k040, Version::k100, Version::k110}) {
    auto r = parse_result(document(v), "r");
    ASSERT_TRUE(r) << r.error().msg;
    EXPECT_EQ(r->ips, example().ips);
    EXPECT_EQ(r->routes, example().routes);
    EXPECT_EQ(r->interfaces.size(), 3u);
  }
  auto old = parse_result(document(Version::k020), "r");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->ips.size(), 2u);
  EXPECT_EQ(old->ips[0].address, example().ips[0].address);
}

TEST(CniResult, RouteDetailsOnlyInTheNewest) {
  auto r = example();
  r.routes = *parse_routes(Json::parse(R"([{"dst":"10.0.0.0/8","mtu":1300,"advmss":1200,"priority":5,"table":100,"scope":253}])"), "r");
  auto newest = Json::parse(*result_document(Version::k110, r))["routes"][0];
  EXPECT_EQ(newest, Json::parse(R"({"dst":"10.0.0.0/8","mtu":1300,"advmss":1200,"priority":5,"table":100,"scope":253})"));
  EXPECT_EQ(Json::parse(*result_document(Version::k100, r))["routes"][0], Json::parse(R"({"dst":"10.0.0.0/8"})"));
}

TEST(CniResult, RefusesWhatIsWrong) {
  for (auto bad : {R"([])", R"({"ips":{}})", R"({"ips":[{"address":7}]})", R"({"interfaces":[1]})", R"({"ip4":[]})", R"({"dns":{"nameservers":"a"}})", R"({"routes":[{"dst":1}]})"}) {
    auto r = parse_result(Json::parse(bad), "prevResult");
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, Code::kDecode) << bad;
  }
  for (auto bad : {R"({"ips":[{"address":"9.0.0.2"}]})", R"({"ips":[{"address":"9.0.0.2/33"}]})", R"({"ips":[{"address":"9.0.0.2/25","interface":0}]})",
                   R"({"ip4":{"ip":"fd01::1/64"}})", R"({"routes":[{"dst":"x"}]})", R"({"routes":[{"dst":"10.0.0.0/8","gw":"fd01::1"}]})"}) {
    auto r = parse_result(Json::parse(bad), "prevResult");
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, Code::kConfig) << bad;
  }
}

}  // namespace
}  // namespace ls::cni
