// What is put into Docker's packet filter, as text.
#include <gmock/gmock.h>

#include "overlay/docker_filter.h"

namespace ls::overlay {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

IpNetwork net(const std::string& text) { return IpNetwork::parse(text).value(); }

DockerFilter filter() {
  DockerFilter f;
  f.shares = {net("9.0.1.0/24"), net("fd01:b:0:0:1::/80")};
  f.inside = {net("9.0.0.0/8"), net("44.128.0.0/16"), net("fd01:b::/64")};
  f.bridges = {"d-dcos"};
  return f;
}

const std::string kDocker =
    "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N DOCKER\n-N DOCKER-ISOLATION-STAGE-1\n-N DOCKER-ISOLATION-STAGE-2\n-N DOCKER-USER\n"
    "-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n";
const std::string kOurs =
    "-N LOADSTAR-FORWARD\n-N LOADSTAR-INSIDE\n-N LOADSTAR-OVERLAY\n-A FORWARD -j LOADSTAR-FORWARD\n"
    "-A LOADSTAR-FORWARD -s 9.0.1.0/24 -j ACCEPT\n-A LOADSTAR-FORWARD -d 9.0.1.0/24 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    "-A LOADSTAR-INSIDE -d 9.0.0.0/8 -j ACCEPT\n-A LOADSTAR-INSIDE -d 44.128.0.0/16 -j ACCEPT\n"
    "-A LOADSTAR-OVERLAY -d 9.0.1.0/24 -i vtep1024 -j ACCEPT\n-A LOADSTAR-OVERLAY -s 9.0.1.0/24 -j LOADSTAR-INSIDE\n";

std::string restore(const std::string& rules, bool v6 = false) { return plan_docker_filter(rules, filter(), v6).restore; }

TEST(OverlayDockerFilter, NothingWithoutDocker) {
  auto p = plan_docker_filter("-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n", filter(), false);
  EXPECT_FALSE(p.docker);
  EXPECT_FALSE(p.forward_drop);
  EXPECT_EQ(p.restore, "");
  EXPECT_TRUE(plan_docker_filter("-P FORWARD DROP\n", filter(), false).forward_drop);
}

TEST(OverlayDockerFilter, OneTransactionMakesIt) {
  EXPECT_EQ(restore(kDocker + "-A DOCKER-USER -j RETURN\n"),
            "*filter\n:LOADSTAR-OVERLAY - [0:0]\n:LOADSTAR-INSIDE - [0:0]\n:LOADSTAR-FORWARD - [0:0]\n"
            "-A LOADSTAR-INSIDE -d 9.0.0.0/8 -j ACCEPT\n-A LOADSTAR-INSIDE -d 44.128.0.0/16 -j ACCEPT\n"
            "-A LOADSTAR-OVERLAY -d 9.0.1.0/24 -i vtep1024 -j ACCEPT\n-A LOADSTAR-OVERLAY -s 9.0.1.0/24 -j LOADSTAR-INSIDE\n"
            "-A LOADSTAR-FORWARD -s 9.0.1.0/24 -j ACCEPT\n-A LOADSTAR-FORWARD -d 9.0.1.0/24 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
            "-I DOCKER-USER 1 -j LOADSTAR-OVERLAY\n-A FORWARD -j LOADSTAR-FORWARD\nCOMMIT\n");
}

TEST(OverlayDockerFilter, WhatStandsIsLeftAlone) {
  EXPECT_EQ(restore(kDocker + kOurs + "-A DOCKER-USER -j LOADSTAR-OVERLAY\n-A DOCKER-USER -j RETURN\n"), "");
  EXPECT_EQ(restore(kDocker + kOurs + "-A DOCKER-USER -s 1.2.3.4/32 -j DROP\n-A DOCKER-USER -j LOADSTAR-OVERLAY\n"), "");
}

TEST(OverlayDockerFilter, TheOperatorsRulesStayBeforeOurs) {
  EXPECT_THAT(restore(kDocker + "-A DOCKER-USER -s 1.2.3.4/32 -j DROP\n-A DOCKER-USER -j RETURN\n"), HasSubstr("-I DOCKER-USER 2 -j LOADSTAR-OVERLAY\n"));
  EXPECT_THAT(restore(kDocker + "-A DOCKER-USER -s 1.2.3.4/32 -j DROP\n"), HasSubstr("-I DOCKER-USER 2 -j LOADSTAR-OVERLAY\n"));
}

TEST(OverlayDockerFilter, AJumpThatIsNeverReachedIsMoved) {
  auto text = restore(kDocker + kOurs + "-A DOCKER-USER -j RETURN\n-A DOCKER-USER -j LOADSTAR-OVERLAY\n");
  EXPECT_THAT(text, HasSubstr("-D DOCKER-USER -j LOADSTAR-OVERLAY\n-I DOCKER-USER 1 -j LOADSTAR-OVERLAY\n"));
  EXPECT_THAT(text, Not(HasSubstr("FORWARD -j LOADSTAR-FORWARD")));
}

TEST(OverlayDockerFilter, DockerPutsItsRulesBehindOursAndOursMoveToTheEnd) {
  auto text = restore(kDocker + kOurs + "-A DOCKER-USER -j LOADSTAR-OVERLAY\n-A FORWARD -o docker0 -j DOCKER\n");
  EXPECT_THAT(text, HasSubstr("-D FORWARD -j LOADSTAR-FORWARD\n-A FORWARD -j LOADSTAR-FORWARD\n"));
  EXPECT_THAT(text, Not(HasSubstr("DOCKER-USER")));
}

TEST(OverlayDockerFilter, AnOlderShareIsReplaced) {
  auto f = filter();
  f.shares[0] = net("9.0.7.0/24");
  auto p = plan_docker_filter(kDocker + kOurs + "-A DOCKER-USER -j LOADSTAR-OVERLAY\n", f, false);
  EXPECT_THAT(p.restore, HasSubstr(":LOADSTAR-OVERLAY - [0:0]\n"));
  EXPECT_THAT(p.restore, HasSubstr("-s 9.0.7.0/24"));
  EXPECT_THAT(p.restore, Not(HasSubstr("9.0.1.0")));
}

TEST(OverlayDockerFilter, VeryOldDocker) {
  EXPECT_THAT(restore("-P FORWARD ACCEPT\n-N DOCKER-ISOLATION\n-A DOCKER-ISOLATION -i a -o b -j DROP\n-A DOCKER-ISOLATION -j RETURN\n"),
              HasSubstr("-I DOCKER-ISOLATION 1 -j LOADSTAR-OVERLAY\n"));
}

TEST(OverlayDockerFilter, FamiliesAreSeparate) {
  auto text = restore(kDocker, true);
  EXPECT_THAT(text, HasSubstr("-s fd01:b:0:0:1::/80 -j LOADSTAR-INSIDE"));
  EXPECT_THAT(text, Not(HasSubstr("9.0.")));
  auto f = filter();
  f.shares = {net("9.0.1.0/24")};
  EXPECT_EQ(plan_docker_filter(kDocker, f, true).restore, "");
}

TEST(OverlayDockerFilter, IsTakenAway) {
  EXPECT_EQ(plan_docker_filter_removal(kDocker), "");
  EXPECT_EQ(plan_docker_filter_removal(kDocker + kOurs + "-A DOCKER-USER -j LOADSTAR-OVERLAY\n-A DOCKER-USER -j LOADSTAR-OVERLAY\n"),
            "*filter\n-D DOCKER-USER -j LOADSTAR-OVERLAY\n-D DOCKER-USER -j LOADSTAR-OVERLAY\n-D FORWARD -j LOADSTAR-FORWARD\n"
            "-F LOADSTAR-OVERLAY\n-F LOADSTAR-INSIDE\n-F LOADSTAR-FORWARD\n-X LOADSTAR-OVERLAY\n-X LOADSTAR-INSIDE\n-X LOADSTAR-FORWARD\nCOMMIT\n");
}

TEST(OverlayDockerFilter, ForeignTextDoesNoHarm) {
  for (auto& text : std::vector<std::string>{"", "\n\n\n", "-A", "-A ", "-N\n-P\n", "\xff\xfe-A DOCKER-USER", std::string("-A DOCKER-USER -j\0RETURN\n", 26)})
    EXPECT_THAT(restore(text), Not(HasSubstr("\xff")));
}

}  // namespace
}  // namespace ls::overlay
