// The Docker network of an overlay, with a program that answers as Docker does.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "overlay/docker.h"
#include "overlay/model.h"
#include "overlay_command_support.h"

namespace ls::overlay {
namespace {

using test::Folder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

IpNetwork net(const std::string& text) { return IpNetwork::parse(text).value(); }

DockerNetwork dcos() { return {"dcos", net("9.0.0.128/25"), std::nullopt, 1420}; }
DockerNetwork both() { return {"dcos", net("9.0.0.128/25"), net("fd01:b:0:0:0:8000::/81"), 1420}; }
DockerNetwork six() { return {"dcos6", std::nullopt, net("fd01:b:0:0:0:8000::/81"), 1420}; }

/// What Docker says about a network; fields can be replaced before they are put together.
struct Said {
  std::string name = "dcos", driver = "bridge", ipv6 = "false", internal = "false";
  std::string config = R"([{"Subnet": "9.0.0.128/25"}])";
  std::string bridge = "d-dcos", masquerade = "false", mtu = "1420";
  std::string text() const {
    return fmt::format(R"([{{"Name": "{}", "Id": "7fca4eb8c647", "Created": "2026-01-01T00:00:00Z", "Scope": "local", "Driver": "{}", "EnableIPv4": true,
  "EnableIPv6": {}, "IPAM": {{"Driver": "default", "Options": {{}}, "Config": {}}}, "Internal": {}, "Attachable": false, "Containers": {{}},
  "Options": {{"com.docker.network.bridge.name": "{}", "com.docker.network.bridge.enable_ip_masquerade": "{}", "com.docker.network.driver.mtu": "{}"}},
  "Labels": {{}}}}])", name, driver, ipv6, config, internal, bridge, masquerade, mtu);
  }
};

std::string differences(const DockerNetwork& wanted, const Said& said) {
  auto r = compare_docker_network(wanted, said.text());
  if (!r) return "error: " + r.error().text();
  return r->other_name ? "other name" : r->differences;
}

TEST(OverlayDocker, TheCallIsTheSpecs) {
  EXPECT_THAT(docker_inspect_command({}, dcos()), ElementsAre("docker", "network", "inspect", "dcos"));
  EXPECT_THAT(docker_create_command({}, dcos()),
              ElementsAre("docker", "network", "create", "--driver=bridge", "--opt=com.docker.network.bridge.name=d-dcos",
                          "--opt=com.docker.network.bridge.enable_ip_masquerade=false", "--opt=com.docker.network.driver.mtu=1420", "--subnet=9.0.0.128/25", "dcos"));
  EXPECT_THAT(docker_create_command({}, both()),
              ElementsAre("docker", "network", "create", "--driver=bridge", "--opt=com.docker.network.bridge.name=d-dcos",
                          "--opt=com.docker.network.bridge.enable_ip_masquerade=false", "--opt=com.docker.network.driver.mtu=1420", "--subnet=9.0.0.128/25", "--ipv6",
                          "--subnet=fd01:b::8000:0:0/81", "dcos"));
  EXPECT_THAT(docker_create_command({"/opt/docker", Millis(1)}, six()),
              ElementsAre("/opt/docker", "network", "create", "--driver=bridge", "--opt=com.docker.network.bridge.name=d-dcos6",
                          "--opt=com.docker.network.bridge.enable_ip_masquerade=false", "--opt=com.docker.network.driver.mtu=1420", "--ipv6",
                          "--subnet=fd01:b::8000:0:0/81", "dcos6"));
}

TEST(OverlayDocker, AHalfIsWhatDockerGets) {
  EXPECT_EQ(half_of(net("9.0.0.0/24"), true), net("9.0.0.128/25"));
  EXPECT_EQ(half_of(net("fd01:b::/80"), true), net("fd01:b:0:0:0:8000::/81"));
}

TEST(OverlayDocker, Names) {
  for (auto* good : {"dcos", "a", "a-b_c.d", "0", "thirteen-char"}) EXPECT_TRUE(good_docker_name(good)) << good;
  for (auto* bad : {"", "-v", "--help", ".a", "a b", "a/b", "fourteen-chars", "a\n", "ä"}) EXPECT_FALSE(good_docker_name(bad)) << bad;
}

TEST(OverlayDocker, EqualNetworksAreEqual) {
  EXPECT_EQ(differences(dcos(), {}), "");
  Said s;
  s.masquerade = "0";  // Docker takes that for false
  EXPECT_EQ(differences(dcos(), s), "");
  s = {};
  s.ipv6 = "true";
  s.config = R"([{"Subnet": "fd01:b:0:0:0:8000::/81", "Gateway": "fd01:b::8000:0:1"}, {"Subnet": "9.0.0.128/25", "Gateway": "9.0.0.129"}])";
  EXPECT_EQ(differences(both(), s), "");
}

TEST(OverlayDocker, AnIpv6OnlyOverlayLeavesTheIpv4SubnetToDocker) {
  Said s;
  s.name = "dcos6";
  s.bridge = "d-dcos6";
  s.ipv6 = "true";
  s.config = R"([{"Subnet": "172.18.0.0/16"}, {"Subnet": "fd01:b::8000:0:0/81"}])";
  EXPECT_EQ(differences(six(), s), "");
  s.config = R"([{"Subnet": "fd01:b::8000:0:0/81"}])";
  EXPECT_EQ(differences(six(), s), "");
  s.config = R"([{"Subnet": "172.18.0.0/16"}])";
  EXPECT_EQ(differences(six(), s), "IPv6 subnet: wanted fd01:b::8000:0:0/81, found none");
}

TEST(OverlayDocker, EachFieldIsCompared) {
  auto with = [](auto change) {
    Said s;
    change(s);
    return differences(dcos(), s);
  };
  EXPECT_EQ(with([](Said& s) { s.driver = "macvlan"; }), "driver: wanted bridge, found macvlan");
  EXPECT_EQ(with([](Said& s) { s.bridge = "br-1234"; }), "bridge: wanted d-dcos, found br-1234");
  EXPECT_EQ(with([](Said& s) { s.masquerade = "true"; }), "masquerade: wanted off, found true");
  EXPECT_EQ(with([](Said& s) { s.masquerade = "perhaps"; }), "masquerade: wanted off, found perhaps");
  EXPECT_EQ(with([](Said& s) { s.mtu = "1500"; }), "mtu: wanted 1420, found 1500");
  EXPECT_EQ(with([](Said& s) { s.ipv6 = "true"; }), "IPv6: wanted off, found on");
  EXPECT_EQ(with([](Said& s) { s.internal = "true"; }), "internal: wanted off, found on");
  EXPECT_EQ(with([](Said& s) { s.config = R"([{"Subnet": "9.0.1.128/25"}])"; }), "subnet: wanted 9.0.0.128/25, found 9.0.1.128/25");
  EXPECT_EQ(with([](Said& s) { s.config = "null"; }), "subnet: wanted 9.0.0.128/25, found none");
  EXPECT_EQ(with([](Said& s) { s.config = R"([{"Subnet": "9.0.0.128/25"}, {"Subnet": "10.1.0.0/16"}])"; }),
            "subnet: wanted 9.0.0.128/25, found 10.1.0.0/16, 9.0.0.128/25");
  EXPECT_EQ(with([](Said& s) { s.config = R"([{"Subnet": "9.0.0.128/25"}, {"Subnet": "fd00::/64"}])"; }), "IPv6 subnet: wanted none, found fd00::/64");
  Said s;
  EXPECT_EQ(differences(both(), s), "IPv6 subnet: wanted fd01:b::8000:0:0/81, found none; IPv6: wanted on, found off");
  EXPECT_EQ(with([](Said& x) {
              x.mtu = "1500";
              x.driver = "x";
            }),
            "driver: wanted bridge, found x; mtu: wanted 1420, found 1500");
}

TEST(OverlayDocker, WhatIsMissingHasDockersDefault) {
  auto r = compare_docker_network(dcos(), R"([{"Name": "dcos", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "9.0.0.128/25"}]}, "Options": null}])");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->differences, "bridge: wanted d-dcos, found one named by Docker; masquerade: wanted off, found on; mtu: wanted 1420, found Docker's default");
}

TEST(OverlayDocker, ForeignTextIsShownHarmlessly) {
  Said s;
  s.bridge = "x\\n\\u001b[2J\\u0000y" + std::string(5000, 'z');
  auto text = differences(dcos(), s);
  EXPECT_LT(text.size(), 300u);
  for (char c : text) EXPECT_TRUE(c >= ' ' && c <= '~') << int(c);
  std::string many = "[";
  for (int i = 0; i < 2000; i++) many += fmt::format("{}{{\"Subnet\": \"{}\"}}", i ? "," : "", std::string(200, 'a') + std::to_string(i));
  s = {};
  s.config = many + "]";
  EXPECT_LT(differences(dcos(), s).size(), 2000u);
}

TEST(OverlayDocker, WhatIsNoNetworkIsAnError) {
  for (std::string bad : {"", "[]", "{}", "null", "[1]", "[{}]", "[{\"Name\": 5}", "[{\"Name\": \"dcos\"}, {}]", "<html>",
                          R"([{"Name": "dcos", "IPAM": 5}])", R"([{"Name": "dcos", "IPAM": {"Config": {}}}])", R"([{"Name": "dcos", "IPAM": {"Config": [1]}}])",
                          R"([{"Name": "dcos", "Options": []}])", "[{\"Name\": \"dc\xff\"}", "[1e999999"}) {
    EXPECT_FALSE(compare_docker_network(dcos(), bad)) << bad;
  }
  EXPECT_FALSE(compare_docker_network(dcos(), std::string(1 << 20, '[')));
  // Wrong types of single fields are differences.
  auto r = compare_docker_network(dcos(), R"([{"Name": "dcos", "Driver": {"a": 1}, "IPAM": {"Config": [{"Subnet": 9}]}, "EnableIPv6": "yes", "Options": {"com.docker.network.driver.mtu": 1420}}])");
  ASSERT_TRUE(r);
  EXPECT_THAT(r->differences, HasSubstr("driver: wanted bridge, found {\"a\":1}"));
  EXPECT_THAT(r->differences, HasSubstr("subnet: wanted 9.0.0.128/25, found 9"));
}

/// A docker command: answers from files of its folder, and writes down how it was called.
class OverlayDockerCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    auto r = ProcessRunner::make();
    ASSERT_TRUE(r);
    runner_ = std::make_unique<ProcessRunner>(std::move(*r));
    options_.limit = Millis(60'000);
    options_.binary = folder_.program("docker", R"(
printf '%s ' "$@" >> $d/calls; echo >> $d/calls
[ -f $d/hang ] && { trap '' TERM; sleep 1000; }
if [ "$1 $2" = "network inspect" ]; then
  [ -f $d/there ] && { cat $d/there; exit 0; }
  echo '[]'
  cat $d/missing >&2
  exit 1
fi
[ -f $d/refused ] && { cat $d/refused >&2; [ -f $d/appears ] && mv $d/appears $d/there; exit 1; }
cp $d/made $d/there
echo 0123456789abcdef
)");
    folder_.write("missing", "Error response from daemon: network dcos not found\n");
    folder_.write("made", Said{}.text());
  }
  DockerResult ensure(const DockerNetwork& n = dcos()) { return ensure_docker_network(*runner_, options_, n); }
  std::vector<std::string> calls() const { return test::lines_of(folder_.read("calls")); }

  Folder folder_;
  DockerOptions options_;
  std::unique_ptr<ProcessRunner> runner_;
};

TEST_F(OverlayDockerCommand, IsMadeOnceAndThenThere) {
  auto r = ensure();
  EXPECT_EQ(r.state, DockerState::kMade) << r.text;
  EXPECT_EQ(r.line(), "dcos: made");
  EXPECT_EQ(ensure().line(), "dcos: there already");
  EXPECT_THAT(calls(), ElementsAre("network inspect dcos ",
                                   "network create --driver=bridge --opt=com.docker.network.bridge.name=d-dcos "
                                   "--opt=com.docker.network.bridge.enable_ip_masquerade=false --opt=com.docker.network.driver.mtu=1420 --subnet=9.0.0.128/25 dcos ",
                                   "network inspect dcos "));
}

TEST_F(OverlayDockerCommand, OlderVersionsSayItOtherwise) {
  for (auto* text : {"Error: No such network: dcos\n", "Error response from daemon: No such network: dcos\n"}) {
    folder_.write("missing", text);
    std::filesystem::remove(folder_.at("there"));
    EXPECT_EQ(ensure().state, DockerState::kMade) << text;
  }
}

TEST_F(OverlayDockerCommand, AConflictIsToldAndNothingChanged) {
  Said other;
  other.config = R"([{"Subnet": "10.9.0.0/16"}])";
  folder_.write("there", other.text());
  auto r = ensure();
  EXPECT_EQ(r.line(), "dcos: conflict: subnet: wanted 9.0.0.128/25, found 10.9.0.0/16");
  EXPECT_FALSE(wants_retry(r.state));
  EXPECT_EQ(r.failures, 0u);
  EXPECT_THAT(calls(), ElementsAre("network inspect dcos "));
}

TEST_F(OverlayDockerCommand, AnIdentifierThatBeginsSoIsAnotherNetwork) {
  Said other;
  other.name = "somebody";
  folder_.write("there", other.text());
  EXPECT_EQ(ensure().state, DockerState::kMade);
}

TEST_F(OverlayDockerCommand, SomebodyElseWasFaster) {
  folder_.write("refused", "Error response from daemon: network with name dcos already exists\n");
  folder_.write("appears", Said{}.text());
  EXPECT_EQ(ensure().state, DockerState::kThere);
  EXPECT_EQ(calls().size(), 3u);
}

TEST_F(OverlayDockerCommand, WhatDockerRefusesIsTold) {
  folder_.write("refused", "Error response from daemon: Pool overlaps with other one on this address space\nSee 'docker network create --help'.\n");
  auto r = ensure();
  EXPECT_EQ(r.line(), "dcos: failed: docker network create: exit code 1: Error response from daemon: Pool overlaps with other one on this address space");
  EXPECT_EQ(r.failures, 1u);
  EXPECT_TRUE(wants_retry(r.state));
}

TEST_F(OverlayDockerCommand, ADaemonThatDoesNotRun) {
  for (auto* text : {"Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
                     "error during connect: Get \"http://x\": EOF\n",
                     "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock\n"}) {
    folder_.write("missing", text);
    auto r = ensure();
    EXPECT_EQ(r.state, DockerState::kNoAnswer) << text;
    EXPECT_TRUE(wants_retry(r.state));
    EXPECT_THAT(r.text, HasSubstr(std::string(text).substr(0, 20)));
  }
  EXPECT_THAT(ensure().text, HasSubstr("group of Docker's socket"));
  for (auto& c : calls()) EXPECT_EQ(c, "network inspect dcos ");
}

TEST_F(OverlayDockerCommand, OneThatHangsIsEnded) {
  folder_.write("hang", "");
  options_.limit = Millis(300);
  auto r = ensure();
  EXPECT_EQ(r.line(), "dcos: Docker does not answer: docker network inspect: no end within the time limit");
  EXPECT_EQ(r.failures, 1u);
}

TEST_F(OverlayDockerCommand, NoDocker) {
  options_.binary = folder_.at("nothing");
  auto r = ensure();
  EXPECT_EQ(r.line(), "dcos: no Docker here");
  EXPECT_EQ(r.failures, 0u);
  EXPECT_TRUE(wants_retry(r.state));
}

TEST_F(OverlayDockerCommand, GarbageIsAFailure) {
  folder_.write("there", "\x1b]0;x\x07 not json");
  auto r = ensure();
  EXPECT_EQ(r.state, DockerState::kFailed);
  EXPECT_THAT(r.text, HasSubstr("no JSON"));
  EXPECT_THAT(r.text, Not(HasSubstr("\x1b")));
  folder_.write("there", std::string(3 << 20, ' '));
  EXPECT_THAT(ensure().text, HasSubstr("octets of output"));
  folder_.write("missing", "");
  std::filesystem::remove(folder_.at("there"));
  EXPECT_EQ(ensure().line(), "dcos: failed: docker network inspect: exit code 1");
  for (auto& c : calls()) EXPECT_EQ(c, "network inspect dcos ");
}

TEST_F(OverlayDockerCommand, NothingIsRunForWhatCannotBe) {
  EXPECT_EQ(ensure({"--help", net("9.0.0.128/25"), {}, 1420}).state, DockerState::kFailed);
  EXPECT_EQ(ensure({"dcos", std::nullopt, std::nullopt, 1420}).state, DockerState::kNothing);
  EXPECT_EQ(ensure({"dcos", net("fd00::/64"), std::nullopt, 1420}).state, DockerState::kFailed);
  EXPECT_EQ(ensure({"dcos", net("9.0.0.128/25"), std::nullopt, 0}).state, DockerState::kFailed);
  EXPECT_THAT(calls(), IsEmpty());
}

TEST_F(OverlayDockerCommand, KilledWhileItMakesTheNetwork) {
  options_.limit = Millis(2000);
  // The daemon has made it, the command does not come back.
  options_.binary = folder_.program("docker", R"(
if [ "$2" = inspect ]; then
  [ -f $d/there ] && exec cat $d/there
  echo "Error: No such network: dcos" >&2; exit 1
fi
cp $d/made $d/there
trap '' TERM
sleep 1000
)");
  EXPECT_EQ(ensure().line(), "dcos: Docker does not answer: docker network create: no end within the time limit");
  options_.limit = Millis(60'000);
  EXPECT_EQ(ensure().line(), "dcos: there already");
}

TEST_F(OverlayDockerCommand, WarningsBeforeAnErrorAreNotTheError) {
  folder_.write("missing", "WARNING: Error loading config file: /root/.docker/config.json: permission denied\nError response from daemon: something else\n");
  EXPECT_THAT(ensure().text, HasSubstr("exit code 1: Error response from daemon: something else"));
}

TEST(OverlayDocker, DamagedAnswersDoNoHarm) {
  auto good = Said{}.text();
  uint32_t state = 12345;
  auto random = [&] { return state = state * 1664525 + 1013904223; };
  size_t readable = 0;
  for (int i = 0; i < 4'000; i++) {
    auto text = good;
    for (uint32_t n = random() >> 30; n != ~0u; n--) {
      auto at = (random() >> 8) % text.size();
      switch (random() >> 30) {
        case 0: text[at] = char(random() >> 24); break;
        case 1: text.erase(at, (random() >> 8) % 40); break;
        case 2: text.insert(at, text.substr((random() >> 8) % text.size(), 30)); break;
        default: text[at] = "[]{},:\"0"[random() >> 29];
      }
    }
    auto r = compare_docker_network(dcos(), text);
    if (!r) continue;
    readable++;
    for (char c : r->differences) ASSERT_TRUE(c >= ' ' && c <= '~');
  }
  EXPECT_GT(readable, 100u);
}

}  // namespace
}  // namespace ls::overlay
