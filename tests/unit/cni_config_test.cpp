// What configurations ask for: this plugin's own, the chain it replaces, wrappers, and wishes of the runtime (spec/cni.md, 3 and 4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cni/config.h"
#include "cni/overlay_state.h"

namespace ls::cni {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

Outcome<Config> parse(const std::string& text, const std::string& args = "", const char* command = "ADD") {
  auto q = parse_request({command, "c1", "/run/netns/x", "eth0", "/opt/cni/bin", args}, text);
  if (!q) return tl::make_unexpected(q.error());
  return parse_config(*q, "loadstar-cni");
}

Config good(const std::string& text, const std::string& args = "") {
  auto c = parse(text, args);
  if (c) return *c;
  ADD_FAILURE() << text << "\n" << c.error().msg;
  return {};
}

Code code(const std::string& text, const std::string& args = "") {
  auto c = parse(text, args);
  if (c) {
    ADD_FAILURE() << "accepted: " << text;
    return Code::kIo;
  }
  return c.error().code;
}

std::string own(const std::string& ipam, const std::string& more = "") {
  return R"({"name":"n","type":"loadstar-cni","ipam":)" + ipam + (more.empty() ? "" : "," + more) + "}";
}

// The file that the overlay's agent writes (spec/cases/overlay/50-cni-file.json has the same shape), as Mesos sends it.
std::string mesos(const std::string& network_info) {
  return R"({"name":"dcos","type":"mesos-cni-port-mapper","excludeDevices":["m-dcos"],"chain":"M-DCOS",
    "delegate":{"type":"bridge","bridge":"m-dcos","isGateway":true,"ipMasq":false,"hairpinMode":true,"mtu":1420,
      "ipam":{"type":"host-local","dataDir":"/var/lib/x","subnet":"9.0.0.0/25","routes":[{"dst":"0.0.0.0/0"}]}},
    "args":{"org.apache.mesos":{"network_info":)" + network_info + "}}}";
}

TEST(CniConfig, KnownChainIsUnderstood) {
  auto c = good(mesos(R"({"name":"dcos","port_mappings":[{"host_port":31000,"container_port":80,"protocol":"TCP"},{"host_port":31000,"container_port":53,"protocol":"udp"},{"host_port":31001,"container_port":81}]})"));
  EXPECT_FALSE(c.delegate);
  EXPECT_EQ(c.mode, Mode::kBridge);
  EXPECT_EQ(c.bridge, "m-dcos");
  EXPECT_TRUE(c.hairpin);
  EXPECT_TRUE(c.gateway_on_bridge);
  EXPECT_EQ(c.mtu, 1420u);
  EXPECT_EQ(c.data_dir, "/var/lib/x");
  ASSERT_EQ(c.ranges.size(), 1u);
  EXPECT_EQ(c.ranges[0].gateway.text(), "9.0.0.1");
  EXPECT_EQ(c.ranges[0].last.text(), "9.0.0.126");
  EXPECT_EQ(c.routes.size(), 1u);
  std::vector<PortMapping> want = {{Protocol::kTcp, 31000, 80}, {Protocol::kUdp, 31000, 53}, {Protocol::kTcp, 31001, 81}};
  EXPECT_EQ(c.mappings, want);
}

/// The files that an agent writes are understood, from the shared cases: what they name is what is made.
TEST(CniConfig, FilesOfTheOverlayCases) {
  auto folder = std::filesystem::path(LS_SHARED_DIR) / "spec/cases/overlay";
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << folder << " is not there";
  int files = 0;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream in(entry.path());
    auto j = Json::parse(in, nullptr, false);
    ASSERT_FALSE(j.is_discarded()) << entry.path();
    if (j.value("kind", "") != "cni-file" || !j["expect"].contains("json")) continue;
    auto& file = j["expect"]["json"];
    auto c = good(file.dump());
    auto& delegate = file["delegate"];
    EXPECT_EQ(c.bridge, delegate["bridge"]) << entry.path();
    EXPECT_EQ(c.mtu, delegate["mtu"].get<uint32_t>());
    ASSERT_EQ(c.ranges.size(), 1u);
    EXPECT_EQ(c.ranges[0].network.text(), delegate["ipam"]["subnet"]);
    EXPECT_EQ(c.routes.size(), delegate["ipam"]["routes"].size());
    if (delegate["ipam"].contains("dataDir")) {
      EXPECT_EQ(c.data_dir.native(), delegate["ipam"]["dataDir"]);
    }
    files++;
  }
  EXPECT_GT(files, 0);
}

TEST(CniConfig, WrapperOfTheWrapper) {
  auto inner = mesos("{}");
  auto c = good(R"({"name":"dcos","type":"dcos-l4lb","minuteman":{"enable":true},"args":{"org.apache.mesos":{"network_info":{"port_mappings":[{"host_port":1,"container_port":2}]}}},"delegate":)" + inner + "}");
  EXPECT_FALSE(c.delegate);
  EXPECT_EQ(c.bridge, "m-dcos");
  EXPECT_EQ(c.mappings.size(), 1u);
}

TEST(CniConfig, UnknownDelegateGetsNameAndArgs) {
  auto c = good(R"({"name":"n","cniVersion":"0.2.0","type":"mesos-cni-port-mapper","chain":"X","args":{"org.apache.mesos":{"network_info":{}}},"delegate":{"type":"macvlan","master":"eth0","ipam":{"type":"dhcp"}}})");
  ASSERT_TRUE(c.delegate);
  EXPECT_EQ(c.delegate->type, "macvlan");
  auto j = Json::parse(c.delegate->config);
  EXPECT_EQ(j["name"], "n");
  EXPECT_TRUE(j.contains("args"));
  EXPECT_FALSE(j.contains("cniVersion"));
  auto l4lb = good(R"({"name":"n","cniVersion":"0.2.0","type":"dcos-l4lb","delegate":{"type":"macvlan"}})");
  EXPECT_EQ(Json::parse(l4lb.delegate->config)["cniVersion"], "0.2.0");
  // A bridge with another address management is nobody we know.
  EXPECT_TRUE(good(R"({"name":"n","type":"dcos-l4lb","delegate":{"type":"bridge","ipam":{"type":"static"}}})").delegate);
}

TEST(CniConfig, PortMapperChecks) {
  auto with = [](const char* key, const char* value) {
    auto j = Json::parse(mesos("{}"));
    if (value) j[key] = Json::parse(value);
    else j.erase(key);
    return j.dump();
  };
  EXPECT_EQ(code(with("chain", nullptr)), Code::kConfig);
  EXPECT_EQ(code(with("delegate", nullptr)), Code::kConfig);
  EXPECT_EQ(code(with("delegate", R"({"bridge":"x"})")), Code::kConfig);
  EXPECT_EQ(code(with("delegate", R"({"type":"../evil"})")), Code::kConfig);
  EXPECT_EQ(code(with("chain", "7")), Code::kDecode);
  EXPECT_EQ(code(with("excludeDevices", R"([1])")), Code::kDecode);
  EXPECT_EQ(code(with("args", R"({"cni":{}})")), Code::kConfig);
  good(with("args", nullptr));
  good(with("excludeDevices", nullptr));
}

TEST(CniConfig, Ranges) {
  struct Row {
    const char *subnet, *first, *last, *gateway;
  };
  for (auto row : {Row{"9.0.0.0/25", "9.0.0.1", "9.0.0.126", "9.0.0.1"}, {"9.0.0.128/25", "9.0.0.129", "9.0.0.254", "9.0.0.129"}, {"10.0.0.4/30", "10.0.0.5", "10.0.0.6", "10.0.0.5"},
                   {"fd01:b::/81", "fd01:b::1", "fd01:b::7fff:ffff:ffff", "fd01:b::1"}, {"fd01:b::8000:0:0/81", "fd01:b::8000:0:1", "fd01:b::ffff:ffff:ffff", "fd01:b::8000:0:1"}}) {
    auto r = range_of(*IpNetwork::parse(row.subnet));
    ASSERT_TRUE(r) << row.subnet;
    EXPECT_EQ(r->first.text(), row.first);
    EXPECT_EQ(r->last.text(), row.last);
    EXPECT_EQ(r->gateway.text(), row.gateway);
  }
  for (auto bad : {"9.0.0.0/31", "9.0.0.1/32", "fd01::/127", "fd01::/128"}) EXPECT_FALSE(range_of(*IpNetwork::parse(bad))) << bad;
  EXPECT_EQ(code(own(R"({"subnet":"9.0.0.0/31"})")), Code::kConfig);
  EXPECT_EQ(code(own(R"({"subnet":"9.0.0.1/25"})")), Code::kConfig);
  EXPECT_EQ(code(own(R"({"subnet":"9.0.0.0"})")), Code::kConfig);
  EXPECT_EQ(code(own(R"({"subnet":7})")), Code::kDecode);
  EXPECT_EQ(code(own(R"({})")), Code::kConfig);
  EXPECT_EQ(code(own(R"({"subnets":["9.0.0.0/25","9.0.1.0/25"]})")), Code::kUnsupported);
  EXPECT_EQ(code(own(R"({"overlay":"dcos","subnet":"9.0.0.0/25"})")), Code::kConfig);
  auto dual = good(own(R"({"subnets":["fd01:b::/81","9.0.0.0/25"]})"));
  ASSERT_EQ(dual.ranges.size(), 2u);
  EXPECT_TRUE(dual.ranges[0].network.address.is_v4());
  auto part = good(own(R"({"ranges":[[{"subnet":"9.0.0.0/24","rangeStart":"9.0.0.10","rangeEnd":"9.0.0.20","gateway":"9.0.0.254"}]]})"));
  EXPECT_EQ(part.ranges[0].first.text(), "9.0.0.10");
  EXPECT_EQ(part.ranges[0].last.text(), "9.0.0.20");
  EXPECT_EQ(part.ranges[0].gateway.text(), "9.0.0.254");
}

TEST(CniConfig, Own) {
  auto c = good(own(R"({"overlay":"dcos"})", R"("mode":"direct","mtu":1400,"dns":{"nameservers":["198.51.100.1"]},"portMappings":[{"hostPort":8080,"containerPort":80}],"pin":"/sys/fs/bpf/x","dataDir":"/d")"));
  EXPECT_EQ(c.mode, Mode::kDirect);
  EXPECT_EQ(c.overlay, "dcos");
  EXPECT_TRUE(c.default_route);
  EXPECT_EQ(c.dns.nameservers.size(), 1u);
  EXPECT_EQ(c.mappings.size(), 1u);
  EXPECT_EQ(c.pin, "/sys/fs/bpf/x");
  EXPECT_EQ(c.data_dir, "/d");
  EXPECT_FALSE(good(own(R"({"overlay":"dcos","routes":[]})")).default_route);
  EXPECT_EQ(good(R"({"name":"n","type":"loadstar-cni"})").mode, Mode::kChained);
  EXPECT_EQ(good(own(R"({"overlay":"dcos"})", R"("prevResult":{})")).mode, Mode::kChained);
  // Called by another name, without a type.
  EXPECT_EQ(good(R"({"name":"n","ipam":{"overlay":"dcos"}})").overlay, "dcos");
  for (auto bad : {R"("mode":"l2")", R"("bridge":"a/b")", R"("mtu":67)", R"("mtu":65536)", R"("pin":"x")", R"("dataDir":"x")", R"("timeoutMs":5)"})
    EXPECT_EQ(code(own(R"({"overlay":"dcos"})", bad)), Code::kConfig) << bad;
  for (auto bad : {R"("ipMasq":true)", R"("vlan":7)", R"("promiscMode":true)"}) EXPECT_EQ(code(own(R"({"overlay":"dcos"})", bad)), Code::kUnsupported) << bad;
  EXPECT_EQ(code(own(R"({"type":"dhcp"})")), Code::kUnsupported);
  EXPECT_EQ(code(R"({"name":"n","type":"calico"})"), Code::kConfig);
  for (auto bad : {R"("mode":1)", R"("mtu":"1400")", R"("mtu":1.5)", R"("hairpinMode":"yes")", R"("ipam":[])"}) {
    auto j = R"({"name":"n","type":"loadstar-cni","ipam":{"overlay":"o"},)" + std::string(bad) + "}";
    EXPECT_EQ(code(j), Code::kDecode) << bad;
  }
}

TEST(CniConfig, Wishes) {
  auto base = [](const std::string& more) { return own(R"({"subnets":["9.0.0.0/25","fd01:b::/81"]})", more); };
  auto c = good(base(R"("args":{"cni":{"ips":["9.0.0.7/25","fd01:b::7"]}},"runtimeConfig":{"mac":"02:00:00:00:00:09"})"));
  ASSERT_EQ(c.requested.size(), 2u);
  EXPECT_EQ(c.requested[0].text(), "9.0.0.7");
  ASSERT_TRUE(c.mac);
  EXPECT_EQ(to_text(*c.mac), "02:00:00:00:00:09");
  EXPECT_EQ(good(base(R"("args":{"org.apache.mesos":{"network_info":{"ip_addresses":[{"protocol":"IPv4"},{"ip_address":"9.0.0.9"}]}}})")).requested.size(), 1u);
  EXPECT_EQ(good(base(R"("x":1)"), "IP=9.0.0.8").requested[0].text(), "9.0.0.8");
  EXPECT_EQ(code(base(R"("args":{"cni":{"ips":["9.0.0.7","9.0.0.8"]}})")), Code::kConfig);
  EXPECT_EQ(code(base(R"("args":{"cni":{"ips":["x"]}})")), Code::kConfig);
  EXPECT_EQ(code(base(R"("args":{"cni":{"ips":7}})")), Code::kDecode);
  EXPECT_EQ(code(base(R"("runtimeConfig":{"mac":"03:00:00:00:00:09"})")), Code::kConfig);
}

TEST(CniConfig, PortMappings) {
  auto with = [](const std::string& mapping) { return own(R"({"overlay":"o"})", R"("runtimeConfig":{"portMappings":[)" + mapping + "]}"); };
  EXPECT_EQ(good(with(R"({"hostPort":1,"containerPort":65535,"protocol":"UDP","hostIP":"0.0.0.0"})")).mappings[0], (PortMapping{Protocol::kUdp, 1, 65535}));
  EXPECT_EQ(code(with(R"({"hostPort":0,"containerPort":1})")), Code::kConfig);
  EXPECT_EQ(code(with(R"({"hostPort":65536,"containerPort":1})")), Code::kConfig);
  EXPECT_EQ(code(with(R"({"hostPort":-1,"containerPort":1})")), Code::kConfig);
  EXPECT_EQ(code(with(R"({"containerPort":1})")), Code::kConfig);
  EXPECT_EQ(code(with(R"({"hostPort":"1","containerPort":1})")), Code::kDecode);
  EXPECT_EQ(code(with(R"({"hostPort":1,"containerPort":1,"protocol":"sctp"})")), Code::kUnsupported);
  EXPECT_EQ(code(with(R"({"hostPort":1,"containerPort":1,"hostIP":"10.0.0.1"})")), Code::kUnsupported);
  EXPECT_EQ(code(with(R"({"hostPort":1,"containerPort":1},{"hostPort":1,"containerPort":2})")), Code::kPortMapping);
  std::string many;
  for (size_t i = 1; i <= kMaxMappings + 1; i++) many += (i > 1 ? "," : "") + std::string(R"({"hostPort":)") + std::to_string(i) + R"(,"containerPort":1})";
  EXPECT_EQ(code(with(many)), Code::kConfig);
}

/// Mesos calls DEL after an ADD that was refused, and keeps the container until DEL succeeds.
TEST(CniConfig, WhatAddRefusesDelTakes) {
  for (std::string refused : {own(R"({"subnet":"9.0.0.0/31"})"), own(R"({"overlay":7})"), own(R"({"type":"dhcp"})"), own(R"({"overlay":"o"})", R"("ipMasq":true)"),
                              own(R"({"overlay":"o"})", R"("runtimeConfig":{"portMappings":[{"hostPort":1,"containerPort":1},{"hostPort":1,"containerPort":2}]})"),
                              own(R"({"overlay":"o"})", R"("dataDir":7)"), own(R"({"overlay":"o"})", R"("timeoutMs":"x")"), std::string(R"({"name":"n","type":"calico"})"),
                              std::string(R"({"name":"n","type":"dcos-l4lb"})"), std::string(R"({"name":"n","type":"mesos-cni-port-mapper","delegate":{"type":7}})"),
                              mesos(R"({"port_mappings":[{"host_port":99999,"container_port":1}]})"), mesos("7")}) {
    EXPECT_FALSE(parse(refused)) << refused;
    auto c = parse(refused, "", "DEL");
    EXPECT_TRUE(c) << refused;
  }
  auto c = parse(mesos("{}"), "", "DEL");
  EXPECT_EQ(c->data_dir, "/var/lib/x");
  EXPECT_EQ(c->mode, Mode::kBridge);
  auto both = own(R"({"overlay":"o","dataDir":"/in"})", R"("dataDir":"/beside","pin":"/p","timeoutMs":500)");
  auto removal = parse(both, "", "DEL");
  EXPECT_EQ(removal->data_dir, good(both).data_dir);
  EXPECT_EQ(removal->pin, "/p");
  EXPECT_EQ(removal->timeout, std::chrono::milliseconds(500));
  auto delegate = parse(R"({"name":"n","type":"dcos-l4lb","delegate":{"type":"macvlan"}})", "", "DEL");
  ASSERT_TRUE(delegate->delegate);
  EXPECT_EQ(Json::parse(delegate->delegate->config)["name"], "n");
}

TEST(CniConfig, OverlayState) {
  auto half = [](const std::string& entry, const char* name = "dcos") { return parse_overlay_half(R"({"ip":"10.0.0.1","overlays":[)" + entry + "]}", "state", name); };
  auto entry = [](const std::string& rest) { return R"({"info":{"name":"dcos"})" + rest + "}"; };
  auto h = half(entry(R"(,"mesos_bridge":{"name":"m-dcos","ip":"9.0.0.0/25","ip6":"fd01:b::/81"},"state":{"status":"STATUS_OK"})"));
  ASSERT_TRUE(h) << h.error().msg;
  EXPECT_EQ(h->bridge, "m-dcos");
  ASSERT_EQ(h->ranges.size(), 2u);
  EXPECT_EQ(h->ranges[1].gateway.text(), "fd01:b::1");
  EXPECT_EQ(half(entry(""), "other").error().code, Code::kConfig);
  EXPECT_EQ(half(entry("")).error().code, Code::kConfig);
  EXPECT_EQ(half(entry(R"(,"mesos_bridge":{"name":"m-dcos","ip":"9.0.0.0/31"})")).error().code, Code::kConfig);
  EXPECT_EQ(half(entry(R"(,"state":{"status":"STATUS_FAILED","error":"exhausted"})")).error().code, Code::kTryAgain);
  EXPECT_EQ(parse_overlay_half("x", "state", "dcos").error().code, Code::kDecode);
  EXPECT_EQ(read_overlay_half("/nonexistent/overlay", "dcos").error().code, Code::kTryAgain);
}

}  // namespace
}  // namespace ls::cni
