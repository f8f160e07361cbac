// The programs where they are attached in real life, asked through sockets: loopback, a container's device, a NIC's XDP. Above all the checksums
// that test runs cannot have: left to hardware (CHECKSUM_PARTIAL), finished later by software, or final. Everything is in network
// namespaces that the test made.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "dns_kernel_fixture.h"
#include "util/unique_fd.h"

namespace ls::test {
namespace {

void run(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

/// A UDP socket bound to an address of this namespace.
class Socket {
 public:
  explicit Socket(const std::string& address) : fd_(socket(family(address), SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    auto [from, size] = sockaddr_of(address, 0);
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&from), size), 0) << address << ": " << std::strerror(errno);
  }
  static int family(const std::string& a) { return IpAddress::parse(a)->is_v4() ? AF_INET : AF_INET6; }
  static std::pair<sockaddr_storage, socklen_t> sockaddr_of(const std::string& text, uint16_t port) {
    sockaddr_storage s{};
    if (family(text) == AF_INET) {
      auto& in = reinterpret_cast<sockaddr_in&>(s);
      in.sin_family = AF_INET;
      in.sin_port = htons(port);
      inet_pton(AF_INET, text.c_str(), &in.sin_addr);
      return {s, sizeof in};
    }
    auto& in = reinterpret_cast<sockaddr_in6&>(s);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    inet_pton(AF_INET6, text.c_str(), &in.sin6_addr);
    return {s, sizeof in};
  }
  /// The answer from that address and port; empty: none within `ms`.
  Bytes ask(const Bytes& message, const std::string& to, int ms = 3000) {
    auto [address, size] = sockaddr_of(to, 53);
    EXPECT_EQ(sendto(fd_.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&address), size), ssize_t(message.size()))
        << std::strerror(errno);
    pollfd p{fd_.get(), POLLIN, 0};
    if (poll(&p, 1, ms) != 1) return {};
    Bytes b(4096);
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const ssize_t n = recvfrom(fd_.get(), b.data(), b.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (n < 0) return {};
    EXPECT_EQ(std::memcmp(&from, &address, size), 0) << "the answer comes from who was asked";
    b.resize(size_t(n));
    return b;
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

void set_tx_checksums(const char* device, bool on) {
  UniqueFd s(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ethtool_value value{ETHTOOL_STXCSUM, on ? 1u : 0u};
  ifreq r{};
  std::strncpy(r.ifr_name, device, sizeof r.ifr_name - 1);
  r.ifr_data = reinterpret_cast<char*>(&value);
  ASSERT_EQ(ioctl(s.get(), SIOCETHTOOL, &r), 0) << std::strerror(errno);
}

class DnsWire : public DnsKernelTest {
 protected:
  void SetUp() override {
    DnsKernelTest::SetUp();
    if (IsSkipped()) return;
    world().zone("z", {.rotation = dns::Rotation::kRoundRobin});
    for (int i = 1; i <= 40; i++) world().add("z", std::string(size_t(i), 'a') + ".z", "A", "10.0.0." + std::to_string(i));
    for (int i = 0; i < 40; i++) world().add("z", "large.z", "AAAA", "fd00::" + std::to_string(i));
    world().add("z", "_s._tcp.z", "SRV", "1 2 3 a.z");
    lab->fill();
  }
  /// Many sizes of question and answer by `s`; all are answered, as the process does, and counted at `hook`.
  void ask_all(Socket& s, const std::string& to, const std::string& hook) {
    const auto before = bench().stats();
    int asked = 0;
    const auto one = [&](const Question& q) {
      const Bytes packet = q.bytes(), got = s.ask(packet, to);
      asked++;
      EXPECT_EQ(hex(got), hex(lab->process.answer(packet, lab->client).message)) << q.name << " to " << to;
    };
    for (int i = 1; i <= 40 && !HasFailure(); i++) one({.name = std::string(size_t(i), 'a') + ".z", .id = uint16_t(i * 997)});
    one({.name = "large.z", .type = kTypeAaaa, .id = 7, .edns = 1232});
    one({.name = "_s._tcp.z", .type = kTypeSrv, .id = 8});
    EXPECT_EQ(counted(before, bench().stats()), hook + " hit " + std::to_string(asked));
  }
};

/// A program on a device's tc hook, for as long as this lives.
class AtTc {
 public:
  AtTc(const char* device, bpf_tc_attach_point where, int fd) : device_(device), where_(where) {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = int(if_nametoindex(device)), .attach_point = where);
    bpf_tc_hook_create(&hook);
    LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = fd, .handle = 1, .priority = 1);
    EXPECT_EQ(bpf_tc_attach(&hook, &opts), 0) << std::strerror(errno);
  }
  ~AtTc() {
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = int(if_nametoindex(device_)), .attach_point = where_);
    LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1);
    bpf_tc_detach(&hook, &opts);
    hook.attach_point = bpf_tc_attach_point(BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook);
  }

 private:
  const char* device_;
  bpf_tc_attach_point where_;
};

TEST_F(DnsWire, Loopback) {
  run("ip link set lo up && ip addr replace 198.51.100.1/32 dev lo");
  ASSERT_TRUE(bench().listen("127.0.0.53", 53, 1));
  ASSERT_TRUE(bench().listen("::1", 53, 1));
  AtTc program("lo", BPF_TC_EGRESS, bench().prog_fd("ls_dns_lo"));
  UniqueFd tap(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0003)));
  Socket four("127.0.0.1"), own("198.51.100.1"), six("::1");
  ask_all(four, "127.0.0.53", "lo");
  ask_all(own, "198.51.100.1", "lo");
  ask_all(six, "::1", "lo");
  const int off = 1;
  ASSERT_EQ(setsockopt(four.fd(), SOL_SOCKET, SO_NO_CHECK, &off, sizeof off), 0);
  ask_all(four, "127.0.0.53", "lo");
  // What the answers looked like on the way: checksums final, or the sum of the pseudo header for hardware to go on from.
  size_t final = 0, partial = 0, none = 0;
  for (Bytes f(4096); recv(tap.get(), f.data(), f.size(), MSG_DONTWAIT | MSG_TRUNC) > 0; f.assign(4096, 0)) {
    const bool v4 = f[12] == 8;
    f.resize(14 + (v4 ? size_t(f[16] << 8 | f[17]) : size_t(f[18] << 8 | f[19]) + 40));
    const Seen seen = see(f);
    if (!seen.ok || seen.proto != 17 || seen.sport != 53) continue;
    EXPECT_TRUE(seen.ip_check_ok);
    const uint16_t check = uint16_t(f[seen.l4 + 6] << 8 | f[seen.l4 + 7]);
    if (v4 && check == 0) {
      none++;
    } else if (seen.l4_check_ok) {
      final++;
    } else {
      Bytes pseudo(seen.src.bytes().begin() + (v4 ? 12 : 0), seen.src.bytes().end());
      pseudo.insert(pseudo.end(), seen.dst.bytes().begin() + (v4 ? 12 : 0), seen.dst.bytes().end());
      for (int o : {0, 17, int(f[seen.l4 + 4]), int(f[seen.l4 + 5])}) pseudo.push_back(uint8_t(o));
      EXPECT_EQ(check, uint16_t(~checksum(pseudo.data(), pseudo.size())));
      partial++;
    }
  }
  std::cout << "answers on loopback: " << final << " with final checksums, " << partial << " left to hardware, " << none << " without\n";
  EXPECT_GE(none, 1u);
  EXPECT_GE(final + partial, 40u);
}

TEST_F(DnsWire, SeveralQuestionsInOneGoUp) {
  run("ip link set lo up");
  ASSERT_TRUE(bench().listen("127.0.0.53", 53, 1));
  AtTc program("lo", BPF_TC_EGRESS, bench().prog_fd("ls_dns_lo"));
  Socket s("127.0.0.1");
  const Bytes q = Question{"a.z"}.bytes();
  Bytes two = q;
  two.insert(two.end(), q.begin(), q.end());
  const int segment = int(q.size());
  if (setsockopt(s.fd(), IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment)) GTEST_SKIP() << "no UDP_SEGMENT";
  const auto before = bench().stats();
  EXPECT_TRUE(s.ask(two, "127.0.0.53", 200).empty());
  EXPECT_EQ(counted(before, bench().stats()), "lo up_packet 1");
}

/// A machine with a container: veth0 here, veth1 in a namespace of its own.
class DnsContainer : public DnsWire {
 protected:
  void SetUp() override {
    DnsWire::SetUp();
    if (IsSkipped()) return;
    std::thread([&] {
      if (unshare(CLONE_NEWNET) == 0) other_.reset(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }).join();
    ASSERT_TRUE(other_);
    run("ip link set lo up && ip link add veth0 type veth peer name veth1");
    run("ip link set veth1 netns /proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(other_.get()));
    run("ip addr add 10.1.2.1/24 dev veth0 && ip addr add fd00:1::1/64 dev veth0 nodad && ip link set veth0 up");
    there([] {
      run("ip link set lo up && ip addr add 10.1.2.3/24 dev veth1 && ip addr add fd00:1::3/64 dev veth1 nodad && ip link set veth1 up && "
          "ip route add default via 10.1.2.1 && ip -6 route add default via fd00:1::1");
    });
    ASSERT_TRUE(bench().listen("fd00::53", 53, 1));
  }
  void TearDown() override {
    if (other_) std::system("ip link del veth0");
  }
  void there(const std::function<void()>& what) {
    std::thread([&] {
      ASSERT_EQ(setns(other_.get(), CLONE_NEWNET), 0) << std::strerror(errno);
      what();
    }).join();
  }
  void ask_from_container(const std::string& hook) {
    std::unique_ptr<Socket> four, six;
    there([&] {
      four = std::make_unique<Socket>("10.1.2.3");
      six = std::make_unique<Socket>("fd00:1::3");
    });
    ask_all(*four, "198.51.100.1", hook);
    ask_all(*six, "fd00::53", hook);
    const int off = 1;
    ASSERT_EQ(setsockopt(four->fd(), SOL_SOCKET, SO_NO_CHECK, &off, sizeof off), 0);
    ask_all(*four, "198.51.100.1", hook);
  }
  UniqueFd other_;
};

TEST_F(DnsContainer, ChecksumsLeftToHardware) {
  for (const char* program : {"ls_dns_port", "ls_dns_uplink"}) {
    AtTc attached("veth0", BPF_TC_INGRESS, bench().prog_fd(program));
    ask_from_container(program + 7);
  }
}

TEST_F(DnsContainer, ChecksumsFinishedOnTheWayBack) {
  AtTc program("veth0", BPF_TC_INGRESS, bench().prog_fd("ls_dns_port"));
  set_tx_checksums("veth0", false);  // the answer's is made in software, and the container checks it
  ask_from_container("port");
}

TEST_F(DnsContainer, ChecksumsFinal) {
  AtTc program("veth0", BPF_TC_INGRESS, bench().prog_fd("ls_dns_port"));
  there([] { set_tx_checksums("veth1", false); });
  ask_from_container("port");
}

TEST_F(DnsContainer, NativeXdp) {
  const int fd = bench().prog_fd("ls_dns_xdp");
  ASSERT_EQ(bpf_xdp_attach(int(if_nametoindex("veth0")), fd, XDP_FLAGS_DRV_MODE, nullptr), 0) << std::strerror(errno);
  // A veth device takes frames from the other's XDP only when it has a program itself.
  there([&] { ASSERT_EQ(bpf_xdp_attach(int(if_nametoindex("veth1")), fd, XDP_FLAGS_DRV_MODE, nullptr), 0) << std::strerror(errno); });
  // veth copies a frame into a buffer that has no more room than the frame needs, as no NIC does. An answer that is not longer than its
  // question is sent; a longer one goes up, where nobody listens here.
  std::unique_ptr<Socket> four, six;
  there([&] {
    four = std::make_unique<Socket>("10.1.2.3");
    six = std::make_unique<Socket>("fd00:1::3");
  });
  bench().conf().service[1].acl = 1;
  const auto before = bench().stats();
  const dns::ServiceOptions nobody = [] {
    dns::ServiceOptions o;
    o.clients = dns::AccessList({*IpNetwork::parse("192.0.2.1")});
    return o;
  }();
  lab->process.set_options(nobody);
  for (int i = 1; i <= 40 && !HasFailure(); i++) {
    const Bytes packet = Question{.name = std::string(size_t(i), 'a') + ".z", .id = uint16_t(i * 997), .edns = i % 2 ? -1 : 1232}.bytes();
    const std::string refused = hex(lab->process.answer(packet, lab->client).message);
    EXPECT_EQ(hex(four->ask(packet, "198.51.100.1")), refused);
    EXPECT_EQ(hex(six->ask(packet, "fd00::53")), refused);
  }
  EXPECT_EQ(counted(before, bench().stats()), "xdp refused 80");
  bench().conf().service[1].acl = 0;
  const auto then = bench().stats();
  EXPECT_TRUE(four->ask(Question{.name = "large.z", .type = kTypeAaaa, .edns = 1232}.bytes(), "198.51.100.1", 200).empty());
  EXPECT_EQ(counted(then, bench().stats()), "xdp up_no_room 1");
}

}  // namespace
}  // namespace ls::test
