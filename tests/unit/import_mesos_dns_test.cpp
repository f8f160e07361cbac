// Configurations of Mesos-DNS: every key, every refusal, and that what comes out is a good loadstar.toml.
#include "app/import_mesos_dns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "app/config.h"

namespace ls {
namespace {

using testing::HasSubstr;

/// Members beside a master.
Imported import_with(const std::string& members) {
  return import_mesos_dns("{\"masters\": [\"10.0.0.1:5050\"]" + (members.empty() ? "" : ", " + members) + "}", "c.json");
}

Config good(const Imported& got) {
  EXPECT_EQ(got.error, "");
  ConfigText text{"imported.toml", got.toml};
  auto loaded = parse_config({&text, 1});
  EXPECT_TRUE(loaded.good()) << report(loaded) << got.toml;
  return loaded.config;
}

std::string all(const std::vector<std::string>& texts) {
  std::string out;
  for (auto& t : texts) out += t + "\n";
  return out;
}

TEST(ImportMesosDns, Defaults) {
  auto got = import_with("");
  auto c = good(got);
  EXPECT_EQ(got.warnings.size(), 0u) << all(got.warnings);
  EXPECT_EQ(c.node.roles, std::vector{Role::kMaster});
  EXPECT_EQ(c.mesos.masters, (std::vector<HostPort>{{"10.0.0.1", 5050}}));
  EXPECT_EQ(c.authority.listen, std::vector{*Endpoint::parse("0.0.0.0:53")});
  EXPECT_EQ(c.authority.http_listen, std::vector{*Endpoint::parse("0.0.0.0:8123")});
  EXPECT_EQ(c.authority.upstreams, std::vector<std::string>{"8.8.8.8"});
  EXPECT_EQ(c.authority.ip_sources, (std::vector{IpSourceKind::kNetinfo, IpSourceKind::kMesos, IpSourceKind::kHost}));
  EXPECT_TRUE(c.authority.recursion_available && c.authority.enumeration);
}

TEST(ImportMesosDns, EveryKey) {
  auto got = import_with(
      R"("DOMAIN": "DC1.Example", "port": 61053, "listener": "10.9.0.1", "HTTPListener": "::1", "HttpPort": 81, "ttl": 30,
      "SRVRecordDefaultWeight": 7, "SOAMname": "dns.dc1.example..", "SOARname": "admin@dc1.example.", "SOARefresh": 11,
      "SOARetry": 12, "SOAExpire": 13, "SOAMinttl": 5, "SOASerial": 9, "IPSources": ["host", "docker"], "EnforceRFC952": true,
      "SetTruncateBit": false, "EnumerationOn": false, "recurseOn": false, "timeout": 3, "refreshSeconds": 30,
      "resolvers": ["9.9.9.9", "[fd01::5]:5300"], "zoneResolvers": {"Example.org": ["10.1.1.1:5300"]},
      "MesosHTTPSOn": true, "CACertFile": "/tls/ca.pem", "CertFile": "/tls/c.pem", "KeyFile": "/tls/k.pem", "email": "a\nb@c")");
  auto c = good(got);
  auto& a = c.authority;
  EXPECT_EQ(a.domain, "dc1.example");
  EXPECT_EQ(a.listen, std::vector{*Endpoint::parse("10.9.0.1:61053")});
  EXPECT_EQ(a.http_listen, std::vector{*Endpoint::parse("[::1]:81")});
  EXPECT_EQ(a.ttl, Millis(30'000));
  EXPECT_EQ(a.srv_weight, 7u);
  EXPECT_EQ(a.soa_mname, "dns.dc1.example");
  EXPECT_EQ(a.soa_rname, "admin.dc1.example");
  EXPECT_EQ(a.soa_refresh, Millis(11'000));
  EXPECT_EQ(a.soa_retry, Millis(12'000));
  EXPECT_EQ(a.soa_expire, Millis(13'000));
  EXPECT_EQ(a.ip_sources, (std::vector{IpSourceKind::kHost, IpSourceKind::kDocker}));
  EXPECT_TRUE(a.rfc952);
  EXPECT_FALSE(a.enumeration || a.recursion_available);
  EXPECT_EQ(a.upstreams, (std::vector<std::string>{"9.9.9.9", "[fd01::5]:5300"}));
  EXPECT_EQ(a.forward_zones, (NameLists{{"example.org", {"10.1.1.1:5300"}}}));
  EXPECT_EQ(c.dns.no_truncate_bit.size(), 2u);
  EXPECT_EQ(c.resolver.timeout, Millis(3'000));
  EXPECT_TRUE(c.mesos.tls);
  EXPECT_EQ(c.mesos.ca_file, "/tls/ca.pem");
  EXPECT_THAT(got.toml, HasSubstr("# soaminttl: "));
  EXPECT_THAT(got.toml, HasSubstr("# \"email\": Mesos-DNS knows no such key"));
  EXPECT_THAT(all(got.warnings), HasSubstr("\"Example.org\" never matched"));  // B16
  EXPECT_EQ(got.toml.find("b@c"), std::string::npos);
}

TEST(ImportMesosDns, NamesWithoutCaseLastWinsAndNull) {
  EXPECT_EQ(good(import_with(R"("ttl": 1, "TTL": 2, "ttl": 3)")).authority.ttl, Millis(3'000));
  EXPECT_EQ(good(import_with(R"("ttl": 1, "TTL": 2)")).authority.ttl, Millis(2'000));
  EXPECT_EQ(good(import_with(R"("ttl": 7, "Ttl": null, "domain": null, "DnsOn": null)")).authority.ttl, Millis(7'000));
  EXPECT_EQ(import_with(R"("IPSources": null)").error, "c.json: IPSources: the list is empty");
  auto empty = import_with(R"("resolvers": null)");
  EXPECT_TRUE(good(empty).authority.upstreams.empty());
  EXPECT_THAT(all(empty.warnings), HasSubstr("/etc/resolv.conf"));
}

TEST(ImportMesosDns, WhatMesosDnsRefuses) {
  auto error = [](const std::string& members) { return import_with(members).error; };
  EXPECT_EQ(import_mesos_dns("{}", "c.json").error, "c.json: masters: neither masters nor zk is given");
  EXPECT_THAT(import_mesos_dns("{", "c.json").error, HasSubstr("c.json: "));
  EXPECT_THAT(import_mesos_dns("[]", "c.json").error, HasSubstr("an object in braces"));
  EXPECT_EQ(error(R"("DnsOn": false, "httpon": false)"), "c.json: DnsOn: neither DNS nor HTTP is on");
  EXPECT_EQ(error(R"("ttl": 1.5)"), "c.json: ttl: a whole number is wanted");
  EXPECT_EQ(error(R"("ttl": "60")"), "c.json: ttl: a whole number is wanted");
  EXPECT_EQ(error(R"("ttl": 2147483648)"), "c.json: ttl: 2147483648 is out of range");
  EXPECT_EQ(error(R"("SRVRecordDefaultWeight": 65536)"), "c.json: SRVRecordDefaultWeight: 65536 is out of range");
  EXPECT_EQ(error(R"("SOARefresh": -1)"), "c.json: SOARefresh: -1 is out of range");
  EXPECT_EQ(error(R"("refreshSeconds": 0)"), "c.json: refreshSeconds: must be above 0");
  EXPECT_EQ(error(R"("stateTimeoutSeconds": 0)"), "c.json: stateTimeoutSeconds: must be above 0");
  EXPECT_EQ(error(R"("dnson": 1)"), "c.json: dnson: true or false is wanted");
  EXPECT_EQ(error(R"("resolvers": ["x"])"), "c.json: resolvers: \"x\" is no IPv4 or IPv6 address, with or without a port");
  EXPECT_EQ(error(R"("resolvers": ["9.9.9.9", "9.9.9.9:53"])"), "c.json: resolvers: 9.9.9.9:53 is there twice");
  EXPECT_EQ(error(R"("externalon": false, "resolvers": ["x"])"), "");
  EXPECT_EQ(error(R"("zoneResolvers": {"a.b": []})"), "c.json: zoneResolvers: \"a.b\": the list is empty");
  EXPECT_EQ(error(R"("zoneResolvers": {"Mesos": ["1.1.1.1"]})"), "c.json: zoneResolvers: \"Mesos\": is the domain itself");
  EXPECT_THAT(error(R"("zoneResolvers": {"x.mesos": ["1.1.1.1"]})"), HasSubstr("masked"));
  EXPECT_THAT(error(R"("domain": "m.a.b", "zoneResolvers": {"a.b": ["1.1.1.1"]})"), HasSubstr("masked"));
  EXPECT_THAT(error(R"("zoneResolvers": {"a.b": ["1.1.1.1"], "c.a.b": ["1.1.1.1"]})"), HasSubstr("\"a.b\" is masked"));
  EXPECT_EQ(error(R"("IPSources": ["Host"])"), "c.json: IPSources: \"Host\" is none of host, docker, mesos, netinfo");
  EXPECT_EQ(error(R"("IPSources": ["host", "host"])"), "c.json: IPSources: \"host\" is there twice");
  EXPECT_THAT(error(R"("domain": "a_b")"), HasSubstr("c.json: domain: \"a_b\" is no domain name"));
  EXPECT_THAT(error(R"("CertFile": "/x")"), HasSubstr("c.json: KeyFile: "));
  EXPECT_THAT(error(R"("MesosAuthentication": "x")"), HasSubstr("c.json: MesosAuthentication: "));
  EXPECT_THAT(error(R"("MesosAuthentication": "basic")"), HasSubstr("c.json: MesosCredentials: "));
  EXPECT_THAT(error(R"("listener": "dns.example")"), HasSubstr("c.json: listener: "));
  EXPECT_THAT(import_mesos_dns(R"({"masters": ["m1"]})", "c.json").error, HasSubstr("c.json: masters: \"m1\" is not HOST:PORT"));
  EXPECT_THAT(import_mesos_dns(R"({"masters": ["[fd00::1]:5", "[fd00::0:1]:5"]})", "c.json").error, HasSubstr("is there twice"));
}

// The first failing check of Mesos-DNS is the one that is named.
TEST(ImportMesosDns, OrderOfChecks) {
  EXPECT_THAT(import_with(R"("domain": "a_b", "IPSources": ["x"], "resolvers": ["x"])").error, HasSubstr(": resolvers: "));
  EXPECT_THAT(import_with(R"("domain": "a_b", "IPSources": ["x"])").error, HasSubstr(": IPSources: "));
  EXPECT_THAT(import_with(R"("domain": "a_b", "stateTimeoutSeconds": 0)").error, HasSubstr(": stateTimeoutSeconds: "));
  EXPECT_THAT(import_with(R"("domain": "a_b", "MesosAuthentication": "x")").error, HasSubstr(": domain: "));
}

TEST(ImportMesosDns, SecretsAreNeverPrinted) {
  auto got = import_with(R"("MesosAuthentication": "basic", "MesosCredentials": {"Principal": "dns", "secret": "hunter2"})");
  auto c = good(got);
  EXPECT_EQ(c.mesos.principal, "dns");
  EXPECT_EQ(c.mesos.secret_file, "/etc/loadstar/mesos.secret");
  EXPECT_EQ((got.toml + all(got.warnings)).find("hunter2"), std::string::npos);
  EXPECT_THAT(all(got.warnings), HasSubstr("/etc/loadstar/mesos.secret"));
  auto unused = import_with(R"("MesosCredentials": {"principal": "dns", "secret": "hunter2"})");
  good(unused);
  EXPECT_EQ((unused.toml + all(unused.warnings)).find("hunter2"), std::string::npos);
  auto wrong = import_with(R"("MesosCredentials": {"secret": ["hunter2"]})");
  EXPECT_THAT(wrong.error, HasSubstr("MesosCredentials: secret: a string is wanted"));
  EXPECT_EQ(wrong.error.find("hunter2"), std::string::npos);
  auto broken = import_with(R"("MesosCredentials": {"secret": "hunter2", })");
  EXPECT_THAT(broken.error, HasSubstr("is no JSON"));
  EXPECT_EQ(broken.error.find("hunter2"), std::string::npos);
  EXPECT_EQ(import_with("\"MesosCredentials\": {\"secret\": \"hunter2\n").error.find("hunter2"), std::string::npos);
  auto iam = import_with(R"("MesosAuthentication": "iam", "IAMConfigFile": "/iam.json")");
  good(iam);
  EXPECT_THAT(all(iam.warnings), HasSubstr("mesos.token_file"));
}

TEST(ImportMesosDns, ZooKeeperAndOtherWaysToMasters) {
  auto both = import_with(R"("zk": "zk://zk-1.zk:2181/mesos")");
  EXPECT_EQ(good(both).mesos.zk, "zk://zk-1.zk:2181/mesos");
  EXPECT_FALSE(good(both).mesos.masters.empty()) << "the last resort";
  auto one = import_mesos_dns(R"({"zk": "master@10.0.0.7:5050"})", "c.json");
  EXPECT_EQ(good(one).mesos.masters, (std::vector<HostPort>{{"10.0.0.7", 5050}}));
  auto only = import_mesos_dns(R"({"zk": "zk://u:pw@zk-1.zk:2181/mesos"})", "c.json");
  EXPECT_EQ(good(only).mesos.zk, "zk://zk-1.zk:2181/mesos");
  EXPECT_THAT(all(only.warnings), HasSubstr("mesos.zk_login_file"));
  EXPECT_EQ((only.toml + all(only.warnings)).find("u:pw"), std::string::npos);
  EXPECT_EQ((only.toml + all(only.warnings)).find("pw@"), std::string::npos);
  auto bad = import_mesos_dns(R"({"zk": "zk://u:pw@zk-1.zk:2181"})", "c.json");
  EXPECT_THAT(all(bad.warnings), HasSubstr("mesos.masters: source.kind = \"mesos\" needs at least one master"));
  EXPECT_THAT(all(bad.warnings), HasSubstr("no path"));
  EXPECT_EQ((bad.toml + all(bad.warnings)).find("u:pw"), std::string::npos);
}

TEST(ImportMesosDns, QuirksAreSaid) {
  EXPECT_THAT(all(import_with(R"("domain": "dc1.example")").warnings), HasSubstr("SOAMname: \"ns1.mesos\" does not lie in"));  // B11
  EXPECT_THAT(all(import_with(R"("mesoshttpson": true)").warnings), HasSubstr("did not verify"));                              // B33
  EXPECT_THAT(all(import_with(R"("ttl": -5)").warnings), HasSubstr("ttl: -5 seconds are out of range here; 0 are taken"));
}

TEST(ImportMesosDns, HostileTextStaysInItsPlace) {
  auto got = import_with(R"("a\n[lb]\nflows = 1": 1, "zk": "x\n[lb]")");
  good(got);
  EXPECT_EQ(got.toml.find("\n[lb]"), std::string::npos);
  std::string deep;
  for (int i = 0; i < 5000; i++) deep += "[";
  EXPECT_NE(import_with("\"x\": " + deep).error, "");
}

TEST(ImportMesosDns, FilesThatCannotBeRead) {
  EXPECT_EQ(import_mesos_dns_command("/nonexistent/config.json"), 1);
  EXPECT_EQ(import_mesos_dns_command("/tmp"), 1);
  EXPECT_EQ(import_mesos_dns_command("/dev/null"), 1);
}

TEST(ImportMesosDns, ConfigurationsOfTheCases) {
  std::filesystem::path cases = LS_SHARED_DIR "/spec/mesos-dns-cases";
  if (!std::filesystem::exists(cases)) GTEST_SKIP() << cases << " is missing";
  int count = 0;
  for (auto& entry : std::filesystem::directory_iterator(cases)) {
    std::ifstream in(entry.path() / "config.json");
    if (!in) continue;
    std::string text{std::istreambuf_iterator<char>(in), {}};
    SCOPED_TRACE(entry.path());
    auto c = good(import_mesos_dns(text, "config.json"));
    EXPECT_EQ(c.authority.listen, std::vector{*Endpoint::parse("198.51.100.53:53")});
    EXPECT_TRUE(c.authority.upstreams.empty());
    count++;
  }
  EXPECT_GE(count, 5);
}

}  // namespace
}  // namespace ls
