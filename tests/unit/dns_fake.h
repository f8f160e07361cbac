#pragma once
/// A DnsSource with a small made-up node behind it, for the tests of the API and of the command line.
#include <atomic>
#include <mutex>
#include <thread>

#include "api/dns_source.h"
#include "api_fake.h"
#include "dns/zone_table.h"

namespace ls::api {

inline DnsName dns_name(const char* text) { return DnsName::parse(text).value(); }
inline std::string relative(const char* text) { return relative_name(text).value(); }

/// The wire form of an answer to `question`: NOERROR or an rcode, with records whose owner is the question.
inline std::vector<uint8_t> answer_to(std::vector<uint8_t> question, uint8_t rcode, const std::vector<std::string>& v4) {
  question[2] |= 0x84;  // QR, AA
  question[3] = uint8_t(0x80 | rcode);
  question[7] = uint8_t(v4.size());
  std::vector<uint8_t> tail(question.end() - 11, question.end());  // OPT
  question.resize(question.size() - 11);
  for (auto& text : v4) {
    auto a = IpAddress::parse(text)->v4();
    for (uint8_t b : {0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4}) question.push_back(b);
    for (int shift = 24; shift >= 0; shift -= 8) question.push_back(uint8_t(a >> shift));
  }
  question.insert(question.end(), tail.begin(), tail.end());
  return question;
}

/// A kernel that answers most of what it sees.
inline KernelDnsView sample_kernel() {
  KernelDnsView k;
  k.enabled = true;
  k.counts[LS_DNS_HOOK_XDP][LS_DNS_HIT] = 900;
  k.counts[LS_DNS_HOOK_XDP][LS_DNS_NXDOMAIN] = 60;
  k.counts[LS_DNS_HOOK_LO][LS_DNS_UP_MISS] = 35;
  k.counts[LS_DNS_HOOK_LO][LS_DNS_RATE_DROP] = 5;
  k.counts[LS_DNS_HOOK_TRY][LS_DNS_HIT] = 7777;
  k.names = 100;
  k.views = 12;
  k.ready = 3;
  k.cached = 40;
  k.slots_used = 143;
  k.slots = 1024;
  k.bytes_used = 3 << 20;
  k.bytes = 96 << 20;
  return k;
}

class FakeDns : public DnsSource {
 public:
  FakeDns() {
    mesos_ = std::make_shared<dns::ZoneTable>(epoch_);
    mesos_->set_fixed_serial(7);
    RecordDelta d;
    d.add.push_back(address_record(relative("web.marathon"), ip("10.0.0.7")));
    d.add.push_back(address_record(relative("web.marathon"), ip("10.0.0.8")));
    d.add.push_back(address_record(relative("web.marathon"), ip("fd00::8")));
    d.add.push_back(srv_record(relative("_web._tcp.marathon"), 0, 1, 31001, relative("web.marathon")));
    mesos_->apply(d);
    pending_ = std::make_shared<dns::ZoneTable>(epoch_);
    dns::ZoneView mesos;
    mesos.apex = dns_name("mesos.");
    mesos.table = mesos_;
    mesos.ttl = 60;
    mesos.soa.mname = dns_name("ns1.mesos.");
    mesos.soa.rname = dns_name("root.ns1.mesos.");
    mesos.name_servers = {dns_name("ns1.mesos.")};
    dns::ZoneView alias = mesos;
    alias.apex = dns_name("mesos.thisdcos.directory.");
    alias.is_alias = true;
    dns::ZoneView pending;
    pending.apex = dns_name("l4lb.thisdcos.directory.");
    pending.table = pending_;
    std::vector<dns::ZoneView> views{mesos, alias, pending};
    std::vector<dns::ForwardGroup> groups{{dns_name("."), {ep("10.0.0.1:53"), ep("10.0.0.2:53")}}, {dns_name("corp."), {ep("10.9.9.9:53")}}};
    routes_ = std::make_shared<const dns::Routes>(std::move(views), std::move(groups));

    view_.listeners = {{dns::ServiceKind::kResolver, ep("198.51.100.1:53"), true, true, ""},
                       {dns::ServiceKind::kResolver, ep("198.51.100.2:53"), true, false, "bind: Address already in use"}};
    auto& c = view_.services[size_t(dns::ServiceKind::kResolver)];
    c.udp_queries = 100;
    c.tcp_queries = 5;
    c.responses[size_t(dns::Path::kZone)][0] = 60;
    c.responses[size_t(dns::Path::kZone)][3] = 10;
    c.responses[size_t(dns::Path::kForward)][0] = 30;
    c.denied = 2;
    c.slipped = 3;
    c.rate_dropped = 4;
    c.truncated = 6;
    c.tcp_open = 1;
    c.seconds[size_t(dns::Path::kForward)] = {{0.001, 10}, {0.01, 25}, {HUGE_VAL, 30}};
    view_.forwarder = {1, 40, 2, 30, 3, 1, 0, 7, 1, 4, 0};
    view_.cache = {12, 4096, 50, 20, 1, 2, 0};
    dns::UpstreamView good, bad;
    good.endpoint = ep("10.0.0.1:53");
    good.rtt_ms = 1.25;
    good.p95_ms = 3.5;
    good.queries = 30;
    good.good = 29;
    good.in_flight = 1;
    good.events = {{"timeout", 1}, {"mismatch", 0}, {"servfail", 2}};
    bad.endpoint = ep("10.0.0.2:53");
    bad.failure_share = 1;
    bad.aside = true;
    bad.reason = "3 failures in a row";
    bad.queries = 9;
    bad.events = {{"timeout", 9}, {"mismatch", 4}};
    view_.upstreams = {good, bad};
    view_.workers = 2;
    view_.worker_lag_s = {0.001, 0.002};
  }
  ~FakeDns() override {
    for (auto& t : threads_) t.join();
  }

  dns::ServerView view() override { return view_; }
  std::shared_ptr<const dns::Routes> routes(dns::ServiceKind s) override { return s == dns::ServiceKind::kResolver ? routes_ : nullptr; }
  Epoch& epoch() override { return epoch_; }
  void explain(dns::ServiceKind, std::vector<uint8_t> query, std::function<void(dns::Explained)> done) override {
    if (silent) {
      kept_ = std::move(done);
      return;
    }
    dns::Explained e;
    auto name = DnsName::from_wire(std::span(query).subspan(12, query.size() - 12 - 4 - 11))->text();
    if (name == "web.marathon.mesos.") {
      e.answer = answer_to(query, 0, {"10.0.0.7", "10.0.0.8"});
      e.rule = "zone mesos.";
      e.took_ms = 0.25;
    } else if (name == "www.corp.") {
      e.answer = answer_to(query, 0, {"10.9.1.1"});
      e.rule = "forward corp.";
      e.path = dns::Path::kForward;
      e.trace.group = "corp.";
      e.trace.asked = {{ep("10.9.9.8:53"), false, 0, 12.5, "timeout"}, {ep("10.9.9.9:53"), true, 12.5, 3, "NOERROR"}};
      e.trace.source = "upstream 10.9.9.9:53";
      e.cache_left_s = 55;
      e.took_ms = 15.5;
    } else if (name == "broken.") {
      e.answer = {1, 2, 3};
    } else {
      e.answer = answer_to(query, name == "nodata.mesos." ? 0 : 3, {});
      e.rule = "zone mesos.";
    }
    // As a DNS worker does: on another thread, later.
    threads_.emplace_back([done = std::move(done), e = std::move(e)]() mutable { done(std::move(e)); });
  }
  size_t flush(const DnsName& suffix) override {
    flushed = suffix.text();
    return 3;
  }
  std::vector<std::string> origins(const DnsName& apex, std::string_view rel) override {
    if (apex.text() == "mesos." && rel == relative("web.marathon")) return {"task web.1 of marathon: name, row 1\x1b"};
    return {};
  }

  std::optional<KernelDnsView> kernel() override { return kernel_view; }
  std::optional<KernelDnsTry> kernel_try(dns::ServiceKind, std::span<const uint8_t> question) override {
    return try_ ? try_(std::vector<uint8_t>(question.begin(), question.end())) : std::nullopt;
  }

  std::atomic<bool> silent{false};
  std::string flushed;
  std::optional<KernelDnsView> kernel_view;
  std::function<std::optional<KernelDnsTry>(std::vector<uint8_t>)> try_;
  dns::ServerView view_;

 private:
  Epoch epoch_;
  std::shared_ptr<dns::ZoneTable> mesos_, pending_;
  std::shared_ptr<const dns::Routes> routes_;
  std::vector<std::thread> threads_;
  std::function<void(dns::Explained)> kept_;
};

/// The node of api_fake.h with DNS on it.
class FakeDnsProvider : public FakeProvider {
 public:
  DnsSource* dns() override { return has_dns ? &source : nullptr; }
  FakeDns source;
  std::atomic<bool> has_dns{true};
};

}  // namespace ls::api
