// The plan: every reason alone, their order, strict types, and that what is accepted reads back.
#include "overlay/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "overlay/overlay_json.h"
#include "overlay_support.h"

namespace ls::overlay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string reason_of(const RawPlan& raw) {
  auto plan = check_plan(raw);
  return plan ? "valid" : std::string(to_text(plan.error().reason));
}
std::string reason_of(std::string_view json) {
  auto plan = read_plan(json);
  return plan ? "valid" : std::string(to_text(plan.error().reason));
}
template <class F>
std::string with(F change) {
  auto raw = raw_plan();
  change(raw);
  return reason_of(raw);
}

TEST(OverlayModel, MacsAndHalves) {
  EXPECT_EQ(to_text(*parse_mac("70:B3:d5:80:00:01")), "70:b3:d5:80:00:01");
  for (auto* bad : {"", "70:B3:D5", "70-B3-D5-00-00-00", "zz:zz:zz:00:00:00", "170:B3:D5:00:00:0", "70:B3:D5:00:00:001", "7:0B:3D:50:00:0:0"}) {
    EXPECT_FALSE(parse_mac(bad)) << bad;
  }
  EXPECT_EQ(half_of(net("9.0.0.0/24"), false).text(), "9.0.0.0/25");
  EXPECT_EQ(half_of(net("9.0.0.0/24"), true).text(), "9.0.0.128/25");
  EXPECT_EQ(half_of(net("9.0.0.64/26"), true).text(), "9.0.0.96/27");
  EXPECT_EQ(half_of(net("fd01:b::/80"), true).text(), "fd01:b::8000:0:0/81");
  EXPECT_EQ(gateway_of(half_of(net("9.0.0.0/24"), true)).text(), "9.0.0.129");
  EXPECT_EQ(gateway_of(net("fd01:b::/81")).text(), "fd01:b::1");
}

TEST(OverlayPlan, DefaultsAreGood) {
  auto plan = check_plan(raw_plan());
  ASSERT_TRUE(plan) << plan.error().text();
  EXPECT_EQ(plan->vtep4, net("44.128.0.0/20"));
  EXPECT_EQ(plan->oui_text, "70:B3:D5:00:00:00");
  EXPECT_EQ(plan->overlays[1].v6->share, 80);
  EXPECT_FALSE(plan->vtep_mtu);
}

TEST(OverlayPlan, EachReason) {
  EXPECT_EQ(with([](auto& p) { p.vtep_subnet.reset(); }), "vtep-missing");
  EXPECT_EQ(with([](auto& p) { p.vtep_mac_oui.reset(); }), "oui-missing");
  EXPECT_EQ(with([](auto& p) { p.overlays.clear(); }), "no-overlays");
  EXPECT_EQ(with([](auto& p) { p.overlays[1].name.reset(); }), "name-missing");
  for (auto* bad : {"", "a/b", "a b", "../x", "-a", ".a", "_a", "\xc3\xa4"}) {
    EXPECT_EQ(with([&](auto& p) { p.overlays[1].name = bad; }), "name-invalid") << bad;
  }
  for (auto* good : {"a", "9", "a-b_c.D", "abcdefghijklm"}) {
    EXPECT_EQ(with([&](auto& p) { p.overlays[1].name = good; }), "valid") << good;
  }
  EXPECT_EQ(with([](auto& p) { p.overlays[1].name = "abcdefghijklmn"; }), "name-too-long");
  for (auto* bad : {"host", "bridge", "default", "none"}) {
    EXPECT_EQ(with([&](auto& p) { p.overlays[1].name = bad; }), "name-reserved");
  }
  EXPECT_EQ(with([](auto& p) { p.overlays[1].name = "dcos"; }), "name-duplicate");
  EXPECT_EQ(with([](auto& p) { p.overlays[0].subnet.reset(); }), "pool-missing");
  for (auto* bad : {"", "9.0.0.0", "9.0.0/8", "9.0.0.0/33", "9.0.0.0/", "9.0.0.0/08", "9.0.0.0/+8", "9.0.0.0/-8", "9.0.0.0/8 ", " 9.0.0.0/8", "fd00::/129", "/8", "9.0.0.0/255.0.0.0"}) {
    EXPECT_EQ(with([&](auto& p) { p.overlays[0].subnet = bad; }), "pool-syntax") << bad;
  }
  EXPECT_EQ(with([](auto& p) { p.overlays[0].subnet = "fd00::/8"; }), "pool-family");
  EXPECT_EQ(with([](auto& p) { p.overlays[1].subnet6 = "9.0.0.0/8"; }), "pool-family");
  EXPECT_EQ(with([](auto& p) { p.overlays[0].subnet = "9.1.2.3/8"; }), "pool-host-bits");
  EXPECT_EQ(with([](auto& p) { p.overlays[1].subnet6 = "fd01:b::1/64"; }), "pool-host-bits");
  EXPECT_EQ(with([](auto& p) { p.vtep_subnet = "44.0.0.0/7"; }), "vtep-too-large");
  EXPECT_EQ(with([](auto& p) { p.vtep_subnet = "44.0.0.0/31"; }), "vtep-too-small");
  EXPECT_EQ(with([](auto& p) { p.vtep_subnet6 = "fd01:a::/127"; }), "vtep-too-small");
  for (auto* bad : {"0.0.0.0/0", "0.0.0.0/8", "127.0.0.0/8", "126.0.0.0/7", "224.0.0.0/8", "255.255.0.0/16", "128.0.0.0/1", "192.0.0.0/2"}) {
    EXPECT_EQ(with([&](auto& p) { p.overlays[0].subnet = bad; }), "pool-not-unicast") << bad;
  }
  for (auto* bad : {"::/0", "::/8", "::ffff:9.0.0.0/104", "::1:0:0:0/80", "fe80::/64", "fe80::/9", "ff00::/16", "fe00::/7"}) {
    EXPECT_EQ(with([&](auto& p) { p.overlays[1].subnet6 = bad; }), "pool-not-unicast") << bad;
  }
  EXPECT_EQ(with([](auto& p) { p.overlays[0].prefix.reset(); }), "prefix-missing");
  EXPECT_EQ(with([](auto& p) { p.overlays[1].prefix6.reset(); }), "prefix-missing");
  for (int64_t bad : {7, 30, 32, 33, 280, -1, 0}) EXPECT_EQ(with([&](auto& p) { p.overlays[0].prefix = bad; }), "prefix-range") << bad;
  for (int64_t bad : {63, 126, 128, 336, -1}) EXPECT_EQ(with([&](auto& p) { p.overlays[1].prefix6 = bad; }), "prefix-range") << bad;
  for (int64_t good : {8, 29}) EXPECT_EQ(with([&](auto& p) { p.overlays[0].prefix = good; }), "valid") << good;
  for (int64_t good : {64, 125}) EXPECT_EQ(with([&](auto& p) { p.overlays[1].prefix6 = good; }), "valid") << good;
  EXPECT_EQ(with([](auto& p) { p.vtep_mac_oui = "70:B3:D5"; }), "oui-syntax");
  EXPECT_EQ(with([](auto& p) { p.vtep_mac_oui = "70:B3:D5:00:00:01"; }), "oui-low-bits");
  EXPECT_EQ(with([](auto& p) { p.vtep_mac_oui = "71:B3:D5:00:00:00"; }), "oui-multicast");
  for (int64_t bad : {551, 0, -1, 65536}) EXPECT_EQ(with([&](auto& p) { p.vtep_mtu = bad; }), "mtu-range") << bad;
  for (int64_t good : {552, 9000, 65535}) EXPECT_EQ(with([&](auto& p) { p.vtep_mtu = good; }), "valid") << good;
  EXPECT_EQ(with([](auto& p) { p.overlays[1].subnet = "9.128.0.0/16", p.overlays[1].prefix = 24; }), "pool-overlap");
  EXPECT_EQ(with([](auto& p) { p.overlays[0].subnet = "44.128.0.0/16"; }), "pool-overlaps-vtep");
  EXPECT_EQ(with([](auto& p) { p.overlays[1].subnet6 = "fd01:a::/48"; }), "pool-overlaps-vtep");
}

TEST(OverlayPlan, TheFirstReasonOfTheListWins) {
  // Later in the text, earlier in the list.
  EXPECT_EQ(with([](auto& p) { p.overlays[0].subnet = "9.0.0", p.overlays[1].name.reset(); }), "name-missing");
  EXPECT_EQ(with([](auto& p) { p.vtep_mac_oui = "x", p.overlays[1].prefix6 = 200; }), "prefix-range");
  EXPECT_EQ(with([](auto& p) { p.vtep_mtu = 1, p.overlays[1].subnet6 = "fd01:a::/48"; }), "mtu-range");
  EXPECT_EQ(with([](auto& p) { p.overlays[0].subnet = "44.128.0.0/16", p.overlays[1].subnet = "44.128.0.0/18", p.overlays[1].prefix = 24; }), "pool-overlap");
  EXPECT_EQ(with([](auto& p) { p.vtep_subnet = "0.0.0.0/0"; }), "vtep-too-large");
  EXPECT_EQ(reason_of(R"({"overlays": [{"prefix": "24"}]})"), "type");
  EXPECT_EQ(reason_of(R"({"overlays": [{}]})"), "vtep-missing");
}

TEST(OverlayPlan, FaultsNameFieldAndValue) {
  auto raw = raw_plan();
  raw.overlays[1].subnet6 = "fd01:b::1/64";
  auto plan = check_plan(raw);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().field(), "overlays[1].subnet6");
  EXPECT_THAT(plan.error().text(), HasSubstr("overlays[1].subnet6: fd01:b::1/64"));
  EXPECT_THAT(plan.error().text(), HasSubstr("(pool-host-bits)"));
}

TEST(OverlayPlan, JsonIsTypedStrictly) {
  auto json = [](const std::string& more) {
    return R"({"vtep_subnet": "44.128.0.0/20", "vtep_mac_oui": "70:B3:D5:00:00:00", "overlays": [{"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24}])" + more + "}";
  };
  EXPECT_EQ(reason_of(json("")), "valid");
  EXPECT_EQ(reason_of(json(", \"vtep_mtu\": \"1500\"")), "type");
  EXPECT_EQ(reason_of(json(", \"vtep_mtu\": 1500.5")), "type");
  EXPECT_EQ(reason_of(json(", \"vtep_mtu\": true")), "type");
  EXPECT_EQ(reason_of(json(", \"vtep_mtu\": null")), "type");
  EXPECT_EQ(reason_of(json(", \"vtep_mtu\": -5")), "mtu-range");
  EXPECT_EQ(reason_of(json(", \"vtep_mtu\": 18446744073709551615")), "mtu-range");
  EXPECT_EQ(reason_of(json(", \"vtep_subnet6\": 6")), "type");
  auto overlay = [](const std::string& entry) { return R"({"vtep_subnet": "44.128.0.0/20", "vtep_mac_oui": "70:B3:D5:00:00:00", "overlays": )" + entry + "}"; };
  EXPECT_EQ(reason_of(overlay("{}")), "type");
  EXPECT_EQ(reason_of(overlay("[1]")), "type");
  EXPECT_EQ(reason_of(overlay(R"([{"name": 5, "subnet": "9.0.0.0/8", "prefix": 24}])")), "type");
  EXPECT_EQ(reason_of(overlay(R"([{"name": "a", "subnet": "9.0.0.0/8", "prefix": 24, "enabled": "true"}])")), "type");
  EXPECT_EQ(reason_of(overlay(R"([{"name": "a", "subnet": "9.0.0.0/8", "prefix": 24, "enabled": 1}])")), "type");
  EXPECT_EQ(reason_of(overlay(R"([{"name": "a", "subnet": "9.0.0.0/8", "prefix": -1}])")), "prefix-range");
  for (auto* text : {"", "{", "[]", "null", "1", "{}x"}) EXPECT_EQ(reason_of(std::string_view(text)), "type") << text;
  EXPECT_EQ(reason_of(std::string(200'000, '[')), "type");
}

TEST(OverlayPlan, UnknownFieldsAreReported) {
  auto plan = read_plan(R"({"vtep_subnet": "44.128.0.0/20", "vtep_mac_oui": "70:B3:D5:00:00:00", "colour": 1,
      "overlays": [{"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24, "taste": {}}]})");
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->unknown, ElementsAre("colour", "overlays[0].taste"));
}

TEST(OverlayPlan, ReadsBackWhatItPrints) {
  auto raw = raw_plan();
  raw.vtep_mtu = 1450;
  raw.overlays[0].enabled = false;
  raw.overlays[1].subnet = "10.32.0.0/12";
  raw.overlays[1].prefix = 22;
  auto plan = plan_of(raw);
  auto again = read_plan(plan_json(plan));
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->plan, plan);
  EXPECT_TRUE(again->unknown.empty());
}

TEST(OverlayPlan, Capacity) {
  auto raw = raw_plan();
  raw.overlays[1].subnet = "10.0.0.0/22";
  raw.overlays[1].prefix = 24;
  auto plan = plan_of(raw);
  EXPECT_EQ(to_text(nodes_by_vtep(plan)), "4094");
  auto c = capacity_of(plan.overlays[1]);
  EXPECT_EQ(to_text(c.agent_subnets), "4");  // the smaller family decides
  EXPECT_EQ(c.last.text(), "10.0.3.0/24");
  EXPECT_EQ(to_text(c.containers_per_half), "125");
  auto six = capacity_of(plan_of(raw_plan()).overlays[1]);
  EXPECT_EQ(to_text(six.agent_subnets), "65536");
  EXPECT_EQ(six.last.text(), "fd01:b:0:0:ffff::/80");
  EXPECT_EQ(to_text(six.containers_per_half), "140737488355326");  // 2^47 - 2
}

}  // namespace
}  // namespace ls::overlay
