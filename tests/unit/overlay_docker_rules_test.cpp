// Docker's packet filter with the iptables of this machine: rules as Docker makes them, then ours among them.
#include <gmock/gmock.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "overlay/docker_filter.h"
#include "support/netns_fixture.h"

namespace ls::overlay {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

IpNetwork net(const std::string& text) { return IpNetwork::parse(text).value(); }

class OverlayDockerRules : public test::NetnsFixture {
 protected:
  void SetUp() override {
    NetnsFixture::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (std::system("iptables -S >/dev/null 2>&1 && ip6tables -S >/dev/null 2>&1") != 0) GTEST_SKIP() << "no iptables here, or a kernel without it";
    run("mount -t tmpfs none /run");  // the lock of the legacy version
    auto r = ProcessRunner::make();
    ASSERT_TRUE(r);
    runner_ = std::make_unique<ProcessRunner>(std::move(*r));
    filter_.shares = {net("9.0.1.0/24"), net("fd01:b:0:0:1::/80")};
    filter_.inside = {net("9.0.0.0/8"), net("44.128.0.0/16"), net("fd01:b::/64"), net("fd01:a::/64")};
    filter_.bridges = {"d-dcos"};
  }
  void docker_starts() {
    for (auto* t : {"iptables", "ip6tables"}) {
      std::string i = t;
      run(i + " -P FORWARD DROP && " + i + " -N DOCKER && " + i + " -N DOCKER-USER && " + i + " -N DOCKER-ISOLATION-STAGE-1");
      run(i + " -A FORWARD -j DOCKER-USER && " + i + " -A FORWARD -j DOCKER-ISOLATION-STAGE-1 && " + i + " -A FORWARD -i docker0 ! -o docker0 -j ACCEPT");
    }
    run("iptables -A DOCKER-USER -s 203.0.113.0/24 -j DROP && iptables -A DOCKER-USER -j RETURN");
  }
  DockerFilterReport ensure() {
    auto r = ensure_docker_filter(*runner_, {}, filter_);
    EXPECT_EQ(r.failures, 0u) << (r.warnings.empty() ? "" : r.warnings[0]);
    return r;
  }
  static std::string rules() { return output("iptables -S; ip6tables -S"); }

  std::unique_ptr<ProcessRunner> runner_;
  DockerFilter filter_;
};

TEST_F(OverlayDockerRules, NothingWithoutDocker) {
  auto before = rules();
  auto r = ensure();
  EXPECT_EQ(r.written, 0u);
  EXPECT_THAT(r.warnings, IsEmpty());
  EXPECT_EQ(rules(), before);
}

TEST_F(OverlayDockerRules, AreMadeOnceRepairedAndTakenAway) {
  docker_starts();
  auto docker = rules();
  auto made = ensure();
  EXPECT_EQ(made.written, 2u);
  EXPECT_THAT(made.warnings, IsEmpty());
  auto with = rules();
  EXPECT_THAT(with, HasSubstr("-A DOCKER-USER -s 203.0.113.0/24 -j DROP\n-A DOCKER-USER -j LOADSTAR-OVERLAY\n-A DOCKER-USER -j RETURN\n"));
  EXPECT_THAT(with, HasSubstr("-A LOADSTAR-INSIDE -d fd01:a::/64 -j ACCEPT\n"));
  // What the kernel says back is what was meant.
  EXPECT_EQ(ensure().written, 0u);
  EXPECT_EQ(rules(), with);
  // Docker restarts: its chains come again, behind ours; somebody empties ours; Docker adds a network.
  for (auto* damage : {"iptables -F DOCKER-USER", "iptables -F LOADSTAR-OVERLAY", "ip6tables -D FORWARD -j LOADSTAR-FORWARD", "iptables -A FORWARD -i d-dcos ! -o d-dcos -j ACCEPT",
                       "ip6tables -A LOADSTAR-INSIDE -j ACCEPT"}) {
    run(damage);
    EXPECT_EQ(ensure().written, 1u) << damage;
    EXPECT_EQ(ensure().written, 0u) << damage;
  }
  run("iptables -D FORWARD -i d-dcos ! -o d-dcos -j ACCEPT && iptables -F DOCKER-USER && iptables -A DOCKER-USER -s 203.0.113.0/24 -j DROP && iptables -A DOCKER-USER -j RETURN");
  EXPECT_EQ(ensure().written, 1u);
  EXPECT_EQ(rules(), with);
  EXPECT_EQ(remove_docker_filter(*runner_, {}).failures, 0u);
  EXPECT_EQ(rules(), docker);
  EXPECT_EQ(remove_docker_filter(*runner_, {}).written, 0u);
}

TEST_F(OverlayDockerRules, AreWrittenByAnotherUserWithOneCapability) {
  if (output("iptables --version").find("nf_tables") == std::string::npos) GTEST_SKIP() << "the legacy iptables needs root";
  docker_starts();
  // As the daemon is: not root, CAP_NET_ADMIN permitted and effective but not inheritable, no new privileges.
  auto status = in_child([this] {
    prctl(PR_SET_KEEPCAPS, 1);
    if (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) return 1;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    data[0].effective = data[0].permitted = 1u << CAP_NET_ADMIN;
    if (syscall(SYS_capset, &header, data) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 2;
    auto r = ensure_docker_filter(*runner_, {}, filter_);
    for (auto& w : r.warnings) std::fprintf(stderr, "%s\n", w.c_str());
    return r.written == 2 && r.failures == 0 ? 0 : 3;
  });
  EXPECT_EQ(status, 0) << status / 256;
  EXPECT_EQ(ensure().written, 0u);
}

TEST_F(OverlayDockerRules, DockersRawRulesAreReported) {
  docker_starts();
  run("iptables -t raw -A PREROUTING -d 9.0.1.130/32 ! -i d-dcos -j DROP");
  auto r = ensure();
  ASSERT_EQ(r.warnings.size(), 1u);
  EXPECT_THAT(r.warnings[0], HasSubstr("behind d-dcos"));
}

TEST_F(OverlayDockerRules, PacketsOfTheOverlayPassAndOthersDoNot) {
  run("mkdir -p /run/netns");
  for (auto* f : {"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"}) std::ofstream(f) << "1";
  for (auto* f : {"all", "default"}) std::ofstream(std::string("/proc/sys/net/ipv4/conf/") + f + "/rp_filter") << "0";
  // Containers of two networks of the overlay, one of docker0, and another node behind the VTEP.
  auto peer = [](const std::string& name, const std::string& device, const std::string& gateway, const std::string& address) {
    run("ip netns add " + name + " && ip link add " + device + " type veth peer name eth0 netns " + name + " && ip addr add " + gateway + "/25 dev " + device + " && ip link set " +
        device + " up && ip -n " + name + " link set eth0 up && ip -n " + name + " addr add " + address + "/25 dev eth0 && ip -n " + name + " route add default via " + gateway);
  };
  peer("one", "d-dcos", "9.0.1.129", "9.0.1.130");
  peer("two", "d-two", "9.7.1.129", "9.7.1.130");
  peer("own", "docker0", "172.17.0.1", "172.17.0.2");
  peer("far", "vtep1024", "9.0.9.1", "9.0.9.2");
  filter_.shares.push_back(net("9.7.1.0/24"));
  docker_starts();
  // Docker's isolation, as it is since stage chains exist.
  for (auto* d : {"d-dcos", "d-two", "docker0"})
    run(fmt::format("iptables -N ISO-{0} && iptables -A DOCKER-ISOLATION-STAGE-1 -i {0} ! -o {0} -j ISO-{0}", d));
  for (auto* d : {"d-dcos", "d-two", "docker0"})
    for (auto* o : {"d-dcos", "d-two", "docker0"})
      if (std::string(d) != o) run(fmt::format("iptables -A ISO-{} -o {} -j DROP", d, o));
  auto reaches = [](const std::string& from, const std::string& to) { return std::system(("ip netns exec " + from + " ping -c 1 -W 1 " + to + " >/dev/null 2>&1").c_str()) == 0; };
  EXPECT_FALSE(reaches("one", "9.7.1.130"));
  EXPECT_FALSE(reaches("far", "9.0.1.130"));
  ensure();
  EXPECT_TRUE(reaches("one", "9.7.1.130"));
  EXPECT_TRUE(reaches("two", "9.0.1.130"));
  EXPECT_TRUE(reaches("far", "9.0.1.130"));
  EXPECT_TRUE(reaches("one", "9.0.9.2"));
  // Docker's other network stays isolated in both directions.
  EXPECT_FALSE(reaches("one", "172.17.0.2"));
  EXPECT_FALSE(reaches("own", "9.0.1.130"));
}

}  // namespace
}  // namespace ls::overlay
