// Labels of the Mesos domain: every vector of spec/mesos-dns.md 7.1 to 7.5, and the key text of spec/spartan-dns.md 5.7.
#include <gtest/gtest.h>

#include "derive/dcos_zone.h"
#include "derive/mesos_zone.h"

namespace ls {
namespace {

std::string times(char c, size_t n) { return std::string(n, c); }

struct LabelCase {
  std::string in, rfc1123, rfc952;
};

TEST(MesosLabels, LabelFunction) {
  const LabelCase cases[] = {
      {"Web_App", "web-app", "web-app"},
      {"a.b.c", "a-b-c", "a-b-c"},
      {"/prod/web", "prodweb", "prodweb"},
      {"--a--", "a", "a"},
      {"a---", "a", "a"},
      {"-9lives-", "9lives", "lives"},
      {"123", "123", ""},
      {"1-2-3", "1-2-3", ""},
      {"ünïcode", "ncode", "ncode"},
      {"chronos with a space AND MIXED CASE-2.0.1", "chronoswithaspaceandmixedcase-2-0-1", "chronoswithaspaceandmixe"},
      {"fd%gsf---gs7-f$gs--d7fddg-123", "fdgsf---gs7-fgs--d7fddg-123", "fdgsf---gs7-fgs--d7fddg1"},
      {"hello" + times('-', 56) + "f", "hello" + times('-', 56) + "f", "hellof"},
      {"hello" + times('-', 58) + "f", "hellof", "hellof"},
      {times('a', 62) + "-b", times('a', 62) + "b", times('a', 24)},
      {times('a', 61) + "---b-c", times('a', 61) + "b-", times('a', 24)},
      {times('a', 22) + "--b-d", times('a', 22) + "--b-d", times('a', 22) + "b-"},
      {"---", "", ""},
      {"日本", "", ""},
      {"", "", ""},
      {times('x', 70), times('x', 63), times('x', 24)},
      {times('a', 63) + "-", times('a', 63), times('a', 24)},
      {"\xff\xfe-a", "a", "a"},
  };
  for (auto& c : cases) {
    EXPECT_EQ(mesos_label(c.in, false), c.rfc1123) << c.in;
    EXPECT_EQ(mesos_label(c.in, true), c.rfc952) << c.in;
  }
}

TEST(MesosLabels, DomainFragment) {
  EXPECT_EQ(mesos_domain_fragment("marathon-0.6.0-dev", false), "marathon-0.6.0-dev");
  EXPECT_EQ(mesos_domain_fragment("marathon-0.6.0-dev", true), "marathon-0.dev");
  EXPECT_EQ(mesos_domain_fragment("..odd..", false), "odd");
  EXPECT_EQ(mesos_domain_fragment("Team.Big Data/spark_2", false), "team.bigdataspark-2");
  EXPECT_EQ(mesos_domain_fragment("日本.-", false), "");
}

TEST(MesosLabels, TaskHash) {
  EXPECT_EQ(task_hash(""), "5eh48");
  EXPECT_EQ(task_hash("a"), "o556e");
  EXPECT_EQ(task_hash("t1"), "hw4uo");
  EXPECT_EQ(task_hash("test"), "iffe9");
  EXPECT_EQ(task_hash("toy-store.b8db9f73-562f-11e4-a088-c20493233aa5"), "go588");
  EXPECT_EQ(task_hash("été"), "cuecz");
  EXPECT_EQ(task_hash("legacy.00000006-7c1d-11e9-9a1e-70b3d5800001"), "dzqa1");
}

TEST(MesosLabels, AgentSuffix) {
  EXPECT_EQ(agent_suffix("6c1a9d2e-54b0-S12"), "s12");
  EXPECT_EQ(agent_suffix("20140803-125133-3041283216-5050-2410-0"), "0");
  EXPECT_EQ(agent_suffix("AgentOne"), "agentone");
  EXPECT_EQ(agent_suffix("x-"), "");
}

TEST(MesosLabels, KeyText) {
  auto encode = [](std::vector<uint8_t> bytes) { return zbase32(bytes); };
  EXPECT_EQ(encode({}), "");
  EXPECT_EQ(encode({0x00}), "yy");
  EXPECT_EQ(encode({0xf0, 0xbf, 0xc7}), "6n9hq");
  for (size_t size = 0; size < 40; size++) {
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i < size; i++) bytes.push_back(uint8_t(i * 37 + size * 11));
    EXPECT_EQ(zbase32_decode(zbase32(bytes)), bytes);
  }
  EXPECT_FALSE(zbase32_decode("y"));    // five bits are no octet
  EXPECT_FALSE(zbase32_decode("y0"));   // not in the alphabet
  EXPECT_FALSE(zbase32_decode("yb"));   // fill that is not zero
}

}  // namespace
}  // namespace ls
