// `loadstar overlay`, and the lines of `loadstar status` about it: the program itself against a server with a made-up node.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "api/server.h"
#include "cli_fixture.h"
#include "overlay_node_fake.h"

namespace ls {
namespace {

using namespace api;
using Json = nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class CliOverlay : public CliTest<FakeOverlayProvider> {};

TEST_F(CliOverlay, Ls) {
  auto r = cli("overlay ls");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.err, "");
  EXPECT_EQ(r.out, R"(OVERLAY  POOL         SHARE              MESOS              DOCKER        STATE                                                              CNI FILE                         DOCKER NETWORK
dcos     9.0.0.0/8    9.0.3.0/24         9.0.3.0/25         9.0.3.128/25  ok                                                                 /etc/loadstar/cni/dcos.conflist  dcos: made
dcos6    fd01:b::/64  fd01:b:0:0:3::/80  fd01:b:0:0:3::/81  -             failed: write /etc/loadstar/cni/dcos6.conflist: Permission denied  -                                off

overlay    ok, VTEP 44.128.0.3/16, 2 other nodes, MTU 1450, checksum offload good
           master 10.0.0.9:62080, heard 2 s ago
node       10.0.0.3 node-3
vtep       44.128.0.3/16 fd01:a::3/64 70:b3:d5:80:00:03 on vtep1024 (number 12), MTU 1450 over 1500
kernel     9 entries of 2 other nodes, 4 repaired, 3 commands to Docker failed
asked      5 registrations, 1 failures, 7 changes heard
)");
  EXPECT_THAT(cli("overlay ls -o wide").out, HasSubstr("overlay_out  tunnel     1000  64000\n"));
  auto j = Json::parse(cli("overlay ls -o json").out);
  EXPECT_EQ(j["node"]["shares"].size(), 2u);
  EXPECT_TRUE(j["capacity"].is_null());
}

TEST_F(CliOverlay, LsOfAMasterHasTheCapacity) {
  provider_.gives = true;
  auto r = cli("overlay ls");
  EXPECT_THAT(r.out, HasSubstr("asked      5 registrations"));
  EXPECT_THAT(r.out, HasSubstr("\n\nOVERLAY  POOL                      SIZE  USED  HELD             FREE\n"
                               "(VTEP)   44.128.0.0/16            65534     3     1            65530\n"
                               "dcos     9.0.0.0/8                65536     3     0            65533\n"
                               "dcos6    fd01:b::/32    281474976710656     0     0  281474976710656\n"));
  provider_.takes_part = false;
  r = cli("overlay ls");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, testing::StartsWith("OVERLAY  POOL "));
  auto j = Json::parse(cli("overlay ls -o json").out);
  EXPECT_TRUE(j["node"].is_null());
  EXPECT_EQ(j["capacity"]["pools"].size(), 3u);
  provider_.master.failure = {OverlayFailure::Kind::kUnavailable, "overlay.db is damaged"};
  r = cli("overlay ls");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("loadstar: overlay.db is damaged\n"));
}

TEST_F(CliOverlay, Agents) {
  provider_.node.fill(2);
  auto& peers = provider_.node.peers;
  auto& third = peers[ip("10.0.0.3")] = sample_peer(3);
  third.self = true;
  third.vtep6 = "fd01:a::3/64";
  third.shares = {{"dcos", "9.0.3.0/24", "fd01:b:0:0:3::/80", "ok", "", true, true}, {"web", "", "", "exhausted", "no block of 11.0.0.0/16 is free", true, true}};
  auto r = cli("overlay agents");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, R"(NODE      VTEP                        MAC                SHARES                             STATE
10.0.0.1  44.128.0.1/16               70:b3:d5:80:00:01  dcos 9.0.1.0/24                    ok
10.0.0.2  44.128.0.2/16               70:b3:d5:80:00:01  dcos 9.0.2.0/24                    ok
10.0.0.3  44.128.0.3/16 fd01:a::3/64  70:b3:d5:80:00:01  dcos 9.0.3.0/24 fd01:b:0:0:3::/80  web exhausted
)");
  EXPECT_THAT(cli("overlay agents --state exhausted -o wide").out, HasSubstr("web exhausted (no block of 11.0.0.0/16 is free)  node-3  yes\n"));
  EXPECT_THAT(cli("overlay agents --overlay web").out, Not(HasSubstr("10.0.0.1")));
  EXPECT_EQ(Json::parse(cli("overlay agents --node 10.0.0.2 -o json").out)[0]["id"], "node-2");
  EXPECT_EQ(Json::parse(cli("overlay agents -o json").out).size(), 3u);
  r = cli("overlay agents --node 10.0.0.9");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.out, "");
  EXPECT_EQ(r.err, "loadstar: the overlay has no node 10.0.0.9\n");
  r = cli("overlay agents --overlay nope");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, "NODE  VTEP  MAC  SHARES  STATE\n");
}

TEST_F(CliOverlay, ManyAgentsInBoundedMemory) {
  provider_.node.fill(65'536);
  auto out = dir_ / "out";
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    int fd = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 1);
    execl(LS_CLI, LS_CLI, "-s", path_.c_str(), "overlay", "agents", nullptr);
    _exit(127);
  }
  int status = 0;
  rusage used{};
  ASSERT_EQ(wait4(pid, &status, 0, &used), pid);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  auto text = content(out);
  EXPECT_EQ(size_t(std::count(text.begin(), text.end(), '\n')), provider_.node.peers.size() + 1);
  EXPECT_THAT(text, HasSubstr("\n10.0.255.255  44.128.255.255/16  "));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(used.ru_maxrss, 128 * 1024) << "KiB";
#endif
}

TEST_F(CliOverlay, Trace) {
  auto r = cli("overlay trace 9.0.3.7");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, R"(address    9.0.3.7, container
overlay    dcos
pool       9.0.0.0/8
share      9.0.3.0/25
node       10.0.0.3, this node
mac        70:b3:d5:80:00:03
  9.0.3.7 is in the share of this node
  its device is known
verdict    to the container's device
)");
  r = cli("overlay trace 9.0.200.1");
  EXPECT_EQ(r.code, 1) << "what would be dropped is not good";
  EXPECT_THAT(r.out, HasSubstr("  nobody has ?[31m it\nverdict    dropped: overlay_unallocated\n"));
  EXPECT_EQ(cli("overlay trace 9.0.200.1 -o json").code, 1);
  EXPECT_EQ(Json::parse(cli("overlay trace 9.0.3.7 -o json").out)["kind"], "container");
  r = cli("overlay trace web");
  EXPECT_EQ(r.code, 2);
  EXPECT_THAT(r.err, HasSubstr("'web' is no address"));
  EXPECT_EQ(cli("overlay trace 9.9.9.9").code, 1);
}

TEST_F(CliOverlay, CheckPutsTheBrokenFirst) {
  provider_.node.answer = {true, 3, 2, {{"10.0.0.5", "44.128.0.5", true, 0.5, ""}, {"10.0.0.4", "44.128.0.4", false, 0, "UDP 64000 is blocked\x1b"}, {"10.0.0.6", "44.128.0.6", true, 1.25, ""}}};
  auto r = cli("overlay check");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "");
  EXPECT_EQ(r.out, R"(NODE      VTEP        STATE   ROUND TRIP  CAUSE
10.0.0.4  44.128.0.4  broken           -  UDP 64000 is blocked?
10.0.0.5  44.128.0.5  ok         0.50 ms  -
10.0.0.6  44.128.0.6  ok         1.25 ms  -

2 of 3 nodes answer through the tunnel
)");
  EXPECT_EQ(provider_.node.asked_for, "");
  r = cli("overlay check -o json");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(Json::parse(r.out)["broken"], 1);
  provider_.node.answer.results.erase(provider_.node.answer.results.begin() + 1);
  EXPECT_EQ(cli("overlay check 10.0.0.5").code, 0);
  EXPECT_EQ(provider_.node.asked_for, "10.0.0.5");
  provider_.node.answer.done = false;
  r = cli("overlay check");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("not done in time"));
  provider_.node.answer = {true, 0, 0, {}};
  r = cli("overlay check");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, "there is no other node\n");
  r = cli("overlay check 10.0.0.99");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: nothing is known of 10.0.0.99\n");
}

TEST_F(CliOverlay, Rm) {
  provider_.gives = true;
  auto r = cli("overlay rm 10.0.0.1");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, "1 of 1 nodes removed\n");
  EXPECT_EQ(provider_.master.deleted, "{\"agents\":[\"10.0.0.1\"]}");
  r = cli("overlay rm 10.0.0.1 10.0.0.7 10.0.0.7");
  EXPECT_EQ(r.out, "1 of 2 nodes removed\n");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: the allocator did not have the others\n");
  r = cli("overlay rm 10.0.0.7 -o json");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.out, "{\"network\":{}}\n");
  EXPECT_EQ(r.err, "loadstar: the allocator has no node 10.0.0.7\n");
  // What a shell hands over reaches the API as one text each, whatever is in it.
  cli("overlay rm '10.0.0.7\",\"10.0.0.1'");
  EXPECT_EQ(Json::parse(provider_.master.deleted)["agents"].size(), 1u);
  provider_.master.failure = {OverlayFailure::Kind::kInvalid, "agents[0] is no IPv4 address"};
  r = cli("overlay rm web");
  EXPECT_EQ(r.code, 2);
  EXPECT_EQ(r.err, "loadstar: agents[0] is no IPv4 address\n");
}

TEST_F(CliOverlay, AdoptSendsTheDocumentInPartsThatTheApiTakes) {
  provider_.gives = true;
  auto file = std::filesystem::path(testing::TempDir()) / "ls-old-state.json";
  Json document{{"network", Json::object()}, {"agents", Json::array()}};
  for (int i = 0; i < 1000; i++)
    document["agents"].push_back({{"ip", "10.0." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250)}, {"filler", std::string(300, 'x')}});
  std::ofstream(file) << document.dump();
  auto r = cli("overlay adopt " + file.string());
  EXPECT_EQ(r.code, 1) << "one of them had a problem";
  EXPECT_EQ(r.out, "1000 of 1000 nodes adopted, 0 were known already\n");
  EXPECT_EQ(r.err, "loadstar: 10.0.0.7: VTEP address 1 is taken\n");
  EXPECT_GT(provider_.master.adopted.size(), 3u);
  for (auto& body : provider_.master.adopted) EXPECT_LT(body.size(), 64u * 1024);
  std::ofstream(file) << "[1]";
  EXPECT_EQ(cli("overlay adopt " + file.string()).code, 2);
  EXPECT_EQ(cli("overlay adopt /nonexistent/state").code, 2);
  std::filesystem::remove(file);
}

TEST_F(CliOverlay, WrongUseIsExitCode2) {
  for (auto* args : {"overlay", "overlay nope", "overlay ls x", "overlay agents x", "overlay agents --state good", "overlay agents --node web", "overlay trace",
                     "overlay trace a b", "overlay check web", "overlay check 10.0.0.1 10.0.0.2", "overlay rm", "overlay adopt"}) {
    auto r = cli(args);
    EXPECT_EQ(r.code, 2) << args << r.out << r.err;
    EXPECT_NE(r.err, "") << args;
  }
}

TEST_F(CliOverlay, ANodeWithoutTheOverlaySaysSo) {
  provider_.takes_part = false;
  for (auto* args : {"overlay ls", "overlay agents", "overlay trace 9.0.0.1", "overlay check", "overlay rm 10.0.0.1"}) {
    auto r = cli(args);
    EXPECT_EQ(r.code, 1) << args;
    EXPECT_THAT(r.err, testing::AnyOf(HasSubstr("takes no part in the overlay"), HasSubstr("this node has no overlay"))) << args;
    EXPECT_EQ(r.out, "") << args;
  }
}

TEST_F(CliOverlay, StatusHasLinesOfTheNodeAndOfTheMaster) {
  provider_.gives = true;
  EXPECT_THAT(cli("status").out, HasSubstr(R"(
overlay    ok, WITHOUT dcos6, VTEP 44.128.0.3/16, 2 other nodes, MTU 1450, checksum offload good
           master 10.0.0.9:62080, heard 2 s ago
allocator  3 nodes; dcos 3 of 65536 (9.0.0.0/8), 1 held
)"));
  auto v = sample_overlay_node();
  v.state = "registering";
  v.problem = "no master has answered\x1b";
  v.last_error = "connect to 10.0.0.9:62080: Connection refused";
  v.heard_s = -1;
  v.conflicts = 2;
  v.warnings = {"the MTU of the plan is larger than the underlay's"};
  provider_.node.set(v);
  auto out = cli("status").out;
  EXPECT_THAT(out, HasSubstr("checksum offload good, 2 CONFLICTS\n           problem: no master has answered?\n"
                             "           master 10.0.0.9:62080, never heard, last error: connect to 10.0.0.9:62080: Connection refused\n"));
  EXPECT_THAT(out, HasSubstr("warnings\n  the overlay of this node: the MTU of the plan is larger than the underlay's\n"));
  provider_.takes_part = false;
  EXPECT_THAT(cli("status").out, Not(HasSubstr("\noverlay ")));
}

TEST_F(CliOverlay, ShellsKnowTheCommands) {
  auto r = cli("completion bash");
  EXPECT_THAT(r.out, HasSubstr("'loadstar overlay') list='ls agents trace check rm"));
  EXPECT_THAT(r.out, HasSubstr("'loadstar overlay agents'' --state') list='ok exhausted conflict'"));
  EXPECT_THAT(cli("completion fish").out, HasSubstr("-a agents"));
}

}  // namespace
}  // namespace ls
