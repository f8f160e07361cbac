// Who gets an address of the node: seen by a receiver behind it, in namespaces of the test's own.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <thread>

#include "netlink/nft.h"
#include "overlay/masquerade.h"
#include "support/netns_fixture.h"
#include "util/unique_fd.h"

namespace ls::overlay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

IpNetwork net(const std::string& text) { return IpNetwork::parse(text).value(); }

MasqueradeSpec spec() {
  MasqueradeSpec s;
  s.sources = {net("9.0.0.0/8"), net("fd01:b::/64")};
  s.inside = {net("9.0.0.0/8"), net("fd01:b::/64"), net("44.128.0.0/16"), net("fd01:a::/64"), net("7.6.0.0/15")};
  s.inside_devices = {"vtep1024", "d-dcos"};
  return s;
}

/// A socket of another network namespace: a thread visits it.
int socket_in(const std::string& name, int family) {
  int fd = -1;
  std::thread([&] {
    int ns = ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
    if (ns >= 0 && setns(ns, CLONE_NEWNET) == 0) fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (ns >= 0) close(ns);
  }).join();
  EXPECT_GE(fd, 0) << name;
  return fd;
}

struct Name {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&at); }
};
Name name_of(const std::string& address, uint16_t port) {
  Name n;
  if (address.find(':') == address.npos) {
    auto* in = reinterpret_cast<sockaddr_in*>(&n.at);
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    inet_pton(AF_INET, address.c_str(), &in->sin_addr);
    n.size = sizeof *in;
  } else {
    auto* in = reinterpret_cast<sockaddr_in6*>(&n.at);
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    inet_pton(AF_INET6, address.c_str(), &in->sin6_addr);
    n.size = sizeof *in;
  }
  return n;
}
std::string text_of(const Name& n) {
  char text[INET6_ADDRSTRLEN]{};
  if (n.at.ss_family == AF_INET) inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(n.at).sin_addr, text, sizeof text);
  else inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(n.at).sin6_addr, text, sizeof text);
  return text;
}

class OverlayMasquerade : public test::NetnsFixture {
 protected:
  void SetUp() override {
    NetnsFixture::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    run("mount -t tmpfs none /run");  // names of namespaces, in this test's mount namespace only
    auto r = ensure_masquerade(spec());
    if (!r && (r.error().code.value() == EPROTONOSUPPORT || r.error().code.value() == EOPNOTSUPP || r.error().code.value() == EAFNOSUPPORT || r.error().code.value() == ENOENT))
      GTEST_SKIP() << "this kernel has no nftables, or not all of it: " << r.error().text();
    ASSERT_TRUE(r) << r.error().text();
    EXPECT_TRUE(r->made);
    EXPECT_FALSE(r->repaired);
  }
  void TearDown() override {
    for (auto& n : made_) (void)!std::system(("ip netns del " + n).c_str());
    NetnsFixture::TearDown();
  }

  static std::string nodad(const std::string& address) { return address.find(':') == address.npos ? "" : " nodad"; }

  /// A namespace at the other end of a device of this one.
  void peer(const std::string& name, const std::string& device, const std::vector<std::string>& here, const std::vector<std::string>& there) {
    run("ip netns add " + name);
    made_.push_back(name);
    run("ip link add " + device + " type veth peer name eth0 netns " + name);
    for (auto& a : here) run("ip addr add " + a + " dev " + device + nodad(a));
    run("ip link set " + device + " up");
    auto in = "ip -n " + name + " ";
    run(in + "link set lo up && " + in + "link set eth0 up");
    for (auto& a : there) run(in + "addr add " + a + " dev eth0" + nodad(a));
    run(in + "route add default via " + here[0].substr(0, here[0].find('/')));
    run(in + "-6 route add default via " + here[1].substr(0, here[1].find('/')));
  }

  /// A node with a container, a network outside and a bridge; the other containers and VTEPs answer from outside.
  void build() {
    for (auto* f : {"ipv4/ip_forward", "ipv6/conf/all/forwarding"}) std::ofstream(std::string("/proc/sys/net/") + f) << "1";
    for (auto* f : {"all", "default"}) std::ofstream(std::string("/proc/sys/net/ipv4/conf/") + f + "/rp_filter") << "0";
    peer("box", "c0", {"9.0.1.1/25", "fd01:b:0:0:1::1/81"}, {"9.0.1.2/25", "fd01:b:0:0:1::2/81"});
    peer("out", "u0", {"10.0.0.1/24", "fd00:9::1/64"}, {"10.0.0.2/24", "fd00:9::2/64", "9.0.2.2/32", "fd01:b:0:0:2::2/128", "44.128.0.2/32", "fd01:a::2/128", "7.7.1.1/32"});
    peer("brd", "d-dcos", {"192.168.7.1/24", "fd00:7::1/64"}, {"192.168.7.2/24", "fd00:7::2/64"});
    run("ip route add 9.0.2.0/24 via 10.0.0.2 && ip route add 44.128.0.0/16 via 10.0.0.2 && ip route add 7.7.1.1 via 10.0.0.2");
    run("ip -6 route add fd01:b:0:0:2::/80 via fd00:9::2 && ip -6 route add fd01:a::/64 via fd00:9::2");
  }

  /// The source address that a datagram from one namespace has when it arrives in another.
  static std::string seen(const std::string& from, const std::string& to, const std::string& address) {
    int family = address.find(':') == address.npos ? AF_INET : AF_INET6;
    UniqueFd sender(socket_in(from, family)), receiver(socket_in(to, family));
    auto at = name_of(address, 7000);
    if (bind(receiver.get(), at.get(), at.size) != 0) return std::string("bind: ") + std::strerror(errno);
    // The neighbour may not be known at first, so one may be lost.
    timeval step{0, 200'000};
    setsockopt(receiver.get(), SOL_SOCKET, SO_RCVTIMEO, &step, sizeof step);
    for (int i = 0; i < 100; i++) {
      if (sendto(sender.get(), "x", 1, 0, at.get(), at.size) != 1) return std::string("send: ") + std::strerror(errno);
      Name source;
      char byte;
      if (recvfrom(receiver.get(), &byte, 1, 0, source.get(), &source.size) == 1) return text_of(source);
    }
    return "nothing came";
  }
  static MasqueradeReport ensure(const MasqueradeSpec& s = spec()) {
    auto r = ensure_masquerade(s);
    EXPECT_TRUE(r) << r.error().text();
    return r.value_or(MasqueradeReport{});
  }
  static void expect_nothing_to_do(const MasqueradeSpec& s = spec()) {
    auto r = ensure(s);
    EXPECT_FALSE(r.made);
    EXPECT_FALSE(r.repaired);
  }

 private:
  std::vector<std::string> made_;
};

TEST_F(OverlayMasquerade, OnlyWhatLeavesTheOverlay) {
  build();
  // Outside, another node's own address among it.
  EXPECT_EQ(seen("box", "out", "10.0.0.2"), "10.0.0.1");
  EXPECT_EQ(seen("box", "out", "fd00:9::2"), "fd00:9::1");
  // Containers of other nodes, VTEPs, another pool with a length that ends inside of an octet.
  EXPECT_EQ(seen("box", "out", "9.0.2.2"), "9.0.1.2");
  EXPECT_EQ(seen("box", "out", "fd01:b:0:0:2::2"), "fd01:b::1:0:0:2");
  EXPECT_EQ(seen("box", "out", "44.128.0.2"), "9.0.1.2");
  EXPECT_EQ(seen("box", "out", "fd01:a::2"), "fd01:b::1:0:0:2");
  EXPECT_EQ(seen("box", "out", "7.7.1.1"), "9.0.1.2");
  // A bridge of this node, whatever its addresses are.
  EXPECT_EQ(seen("box", "brd", "192.168.7.2"), "9.0.1.2");
  EXPECT_EQ(seen("box", "brd", "fd00:7::2"), "fd01:b::1:0:0:2");
  // What is no container's stays as it is.
  EXPECT_EQ(seen("brd", "out", "10.0.0.2"), "192.168.7.2");
  EXPECT_EQ(seen("brd", "out", "fd00:9::2"), "fd00:7::2");
  // Without the bridge in the list it is outside.
  auto fewer = spec();
  fewer.inside_devices = {"vtep1024"};
  EXPECT_TRUE(ensure(fewer).repaired);
  EXPECT_EQ(seen("box", "brd", "192.168.7.2"), "192.168.7.1");
  // Without the table nothing is masqueraded.
  EXPECT_TRUE(remove_masquerade().value_or(false));
  EXPECT_EQ(seen("box", "out", "10.0.0.2"), "9.0.1.2");
}

TEST_F(OverlayMasquerade, SaysWhatNftShows) {
  auto text = output("nft -s list table inet loadstar_overlay 2>&1");
  if (text.find("table inet") == text.npos) GTEST_SKIP() << "no nft here: " << text;
  EXPECT_THAT(text, HasSubstr("type nat hook postrouting priority srcnat; policy accept;"));
  EXPECT_THAT(text, HasSubstr("ip saddr 9.0.0.0/8 goto leaving4"));
  EXPECT_THAT(text, HasSubstr("ip6 saddr fd01:b::/64 goto leaving6"));
  EXPECT_THAT(text, HasSubstr("oifname \"vtep1024\" return"));
  EXPECT_THAT(text, HasSubstr("ip daddr 224.0.0.0/4 return"));
  EXPECT_THAT(text, HasSubstr("counter masquerade"));
}

TEST_F(OverlayMasquerade, WhatStandsIsLeftAlone) {
  expect_nothing_to_do();
  // Order and repetition mean nothing.
  auto other = spec();
  std::reverse(other.inside.begin(), other.inside.end());
  other.sources.push_back(other.sources[0]);
  expect_nothing_to_do(other);
}

TEST_F(OverlayMasquerade, DriftIsFoundAndRepaired) {
  if (std::system("command -v nft >/dev/null") != 0) GTEST_SKIP() << "no nft here";
  const char* table = "inet loadstar_overlay";
  auto nft = [&](const std::string& c) { run("nft '" + c + "'"); };
  std::vector<std::string> damage = {
      fmt::format("flush chain {} leaving4", table),
      fmt::format("flush chain {} postrouting", table),
      fmt::format("add rule {} leaving6 accept", table),
      fmt::format("insert rule {} leaving4 ip daddr 1.2.3.4 return", table),
      fmt::format("add chain {} other", table),
      fmt::format("add table {} {{ flags dormant; }}", table),
      fmt::format("flush chain {0} leaving4; add rule {0} leaving4 counter masquerade", table),
      fmt::format("flush chain {0} postrouting; add rule {0} postrouting ip saddr 9.0.0.0/9 goto leaving4; add rule {0} postrouting ip6 saddr fd01:b::/64 goto leaving6", table),
      fmt::format("flush chain {0} postrouting; add rule {0} postrouting ip saddr 9.0.0.0/8 jump leaving4; add rule {0} postrouting ip6 saddr fd01:b::/64 goto leaving6", table),
      fmt::format("flush chain {0} postrouting; add rule {0} postrouting ip saddr != 9.0.0.0/8 goto leaving4; add rule {0} postrouting ip6 saddr fd01:b::/64 goto leaving6", table),
      fmt::format("delete chain {0} postrouting; add chain {0} postrouting {{ type nat hook postrouting priority 50; }}; add rule {0} postrouting ip saddr 9.0.0.0/8 goto leaving4; add rule {0} postrouting ip6 saddr fd01:b::/64 goto leaving6", table),
      fmt::format("add chain {0} postrouting {{ policy drop; }}", table),
  };
  for (auto& d : damage) {
    nft(d);
    EXPECT_TRUE(ensure().repaired) << d;
    expect_nothing_to_do();
  }
  // An equal rule in place of ours is ours: the comparison is of what the kernel does.
  nft(fmt::format("flush chain {0} postrouting; add rule {0} postrouting ip saddr 9.0.0.0/8 goto leaving4", table));
  EXPECT_TRUE(ensure().repaired);
  nft("flush ruleset");
  EXPECT_TRUE(ensure().made);
  expect_nothing_to_do();
}

TEST_F(OverlayMasquerade, OtherTablesAreNotTouched) {
  if (std::system("command -v nft >/dev/null") != 0) GTEST_SKIP() << "no nft here";
  run("nft 'add table inet other; add chain inet other c { type nat hook postrouting priority 90; }; add rule inet other c ip saddr 5.0.0.0/8 masquerade;"
      " add table ip loadstar_overlay; add chain ip loadstar_overlay x'");
  auto text = [] { return output("nft list table inet other; nft list table ip loadstar_overlay"); };
  auto before = text();
  EXPECT_THAT(before, HasSubstr("5.0.0.0/8"));
  expect_nothing_to_do();
  auto s = spec();
  s.sources.pop_back();
  EXPECT_TRUE(ensure(s).repaired);
  EXPECT_EQ(text(), before);
  EXPECT_TRUE(remove_masquerade().value_or(false));
  EXPECT_FALSE(remove_masquerade().value_or(true));
  EXPECT_EQ(text(), before);
}

TEST_F(OverlayMasquerade, ManyPools) {
  MasqueradeSpec s;
  for (uint32_t i = 0; i < 256; i++) {
    s.sources.push_back({IpAddress::from_v4(0x0a000000 + (i << 12)), 116});
    s.sources.push_back(net(fmt::format("fd00:{:x}::/64", i)));
  }
  s.inside = s.sources;
  for (int i = 0; i < 250; i++) s.inside_devices.push_back(fmt::format("d-overlay{}", i));
  EXPECT_TRUE(ensure(s).repaired);
  expect_nothing_to_do(s);
  s.sources.clear();
  EXPECT_TRUE(ensure(s).repaired);
  EXPECT_FALSE(remove_masquerade().value_or(true));
}

TEST_F(OverlayMasquerade, AFailureChangesNothing) {
  auto s = spec();
  s.inside_devices.push_back("a-name-that-is-too-long");
  auto r = ensure_masquerade(s);
  ASSERT_FALSE(r);
  EXPECT_THAT(r.error().text(), HasSubstr("a-name-that-is-too-l"));
  expect_nothing_to_do();
  // A batch that the kernel refuses in its last message: the table before it stays.
  netlink::NftTable bad{kMasqueradeTable, {{"postrouting", true, {}}}};
  netlink::NftRule rule;
  netlink::nft_go_to(rule, "nowhere");
  bad.chains[0].rules = {rule};
  auto refused = netlink::nft_replace(bad);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code.value(), ENOENT);
  expect_nothing_to_do();
}

TEST_F(OverlayMasquerade, OneCapabilityIsEnough) {
  auto status = in_child([] {
    prctl(PR_SET_KEEPCAPS, 1);
    if (setresuid(65534, 65534, 65534) != 0) return 1;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    data[0].effective = data[0].permitted = 1u << CAP_NET_ADMIN;
    if (syscall(SYS_capset, &header, data) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 2;
    auto other = spec();
    other.sources.pop_back();
    auto r = ensure_masquerade(other);
    return r && r->repaired ? 0 : 3;
  });
  EXPECT_EQ(status, 0) << status / 256;
}

TEST_F(OverlayMasquerade, NeedsTheRight) {
  auto status = in_child([] {
    if (setresuid(65534, 65534, 65534) != 0) return 1;
    auto other = spec();
    other.sources.pop_back();
    auto r = ensure_masquerade(other);
    return !r && r.error().code.value() == EPERM ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
  expect_nothing_to_do();
}

}  // namespace
}  // namespace ls::overlay
