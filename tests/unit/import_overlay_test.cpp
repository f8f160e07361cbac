// Files of the overlay modules and of DC/OS: what comes out is a good [overlay], and nothing is passed over silently.
#include "app/import_overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/config.h"
#include "overlay/overlay_json.h"

namespace ls {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kNetwork = R"({"vtep_subnet": "44.128.0.0/20", "vtep_subnet6": "fd01:a::/64", "vtep_mac_oui": "70:B3:D5:00:00:00", "vtep_mtu": 1450,
  "overlays": [{"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24}, {"name": "both", "subnet": "10.32.0.0/12", "prefix": 22, "subnet6": "fd00:1234::/48", "prefix6": 64, "enabled": false}]})";

Imported import_text(const std::string& text) {
  OverlayFile f{"m.json", text};
  return import_overlay({&f, 1});
}

/// The plan that loadstard makes of the result.
overlay::Plan plan_of(const Imported& got) {
  EXPECT_EQ(got.error, "");
  ConfigText text{"x.toml", "[node]\nroles = [\"master\"]\naddress = \"10.0.0.1\"\n[mesos]\nmasters = [\"m:5050\"]\n" + got.toml};
  auto loaded = parse_config({&text, 1});
  EXPECT_TRUE(loaded.good()) << report(loaded) << got.toml;
  auto plan = overlay::check_plan(loaded.config.overlay.plan());
  EXPECT_TRUE(plan);
  return plan.value_or(overlay::Plan{});
}

TEST(ImportOverlay, EveryForm) {
  auto want = overlay::read_plan(kNetwork)->plan;
  Json network = Json::parse(kNetwork);
  for (auto& text : {std::string(kNetwork), Json{{"network", network}}.dump(), Json{{"dcos_overlay_network", network}}.dump(),
                     Json{{"dcos_overlay_network", network.dump()}}.dump()}) {
    auto got = import_text(text);
    EXPECT_EQ(plan_of(got), want) << text;
    EXPECT_THAT(got.warnings, IsEmpty());
  }
}

TEST(ImportOverlay, NothingIsPassedOverSilently) {
  auto got = import_text(R"({"replicated_log_dir": "/var/lib/mesos", "zk": {"url": "zk://a"}, "network": {"vtep_subnet": "44.128.0.0/20",
    "vtep_mac_oui": "70:B3:D5:00:00:00", "colour": 1, "overlays": [{"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24, "taste": 2}]}})");
  EXPECT_EQ(plan_of(got).overlays.size(), 1u);
  EXPECT_THAT(got.warnings, ElementsAre("m.json: network.colour: is not known", "m.json: network.overlays[0].taste: is not known",
                                        HasSubstr("m.json: replicated_log_dir: not needed"), HasSubstr("m.json: zk: not used")));
  got = import_text(R"({"cluster_name": "x", "dns_search": "y", "dcos_overlay_network": )" + std::string(kNetwork) + "}");
  EXPECT_THAT(got.warnings, ElementsAre("m.json: cluster_name: and 1 more are no settings of the overlay"));
  OverlayFile two[] = {{"master.json", Json{{"network", Json::parse(kNetwork)}}.dump()}, {"agent.json", R"({"cni_dir": "/c", "network_config": {"overlay_mtu": 1420}})"}};
  got = import_overlay(two);
  EXPECT_EQ(plan_of(got).overlays.size(), 2u);
  EXPECT_THAT(got.warnings, ElementsAre(HasSubstr("agent.json: cni_dir"), HasSubstr("agent.json: network_config")));
}

TEST(ImportOverlay, Refusals) {
  auto error = [](const std::string& text) {
    auto got = import_text(text);
    EXPECT_EQ(got.toml, "") << text;
    return got.error;
  };
  for (auto* text : {"", "[]", "{", "5"}) EXPECT_EQ(error(text), "m.json: is no JSON object") << text;
  EXPECT_EQ(error(std::string(100'000, '[')), "m.json: is no JSON object");
  EXPECT_THAT(error("{}"), HasSubstr("has no network"));
  EXPECT_THAT(error(R"({"cni_dir": "/c"})"), HasSubstr("has no network"));
  EXPECT_THAT(error(R"({"network": 5})"), HasSubstr("network: is neither"));
  EXPECT_THAT(error(R"({"dcos_overlay_network": "x"})"), HasSubstr("its text is no JSON object"));
  EXPECT_EQ(error(R"({"network": {"vtep_subnet": "44.128.0.0/20", "vtep_mac_oui": "70:B3:D5:00:00:00", "overlays": [{"name": "dcos", "subnet": "9.1.2.3/8", "prefix": 24}]}})"),
            "m.json: network.overlays[0].subnet: 9.1.2.3/8 has bits behind its prefix length (pool-host-bits)");
  EXPECT_THAT(error(R"({"vtep_subnet": "44.128.0.0/20", "vtep_mac_oui": "70:B3:D5:00:00:00", "overlays": [{"name": "dcos", "subnet": "9.0.0.0/8", "prefix": "24"}]})"),
              HasSubstr("m.json: overlays[0].prefix: \"24\" is not a whole number (type)"));
  OverlayFile two[] = {{"a.json", kNetwork}, {"b.json", kNetwork}};
  EXPECT_EQ(import_overlay(two).error, "b.json: has a second network; the first one is in a.json");
  EXPECT_THAT(import_overlay({}).error, HasSubstr("has no network"));
}

// Every good plan of the specification's cases comes out as itself.
TEST(ImportOverlay, PlansOfTheCases) {
  std::error_code ec;
  size_t plans = 0;
  for (auto& e : std::filesystem::directory_iterator(LS_SHARED_DIR "/spec/cases/overlay", ec)) {
    if (e.path().extension() != ".json") continue;
    std::ifstream in(e.path());
    auto c = Json::parse(in);
    if (!c.contains("network")) continue;
    EXPECT_EQ(plan_of(import_text(c["network"].dump())), overlay::read_plan(c["network"].dump())->plan) << e.path();
    plans++;
  }
  if (plans == 0) GTEST_SKIP() << LS_SHARED_DIR << " is missing";
  EXPECT_GE(plans, 20u);
}

}  // namespace
}  // namespace ls
