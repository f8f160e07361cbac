// The table itself: complete, consistent, and everything printed from it.
#include "app/settings.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "app/config.h"

namespace ls {
namespace {

/// Converts to anything: lets the compiler count the members of an aggregate.
struct Any {
  template <class T>
  operator T() const;
};

template <class T, class... A>
constexpr size_t member_count() {
  if constexpr (requires { T{A{}..., Any{}}; }) {
    return member_count<T, A..., Any>();
  } else {
    return sizeof...(A);
  }
}

size_t lines_of(std::string_view section) {
  size_t n = 0;
  for (auto& s : settings()) n += s.section() == section;
  return n;
}

// A member without a line in the table could never be set.
TEST(Settings, EveryMemberHasALine) {
  EXPECT_EQ(lines_of("node"), member_count<Config::Node>());
  EXPECT_EQ(lines_of("log"), member_count<Config::Log>());
  EXPECT_EQ(lines_of("api"), member_count<Config::Api>());
  EXPECT_EQ(lines_of("source"), member_count<Config::Source>());
  EXPECT_EQ(lines_of("mesos"), member_count<Config::Mesos>());
  EXPECT_EQ(lines_of("replay"), member_count<Config::Replay>());
  EXPECT_EQ(lines_of("vips"), member_count<Config::Vips>());
  EXPECT_EQ(lines_of("lb"), member_count<Config::Lb>());
  EXPECT_EQ(lines_of("bpf"), member_count<Config::Bpf>());
  EXPECT_EQ(lines_of("reconcile"), member_count<Config::Reconcile>());
  EXPECT_EQ(lines_of("dns"), member_count<Config::Dns>());
  EXPECT_EQ(lines_of("authority"), member_count<Config::Authority>());
  EXPECT_EQ(lines_of("resolver"), member_count<Config::Resolver>());
  EXPECT_EQ(lines_of("registration"), member_count<Config::Registration>());
  EXPECT_EQ(lines_of("hub"), member_count<Config::Hub>());
  EXPECT_EQ(lines_of("hub_server"), member_count<Config::HubServer>());
  EXPECT_EQ(lines_of("store"), member_count<Config::Store>());
  EXPECT_EQ(lines_of("state"), member_count<Config::State>());
  EXPECT_EQ(lines_of("watchdog"), member_count<Config::Watchdog>());
  EXPECT_EQ(lines_of("overlay"), member_count<Config::Overlay>());
  EXPECT_EQ(sections().size(), member_count<Config>());
}

TEST(Settings, NamesAreUniqueAndGroupedBySection) {
  std::set<std::string_view> names, closed;
  std::string_view section;
  for (auto& s : settings()) {
    EXPECT_TRUE(names.insert(s.name).second) << s.name << " twice";
    if (s.section() != section) {
      EXPECT_TRUE(closed.insert(s.section()).second) << s.section() << " is not in one piece";
      section = s.section();
    }
    EXPECT_FALSE(s.text.empty()) << s.name;
    EXPECT_EQ(s.text.back(), '.') << s.name;
    EXPECT_EQ(find_setting(s.name), &s);
  }
  EXPECT_EQ(find_setting("lb.nothing"), nullptr);
}

/// A value other than the default that is good for the setting.
RawValue other_value(const Setting& s, const std::string& printed) {
  auto list = [](std::string text) {
    RawValue one;
    one.value = std::move(text);
    return RawValue::List{one};
  };
  RawValue raw;
  if (printed == "true" || printed == "false") {
    raw.value = printed == "false";
  } else if (printed[0] == '{') {
    bool zone = s.name == "resolver.static_zones";
    RawValue lines;
    lines.value = list(zone ? "a CNAME b" : "192.0.2.1");
    raw.value = RawValue::Table{{{zone ? "reg.thisdcos.directory" : "example.com", {}}}, {lines}};
  } else if (printed[0] == '[') {
    if (s.name == "node.roles") raw.value = list("master");
    else if (s.name == "overlay.network") {
      RawValue name, network;
      name.value = std::string("dcos");
      network.value = RawValue::Table{{{"name", {}}}, {name}};
      raw.value = RawValue::List{network};
    }
    else if (s.name == "mesos.masters") raw.value = list("m1:5050");
    else if (s.name == "authority.ip_sources") raw.value = list("docker");
    else if (s.type.find("interface") != s.type.npos) raw.value = list("p7");
    else if (s.type.find("path") != s.type.npos) raw.value = list("/other");
    else if (s.type.find("ports") != s.type.npos) raw.value = list("192.0.2.1:53");
    else raw.value = list("192.0.2.1");
  } else if (printed[0] == '"') {
    std::string other = "/other";
    if (s.type == "duration") other = s.name == "watchdog.timeout" ? "900ms" : "7s";
    if (s.type == "size") other = "7MiB";
    if (s.type == "address") other = s.name.back() == '6' ? "fd01:c::7" : "11.0.0.7";
    if (s.type == "domain name" || s.name == "watchdog.search") other = "other.example";
    if (s.type == "interface") other = "dns0";
    if (s.name == "log.level") other = "warn";
    if (s.name == "log.format") other = "json";
    if (s.name == "source.kind") other = "replay";
    if (s.name == "mesos.zk" || s.name == "store.zookeeper") other = "zk://10.0.0.9:2181/other";
    if (s.name == "store.kind") other = "zookeeper";
    if (s.name == "store.advertise") other = "m1:62080";
    if (s.name == "resolver.rotation") other = "none";
    if (s.name == "dns.kernel_xdp") other = "native";
    if (s.name == "overlay.cni") other = "original";
    if (s.name == "resolver.cluster_id") other = std::string(52, 'y');
    if (s.name == "watchdog.unit") other = "other.service";
    raw.value = other;
  } else if (printed.find('.') != printed.npos) {
    raw.value = 7.5;
  } else {
    bool large = s.name.starts_with("lb.") || s.name == "dns.kernel_names" || s.name == "overlay.kernel_nodes";
    raw.value = large ? int64_t(1) << 19 : s.name == "dns.udp_size" ? 700 : s.name == "resolver.in_flight" ? 77 : 7;
  }
  return raw;
}

// Each line writes the member that it prints, and no other line's.
TEST(Settings, EachLineIsBoundToItsOwnMember) {
  Config defaults;
  for (auto& s : settings()) {
    auto raw = other_value(s, s.print(defaults));
    Config changed;
    std::vector<Problem> problems;
    s.read(raw, changed, problems);
    ASSERT_TRUE(problems.empty()) << problems[0].text();
    auto diff = changes(defaults, changed);
    ASSERT_EQ(diff.size(), 1u) << s.name;
    EXPECT_EQ(diff[0].setting, &s);
  }
}

// What a reload takes over without a restart.
TEST(Settings, LiveSettings) {
  std::set<std::string_view> live;
  for (auto& s : settings()) {
    if (s.live) live.insert(s.name);
  }
  EXPECT_EQ(live, (std::set<std::string_view>{
                      "log.level", "reconcile.interval", "dns.clients", "dns.no_truncate_bit", "dns.rate_limit",
                      "dns.rate_limit_slip", "authority.transfer", "authority.upstreams", "authority.forward_zones",
                      "resolver.upstreams", "resolver.forward_zones", "resolver.mesos_servers", "resolver.static_zones",
                      "resolver.zone_files"}));
}

TEST(Settings, PrintedConfigReadsBackToTheSame) {
  Config c;
  c.node.address = IpAddress::parse("10.0.0.1");
  c.node.addresses = {*IpAddress::parse("fd00::1")};
  c.mesos.masters = {{"master-1.example", 5050}, {"fd00::5", 5051}};
  c.mesos.zk = "zk://10.0.0.1:2181,[fd00::5]:2182/mesos";
  c.mesos.principal = "a \"quoted\" \\ name\twith tab";
  c.mesos.secret_file = "/etc/loadstar/secret";
  c.mesos.connect_timeout = Millis(1500);
  c.mesos.max_record = {3ull << 20};
  c.replay.speed = 0.25;
  c.lb.flows = 1 << 20;
  c.api.listen = {*Endpoint::parse("127.0.0.1:62080"), *Endpoint::parse("[::1]:62080")};
  c.dns.clients = {*IpNetwork::parse("10.0.0.0/8"), *IpNetwork::parse("fd01::/64"), *IpNetwork::parse("192.0.2.1")};
  c.authority.ip_sources = {IpSourceKind::kHost, IpSourceKind::kDocker};
  c.authority.forward_zones = {{"example.com", {"10.1.1.1", "10.1.1.2:5300", "[fd01::5]:53"}}, {"a.b_c.test", {"fd01::6"}}};
  c.resolver.static_zones = {{"component.thisdcos.directory", {"registry CNAME master.dcos.thisdcos.directory.",
                                                                "t TXT \"a \\\" b\""}}};
  c.resolver.zone_files = {"/etc/loadstar/a.zone"};
  c.resolver.rotation = RotationKind::kRandom;
  c.watchdog.search = "example.com corp.local";
  c.overlay.vtep_subnet6 = "fd01:a::/64";
  c.overlay.network.resize(2);
  auto& dcos = c.overlay.network[0].values;
  dcos.name = "dcos";
  dcos.subnet = "9.0.0.0/8";
  dcos.prefix = 24;
  auto& dcos6 = c.overlay.network[1].values;
  dcos6.name = "dcos6";
  dcos6.subnet6 = "fd01:b::/64";
  dcos6.prefix6 = 80;
  dcos6.enabled = false;
  ConfigText text{"x.toml", print_config(c)};
  auto again = parse_config({&text, 1});
  ASSERT_TRUE(again.good()) << report(again) << text.toml;
  EXPECT_EQ(print_config(again.config), text.toml);
  EXPECT_TRUE(changes(c, again.config).empty());
}

TEST(Settings, DefaultsAsUncommentedFileAreTheDefaults) {
  // A commented setting is "# key = value"; in a sentence the first word is not followed by " = ".
  std::string toml;
  std::istringstream in(print_defaults());
  for (std::string row; std::getline(in, row);) {
    bool setting = row.starts_with("# ") && row.find(' ', 2) != row.npos &&
                   row.substr(row.find(' ', 2)).starts_with(" = ");
    toml += (setting ? row.substr(2) : row) + "\n";
  }
  ConfigText text{"x.toml", toml};
  auto got = parse_config({&text, 1});
  EXPECT_TRUE(changes(Config{}, got.config).empty());
  // Nothing but what a machine has to say itself is missing.
  for (auto& p : got.problems) {
    EXPECT_TRUE(p.what.starts_with("node.address:") || p.what.starts_with("mesos.masters:")) << p.text();
  }
  EXPECT_EQ(got.problems.size(), 2u);
}

TEST(Settings, ManualPageHasEverySettingWithItsDefaultAndNoStrayRequest) {
  auto page = print_man_page();
  for (auto& s : settings()) {
    std::string name(s.name);
    EXPECT_NE(page.find(".B " + name + "\n"), page.npos) << name;
  }
  for (auto& [section, text] : sections())
    EXPECT_NE(page.find(".SH SECTION [" + std::string(section) + "]"), page.npos);
  // A line that starts with a dot must be a request we wrote.
  std::istringstream in(page);
  for (std::string row; std::getline(in, row);) {
    if (row.empty() || row[0] != '.') continue;
    auto request = row.substr(0, row.find(' '));
    EXPECT_TRUE(request == ".TH" || request == ".SH" || request == ".TP" || request == ".B" ||
                request == ".BR" || request == ".br" || request == ".PP")
        << row;
  }
}

TEST(Settings, OperatorsPageIsUpToDate) {
  std::ifstream in(LS_SOURCE_DIR "/docs/operate/configure.md");
  std::string committed{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(committed, print_markdown()) << "run: ninja -C build/dev configure_page";
}

TEST(Settings, Durations) {
  EXPECT_EQ(parse_duration("250ms"), Millis(250));
  EXPECT_EQ(parse_duration("60s"), Millis(60'000));
  EXPECT_EQ(parse_duration("10m"), Millis(600'000));
  EXPECT_EQ(parse_duration("1m30s"), Millis(90'000));
  EXPECT_EQ(parse_duration("1d"), Millis(86'400'000));
  EXPECT_EQ(parse_duration("0s"), Millis(0));
  for (auto bad : {"", "60", "s", "-1s", "1.5s", "1 s", "1s ", "1S", "30s1m", "1s1s", "1y",
                   "99999999999999999999s", "9223372036854775807d", "0x10s", "+1s"}) {
    EXPECT_EQ(parse_duration(bad), std::nullopt) << bad;
  }
  for (int64_t ms : {0, 1, 999, 1000, 1500, 60'000, 90'000, 3'600'000, 86'400'000}) {
    EXPECT_EQ(parse_duration(print_duration(Millis(ms))), Millis(ms)) << ms;
  }
  EXPECT_EQ(print_duration(Millis(600'000)), "10m");
}

TEST(Settings, Sizes) {
  EXPECT_EQ(parse_size("64MiB"), ByteSize{64u << 20});
  EXPECT_EQ(parse_size("1B"), ByteSize{1});
  EXPECT_EQ(parse_size("2TiB"), ByteSize{2ull << 40});
  for (auto bad : {"", "64", "MiB", "64MB", "64mib", "64 MiB", "-1B", "99999999999TiB", "1.5GiB"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
  }
  for (uint64_t n : {0ull, 1ull, 1023ull, 1024ull, 1536ull, 1ull << 30, 3ull << 40}) {
    EXPECT_EQ(parse_size(print_size({n})), ByteSize{n}) << n;
  }
}

TEST(Settings, OwnAddresses) {
  Config::Node node;
  EXPECT_TRUE(node.all_addresses().empty());
  node.address = IpAddress::parse("10.0.0.1");
  node.addresses = {*IpAddress::parse("fd00::1"), *IpAddress::parse("10.0.0.1")};
  EXPECT_EQ(node.all_addresses(), (std::vector{*IpAddress::parse("10.0.0.1"), *IpAddress::parse("fd00::1")}));
  EXPECT_TRUE(node.has_role(Role::kAgent));
  EXPECT_FALSE(node.has_role(Role::kMaster));
}

}  // namespace
}  // namespace ls
