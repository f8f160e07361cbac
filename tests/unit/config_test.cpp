// Reading: every error with its place, all of them at once, and files merged in order.
#include "app/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace ls {
namespace {

// An agent that follows a recording: the least that is good.
constexpr const char* kGood =
    "[node]\naddress = \"10.0.0.1\"\n[source]\nkind = \"replay\"\n[replay]\nfile = \"/r\"\n";

LoadedConfig parse(const std::string& toml) {
  ConfigText text{"a.toml", toml};
  return parse_config({&text, 1});
}

/// All problems of `kGood` plus `more`, one a line.
std::string problems(const std::string& toml) {
  std::string out;
  for (auto& p : parse(toml).problems) out += (out.empty() ? "" : "\n") + p.text();
  return out;
}

std::string problems_after_good(const std::string& more) {
  return problems(kGood + more);
}

TEST(ParseConfig, LeastGoodFile) {
  auto got = parse(kGood);
  ASSERT_TRUE(got.good()) << report(got);
  EXPECT_EQ(got.config.node.address, IpAddress::parse("10.0.0.1"));
  EXPECT_EQ(got.config.source.kind, SourceKind::kReplay);
  EXPECT_EQ(got.config.replay.file, "/r");
  EXPECT_EQ(got.config.lb.flows, 262144u);
  EXPECT_EQ(report(got), "configuration is good (1 file)\n");
}

TEST(ParseConfig, EveryTypeOfValue) {
  auto got = parse(
      "[node]\nroles = [\"master\", \"agent\"]\naddress = \"fd00::1\"\naddresses = [\"10.0.0.1\", "
      "\"10.0.0.2\"]\n"
      "[log]\nlevel = \"debug\"\nformat = \"json\"\n"
      "[mesos]\nmasters = [\"m1:5050\", \"[fd00::9]:5051\", \"10.0.0.3:1\"]\nreregister_timeout = \"1h30m\"\n"
      "max_record = \"64MiB\"\ntls = true\nca_file = \"tls/ca.pem\"\n"
      "[replay]\nspeed = 2\n"
      "[lb]\nports = [\"veth*\", \"cali?\"]\nbridges = []\nflows = 1024\nsocket = false\n");
  ASSERT_TRUE(got.good()) << report(got);
  auto& c = got.config;
  EXPECT_EQ(c.node.roles, (std::vector{Role::kMaster, Role::kAgent}));
  EXPECT_EQ(c.node.addresses.size(), 2u);
  EXPECT_EQ(c.log.level, log::Level::kDebug);
  EXPECT_EQ(c.log.format, log::Format::kJson);
  EXPECT_EQ(c.mesos.masters[1], (HostPort{"fd00::9", 5051}));
  EXPECT_EQ(c.mesos.masters[1].text(), "[fd00::9]:5051");
  EXPECT_EQ(c.mesos.reregister_timeout, Millis(90 * 60'000));
  EXPECT_EQ(c.mesos.max_record.bytes, 64u << 20);
  EXPECT_EQ(c.replay.speed, 2.0);
  EXPECT_EQ(c.lb.ports, (std::vector<std::string>{"veth*", "cali?"}));
  EXPECT_TRUE(c.lb.bridges.empty());
  EXPECT_FALSE(c.lb.socket);
}

TEST(ParseConfig, RelativePathIsTakenFromTheFileThatSetsIt) {
  ConfigText texts[] = {{"/etc/loadstar/loadstar.toml", kGood},
                        {"/etc/loadstar/conf.d/1.toml", "[replay]\nfile = \"../stream.recordio\"\n"}};
  auto got = parse_config(texts);
  ASSERT_TRUE(got.good()) << report(got);
  EXPECT_EQ(got.config.replay.file, "/etc/loadstar/stream.recordio");
}

struct Case {
  const char* toml;
  const char* problem;
};

class BadValue : public testing::TestWithParam<Case> {};

TEST_P(BadValue, IsReportedWithItsPlace) {
  EXPECT_EQ(problems_after_good(GetParam().toml), GetParam().problem);
}

// kGood has six lines, so what is added starts in line 7.
INSTANTIATE_TEST_SUITE_P(
    Cases, BadValue,
    testing::Values(
        Case{"[lb]\nflows = \"many\"\n", "a.toml:8:9: lb.flows: an integer is wanted, this is a string"},
        Case{"[lb]\nflows = 12\n", "a.toml:8:9: lb.flows: 12 is below 1024 (range 1024 to 67108864)"},
        Case{"[lb]\nflows = 99999999999\n",
             "a.toml:8:9: lb.flows: 99999999999 is above 67108864 (range 1024 to 67108864)"},
        Case{"[lb]\nflows = 5000\n", "a.toml:8:9: lb.flows: 5000 is not a power of two (4096 and 8192 are)"},
        Case{"[lb]\nring_slots = 70001\n", "a.toml:8:14: lb.ring_slots: 70001 is not a multiple of 16"},
        Case{"[lb]\nflows = 1.5\n", "a.toml:8:9: lb.flows: an integer is wanted, this is a float"},
        Case{"[lb]\nflows = 1979-05-27\n", "a.toml:8:9: lb.flows: an integer is wanted, this is a date"},
        Case{"[lb.flows]\nx = 1\n", "a.toml:7:1: lb.flows: an integer is wanted, this is a table"},
        Case{"[lb]\nsocket = 1\n",
             "a.toml:8:10: lb.socket: a boolean (true or false) is wanted, this is an integer"},
        Case{"[lb]\nports = \"veth*\"\n",
             "a.toml:8:9: lb.ports: a list in brackets is wanted, this is a string"},
        Case{"[lb]\nports = [\"veth*\", 3]\n",
             "a.toml:8:19: lb.ports: a string is wanted, this is an integer"},
        Case{"[lb]\nports = [\"a/b\"]\n",
             "a.toml:8:10: lb.ports: \"a/b\" is no pattern for an interface name"},
        Case{"[lb]\nbridges = [\"br*\"]\n",
             "a.toml:8:12: lb.bridges: \"br*\" is no interface name; patterns are not taken here"},
        Case{"[lb]\nbridges = [\"abcdefghijklmnop\"]\n",
             "a.toml:8:12: lb.bridges: \"abcdefghijklmnop\" is no interface name (1 to 15 characters)"},
        Case{"[reconcile]\ninterval = 60\n",
             "a.toml:8:12: reconcile.interval: a duration in quotes with its unit (ms, s, m, h, d), for "
             "example "
             "\"250ms\", is wanted, this is an integer"},
        Case{"[reconcile]\ninterval = \"60\"\n",
             "a.toml:8:12: reconcile.interval: a duration in quotes with its unit (ms, s, m, h, d), for "
             "example "
             "\"250ms\", is wanted, this is \"60\""},
        Case{"[reconcile]\ninterval = \"10ms\"\n",
             "a.toml:8:12: reconcile.interval: 10ms is below 1s (range 1s to 1h)"},
        Case{"[mesos]\nmax_record = \"1MB\"\n",
             "a.toml:8:14: mesos.max_record: a size in quotes with its unit (B, KiB, MiB, GiB, TiB), for "
             "example "
             "\"64MiB\", is wanted, this is \"1MB\""},
        Case{"[mesos]\nmasters = [\"m1\"]\n",
             "a.toml:8:12: mesos.masters: \"m1\" is not HOST:PORT (an IPv6 address stands in brackets, a "
             "port is 1 to "
             "65535)"},
        Case{"[mesos]\nmasters = [\"m1:70000\"]\n",
             "a.toml:8:12: mesos.masters: \"m1:70000\" is not HOST:PORT (an IPv6 address stands in brackets, "
             "a port is "
             "1 to 65535)"},
        Case{"[mesos]\nmasters = [\"fd00::1:5050\"]\n",
             "a.toml:8:12: mesos.masters: \"fd00::1:5050\" is not HOST:PORT (an IPv6 address stands in "
             "brackets, a "
             "port is 1 to 65535)"},
        Case{"[log]\nlevel = \"loud\"\n",
             "a.toml:8:9: log.level: \"loud\" is not one of: debug, info, warn, error"},
        Case{"[vips]\nnamed_min = \"11.0.0\"\n",
             "a.toml:8:13: vips.named_min: \"11.0.0\" is no IPv4 or IPv6 address"},
        Case{"[vips]\nnamed_min = \"fd00::1\"\n",
             "a.toml:8:13: vips.named_min: fd00::1 is not an IPv4 address"},
        Case{"[vips]\nnamed_min6 = \"10.0.0.1\"\n",
             "a.toml:8:14: vips.named_min6: 10.0.0.1 is not an IPv6 address"},
        Case{"[api]\nsocket = \"\"\n", "a.toml:8:10: api.socket: a path is wanted"},
        // Rules between settings.
        Case{"[vips]\nnamed_min = \"12.0.0.0\"\n",
             "a.toml:8:13: vips.named_min: 12.0.0.0 is not below vips.named_max = 11.255.255.255"},
        Case{"[vips]\nnamed_min = \"11.0.0.5\"\nnamed_max = \"11.0.0.5\"\n",
             "a.toml:8:13: vips.named_min: 11.0.0.5 is not below vips.named_max = 11.0.0.5"},
        Case{"[mesos]\nbackoff_min = \"1m\"\n",
             "a.toml:8:15: mesos.backoff_min: 1m is above mesos.backoff_max = 30s"},
        Case{"[mesos]\nprincipal = \"p\"\n", "a.toml:8:13: mesos.principal: needs mesos.secret_file"},
        Case{"[mesos]\nca_file = \"/x\"\n",
             "a.toml:8:11: mesos.ca_file: has no effect without mesos.tls = true"},
        Case{"[mesos]\ntls = true\ncert_file = \"/x\"\n",
             "a.toml:9:13: mesos.cert_file: needs mesos.key_file"},
        Case{"[mesos]\nprincipal = \"p\"\nsecret_file = \"/s\"\ntoken_file = \"/t\"\n",
             "a.toml:10:14: mesos.token_file: either this or mesos.principal with mesos.secret_file, not "
             "both"},
        // Addresses of servers and networks.
        Case{"[resolver]\nupstreams = [\"1.2.3\"]\n",
             "a.toml:8:14: resolver.upstreams: \"1.2.3\" is no IPv4 or IPv6 address, with or without a port"},
        Case{"[resolver]\nupstreams = [\"1.2.3.4:0\"]\n",
             "a.toml:8:14: resolver.upstreams: \"1.2.3.4:0\" has no port from 1 to 65535"},
        Case{"[resolver]\nupstreams = [\"1.1.1.1\", \"1.1.1.1:53\"]\n",
             "a.toml:8:13: resolver.upstreams: 1.1.1.1:53 is there twice"},
        Case{"[resolver]\nupstreams = [\"198.51.100.2\"]\n",
             "a.toml:8:13: resolver.upstreams: 198.51.100.2:53 is this server itself: questions would go round in "
             "circles"},
        Case{"[resolver]\nupstreams = [\"10.0.0.1\"]\n",
             "a.toml:8:13: resolver.upstreams: 10.0.0.1:53 is an address of this machine: questions would go round in "
             "circles; a server here needs another port"},
        Case{"[resolver]\nlisten = [\"0.0.0.0:53\"]\nupstreams = [\"10.0.0.1\"]\n",
             "a.toml:9:13: resolver.upstreams: 10.0.0.1:53 is this server itself: questions would go round in circles"},
        Case{"[resolver]\nlisten = [\"10.0.0.1\"]\n",
             "a.toml:8:11: resolver.listen: \"10.0.0.1\" is not ADDRESS:PORT (an IPv6 address stands in brackets, a port is "
             "1 to 65535)"},
        Case{"[dns]\nclients = [\"10.0.0.1/8\"]\n",
             "a.toml:8:12: dns.clients: \"10.0.0.1/8\" is no network, as in \"10.0.0.0/8\" or \"fd01::/64\" (bits behind the "
             "prefix are 0)"},
        // Tables of lists.
        Case{"[resolver]\nforward_zones = [\"a\"]\n",
             "a.toml:8:17: resolver.forward_zones: a table of lists is wanted, as in { \"example.com\" = [\"...\"] }, this is "
             "a list"},
        Case{"[resolver]\nforward_zones = { \"a.b\" = [\"1.1.1.1\", \"x\"] }\n",
             "a.toml:8:39: resolver.forward_zones: \"a.b\": \"x\" is no IPv4 or IPv6 address, with or without a port"},
        Case{"[resolver]\nforward_zones = { \"a.b\" = [] }\n",
             "a.toml:8:27: resolver.forward_zones: \"a.b\": the list is empty"},
        Case{"[resolver.forward_zones]\na.b = [\"1.1.1.1\"]\n",
             "a.toml:8:1: resolver.forward_zones: \"a\": a list in brackets is wanted, this is a table (a name with dots "
             "stands in quotes)"},
        Case{"[resolver.forward_zones]\n\"a.b\" = [\"1.1.1.1\"]\n\"A.b\" = [\"1.1.1.1\"]\n",
             "a.toml:8:1: resolver.forward_zones: \"a.b\" is there twice"},
        Case{"[resolver.forward_zones]\n\"a..b\" = [\"1.1.1.1\"]\n",
             "a.toml:8:1: resolver.forward_zones: \"a..b\" is no domain name: a label is empty"},
        Case{"[resolver.forward_zones]\n\"x.Mesos\" = [\"1.1.1.1\"]\n",
             "a.toml:7:1: resolver.forward_zones: \"x.mesos\" would never be asked: every name in \"mesos\" is the cluster's"},
        Case{"[resolver.static_zones]\n\"mesos.thisdcos.directory\" = []\n",
             "a.toml:8:1: resolver.static_zones: \"mesos.thisdcos.directory\" belongs to mesos.thisdcos.directory, which "
             "loadstar makes itself"},
        // The domain and what may be forwarded around it.
        Case{"[authority]\ndomain = \"me_sos\"\n",
             "a.toml:8:10: authority.domain: \"me_sos\" is no domain name: only letters, digits, hyphens and dots may be in "
             "it"},
        Case{"[authority]\ndomain = \"mesos.\"\n",
             "a.toml:8:10: authority.domain: \"mesos.\" is no domain name: it ends with a dot"},
        Case{"[authority]\nforward_zones = { mesos = [\"1.1.1.1\"] }\n",
             "a.toml:8:17: authority.forward_zones: \"mesos\" is authority.domain, which is answered here"},
        Case{"[authority]\nforward_zones = { \"A.Mesos\" = [\"1.1.1.1\"] }\n",
             "a.toml:8:17: authority.forward_zones: \"a.mesos\" is masked: it lies below authority.domain = \"mesos\""},
        Case{"[authority]\ndomain = \"m.example.com\"\nforward_zones = { \"example.com\" = [\"1.1.1.1\"] }\n",
             "a.toml:9:17: authority.forward_zones: \"example.com\" is masked: authority.domain = \"m.example.com\" lies "
             "below it"},
        Case{"[authority]\nforward_zones = { \"b.c\" = [\"1.1.1.1\"], \"a.b.c\" = [\"1.1.1.1\"] }\n",
             "a.toml:8:17: authority.forward_zones: \"b.c\" is masked: \"a.b.c\" lies below it"},
        Case{"[authority]\nip_sources = [\"host\", \"host\"]\n",
             "a.toml:8:14: authority.ip_sources: a source is there twice"},
        Case{"[authority]\nttl = \"1500ms\"\n",
             "a.toml:8:7: authority.ttl: 1500ms is not a whole number of seconds"},
        Case{"[resolver]\ncluster_id = \"abc\"\n",
             "a.toml:8:14: resolver.cluster_id: a cluster id has 52 characters, this one 3"},
        Case{"[watchdog]\nunit = \"--force\"\n",
             "a.toml:8:8: watchdog.unit: \"--force\" is no name of a service unit, as in \"loadstard.service\""},
        Case{"[watchdog]\ntimeout = \"5s\"\n",
             "a.toml:8:11: watchdog.timeout: 5s is not below watchdog.interval = 5s"},
        // What makes a cluster of many machines.
        Case{"[hub_server]\nlisten = [\"10.0.0.1:62081\"]\n",
             "a.toml:8:10: hub_server.listen: a hub needs node.roles with \"master\"\n"
             "a.toml:8:10: hub_server.listen: needs hub_server.token_file or hub_server.client_ca_file, or hub_server.anyone = true"},
        Case{"[hub_server]\nclient_ca_file = \"/ca\"\n", "a.toml:8:18: hub_server.client_ca_file: needs hub_server.cert_file"},
        Case{"[store]\nkind = \"zookeeper\"\n",
             "a.toml: store.zookeeper: store.kind = \"zookeeper\" needs the servers and a path here\n"
             "a.toml: api.listen: store.kind = \"zookeeper\" needs an address here that the other masters reach, or store.advertise\n"
             "a.toml:8:8: store.kind: \"zookeeper\" needs node.roles with \"master\": other nodes follow (registration.follow, overlay.follow)"},
        Case{"[store]\nzookeeper = \"zk://u:secret@h/x\"\n",
             "a.toml:8:13: store.zookeeper: user and password belong into a file of their own (the setting that ends in login_file)"},
        // Names.
        Case{"[resolver]\nforwardzones = 1\n",
             "a.toml:8:1: unknown key \"resolver.forwardzones\"; did you mean resolver.forward_zones?"},
        Case{"[lb]\nflow = 1\n", "a.toml:8:1: unknown key \"lb.flow\"; did you mean lb.flows?"},
        Case{"[lb]\nbakcends = 1\n", "a.toml:8:1: unknown key \"lb.bakcends\"; did you mean lb.backends?"},
        Case{"[lb]\npin = \"/x\"\n", "a.toml:8:1: unknown key \"lb.pin\"; did you mean bpf.pin?"},
        Case{"[lb]\nsomething_else_entirely = 1\n", "a.toml:8:1: unknown key \"lb.something_else_entirely\""},
        Case{"[reconciler]\ninterval = \"1s\"\n",
             "a.toml:7:2: unknown section \"reconciler\"; did you mean [reconcile]?"}));

TEST(ParseConfig, KeyWithoutItsSection) {
  EXPECT_EQ(problems(std::string("flows = 1024\n") + kGood),
            "a.toml:1:1: unknown key \"flows\"; did you mean lb.flows?");
  EXPECT_EQ(problems(std::string("lb = 3\n") + kGood), "a.toml:1:1: lb: this is a section, write [lb]");
}

TEST(ParseConfig, AllErrorsInTheOrderOfTheLines) {
  EXPECT_EQ(problems("[vips]\nipv6 = 1\nnamedmin = \"x\"\n[node]\nroles = []\naddress = "
                     "\"nine\"\n[lb]\nports = [1, 2]\n"),
            "a.toml:2:8: vips.ipv6: a boolean (true or false) is wanted, this is an integer\n"
            "a.toml:3:1: unknown key \"vips.namedmin\"; did you mean vips.named_min?\n"
            "a.toml:5:9: node.roles: the list needs at least 1 element\n"
            "a.toml:6:11: node.address: \"nine\" is no IPv4 or IPv6 address\n"
            "a.toml:8:10: lb.ports: a string is wanted, this is an integer\n"
            "a.toml:8:13: lb.ports: a string is wanted, this is an integer");
}

TEST(ParseConfig, WhatEveryNodeHasToSay) {
  EXPECT_EQ(problems(""),
            "a.toml: node.address: an agent needs its address here\n"
            "a.toml: mesos.masters: source.kind = \"mesos\" needs at least one master here, or mesos.zk");
  EXPECT_EQ(problems("[node]\nroles = [\"master\"]\n[source]\nkind = \"replay\"\n"),
            "a.toml: replay.file: source.kind = \"replay\" needs a file here");
  EXPECT_EQ(problems("[node]\nroles = [\"master\"]\n[source]\nkind = \"hub\"\n"),
            "a.toml: hub.masters: source.kind = \"hub\" needs at least one master here");
}

TEST(ParseConfig, BrokenSyntaxGivesThePlaceAndOtherFilesAreStillRead) {
  ConfigText texts[] = {{"a.toml", "[node]\naddress = \n"}, {"b.toml", "[lb]\nflows = true\n"}};
  auto got = parse_config(texts);
  ASSERT_EQ(got.problems.size(), 2u) << report(got);
  EXPECT_EQ(got.problems[0].where.file, "a.toml");
  EXPECT_EQ(got.problems[0].where.line, 2u);
  EXPECT_EQ(got.problems[1].text(), "b.toml:2:9: lb.flows: an integer is wanted, this is a boolean");
  EXPECT_TRUE(report(got).ends_with("2 errors\n"));
}

TEST(ParseConfig, LaterFileWinsAndErrorsNameTheRightFile) {
  ConfigText texts[] = {{"a.toml", std::string(kGood) + "[lb]\nflows = 2048\nports = [\"a*\"]\n"},
                        {"b.toml", "[lb]\nflows = 4096\nports = [\"b*\"]\n"}};
  auto got = parse_config(texts);
  ASSERT_TRUE(got.good()) << report(got);
  EXPECT_EQ(got.config.lb.flows, 4096u);
  EXPECT_EQ(got.config.lb.ports, std::vector<std::string>{"b*"});
  texts[1].toml = "[vips]\nnamed_max = \"10.0.0.0\"\n";
  got = parse_config(texts);
  ASSERT_EQ(got.problems.size(), 1u);
  EXPECT_EQ(got.problems[0].text(),
            "a.toml: vips.named_min: 11.0.0.0 is not below vips.named_max = 10.0.0.0");
}

// Whatever bytes stand in the file, an answer comes and no exception.
TEST(ParseConfig, TruncatedAndDamagedFilesOnlyGiveProblems) {
  std::string good =
      std::string(kGood) + "[lb]\nports = [\"a*\", \"b*\"]\nflows = 2048\n[mesos]\nbackoff_max = \"40s\"\n";
  for (size_t i = 0; i <= good.size(); i++) parse(good.substr(0, i));
  size_t bad = 0;
  for (size_t i = 0; i < good.size(); i++) {
    for (char c : {'\0', '"', '[', '\xff', '='}) {
      auto damaged = good;
      damaged[i] = c;
      bad += !parse(damaged).good();
    }
  }
  EXPECT_GT(bad, good.size());
}

TEST(Nearest, FindsSlipsAndNothingElse) {
  std::string_view known[] = {"lb.flows", "lb.flows6", "lb.ports", "bpf.pin"};
  EXPECT_EQ(nearest("lb.flwos", known), "lb.flows");
  EXPECT_EQ(nearest("lb.port", known), "lb.ports");
  EXPECT_EQ(nearest("zebra.crossing", known), std::nullopt);
  EXPECT_EQ(nearest("", known), std::nullopt);
  EXPECT_EQ(nearest(std::string(100'000, 'x'), known), std::nullopt);
}

class LoadConfig : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/loadstar-config-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    std::filesystem::create_directory(dir_ / "conf.d");
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(dir_ / name) << text; }
  std::filesystem::path dir_;
};

TEST_F(LoadConfig, MergesConfDInTheOrderOfNames) {
  write("stream", "");
  write("loadstar.toml",
        "[node]\naddress = \"10.0.0.1\"\n[source]\nkind = \"replay\"\n[replay]\nfile = \"stream\"\n");
  write("conf.d/20-b.toml", "[lb]\nflows = 8192\n");
  write("conf.d/10-a.toml", "[lb]\nflows = 4096\nflows6 = 4096\n");
  write("conf.d/.hidden.toml", "nonsense");
  write("conf.d/30-notes.txt", "nonsense");
  auto got = load_config(dir_ / "loadstar.toml");
  ASSERT_TRUE(got.good()) << report(got);
  EXPECT_EQ(got.config.lb.flows, 8192u);
  EXPECT_EQ(got.config.lb.flows6, 4096u);
  EXPECT_EQ(got.config.replay.file, dir_ / "stream");
  EXPECT_EQ(got.files.size(), 3u);
}

TEST_F(LoadConfig, ErrorInConfDNamesThatFile) {
  write("loadstar.toml", "");
  write("conf.d/10-a.toml", "\n[lb]\nflows = 1\n");
  auto got = load_config(dir_ / "loadstar.toml");
  ASSERT_EQ(got.problems.size(), 1u) << report(got);
  EXPECT_EQ(got.problems[0].text(), (dir_ / "conf.d/10-a.toml").native() +
                                        ":3:9: lb.flows: 1 is below 1024 (range 1024 to 67108864)");
}

TEST_F(LoadConfig, MissingFilesAreProblems) {
  auto got = load_config(dir_ / "none.toml");
  ASSERT_FALSE(got.good());
  EXPECT_EQ(got.problems[0].text(), (dir_ / "none.toml").native() + ": No such file or directory");
  write("loadstar.toml",
        "[node]\naddress = \"10.0.0.1\"\n[source]\nkind = \"replay\"\n[replay]\nfile = \"gone\"\n");
  got = load_config(dir_ / "loadstar.toml");
  ASSERT_EQ(got.problems.size(), 1u) << report(got);
  EXPECT_EQ(got.problems[0].text(), (dir_ / "loadstar.toml").native() + ":6:8: replay.file: " +
                                        (dir_ / "gone").native() + ": No such file or directory");
}

}  // namespace
}  // namespace ls
