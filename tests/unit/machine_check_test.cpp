// What loadstard --check --machine takes from /proc, and how it speaks.
#include "app/machine_check.h"

#include <gtest/gtest.h>

namespace ls {
namespace {

// Lines as Linux 6.18 on x86-64 writes them.
constexpr auto kTcp =
    R"(  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:F272 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0000000000000000 100 0 0 10 0
   1: 00000000:1FBB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1235 1 0000000000000000 100 0 0 10 0
   2: 0100007F:0035 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 1236 1 0000000000000000 20 4 30 10 -1
   3: broken
)";
constexpr auto kUdp6 =
    R"(  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  10: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 99 2 0000000000000000 0
  11: B80D0120000000000000000001000000:EE7D 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 98 2 0000000000000000 0
)";

Endpoint at(const char* text) {
  return *Endpoint::parse(text);
}

TEST(machine_check, reads_listening_sockets_only) {
  auto open = open_ports(kTcp, Protocol::kTcp);
  ASSERT_EQ(open.size(), 2u);
  EXPECT_EQ(open[0].at.text(), "127.0.0.1:62066");
  EXPECT_EQ(open[1].at.text(), "0.0.0.0:8123");
  EXPECT_FALSE(is_taken(open, Protocol::kTcp, at("127.0.0.1:53"))) << "a connection is no listener";
}

TEST(machine_check, a_socket_without_address_takes_every_address) {
  auto open = open_ports(kTcp, Protocol::kTcp);
  EXPECT_TRUE(is_taken(open, Protocol::kTcp, at("10.0.0.1:8123")));
  EXPECT_FALSE(is_taken(open, Protocol::kUdp, at("10.0.0.1:8123")));
  EXPECT_FALSE(is_taken(open, Protocol::kTcp, at("10.0.0.1:62066")));
  EXPECT_TRUE(is_taken(open, Protocol::kTcp, at("0.0.0.0:62066"))) << "all addresses, of which one is taken";
  EXPECT_FALSE(is_taken(open, Protocol::kTcp, at("[::1]:8123"))) << "IPv4 sockets take nothing of IPv6";
}

TEST(machine_check, reads_ipv6) {
  auto open = open_ports(kUdp6, Protocol::kUdp);
  ASSERT_EQ(open.size(), 2u);
  EXPECT_EQ(open[1].at.text(), "[2001:db8::1]:61053");
  EXPECT_TRUE(is_taken(open, Protocol::kUdp, at("198.51.100.1:53"))) << "a socket of both families";
  EXPECT_FALSE(is_taken(open, Protocol::kUdp, at("198.51.100.1:61053")));
}

TEST(machine_check, finds_who_holds_the_lock) {
  constexpr auto kLocks =
      "1: POSIX  ADVISORY  WRITE 7 00:1b:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 00:1b:42 0 EOF\n3: FLOCK  "
      "ADVISORY  WRITE 9 00:1b:421 0 EOF\n";
  EXPECT_EQ(lock_holder(kLocks, 0, 0x1b, 42), 812);
  EXPECT_FALSE(lock_holder(kLocks, 0, 0x1b, 43));
  EXPECT_FALSE(lock_holder("", 0, 0x1b, 42));
}

TEST(machine_check, says_which_findings_matter) {
  EXPECT_EQ(report(std::vector<MachineFinding>{}), "machine: nothing keeps loadstard from starting\n");
  EXPECT_EQ(report({{false, "a"}}),
            "machine: note: a\nmachine: nothing keeps loadstard from starting, 1 note\n");
  EXPECT_EQ(report({{true, "b"}, {false, "a"}}),
            "machine: b\nmachine: note: a\nmachine: 1 problem: loadstard would not start\n");
}

}  // namespace
}  // namespace ls
