#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "api/dns_event.h"
#include "api/server.h"
#include "dns/zone_text.h"
#include "cli_fixture.h"
#include "dns_fake.h"

namespace ls {
namespace {

using namespace api;
using Json = nlohmann::json;
using testing::HasSubstr;

class CliDns : public CliTest<FakeDnsProvider> {};

TEST_F(CliDns, LookupPrintsRecords) {
  auto r = cli("dns lookup web.marathon.mesos");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, "web.marathon.mesos.  60  A  10.0.0.7\nweb.marathon.mesos.  60  A  10.0.0.8\n");
  EXPECT_EQ(r.err, "");
  EXPECT_THAT(cli("dns lookup web.marathon.mesos A -o wide").out,
              HasSubstr("answer     NOERROR, 2 records, 79 octets, flags aa rd ra, from zone in 0.2 ms\n"));
  EXPECT_EQ(Json::parse(cli("dns lookup web.marathon.mesos -o json").out)["answer"].size(), 2u);
}

TEST_F(CliDns, WhatIsNotThereIsExitCode1) {
  auto r = cli("dns lookup nope.mesos");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.out, "");
  EXPECT_EQ(r.err, "loadstar: there is no name nope.mesos. (NXDOMAIN)\n");
  r = cli("dns lookup nodata.mesos AAAA");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: nodata.mesos. has no record of type AAAA\n");
  EXPECT_EQ(cli("dns lookup nope.mesos -o json").code, 1);
  EXPECT_EQ(cli("dns lookup broken").code, 1);
  r = cli("dns zone dump nope");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: no zone of this node is named 'nope.'\n");
}

TEST_F(CliDns, WrongUseIsExitCode2) {
  for (auto* args : {"dns", "dns lookup", "dns lookup a..b", "dns lookup x NOPE", "dns lookup x AXFR", "dns lookup x --service both",
                     "dns lookup x --service authority", "dns zone", "dns zone dump", "dns flush a b", "dns nope"}) {
    auto r = cli(args);
    EXPECT_EQ(r.code, 2) << args << r.out << r.err;
    EXPECT_NE(r.err, "") << args;
  }
}

TEST_F(CliDns, ExplainOwnName) {
  EXPECT_EQ(cli("dns explain web.marathon.mesos").out, R"(question   web.marathon.mesos. A of the resolver
answer     NOERROR, 2 records, 79 octets, flags aa rd ra, from zone in 0.2 ms
rule       zone mesos.
zone       mesos., serial 7, 4 records, loaded, TTL 60 s

records
  web.marathon.mesos.  60  A  10.0.0.7
  web.marathon.mesos.  60  A  10.0.0.8

made by
  task web.1 of marathon: name, row 1?
)");
}

TEST_F(CliDns, ExplainForwardedName) {
  EXPECT_EQ(cli("dns explain www.corp").out, R"(question   www.corp. A of the resolver
answer     NOERROR, 1 records, 53 octets, flags aa rd ra, from forward in 15.5 ms
rule       forward corp.
forward    corp.
source     upstream 10.9.9.9:53
cache      55 s of the TTL left

records
  www.corp.  60  A  10.9.1.1

upstreams asked
  UPSTREAM     PROTO  ASKED AT     TOOK  OUTCOME
  10.9.9.8:53  udp      0.0 ms  12.5 ms  timeout
  10.9.9.9:53  tcp     12.5 ms   3.0 ms  NOERROR
)");
}

TEST_F(CliDns, ExplainSaysWhatTheKernelWouldDo) {
  auto& source = provider_.source;
  source.try_ = [](std::vector<uint8_t> q) { return KernelDnsTry{"hit", "answered with records", answer_to(q, 0, {"10.0.0.8", "10.0.0.7"})}; };
  EXPECT_THAT(cli("dns explain web.marathon.mesos").out, HasSubstr("TTL 60 s\nkernel     would answer (hit), as the process does\n\nrecords\n"));
  source.try_ = [](std::vector<uint8_t> q) { return KernelDnsTry{"hit", "answered with records", answer_to(q, 0, {"10.0.0.9"})}; };
  EXPECT_THAT(cli("dns explain web.marathon.mesos").out, HasSubstr("kernel     would answer (hit), NOT as the process does\n"));
  source.try_ = [](std::vector<uint8_t>) { return KernelDnsTry{"up_miss", "forwarded name that is not kept", {}}; };
  EXPECT_THAT(cli("dns explain www.corp").out, HasSubstr("kernel     goes up, because forwarded name that is not kept (up_miss)\n"));
  EXPECT_EQ(Json::parse(cli("dns explain www.corp -o json").out)["kernel"]["result"], "up_miss");
}

TEST_F(CliDns, Kernel) {
  auto r = cli("dns kernel");
  EXPECT_EQ(r.code, 1);
  EXPECT_EQ(r.err, "loadstar: no DNS programs are in the kernel\n");
  provider_.source.kernel_view = sample_kernel();
  r = cli("dns kernel");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.out, R"(HOOK  RESULT     COUNT  MEANING
xdp   hit          900  answered with records
xdp   nxdomain      60  answered: no such name
lo    rate_drop      5  over the rate: dropped
lo    up_miss       35  forwarded name that is not kept
try   hit         7777  answered with records

dns kernel 96.0 % of 1000 questions answered in the kernel, 35 went up, 5 dropped by the rate limit; 100 names
has        100 names, 12 zones and upstreams by suffix, 3 ready answers, 40 forwarded answers
room       143 of 1024 places, 3.0 MiB of 96.0 MiB
)");
  EXPECT_EQ(Json::parse(cli("dns kernel --json").out)["counts"].size(), 5u);
  EXPECT_EQ(cli("dns kernel --json").out, cli("dns kernel -o json").out);
  EXPECT_THAT(cli("dns kernel --all").out, testing::ContainsRegex("port +up_dnssec +0  DNSSEC data of a forwarded name wanted\n"));
  auto& k = *provider_.source.kernel_view;
  k.no_room = 7;
  k.incomplete_zones = 2;
  k.problem = "dns_xdp: program refused\x1b";
  r = cli("dns kernel");
  EXPECT_THAT(r.out, HasSubstr("           problem: dns_xdp: program refused?\n"));
  EXPECT_THAT(r.out, HasSubstr("no room    7 names; raise dns.kernel_names or dns.kernel_megabytes"));
  EXPECT_THAT(r.out, HasSubstr("incomplete 2 zones: names that are not in the kernel go up\n"));
}

TEST_F(CliDns, StatusSaysWhatTheKernelAnswers) {
  EXPECT_THAT(cli("status").out, testing::Not(HasSubstr("dns kernel")));
  provider_.source.kernel_view = sample_kernel();
  auto s = ready_status();
  s.attachments.push_back({"eth0", "dns_xdp", "xdp", 80, AttachState::kAttached, ""});
  s.attachments.push_back({"eth1", "dns_uplink", "tcx", 81, AttachState::kAttached, ""});
  s.attachments.push_back({"lo", "dns_lo", "tcx", 82, AttachState::kFailed, "no"});
  for (int i = 0; i < 5; i++) s.attachments.push_back({"veth" + std::to_string(i), "dns_port", "tcx", 83, AttachState::kAttached, ""});
  provider_.set(s);
  EXPECT_THAT(cli("status").out, HasSubstr(R"(
dns kernel 96.0 % of 1000 questions answered in the kernel, 35 went up, 5 dropped by the rate limit; 100 names
           dns_lo (failed) on lo, dns_port (tcx) on 5 devices, dns_uplink (tcx) on eth1, dns_xdp (xdp) on eth0
)"));
  provider_.source.kernel_view->counts = {};
  EXPECT_THAT(cli("status").out, HasSubstr("\ndns kernel on, no question yet; 100 names\n"));
  provider_.source.kernel_view->enabled = false;
  EXPECT_THAT(cli("status").out, HasSubstr("\ndns kernel switched off (dns.kernel)\n"));
  provider_.source.kernel_view->enabled = true;
  provider_.source.kernel_view->no_room = 12;
  EXPECT_THAT(cli("status").out, HasSubstr("warnings\n  12 DNS names found no room in the kernel"));
}

TEST_F(CliDns, MonitorOfQuestions) {
  ls_dns_event e{};
  e.type = LS_EVENT_DNS;
  e.hook = LS_DNS_HOOK_PORT;
  e.result = LS_DNS_NXDOMAIN;
  e.rcode = 3;
  memcpy(e.src_be, ip("10.1.0.2").bytes().data(), 16);
  memcpy(e.dst_be, ip("198.51.100.1").bytes().data(), 16);
  e.sport_be = htobe16(40000);
  e.dport_be = htobe16(53);
  e.qtype_be = htobe16(28);
  auto name = dns_name("nope.mesos.");
  e.name_octets = uint8_t(name.wire().size());
  memcpy(e.name, name.wire().data(), name.wire().size());
  auto event = *decode_dns_event(std::as_bytes(std::span(&e, 1)), 1'700'000'000'000'000'000);
  auto wait_while = [&](auto condition) {
    for (int i = 0; i < 1000 && condition(); i++) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  for (auto* args : {"monitor --dns -n 1", "monitor --name MESOS -n 1", "monitor --result nxdomain,up_name -n 1",
                     "monitor --dns --hook port --name nope.mesos --result nxdomain -n 1", "monitor --type dns -n 1"}) {
    Ran r;
    std::thread t([&] { r = cli(args); });
    wait_while([&] { return !provider_.wanted; });
    EXPECT_EQ(provider_.wanted, 1u << LS_EVENT_DNS) << args;
    provider_.hub.publish(drop_event());
    provider_.hub.publish(event);
    t.join();
    EXPECT_EQ(r.out, "2023-11-14T22:13:20.000000Z dns   port       10.1.0.2:40000 -> 198.51.100.1:53 nope.mesos. AAAA  "
                     "nxdomain: answered: no such name, NXDOMAIN\n") << args << r.err;
    wait_while([&] { return provider_.wanted != 0; });
  }
  Ran both;
  std::thread t([&] { both = cli("monitor --dns --drops --json -n 1"); });
  wait_while([&] { return !provider_.wanted; });
  EXPECT_EQ(provider_.wanted, 1u << LS_EVENT_DNS | 1u << LS_EVENT_DROP | 1u << LS_EVENT_REPLY | 1u << LS_EVENT_DEAD);
  provider_.hub.publish(event);
  t.join();
  EXPECT_EQ(Json::parse(both.out)["result"], "nxdomain");
  EXPECT_EQ(cli("monitor --result nope").code, 2);
  EXPECT_EQ(cli("monitor --drops --name a..b").code, 2);
}

TEST_F(CliDns, Zones) {
  EXPECT_EQ(cli("dns zone ls").out, R"(ZONE                      SERVICE   LOADED  NAMES  RECORDS  SERIAL
l4lb.thisdcos.directory.  resolver  no          0        0       1
mesos.                    resolver  yes         2        4       7
)");
  EXPECT_THAT(cli("dns zone ls -o wide").out, HasSubstr("mesos.thisdcos.directory.\n"));
  auto r = cli("dns zone dump mesos");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(dns::parse_zone_text(r.out, "dump", std::nullopt, 1).records.size(), 4u);
}

TEST_F(CliDns, UpstreamsAndFlush) {
  EXPECT_EQ(cli("dns upstreams").out, R"(UPSTREAM     STATE    ROUND TRIP     P95     LOST  QUERIES  GOOD
10.0.0.1:53  good         1.2 ms  3.5 ms    0.0 %       30    29
10.0.0.2:53  failing           -       -  100.0 %        9     0

ZONE   SERVICE   UPSTREAMS
.      resolver  10.0.0.1:53 10.0.0.2:53
corp.  resolver  10.9.9.9:53
)");
  EXPECT_THAT(cli("dns upstreams -o wide").out, HasSubstr("servfail=2 timeout=1"));
  EXPECT_EQ(cli("dns flush corp").out, "3 answers at and below corp. dropped\n");
  EXPECT_EQ(cli("dns flush").out, "3 answers at and below . dropped\n");
  EXPECT_EQ(cli("dns flush a..b").code, 2);
}

TEST_F(CliDns, Overview) {
  auto r = cli("dns ls");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, R"(SERVICE   ADDRESS          UDP  TCP  ERROR
resolver  198.51.100.1:53  yes  yes  -
resolver  198.51.100.2:53  yes  no   bind: Address already in use

SERVICE   UDP  TCP  REFUSED  TRUNCATED  RATE LIMITED  ANSWERS
resolver  100    5        2          6             7  forward NOERROR 30, zone NOERROR 60, zone NXDOMAIN 10

cache      12 answers, 4.0 KiB, 50 hits, 20 misses, 1 stale
forwarder  40 questions, 30 answered, 2 shared, 3 failed, 1 in flight, 7 wrong answers
zones      2
)");
}

TEST_F(CliDns, StatusHasLinesOfDns) {
  auto r = cli("status");
  EXPECT_EQ(r.code, 0) << "trouble of DNS does not make the daemon unready";
  EXPECT_THAT(r.out, testing::StartsWith("READY: 3 VIPs, 4 backends, in sync, source mesos 10.0.0.1:5050\n"));
  EXPECT_THAT(r.out, HasSubstr(R"(
dns        1 of 2 listeners bound, 1 of 2 zones loaded, 1 of 2 upstreams answer
           listener resolver 198.51.100.2:53: bound: udp, bind: Address already in use
           not loaded: resolver l4lb.thisdcos.directory.
           upstreams that fail: 10.0.0.2:53 (3 failures in a row)
)"));
  for (auto& u : provider_.source.view_.upstreams) u.aside = true;
  EXPECT_THAT(cli("status").out, HasSubstr("           no upstream answers: 10.0.0.1:53, 10.0.0.2:53 (3 failures in a row)\n"));
}

TEST_F(CliDns, ANodeWithoutDnsSaysSo) {
  provider_.has_dns = false;
  for (auto* command : {"dns ls", "dns kernel", "dns lookup x", "dns explain x", "dns zone ls", "dns zone dump x", "dns upstreams", "dns flush"}) {
    auto r = cli(command);
    EXPECT_EQ(r.code, 1) << command;
    EXPECT_EQ(r.err, "loadstar: this node serves no DNS\n") << command;
  }
}

}  // namespace
}  // namespace ls
