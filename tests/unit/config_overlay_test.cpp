// [overlay]: every fault of a plan at its own line, and the plan that comes out.
#include <gtest/gtest.h>

#include "app/config.h"

namespace ls {
namespace {

// Six lines; what is added begins on line 7.
constexpr const char* kGood = "[node]\naddress = \"10.0.0.1\"\n[source]\nkind = \"replay\"\n[replay]\nfile = \"/r\"\n";

LoadedConfig parse(const std::string& more) {
  ConfigText text{"a.toml", kGood + more};
  return parse_config({&text, 1});
}

std::string problems(const std::string& more) {
  std::string out;
  for (auto& p : parse(more).problems) out += (out.empty() ? "" : "\n") + p.text();
  return out;
}

TEST(ConfigOverlay, ThePlanThatComesOut) {
  EXPECT_FALSE(parse("").config.overlay.configured());
  auto got = parse(R"([overlay]
vtep_subnet = "44.128.0.0/20"
vtep_subnet6 = "fd01:a::/64"
vtep_mtu = 1450
hold_down = "2m"
[[overlay.network]]
name = "dcos"
subnet = "9.0.0.0/8"
prefix = 24
[[overlay.network]]
name = "dcos6"
subnet6 = "fd01:b::/64"
prefix6 = 80
enabled = false
)");
  ASSERT_TRUE(got.good()) << report(got);
  auto& o = got.config.overlay;
  EXPECT_TRUE(o.configured());
  EXPECT_EQ(o.hold_down, Millis(120'000));
  auto plan = overlay::check_plan(o.plan());
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->vtep4, IpNetwork::parse("44.128.0.0/20"));
  EXPECT_EQ(plan->vtep_mtu, 1450u);
  EXPECT_EQ(plan->oui_text, "70:B3:D5:00:00:00");
  ASSERT_EQ(plan->overlays.size(), 2u);
  EXPECT_FALSE(plan->overlays[1].enabled);
  EXPECT_EQ(plan->overlays[1].v6->share, 80);
}

TEST(ConfigOverlay, FaultsAreAtTheirOwnLines) {
  const std::string network = "[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24\n";
  EXPECT_EQ(problems(network), "");
  EXPECT_EQ(problems("[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.1.2.3/8\"\nprefix = 24\n"),
            "a.toml:9:10: overlay.network[0].subnet: 9.1.2.3/8 has bits behind its prefix length (pool-host-bits)");
  EXPECT_EQ(problems(network + "[[overlay.network]]\nname = \"b\"\nsubnet = \"9.4.0.0/16\"\nprefix = 24\n"),
            "a.toml:13:10: overlay.network[1].subnet: 9.4.0.0/16 overlaps 9.0.0.0/8 of overlay dcos (pool-overlap)");
  EXPECT_EQ(problems("[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\n"),
            "a.toml:7:1: overlay.network[0].prefix: is missing: subnet needs it (prefix-missing)");
  EXPECT_EQ(problems("[overlay]\nvtep_subnet = \"44.0.0.0/7\"\n" + network),
            "a.toml:8:15: overlay.vtep_subnet: 44.0.0.0/7 is above /8: MACs are made from the last 24 bits (vtep-too-large)");
  EXPECT_EQ(problems("[overlay]\nvtep_mtu = 551\n" + network), "a.toml:8:12: overlay.vtep_mtu: 551 is out of range (552 to 65535) (mtu-range)");
  EXPECT_EQ(problems("[overlay]\nvtep_mac_oui = \"01:00:5E:00:00:00\"\n" + network),
            "a.toml:8:16: overlay.vtep_mac_oui: 01:00:5E:00:00:00 is a multicast address (oui-multicast)");
}

TEST(ConfigOverlay, TypesAndKeys) {
  EXPECT_EQ(problems("[[overlay.network]]\nname = \"dcos\"\nsubnet = \"9.0.0.0/8\"\nprefix = \"24\"\ncolour = 1\n"),
            "a.toml:10:10: overlay.network[0].prefix: an integer is wanted, this is a string\n"
            "a.toml:11:1: overlay.network[0]: unknown key \"colour\"; a network has name, subnet, prefix, subnet6, prefix6, enabled");
  EXPECT_EQ(problems("[overlay]\nnetwork = \"9.0.0.0/8\"\n"),
            "a.toml:8:11: overlay.network: a list of tables is wanted, each written as [[overlay.network]], this is a string");
  EXPECT_EQ(problems("[overlay]\nnetwork = [1]\n"), "a.toml:8:12: overlay.network[0]: a table is wanted, written as [[overlay.network]], this is an integer");
  EXPECT_EQ(problems("[[overlay.network]]\nname = \"a\"\nsubnet = \"9.0.0.0/8\"\nprefix = 24.0\n"),
            "a.toml:10:10: overlay.network[0].prefix: an integer is wanted, this is a float");
}

}  // namespace
}  // namespace ls
