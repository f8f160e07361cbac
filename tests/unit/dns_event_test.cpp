// Samples of DNS questions in the kernel: from the ring's bytes to what a monitor shows, and who gets them.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "api/dns_event.h"
#include "api/event_hub.h"
#include "api/labels.h"
#include "api_fake.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

ls_dns_event event(std::string_view wire, uint8_t octets) {
  ls_dns_event e{};
  e.time_ns = 123'456'789;
  e.type = LS_EVENT_DNS;
  e.hook = LS_DNS_HOOK_XDP;
  e.result = LS_DNS_HIT;
  e.ifindex = 2;
  memcpy(e.src_be, ip("10.1.0.2").bytes().data(), 16);
  memcpy(e.dst_be, ip("fd00::53").bytes().data(), 16);
  e.sport_be = htobe16(40000);
  e.dport_be = htobe16(53);
  e.qtype_be = htobe16(33);
  e.service = 1;
  e.name_octets = octets;
  memcpy(e.name, wire.data(), std::min<size_t>(wire.size(), sizeof e.name));
  return e;
}
ls_dns_event event(const char* name) {
  auto wire = DnsName::parse(name)->folded();
  return event(wire.wire(), uint8_t(wire.wire().size()));
}
std::optional<EventView> decoded(const ls_dns_event& e) {
  return decode_dns_event(std::as_bytes(std::span(&e, 1)), 1'700'000'000'000'000'000);
}

TEST(DnsEvent, BecomesAView) {
  auto v = decoded(event("Web.marathon.mesos"));
  ASSERT_TRUE(v);
  EXPECT_EQ(Json(*v), Json({{"time", "2023-11-14T22:13:20.123456Z"},
                            {"type", "dns"},
                            {"hook", "xdp"},
                            {"device", ""},
                            {"client", "10.1.0.2:40000"},
                            {"server", "[fd00::53]:53"},
                            {"service", "resolver"},
                            {"name", "web.marathon.mesos."},
                            {"name_whole", true},
                            {"qtype", "SRV"},
                            {"result", "hit"},
                            {"text", "answered with records"},
                            {"rcode", "NOERROR"}}));
}

TEST(DnsEvent, WhatWentUpHasNoCode) {
  auto e = event("x.mesos");
  e.result = LS_DNS_UP_NAME;
  EXPECT_EQ(Json(*decoded(e))["rcode"], nullptr);
  e.result = LS_DNS_RATE_DROP;
  EXPECT_EQ(Json(*decoded(e))["rcode"], nullptr);
  e.result = LS_DNS_NXDOMAIN;
  e.rcode = 3;
  EXPECT_EQ(Json(*decoded(e))["rcode"], "NXDOMAIN");
}

TEST(DnsEvent, NumbersOfANewerProgramAreUnknown) {
  auto e = event("x.mesos");
  e.result = 31;
  e.hook = 200;
  e.service = 200;
  e.qtype_be = htobe16(65280);
  Json j = *decoded(e);
  EXPECT_EQ(j["result"], "unknown");
  EXPECT_EQ(j["hook"], "unknown");
  EXPECT_EQ(j["service"], "unknown");
  EXPECT_EQ(j["qtype"], "TYPE65280");
  e.result = 255;
  EXPECT_EQ(Json(*decoded(e))["result"], "unknown");
}

TEST(DnsEvent, ANameThatDoesNotFitIsCut) {
  // 3 labels of 40 octets and the root: 124 octets, of which 96 are in the event: two whole labels.
  std::string wire;
  for (char c : {'a', 'b', 'c'}) wire += std::string(1, char(40)) + std::string(40, c);
  wire += '\0';
  auto v = decoded(event(wire, uint8_t(wire.size())));
  ASSERT_TRUE(v && v->dns);
  EXPECT_FALSE(v->dns->name);
  EXPECT_EQ(name_text(*v->dns), std::string(40, 'a') + "." + std::string(40, 'b') + "...");
  EXPECT_EQ(Json(*v)["name_whole"], false);
  // Exactly as long as there is room for.
  wire = std::string(1, char(63)) + std::string(63, 'd') + std::string(1, char(30)) + std::string(30, 'e') + std::string(1, '\0');
  ASSERT_EQ(wire.size(), size_t(LS_DNS_EVENT_NAME));
  EXPECT_TRUE(decoded(event(wire, LS_DNS_EVENT_NAME))->dns->name);
  EXPECT_FALSE(decoded(event(wire, LS_DNS_EVENT_NAME + 1))->dns->name);
  EXPECT_FALSE(decoded(event(wire, 255))->dns->name);
}

TEST(DnsEvent, AnyOctetsAreHarmless) {
  EXPECT_EQ(name_text(*decoded(event("", 0))->dns), "") << "not read";
  EXPECT_EQ(name_text(*decoded(event(std::string_view("\0", 1), 1))->dns), ".");
  EXPECT_EQ(name_text(*decoded(event(std::string_view("\xc0\x0c", 2), 2))->dns), "") << "a pointer is no label";
  EXPECT_EQ(name_text(*decoded(event(std::string_view("\x3f" "abc", 4), 4))->dns), "") << "a label longer than what is there";
  EXPECT_EQ(name_text(*decoded(event(std::string_view("\1a\0\1b", 5), 5))->dns), "a...") << "octets behind the root";
  EXPECT_EQ(name_text(*decoded(event(std::string_view("\3\x1b.a\5mesos\0", 11), 11))->dns), "\\027\\.a.mesos.");
  for (int fill = 0; fill < 256; fill++) {
    for (int octets = 0; octets < 256; octets++) {
      ls_dns_event e;
      memset(&e, fill, sizeof e);
      e.type = LS_EVENT_DNS;
      e.name_octets = uint8_t(octets);
      Json j = *decoded(e);
      EXPECT_LE(j["name"].get<std::string>().size(), 4u * LS_DNS_EVENT_NAME + 4);
      for (char c : j["name"].get<std::string>()) EXPECT_TRUE(c >= ' ' && c < 127) << fill << " " << octets;
    }
  }
}

TEST(DnsEvent, ShortRecordsAndOtherTypesAreNone) {
  auto e = event("x.mesos");
  auto bytes = std::as_bytes(std::span(&e, 1));
  for (size_t n = 0; n < bytes.size(); n++) EXPECT_FALSE(decode_dns_event(bytes.first(n), 0)) << n;
  e.type = LS_EVENT_DROP;
  EXPECT_FALSE(decoded(e));
}

TEST(DnsEvent, IsSentOnlyToThoseWhoAsked) {
  uint32_t wanted = 0;
  EventHub hub([&](uint32_t mask) { wanted = mask; });
  auto everything_else = hub.subscribe({}, [] {});
  EXPECT_EQ(wanted, kDefaultEvents);
  EXPECT_EQ(wanted >> LS_EVENT_DNS & 1, 0u) << "a monitor of packets must not make the programs send every question";
  EventFilter f;
  f.types = 1u << LS_EVENT_DNS;
  auto dns = hub.subscribe(f, [] {});
  EXPECT_EQ(wanted, kDefaultEvents | 1u << LS_EVENT_DNS);
  hub.publish(*decoded(event("web.marathon.mesos")));
  hub.publish(drop_event());
  EXPECT_EQ(everything_else->take().values.size(), 1u);
  auto got = dns->take().values;
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(got[0].dns);
  hub.unsubscribe(dns);
  EXPECT_EQ(wanted, kDefaultEvents);
}

TEST(DnsEvent, Filters) {
  auto e = *decoded(event("web.marathon.mesos"));
  auto up = event("www.example.com");
  up.result = LS_DNS_UP_MISS;
  up.hook = LS_DNS_HOOK_LO;
  auto other = *decoded(up);
  EventFilter f;
  f.types = ~0u;
  EXPECT_TRUE(f.matches(e) && f.matches(other) && f.matches(drop_event()));
  f.name = DnsName::parse("Mesos")->folded();
  EXPECT_TRUE(f.matches(e));
  EXPECT_FALSE(f.matches(other));
  EXPECT_FALSE(f.matches(drop_event())) << "has no name";
  f.name = *DnsName::parse("arathon.mesos");
  EXPECT_FALSE(f.matches(e)) << "a part of a label is not a zone";
  f.name = DnsName();
  EXPECT_TRUE(f.matches(e) && f.matches(other));
  auto cut = decoded(event("\3web\5mesos", 200));
  EXPECT_FALSE(f.matches(*cut)) << "its end is not known";
  f = {};
  f.types = ~0u;
  f.results = 1u << LS_DNS_UP_MISS;
  EXPECT_FALSE(f.matches(e));
  EXPECT_TRUE(f.matches(other));
  f = {};
  f.types = ~0u;
  f.dns_hook = LS_DNS_HOOK_LO;
  f.hook = LS_HOOK_LO;
  EXPECT_FALSE(f.matches(e));
  EXPECT_TRUE(f.matches(other));
  auto packet = drop_event();
  EXPECT_FALSE(f.matches(packet));
  packet.hook = LS_HOOK_LO;
  EXPECT_TRUE(f.matches(packet));
  f.hook.reset();
  EXPECT_FALSE(f.matches(packet)) << "a hook of DNS alone selects no packet";
}

TEST(DnsEvent, ThePageHasEveryHookAndResult) {
  std::ifstream in(LS_SOURCE_DIR "/docs/operate/dns.md");
  std::string page{std::istreambuf_iterator<char>(in), {}};
  auto row = [](std::string_view label, std::string_view text) { return "\n| `" + std::string(label) + "` | " + std::string(text) + " |\n"; };
  for (uint32_t i = 0; i < LS_DNS_RESULT_MAX; i++) EXPECT_NE(page.find(row(dns_result_label(i), dns_result_text(i))), page.npos) << dns_result_label(i);
  for (uint32_t i = 0; i < LS_DNS_HOOK_MAX; i++) EXPECT_NE(page.find(row(dns_hook_label(i), dns_hook_text(i))), page.npos) << dns_hook_label(i);
}

}  // namespace
}  // namespace ls::api
