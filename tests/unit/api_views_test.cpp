#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "api/labels.h"
#include "api_fake.h"
#include "util/bounded_queue.h"
#include "util/histogram.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;

StatusView status_with(const std::function<void(StatusView&)>& change) {
  auto s = ready_status();
  change(s);
  return s;
}
StatusView starting(size_t reached, double awaited_s, std::string error = {}) {
  return status_with([&](StatusView& s) {
    s.ready = false;
    for (size_t i = reached; i < s.startup.size(); i++) s.startup[i] = {s.startup[i].name, false, awaited_s};
    s.source.connected = false;
    s.source.last_error = std::move(error);
  });
}

TEST(Headline, SaysWhatMattersFirst) {
  struct Case {
    StatusView status;
    const char* want;
  };
  const Case cases[] = {
      {ready_status(), "READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050"},
      {status_with([](auto& s) { s.tables = {1, 1, 0, 9}; }),
       "READY: 1 VIP, 1 backend, in sync, source mesos 10.0.0.1:5050"},
      {status_with([](auto& s) { s.tables = {}; }), "READY: 0 VIPs, 0 backends, in sync, source mesos 10.0.0.1:5050"},
      {status_with([](auto& s) {
         s.source.connected = false;
         s.source.since_s = 95;
         s.source.last_error = "connect: Connection refused";
       }),
       "READY: 3 VIPs, 4 backends, source mesos 10.0.0.1:5050 lost since 1 min 35 s, last known state is served, last "
       "error connect: Connection refused"},
      {status_with([](auto& s) {
         s.warnings = {"rp_filter"};
         s.problem_count = 20;
         s.attachments.push_back({"lo", "lo", "clsact", 0, AttachState::kForeign, "program 12 (cil_x) is there"});
         s.attachments.push_back({"veth9", "port_in", "clsact", 0, AttachState::kWaiting, ""});
       }),
       "READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050, 1 warning, 20 problems, 1 attachment failed"},
      {status_with([](auto& s) { s.reconcile[0].last_error = "update ls_svc: No space left on device"; }),
       "READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050, reconciler lb fails: update ls_svc: No space "
       "left on device"},
      {starting(0, 0.4), "NOT READY: 0 of 7: waiting for config_ok, since 400 ms"},
      {starting(3, 12.9, "connect: Connection refused"),
       "NOT READY: 3 of 7: waiting for source_connected, last error connect: Connection refused, since 12 s"},
      {starting(6, 3700), "NOT READY: 6 of 7: waiting for serving, since 1 h 1 min"},
      {status_with([](auto& s) { s.ready = false; }),
       "NOT READY: every start-up state is reached, but the daemon says no"},
  };
  for (auto& c : cases) EXPECT_EQ(headline(c.status), c.want);
}

TEST(Headline, DurationsReadLikeSpeech) {
  for (auto& [seconds, text] : std::vector<std::pair<double, const char*>>{{-1, "0 s"},
                                                                            {0, "0 s"},
                                                                            {0.0004, "1 ms"},
                                                                            {0.85, "850 ms"},
                                                                            {0.9999, "999 ms"},
                                                                            {1, "1 s"},
                                                                            {59.9, "59 s"},
                                                                            {60, "1 min 0 s"},
                                                                            {250, "4 min 10 s"},
                                                                            {3600 * 3 + 300, "3 h 5 min"},
                                                                            {86400 * 2 + 4 * 3600, "2 d 4 h"},
                                                                            {std::nan(""), "0 s"},
                                                                            {1e300, "11574074074 d 1 h"}}) {
    EXPECT_EQ(duration_text(seconds), text) << seconds;
  }
}

TEST(Labels, ComeFromTheAbiLists) {
  EXPECT_EQ(hook_label(LS_HOOK_UPLINK_OUT), "uplink_out");
  EXPECT_EQ(verdict_label(LS_VERDICT_DROP), "drop");
  EXPECT_EQ(reason_label(LS_DROP_SOCK_REFUSED), "sock_refused");
  EXPECT_EQ(event_label(LS_EVENT_SOCK), "sock");
  EXPECT_EQ(reason_label(200), "unknown");
  EXPECT_EQ(hook_label(LS_HOOK_MAX), "unknown");
  EXPECT_EQ(parse_event("dead"), LS_EVENT_DEAD);
  EXPECT_EQ(parse_event(""), std::nullopt);
  EXPECT_EQ(parse_hook("uplink"), std::nullopt);
  EXPECT_EQ(all_events(), "drop, new, reply, dead, icmp, sock, dns");
  for (uint32_t i = 0; i < LS_DROP_MAX; i++) EXPECT_NE(reason_text(i), "unknown") << i;
  EXPECT_EQ(hook_label(256 + LS_HOOK_LO), "unknown") << "a number that does not fit a byte is not cut to one";
  EXPECT_EQ(dns_hook_label(LS_DNS_HOOK_LO), "lo");
  EXPECT_EQ(dns_result_label(LS_DNS_UP_DNSSEC), "up_dnssec");
  EXPECT_EQ(dns_result_label(LS_DNS_RESULT_MAX), "unknown");
  EXPECT_EQ(parse_dns_result("nxdomain"), LS_DNS_NXDOMAIN);
  EXPECT_EQ(parse_dns_hook("uplink_in"), std::nullopt);
  EXPECT_EQ(all_dns_hooks(), "xdp, uplink, port, lo, try");
  for (uint32_t i = 0; i < LS_DNS_RESULT_MAX; i++) {
    EXPECT_NE(dns_result_text(i), "unknown") << i;
    EXPECT_EQ(dns_result_is_final(i), !dns_result_label(i).starts_with("up_")) << i;
  }
}

TEST(VipSelector, TakesWhatPeopleHaveAtHand) {
  const ServiceKey v4{ip("11.0.0.1"), 80, Protocol::kTcp}, v6{ip("fd01:c::1"), 80, Protocol::kUdp};
  struct Case {
    const char* text;
    bool is_v4, is_v6;  // whether it selects these, both named web.marathon
  };
  const Case cases[] = {
      {"web.marathon", true, true},
      {"WEB.Marathon", true, true},
      {"web.marathon.l4lb.thisdcos.directory", true, true},
      {"web.marathon.l4lb.thisdcos.directory.:80", true, true},
      {"web.marathon:80", true, true},
      {"web.marathon:81", false, false},
      {"web.marathon/udp", false, true},
      {"web.marathon:80/TCP", true, false},
      {"web", false, false},
      {"11.0.0.1", true, false},
      {"11.0.0.1:80", true, false},
      {"11.0.0.1:80/tcp", true, false},
      {"11.0.0.1/udp", false, false},
      {"11.0.0.1:8080", false, false},
      {"fd01:c::1", false, true},
      {"[fd01:c::1]", false, true},
      {"[fd01:c::1]:80/udp", false, true},
      {"fd01:c::1:80", false, true},  // as GET /v1/vips writes it
      {"fd01:c::1:81", false, false},
      {"a/b.marathon", false, false},  // a name with a slash is a name
  };
  for (auto& c : cases) {
    auto s = VipSelector::parse(c.text);
    ASSERT_TRUE(s) << c.text << ": " << s.error().text();
    EXPECT_EQ(s->matches(v4, "web.marathon"), c.is_v4) << c.text;
    EXPECT_EQ(s->matches(v6, "web.marathon"), c.is_v6) << c.text;
  }
  EXPECT_TRUE(VipSelector::parse("a/b.marathon")->matches(v4, "a/b.marathon"));
  // The whole text may be an address although its end looks like a port.
  EXPECT_TRUE(VipSelector::parse("fd01:c::1:80")->matches({ip("fd01:c::1:80"), 443, Protocol::kTcp}, ""));
  EXPECT_FALSE(VipSelector::parse("11.0.0.1")->matches({ip("10.0.0.1"), 80, Protocol::kTcp}, "11.0.0.1"));
  for (auto* bad : {"", ":80", "/tcp", "11.0.0.1:80/sctp", "web:port", "web:70000", "[web]:80", ".", "web:"}) {
    EXPECT_FALSE(VipSelector::parse(bad)) << bad;
  }
}

TEST(BackendSelector, TakesAddressEndpointAndNumber) {
  auto match = [](const char* text) { return BackendSelector::parse(text)->matches(ep("10.0.0.7:31001"), 5); };
  EXPECT_TRUE(match("10.0.0.7"));
  EXPECT_TRUE(match("10.0.0.7:31001"));
  EXPECT_TRUE(match("#5"));
  EXPECT_FALSE(match("10.0.0.7:31002"));
  EXPECT_FALSE(match("10.0.0.8"));
  EXPECT_FALSE(match("#6"));
  EXPECT_TRUE(BackendSelector::parse("[fd00::1]:80")->matches(ep("[fd00::1]:80"), 0));
  for (auto* bad : {"", "#", "#x", "#-1", "web", "10.0.0.7:", "10.0.0"}) EXPECT_FALSE(BackendSelector::parse(bad)) << bad;
}

TEST(EventFilter, MatchesEachField) {
  auto e = drop_event();
  EventFilter f;
  EXPECT_TRUE(f.matches(e));
  f.types = 1u << LS_EVENT_NEW;
  EXPECT_FALSE(f.matches(e));
  f.types |= 1u << LS_EVENT_DROP;
  EXPECT_TRUE(f.matches(e));
  f.hook = LS_HOOK_CONNECT;
  EXPECT_FALSE(f.matches(e));
  f.hook = LS_HOOK_PORT_IN;
  f.vip = *VipSelector::parse("web.marathon:80");
  EXPECT_TRUE(f.matches(e));
  f.backend = *BackendSelector::parse("10.0.0.7");
  EXPECT_FALSE(f.matches(e)) << "the event has no backend";
  e.backend = ep("10.0.0.7:1");
  EXPECT_TRUE(f.matches(e));
  e.service.reset();
  EXPECT_FALSE(f.matches(e));
}

TEST(SpecVips, HasExactlyTheReferencesShape) {
  auto want = Json::parse(R"([
    {"vip":"10.99.0.1:5432","protocol":"tcp","backend":[{"ip":"10.0.0.9","port":5432}]},
    {"vip":"web.marathon.l4lb.thisdcos.directory:80","protocol":"tcp","backend":[
       {"ip":"10.0.0.7","port":31001},{"ip":"10.0.0.8","port":31002},{"ip":"fd00::8","port":31002}]}])");
  auto got = spec_vips(sample_vips());
  // IPv4 sorts after IPv6 in the mapped form's bytes or before it; the order of backends is not part of the shape.
  for (auto* list : {&want, &got}) {
    for (auto& v : *list) std::sort(v["backend"].begin(), v["backend"].end());
  }
  EXPECT_EQ(got, want);
  VipView v6{{ip("fd01::5"), 53, Protocol::kUdp}, "", "", "", "", 0, 0, {}};
  EXPECT_EQ(spec_vips({v6}), Json::parse(R"([{"vip":"fd01::5:53","protocol":"udp","backend":[]}])"));
  EXPECT_EQ(spec_vips({}), Json::array());
}

TEST(Views, EventJsonHasTimeAndReason) {
  Json j = drop_event();
  EXPECT_EQ(j["time"], "2023-11-14T22:13:20.123456Z");
  EXPECT_EQ(j["reason"], "no_backend");
  EXPECT_EQ(j["service"], "11.0.0.1:80/tcp");
  EXPECT_EQ(j["backend"], nullptr);
  auto e = drop_event();
  e.reason = 0;
  EXPECT_FALSE(Json(e).contains("reason"));
}

TEST(BoundedQueue, RefusesTheNewestAndCounts) {
  BoundedQueue<int> q(2);
  using Pushed = BoundedQueue<int>::Pushed;
  EXPECT_EQ(q.push(1), Pushed::kFirst);
  EXPECT_EQ(q.push(2), Pushed::kMore);
  EXPECT_EQ(q.push(3), Pushed::kRefused);
  EXPECT_EQ(q.push(4), Pushed::kRefused);
  auto taken = q.take();
  EXPECT_THAT(taken.values, testing::ElementsAre(1, 2));
  EXPECT_EQ(taken.refused, 2u);
  EXPECT_EQ(q.take().refused, 0u);
  EXPECT_EQ(q.push(5), Pushed::kFirst);
}

TEST(Histogram, PutsAValueInTheFirstBucketThatHoldsIt) {
  Histogram h({0.1, 1});
  for (double v : {0.05, 0.1, 0.2, 1.0, 5.0}) h.observe(v);
  auto s = h.snapshot();
  EXPECT_THAT(s.counts, testing::ElementsAre(2, 2, 1));
  EXPECT_DOUBLE_EQ(s.sum, 6.35);
}

TEST(EventHub, TellsWhatIsWantedAndCountsLosses) {
  uint32_t wanted = 99;
  EventHub hub([&](uint32_t mask) { wanted = mask; });
  int wakes = 0;
  EventFilter drops_only;
  drops_only.types = 1u << LS_EVENT_DROP;
  auto a = hub.subscribe(drops_only, [&] { wakes++; }, 2);
  EXPECT_EQ(wanted, 1u << LS_EVENT_DROP);
  EventFilter fresh;
  fresh.types = 1u << LS_EVENT_NEW;
  auto b = hub.subscribe(fresh, [] {}, 2);
  EXPECT_EQ(wanted, 1u << LS_EVENT_DROP | 1u << LS_EVENT_NEW);
  EXPECT_EQ(hub.wanted(), wanted);
  for (int i = 0; i < 5; i++) hub.publish(drop_event());
  EXPECT_EQ(wakes, 1) << "only the first of an empty queue wakes";
  EXPECT_EQ(hub.lost(), 3u);
  auto taken = a->take();
  EXPECT_EQ(taken.values.size(), 2u);
  EXPECT_EQ(taken.refused, 3u);
  EXPECT_TRUE(b->take().values.empty());
  hub.unsubscribe(a);
  EXPECT_EQ(wanted, 1u << LS_EVENT_NEW);
  hub.publish(drop_event());
  EXPECT_TRUE(a->take().values.empty());
  hub.unsubscribe(b);
  EXPECT_EQ(wanted, 0u);
}

TEST(EventHub, PublishesWhileOthersComeAndGo) {
  EventHub hub(nullptr);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> published{0};
  std::thread publisher([&] {
    while (!stop) {
      hub.publish(drop_event());
      published++;
    }
  });
  uint64_t got = 0;
  for (int i = 0; i < 500; i++) {
    auto s = hub.subscribe({}, [] {}, 16);
    auto before = published.load();
    while (published < before + 3) std::this_thread::yield();
    got += s->take().values.size();
    hub.unsubscribe(s);
  }
  stop = true;
  publisher.join();
  EXPECT_GE(got, 500u);
}

}  // namespace
}  // namespace ls::api
