#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "api/client.h"
#include "api/dns_live.h"
#include "api/metrics_dns.h"
#include "api/server.h"
#include "dns/zone_text.h"
#include "dns_fake.h"

namespace ls::api {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ApiDns : public testing::Test {
 protected:
  void SetUp() override { start({}); }
  void start(Millis deferred) {
    server_.reset();
    Server::Settings s;
    s.socket = path_;
    if (deferred > 0ms) s.deferred = deferred;
    auto r = Server::start(s, provider_);
    ASSERT_TRUE(r) << r.error().text();
    server_ = std::move(*r);
  }
  HttpReply get(std::string_view target) {
    auto r = Client(path_, 5000ms).get(target);
    EXPECT_TRUE(r) << target << ": " << (r ? "" : r.error().text());
    return r ? *r : HttpReply{};
  }
  Json json(std::string_view target, unsigned status = 200) {
    auto r = get(target);
    EXPECT_EQ(r.status, status) << target << ": " << r.body;
    return Json::parse(r.body, nullptr, false);
  }

  TempDir dir_;
  const std::string path_ = dir_ / "api.sock";
  FakeDnsProvider provider_;
  std::unique_ptr<Server> server_;
};

TEST_F(ApiDns, OverviewHasListenersCountersUpstreamsAndZones) {
  auto j = json("/v1/dns");
  EXPECT_EQ(j["listeners"][1]["error"], "bind: Address already in use");
  ASSERT_EQ(j["services"].size(), 1u) << "this node is no authority";
  EXPECT_EQ(j["services"][0]["responses"]["zone"]["NXDOMAIN"], 10);
  EXPECT_EQ(j["services"][0]["tcp"]["open"], 1);
  EXPECT_EQ(j["upstreams"][1]["aside"], true);
  EXPECT_EQ(j["upstreams"][1]["events"]["timeout"], 9);
  EXPECT_EQ(j["cache"]["hits"], 50);
  EXPECT_EQ(j["forwarder"]["mismatches"], 7);
  EXPECT_EQ(j["forwards"][1]["upstreams"], Json({"10.9.9.9:53"}));
  EXPECT_EQ(j["zones"], json("/v1/dns/zones"));
}

TEST_F(ApiDns, AZoneIsListedOnceWithItsFurtherNames) {
  auto j = json("/v1/dns/zones");
  ASSERT_EQ(j.size(), 2u);
  EXPECT_EQ(j[0]["zone"], "l4lb.thisdcos.directory.");
  EXPECT_EQ(j[0]["loaded"], false);
  EXPECT_EQ(j[1]["zone"], "mesos.");
  EXPECT_EQ(j[1]["aliases"], Json({"mesos.thisdcos.directory."}));
  EXPECT_EQ(j[1]["serial"], 7);
  EXPECT_EQ(j[1]["records"], 4);
  EXPECT_EQ(j[1]["names"], 2);
  EXPECT_EQ(j[1]["service"], "resolver");
}

TEST_F(ApiDns, ZoneTextIsReadBackByLdns) {
  auto r = get("/v1/dns/zones/MESOS");
  ASSERT_EQ(r.status, 200u) << r.body;
  EXPECT_THAT(r.body, HasSubstr("$ORIGIN mesos.\n$TTL 60\n"));
  auto back = dns::parse_zone_text(r.body, "dump", std::nullopt, 1);
  EXPECT_THAT(back.problems, ElementsAre());
  EXPECT_EQ(back.apex.text(), "mesos.");
  EXPECT_EQ(back.records.size(), 4u);
  EXPECT_THAT(r.body, HasSubstr("SOA\tns1.mesos. root.ns1.mesos. 7 "));
  // Under the further name, with that name's own targets.
  auto alias = get("/v1/dns/zones/mesos.thisdcos.directory");
  EXPECT_THAT(alias.body, HasSubstr("_web._tcp.marathon.mesos.thisdcos.directory."));
  EXPECT_THAT(alias.body, HasSubstr("0 1 31001 web.marathon.mesos.thisdcos.directory."));
  EXPECT_THAT(get("/v1/dns/zones/l4lb.thisdcos.directory").body, HasSubstr("NOT LOADED"));
  EXPECT_EQ(json("/v1/dns/zones/nope.", 404)["error"], "no zone of this node is named 'nope.'");
  EXPECT_EQ(json("/v1/dns/zones/mesos?service=authority", 400)["parameter"], "service");
  EXPECT_THAT(json("/v1/dns/zones/a..b", 404)["error"].get<std::string>(), HasSubstr("a..b"));
}

TEST_F(ApiDns, LookupIsAnsweredByAWorkerLater) {
  auto j = json("/v1/dns/lookup?name=web.marathon.mesos");
  EXPECT_EQ(j["rcode"], "NOERROR");
  EXPECT_EQ(j["type"], "A");
  EXPECT_EQ(j["service"], "resolver");
  ASSERT_EQ(j["answer"].size(), 2u);
  EXPECT_EQ(j["answer"][0], Json({{"name", "web.marathon.mesos."}, {"type", "A"}, {"ttl", 60}, {"data", "10.0.0.7"}}));
  EXPECT_EQ(j["flags"], Json({"aa", "rd", "ra"}));
  EXPECT_FALSE(j.contains("rule"));
  EXPECT_EQ(json("/v1/dns/lookup?name=nope.mesos&type=srv")["rcode"], "NXDOMAIN");
  EXPECT_THAT(json("/v1/dns/lookup?name=broken")["error"].get<std::string>(), HasSubstr("read a DNS message"));
}

TEST_F(ApiDns, ExplainSaysRuleZoneOriginAndUpstreams) {
  auto j = json("/v1/dns/explain?name=WEB.marathon.mesos");
  EXPECT_EQ(j["zone"]["zone"], "mesos.");
  EXPECT_EQ(j["zone"]["alias"], false);
  EXPECT_EQ(j["zone"]["origins"].size(), 1u);
  j = json("/v1/dns/explain?name=www.corp&type=A&service=resolver");
  EXPECT_EQ(j["rule"], "forward corp.");
  EXPECT_EQ(j["path"], "forward");
  EXPECT_EQ(j["zone"], nullptr);
  EXPECT_EQ(j["forward"]["group"], "corp.");
  ASSERT_EQ(j["forward"]["asked"].size(), 2u);
  EXPECT_EQ(j["forward"]["asked"][0]["outcome"], "timeout");
  EXPECT_EQ(j["forward"]["asked"][1]["tcp"], true);
  EXPECT_EQ(j["cache_left_s"], 55);
}

TEST_F(ApiDns, WrongQuestionsNameTheParameter) {
  for (auto& [query, parameter] : std::vector<std::pair<std::string, std::string>>{
           {"", "name"}, {"name=a..b", "name"}, {"name=x&type=NOPE", "type"}, {"name=x&type=AXFR", "type"}, {"name=x&type=OPT", "type"},
           {"name=x&service=authority", "service"}, {"name=x&service=both", "service"}, {"name=x&typ=A", "typ"},
           {"name=" + std::string(300, 'a'), "name"}, {"name=%zz", "name"}}) {
    for (auto* path : {"/v1/dns/lookup?", "/v1/dns/explain?"}) {
      EXPECT_EQ(json(path + query, 400)["parameter"], parameter) << query;
    }
  }
}

TEST_F(ApiDns, AWorkerThatStaysSilentIs504AndHoldsNobodyUp) {
  start(200ms);
  provider_.source.silent = true;
  HttpReply late;
  std::thread t([&] { late = get("/v1/dns/lookup?name=x"); });
  EXPECT_EQ(get("/livez").status, 200u);
  t.join();
  EXPECT_EQ(late.status, 504u);
  EXPECT_THAT(late.body, HasSubstr("no answer in 200 ms"));
}

TEST_F(ApiDns, TheServerEndsWhileAReplyIsAwaited) {
  provider_.source.silent = true;
  std::thread t([&] { auto ignored = Client(path_, 5000ms).get("/v1/dns/lookup?name=x"); });
  std::this_thread::sleep_for(100ms);
  server_.reset();
  t.join();
}

TEST_F(ApiDns, FlushIsAPost) {
  EXPECT_EQ(get("/v1/dns/flush").status, 405u);
  auto r = Client(path_, 5000ms).post("/v1/dns/flush?name=Corp");
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_EQ(r->status, 200u);
  EXPECT_EQ(Json::parse(r->body), Json({{"name", "Corp."}, {"flushed", 3}}));
  EXPECT_EQ(provider_.source.flushed, "Corp.");
  EXPECT_EQ(Client(path_, 5000ms).post("/v1/dns/flush")->status, 200u);
  EXPECT_EQ(provider_.source.flushed, ".");
  EXPECT_EQ(Client(path_, 5000ms).post("/v1/dns/lookup?name=x")->status, 405u);
  EXPECT_EQ(Client(path_, 5000ms).post("/v1/dns/flush?name=a..b")->status, 400u);
}

TEST_F(ApiDns, WithoutDnsThePathsSaySo) {
  provider_.has_dns = false;
  EXPECT_EQ(json("/v1/dns", 404)["error"], "this node serves no DNS");
  EXPECT_FALSE(json("/v1/status").contains("dns"));
  EXPECT_THAT(get("/metrics").body, Not(HasSubstr("loadstar_dns_")));
}

TEST_F(ApiDns, StatusSaysWhatIsWrong) {
  auto j = json("/v1/status")["dns"];
  EXPECT_EQ(j["unbound"], Json({"resolver 198.51.100.2:53: bound: udp, bind: Address already in use"}));
  EXPECT_EQ(j["not_loaded"], Json({"resolver l4lb.thisdcos.directory."}));
  EXPECT_EQ(j["aside"], Json({"10.0.0.2:53 (3 failures in a row)"}));
  EXPECT_EQ(j["listeners"], 2);
  EXPECT_EQ(json("/v1/status")["headline"], "READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050");
}

TEST_F(ApiDns, Metrics) {
  auto m = get("/metrics").body;
  for (auto* line : {"loadstar_dns_queries_total{service=\"resolver\",proto=\"udp\"} 100\n",
                     "loadstar_dns_responses_total{service=\"resolver\",path=\"zone\",rcode=\"NXDOMAIN\"} 10\n",
                     "loadstar_dns_request_seconds_bucket{service=\"resolver\",path=\"forward\",le=\"0.01\"} 25\n",
                     "loadstar_dns_request_seconds_bucket{service=\"resolver\",path=\"forward\",le=\"+Inf\"} 30\n",
                     "loadstar_dns_request_seconds_count{service=\"resolver\",path=\"forward\"} 30\n",
                     "loadstar_dns_upstream_timeouts_total{upstream=\"10.0.0.2:53\"} 9\n",
                     "loadstar_dns_upstream_mismatches_total{upstream=\"10.0.0.2:53\"} 4\n",
                     "loadstar_dns_upstream_failures_total{upstream=\"10.0.0.1:53\"} 2\n",
                     "loadstar_dns_upstream_rtt_seconds{upstream=\"10.0.0.1:53\"} 0.00125\n",
                     "loadstar_dns_rrl_slipped_total{service=\"resolver\"} 3\n", "loadstar_dns_rrl_dropped_total{service=\"resolver\"} 4\n",
                     "loadstar_dns_truncated_total{service=\"resolver\"} 6\n", "loadstar_dns_cache_entries 12\n",
                     "loadstar_dns_zone_records{service=\"resolver\",zone=\"mesos.\"} 4\n",
                     "loadstar_dns_zone_serial{service=\"resolver\",zone=\"mesos.\"} 7\n",
                     "loadstar_dns_zone_loaded{service=\"resolver\",zone=\"l4lb.thisdcos.directory.\"} 0\n",
                     "loadstar_dns_listeners{service=\"resolver\",state=\"unbound\"} 1\n",
                     "loadstar_dns_tcp_connections{service=\"resolver\"} 1\n", "loadstar_dns_worker_lag_seconds 0.002\n"}) {
    EXPECT_THAT(m, HasSubstr(line));
  }
  EXPECT_THAT(m, Not(HasSubstr("mesos.thisdcos.directory.\"} "))) << "a further name is not a zone of its own";
}

TEST_F(ApiDns, KernelIsNotThereUntilItsProgramsAre) {
  EXPECT_EQ(json("/v1/dns/kernel", 404)["error"], "no DNS programs are in the kernel");
  EXPECT_FALSE(json("/v1/status")["dns"].contains("kernel"));
  EXPECT_THAT(get("/metrics").body, Not(HasSubstr("loadstar_dns_kernel_")));
  EXPECT_EQ(json("/v1/dns/explain?name=web.marathon.mesos")["kernel"], nullptr);
}

TEST_F(ApiDns, KernelCountsByHookAndResult) {
  provider_.source.kernel_view = sample_kernel();
  auto j = json("/v1/dns/kernel");
  EXPECT_EQ(j["enabled"], true);
  EXPECT_EQ(j["answered"], 960) << "what explain asked does not count";
  EXPECT_EQ(j["dropped"], 5);
  EXPECT_EQ(j["up"], 35);
  EXPECT_EQ(j["names"], 100);
  EXPECT_EQ(j["cached_answers"], 40);
  EXPECT_EQ(j["slots"], 1024);
  ASSERT_EQ(j["counts"].size(), 5u) << "only what occurred";
  EXPECT_EQ(j["counts"][0], Json({{"hook", "xdp"}, {"result", "hit"}, {"text", "answered with records"}, {"up", false}, {"count", 900}}));
  EXPECT_EQ(j["counts"][3]["result"], "up_miss");
  EXPECT_EQ(j["counts"][3]["up"], true);
  EXPECT_EQ(json("/v1/dns/kernel?all=1")["counts"].size(), size_t(LS_DNS_HOOK_MAX) * LS_DNS_RESULT_MAX);
  EXPECT_EQ(json("/v1/dns/kernel?all=2", 400)["parameter"], "all");
  auto status = json("/v1/status");
  EXPECT_EQ(status["dns"]["kernel"]["answered"], 960);
  EXPECT_FALSE(status["dns"]["kernel"].contains("counts"));
  EXPECT_EQ(status["warnings"], Json::array());
}

TEST_F(ApiDns, KernelMetrics) {
  provider_.source.kernel_view = sample_kernel();
  provider_.source.kernel_view->no_room = 4;
  provider_.source.kernel_view->incomplete_zones = 1;
  auto m = get("/metrics").body;
  for (auto* line : {"loadstar_dns_kernel_questions_total{hook=\"xdp\",result=\"hit\"} 900\n",
                     "loadstar_dns_kernel_questions_total{hook=\"lo\",result=\"up_miss\"} 35\n",
                     "loadstar_dns_kernel_questions_total{hook=\"port\",result=\"up_off\"} 0\n", "loadstar_dns_kernel_enabled 1\n",
                     "loadstar_dns_kernel_names 100\n", "loadstar_dns_kernel_views 12\n", "loadstar_dns_kernel_ready_answers 3\n",
                     "loadstar_dns_kernel_cached_answers 40\n", "loadstar_dns_kernel_names_without_room 4\n",
                     "loadstar_dns_kernel_incomplete_zones 1\n", "loadstar_dns_kernel_slots_used 143\n", "loadstar_dns_kernel_slots 1024\n",
                     "loadstar_dns_kernel_bytes_used 3145728\n", "loadstar_dns_kernel_bytes 100663296\n"}) {
    EXPECT_THAT(m, HasSubstr(line));
  }
  EXPECT_THAT(m, Not(HasSubstr("\"unknown\"")));
}

TEST_F(ApiDns, WithoutRoomAWarningSaysWhatToRaise) {
  auto warning = [&](uint64_t slots_used, uint64_t bytes_used) {
    auto k = sample_kernel();
    k.no_room = 12;
    k.slots_used = slots_used;
    k.bytes_used = bytes_used;
    provider_.source.kernel_view = k;
    auto w = json("/v1/status")["warnings"];
    return w.empty() ? "" : w[0].get<std::string>();
  };
  EXPECT_THAT(warning(1000, 3 << 20), HasSubstr("12 DNS names found no room in the kernel and are answered by the process: raise dns.kernel_names (1000 of 1024"));
  EXPECT_THAT(warning(100, 95 << 20), HasSubstr("raise dns.kernel_megabytes (100 of 1024 places, 95 of 96 MiB used)"));
  EXPECT_THAT(warning(1000, 95 << 20), HasSubstr("raise dns.kernel_names and dns.kernel_megabytes"));
  EXPECT_THAT(json("/v1/status")["headline"].get<std::string>(), HasSubstr("1 warning"));
  provider_.source.kernel_view->enabled = false;
  EXPECT_EQ(json("/v1/status")["warnings"], Json::array()) << "switched off on purpose";
}

TEST_F(ApiDns, ExplainComparesTheKernelsAnswer) {
  auto& source = provider_.source;
  using Bytes = std::vector<uint8_t>;
  Bytes asked;
  auto answers = [&](std::vector<std::string> addresses, std::function<void(Bytes&)> change = {}) {
    source.try_ = [&asked, addresses, change](Bytes question) {
      asked = question;
      auto answer = answer_to(question, 0, addresses);
      if (change) change(answer);
      return KernelDnsTry{"hit", "answered with records", answer};
    };
    return json("/v1/dns/explain?name=web.marathon.mesos")["kernel"];
  };
  auto j = answers({"10.0.0.7", "10.0.0.8"});
  EXPECT_EQ(j, Json({{"answers", true}, {"result", "hit"}, {"text", "answered with records"}, {"size", 79}, {"agrees", true}}));
  ASSERT_GT(asked.size(), 12u);
  EXPECT_EQ(asked[2] & 1, 1) << "RD, as a stub resolver sends it";
  EXPECT_EQ(asked[11], 1) << "with EDNS";
  EXPECT_EQ(answers({"10.0.0.8", "10.0.0.7"})["agrees"], true) << "the order of records is not part of it";
  EXPECT_EQ(answers({"10.0.0.8", "10.0.0.8"})["agrees"], false);
  EXPECT_EQ(answers({"10.0.0.7"})["agrees"], false);
  EXPECT_EQ(answers({"10.0.0.7", "10.0.0.8"}, [](Bytes& a) { a[2] &= uint8_t(~4); })["agrees"], false) << "AA";
  EXPECT_EQ(answers({"10.0.0.7", "10.0.0.8"}, [](Bytes& a) { a[0] ^= 1; })["agrees"], false) << "id";
  EXPECT_EQ(answers({"10.0.0.7", "10.0.0.8"}, [](Bytes& a) { a[a.size() - 7] ^= 1; })["agrees"], false) << "size in OPT";
  // A TTL may be one second behind, no more. The first record's ends 10 octets behind the question.
  auto ttl_end = 12 + dns_name("web.marathon.mesos.").wire().size() + 4 + 9;
  EXPECT_EQ(answers({"10.0.0.7", "10.0.0.8"}, [&](Bytes& a) { a[ttl_end] = 59; })["agrees"], true);
  EXPECT_EQ(answers({"10.0.0.7", "10.0.0.8"}, [&](Bytes& a) { a[ttl_end] = 58; })["agrees"], false);
  EXPECT_EQ(answers({"10.0.0.7", "10.0.0.8"}, [](Bytes& a) { a.resize(20); })["agrees"], nullptr) << "cannot be read";
  source.try_ = [](Bytes) { return KernelDnsTry{"up_name", "name or type that the process answers", {}}; };
  j = json("/v1/dns/explain?name=web.marathon.mesos")["kernel"];
  EXPECT_EQ(j["answers"], false);
  EXPECT_EQ(j["agrees"], nullptr);
  EXPECT_EQ(j["result"], "up_name");
}

TEST_F(ApiDns, MonitorsParametersOfDns) {
  for (auto& [query, parameter] : std::vector<std::pair<std::string, std::string>>{
           {"name=a..b", "name"}, {"result=up_nothing", "result"}, {"result=", "result"}, {"type=drop&name=mesos", "name"},
           {"type=new&result=hit", "result"}, {"hook=eth0", "hook"}}) {
    EXPECT_EQ(json("/v1/monitor?" + query, 400)["parameter"], parameter) << query;
  }
}

TEST(DnsLiveKernel, IsThereFromWhenItIsSet) {
  Epoch epoch;
  SystemClock clock;
  dns::Server server({}, epoch, clock);
  DnsLive live(server, epoch, {});
  std::string flushed;
  EXPECT_FALSE(live.kernel());
  EXPECT_FALSE(live.kernel_try(dns::ServiceKind::kResolver, {}));
  live.set_kernel({[] { return sample_kernel(); },
                   [](dns::ServiceKind service, std::span<const uint8_t> q) {
                     return KernelDnsTry{service == dns::ServiceKind::kAuthority ? "authority" : "resolver", "", {q.begin(), q.end()}};
                   },
                   [&](const DnsName& suffix) { flushed = suffix.text(); }});
  ASSERT_TRUE(live.kernel());
  EXPECT_EQ(live.kernel()->names, 100u);
  uint8_t question[] = {1, 2};
  auto tried = live.kernel_try(dns::ServiceKind::kAuthority, question);
  ASSERT_TRUE(tried);
  EXPECT_EQ(tried->result, "authority");
  EXPECT_EQ(tried->answer, (std::vector<uint8_t>{1, 2}));
  live.flush(dns_name("corp."));
  EXPECT_EQ(flushed, "corp.") << "the kernel must not go on with what was dropped here";
  live.set_kernel({});
  EXPECT_FALSE(live.kernel());
}

TEST_F(ApiDns, PromtoolLikesTheMetrics) {
  provider_.source.kernel_view = sample_kernel();
  if (system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "promtool is not installed (Debian package prometheus)";
  auto file = dir_ / "metrics", out = dir_ / "out";
  std::ofstream(file) << get("/metrics").body;
  int rc = system(("promtool check metrics <" + file + " >" + out + " 2>&1").c_str());
  std::ifstream said(out);
  EXPECT_EQ(rc, 0) << std::string(std::istreambuf_iterator<char>(said), {});
}

TEST_F(ApiDns, ZonesAreBoundedInTheMetrics) {
  Families out;
  struct Many : FakeDns {
    std::shared_ptr<const dns::Routes> routes(dns::ServiceKind s) override {
      if (s != dns::ServiceKind::kResolver) return nullptr;
      std::vector<dns::ZoneView> views;
      auto table = std::make_shared<dns::ZoneTable>(epoch());
      for (int i = 0; i < 1000; i++) {
        dns::ZoneView v;
        v.apex = dns_name(("z" + std::to_string(i) + ".thisdcos.directory.").c_str());
        v.table = std::make_shared<dns::ZoneTable>(epoch());
        views.push_back(std::move(v));
      }
      return std::make_shared<const dns::Routes>(std::move(views), std::vector<dns::ForwardGroup>{});
    }
  } many;
  dns_families(out, many);
  size_t seen = 0;
  for (auto& f : out) {
    if (f.name == "loadstar_dns_zone_records") seen = f.metric.size();
  }
  EXPECT_EQ(seen, kMaxZones);
}

TEST_F(ApiDns, NamesOfDcosNetsMetrics) {
  auto m = dcos_net_dns_metrics(provider_.source);
  for (auto* line : {"forwarder_failures_total{zone=\".\"} 3\n", "forwarder_requests_duration_seconds_count{zone=\".\"} 30\n",
                     "worker_failures_total{protocol=\"udp\",upstream_address=\"10.0.0.2:53\",reason=\"timeout\"} 9\n",
                     "zone_records{zone=\"mesos.\"} 4\n"}) {
    EXPECT_THAT(m, HasSubstr(line));
  }
}

}  // namespace
}  // namespace ls::api
