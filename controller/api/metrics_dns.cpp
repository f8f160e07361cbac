#include "api/metrics_dns.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>

#include "api/dns_views.h"
#include "api/labels.h"

namespace ls::api {
namespace {

using prometheus::MetricType;
constexpr dns::ServiceKind kKinds[] = {dns::ServiceKind::kAuthority, dns::ServiceKind::kResolver};

/// A histogram of the server: bounds with cumulative counts. The sum is not kept there; it is taken from the buckets' upper bounds, so
/// it is the most that it can be.
HistogramView histogram(const std::vector<std::pair<double, uint64_t>>& cumulative) {
  HistogramView h;
  uint64_t before = 0;
  double last = 0;
  for (auto& [bound, count] : cumulative) {
    auto here = count - std::min(before, count);
    before = std::max(before, count);
    if (std::isfinite(bound)) {
      h.bounds.push_back(bound);
      last = bound;
    }
    h.counts.push_back(here);
    h.sum += double(here) * last;
  }
  if (h.counts.size() == h.bounds.size()) h.counts.push_back(0);
  return h;
}

/// Labels {upstream}, or {upstream, event}, of the upstreams that are shown.
template <class Value>
void upstreams(Families& out, MetricType type, const char* name, const char* help, const dns::ServerView& v, Value value) {
  Family f(out, type, name, help);
  for (size_t i = 0; i < std::min(v.upstreams.size(), kMaxUpstreams); i++) {
    auto& u = v.upstreams[i];
    f.add(double(value(u)), {label("upstream", u.endpoint.text())});
  }
}

uint64_t events(const dns::UpstreamView& u, std::initializer_list<dns::UpstreamEvent> wanted) {
  uint64_t sum = 0;
  for (auto& [name, count] : u.events) {
    sum += std::any_of(wanted.begin(), wanted.end(), [&](auto e) { return to_text(e) == name; }) ? count : 0;
  }
  return sum;
}

class DnsScrape {
 public:
  DnsScrape(Families& out, DnsSource& source) : out_(out), source_(source), view_(source.view()) {
    for (auto kind : kKinds) {
      if (source.routes(kind)) kinds_.push_back(kind);
    }
  }

  void all() {
    questions();
    limits();
    tcp();
    listeners();
    asked_upstreams();
    forwarder();
    cache();
    zones();
    if (auto k = source_.kernel()) kernel(*k);
  }

 private:
  template <class Value>
  void by_service(const char* name, const char* help, Value value, MetricType type = MetricType::Counter) {
    Family f(out_, type, name, help);
    for (auto kind : kinds_) f.add(double(value(view_.services[size_t(kind)])), {label("service", dns::to_text(kind))});
  }

  void questions() {
    counter(out_, "loadstar_dns_queries_total", "Questions that came in.", [&](Family& f) {
      for (auto kind : kinds_) {
        auto& c = view_.services[size_t(kind)];
        f.add(double(c.udp_queries), {label("service", dns::to_text(kind)), label("proto", "udp")});
        f.add(double(c.tcp_queries), {label("service", dns::to_text(kind)), label("proto", "tcp")});
      }
    });
    counter(out_, "loadstar_dns_responses_total", "Answers by where they came from and their code.", [&](Family& f) {
      for (auto kind : kinds_) {
        auto& c = view_.services[size_t(kind)];
        for (size_t p = 0; p < dns::kPaths; p++) {
          for (size_t r = 0; r < c.responses[p].size(); r++) {
            if (!c.responses[p][r]) continue;
            f.add(double(c.responses[p][r]), {label("service", dns::to_text(kind)), label("path", dns::to_text(dns::Path(p))),
                                              label("rcode", dns::to_text(dns::Rcode(r)))});
          }
        }
      }
    });
    Family seconds(out_, MetricType::Histogram, "loadstar_dns_request_seconds", "From the receipt of a question to its answer.");
    for (auto kind : kinds_) {
      auto& c = view_.services[size_t(kind)];
      for (size_t p = 0; p < dns::kPaths; p++) {
        if (c.seconds[p].empty()) continue;
        seconds.add(histogram(c.seconds[p]), {label("service", dns::to_text(kind)), label("path", dns::to_text(dns::Path(p)))});
      }
    }
  }

  void limits() {
    by_service("loadstar_dns_rrl_slipped_total", "Answers sent empty and truncated because of the rate limit.", [](auto& c) { return c.slipped; });
    by_service("loadstar_dns_rrl_dropped_total", "Answers not sent because of the rate limit.", [](auto& c) { return c.rate_dropped; });
    by_service("loadstar_dns_truncated_total", "Answers sent with TC because they did not fit.", [](auto& c) { return c.truncated; });
    by_service("loadstar_dns_denied_total", "Questions refused by the access list.", [](auto& c) { return c.denied; });
    by_service("loadstar_dns_ignored_total", "Packets that get no answer: too short, or answers themselves.", [](auto& c) { return c.ignored; });
    by_service("loadstar_dns_transfers_total", "Zone transfers given.", [](auto& c) { return c.transfers; });
  }

  void tcp() {
    by_service("loadstar_dns_tcp_connections", "Open TCP connections.", [](auto& c) { return c.tcp_open; }, MetricType::Gauge);
    by_service("loadstar_dns_tcp_accepted_total", "TCP connections accepted.", [](auto& c) { return c.tcp_accepted; });
    by_service("loadstar_dns_tcp_refused_total", "TCP connections closed at once because of a limit.", [](auto& c) { return c.tcp_refused; });
    by_service("loadstar_dns_tcp_timeouts_total", "TCP connections closed for being idle.", [](auto& c) { return c.tcp_timeouts; });
  }

  void listeners() {
    gauge(out_, "loadstar_dns_listeners", "Addresses to answer on, by whether both UDP and TCP are bound.", [&](Family& f) {
      for (auto kind : kinds_) {
        uint64_t bound = 0, unbound = 0;
        for (auto& l : view_.listeners) {
          if (l.service == kind) (l.udp && l.tcp ? bound : unbound)++;
        }
        f.add(double(bound), {label("service", dns::to_text(kind)), label("state", "bound")});
        f.add(double(unbound), {label("service", dns::to_text(kind)), label("state", "unbound")});
      }
    });
    gauge(out_, "loadstar_dns_worker_lag_seconds", "How late the slowest worker's last timer came.", [&](Family& f) {
      if (!view_.worker_lag_s.empty()) f.add(*std::max_element(view_.worker_lag_s.begin(), view_.worker_lag_s.end()));
    });
  }

  void asked_upstreams() {
    using E = dns::UpstreamEvent;
    auto c = MetricType::Counter;
    auto g = MetricType::Gauge;
    upstreams(out_, c, "loadstar_dns_upstream_queries_total", "Questions sent to an upstream.", view_, [](auto& u) { return u.queries; });
    upstreams(out_, c, "loadstar_dns_upstream_timeouts_total", "Questions that an upstream did not answer in time.", view_,
              [](auto& u) { return events(u, {E::kTimeout}); });
    upstreams(out_, c, "loadstar_dns_upstream_mismatches_total", "Wrong answers: id, address, port or question. Somebody may be spoofing.",
              view_, [](auto& u) { return events(u, {E::kMismatch}); });
    upstreams(out_, c, "loadstar_dns_upstream_failures_total", "Answers that were none: REFUSED, SERVFAIL, malformed, unreachable.", view_,
              [](auto& u) { return events(u, {E::kRefused, E::kServFail, E::kMalformed, E::kUnreachable}); });
    upstreams(out_, g, "loadstar_dns_upstream_rtt_seconds", "Smoothed round trip to an upstream; 0: nothing measured yet.", view_,
              [](auto& u) { return u.rtt_ms / 1000; });
    upstreams(out_, g, "loadstar_dns_upstream_aside", "1 while an upstream fails and is only probed.", view_, [](auto& u) { return u.aside; });
  }

  void forwarder() {
    auto& v = view_.forwarder;
    auto one = [&](const char* name, const char* help, uint64_t value) { counter(out_, name, help, [&](Family& f) { f.add(double(value)); }); };
    gauge(out_, "loadstar_dns_forward_in_flight", "Questions that wait for upstreams.", [&](Family& f) { f.add(double(v.in_flight)); });
    one("loadstar_dns_forward_questions_total", "Questions given to the forwarder.", v.questions);
    one("loadstar_dns_forward_shared_total", "Questions that joined one already in flight.", v.shared);
    one("loadstar_dns_forward_answered_total", "Questions that an upstream answered.", v.answered);
    one("loadstar_dns_forward_servfail_total", "Questions that no upstream answered well.", v.servfail);
    one("loadstar_dns_forward_stale_total", "Questions answered with data past its TTL because no upstream answered.", v.stale);
    one("loadstar_dns_forward_overflow_total", "Questions refused because too many were in flight.", v.overflow);
    one("loadstar_dns_forward_mismatches_total", "Wrong answers of all upstreams.", v.mismatches);
    one("loadstar_dns_forward_tcp_total", "Questions asked again over TCP.", v.tcp_fallbacks);
    one("loadstar_dns_forward_retries_total", "Questions sent to a further upstream because the first took long.", v.retries);
    one("loadstar_dns_forward_loops_total", "Own probes that came back: an upstream sends our questions to us.", v.loops);
  }

  void cache() {
    auto& v = view_.cache;
    gauge(out_, "loadstar_dns_cache_entries", "Answers in the cache.", [&](Family& f) { f.add(double(v.entries)); });
    gauge(out_, "loadstar_dns_cache_bytes", "Memory of the cache.", [&](Family& f) { f.add(double(v.bytes)); });
    counter(out_, "loadstar_dns_cache_lookups_total", "Look-ups in the cache by result.", [&](Family& f) {
      f.add(double(v.hits), {label("result", "hit")});
      f.add(double(v.misses), {label("result", "miss")});
      f.add(double(v.stale), {label("result", "stale")});
    });
    counter(out_, "loadstar_dns_cache_prefetches_total", "Answers fetched anew before their TTL ended.", [&](Family& f) { f.add(double(v.prefetches)); });
    counter(out_, "loadstar_dns_cache_evictions_total", "Answers dropped for room.", [&](Family& f) { f.add(double(v.evictions)); });
  }

  void zones() {
    auto all = list_zones(source_);
    auto each = [&](const char* name, const char* help, auto value, MetricType type = MetricType::Gauge) {
      Family f(out_, type, name, help);
      for (size_t i = 0; i < std::min(all.size(), kMaxZones); i++) {
        auto& z = all[i];
        f.add(double(value(*z.view->table)), {label("service", dns::to_text(z.service)), label("zone", z.view->apex.text())});
      }
    };
    gauge(out_, "loadstar_dns_zones", "Zones of this node.", [&](Family& f) { f.add(double(all.size())); });
    each("loadstar_dns_zone_loaded", "1: the zone's content is known.", [](auto& t) { return t.loaded(); });
    each("loadstar_dns_zone_records", "Records of a zone.", [](auto& t) { return t.records(); });
    each("loadstar_dns_zone_serial", "Serial of a zone.", [](auto& t) { return t.serial(); });
    each("loadstar_dns_zone_bytes", "Memory of a zone.", [](auto& t) { return t.bytes(); });
    each("loadstar_dns_zone_faults_total", "Removals of records that were not there; not 0 is an error in loadstar.",
         [](auto& t) { return t.faults(); }, MetricType::Counter);
  }

  void kernel(const KernelDnsView& v) {
    counter(out_, "loadstar_dns_kernel_questions_total", "Questions that a program in the kernel saw, by hook and by what became of them.",
            [&](Family& f) {
              for (size_t hook = 0; hook < v.counts.size(); hook++) {
                for (size_t result = 0; result < v.counts[hook].size(); result++) {
                  f.add(double(v.counts[hook][result]),
                        {label("hook", dns_hook_label(uint32_t(hook))), label("result", dns_result_label(uint32_t(result)))});
                }
              }
            });
    auto one = [&](const char* name, const char* help, uint64_t value) { gauge(out_, name, help, [&](Family& f) { f.add(double(value)); }); };
    one("loadstar_dns_kernel_enabled", "1: DNS answers in the kernel are switched on.", uint64_t(v.enabled));
    one("loadstar_dns_kernel_names", "Names of own zones that the kernel has.", v.names);
    one("loadstar_dns_kernel_views", "Suffixes that the kernel tells zones and upstreams apart by.", v.views);
    one("loadstar_dns_kernel_ready_answers", "Answers of own zones that the kernel has as messages.", v.ready);
    one("loadstar_dns_kernel_cached_answers", "Forwarded answers that the kernel has.", v.cached);
    one("loadstar_dns_kernel_names_without_room", "Names that found no room in the kernel; the process answers for them.", v.no_room);
    one("loadstar_dns_kernel_incomplete_zones", "Zones of which the kernel does not have every name.", v.incomplete_zones);
    one("loadstar_dns_kernel_slots_used", "Places in use of the kernel's table of names.", v.slots_used);
    one("loadstar_dns_kernel_slots", "Places of the kernel's table of names.", v.slots);
    one("loadstar_dns_kernel_bytes_used", "Bytes in use of the kernel's memory for names and their records.", v.bytes_used);
    one("loadstar_dns_kernel_bytes", "Bytes of the kernel's memory for names and their records.", v.bytes);
  }

  Families& out_;
  DnsSource& source_;
  const dns::ServerView view_;
  std::vector<dns::ServiceKind> kinds_;
};

}  // namespace

void dns_families(Families& out, DnsSource& source) { DnsScrape(out, source).all(); }

std::string dcos_net_dns_metrics(DnsSource& source) {
  Families out;
  auto view = source.view();
  auto& resolver = view.services[size_t(dns::ServiceKind::kResolver)];
  if (source.routes(dns::ServiceKind::kResolver)) {
    counter(out, "forwarder_failures_total", "Forwarded questions that got no good answer.",
            [&](Family& f) { f.add(double(view.forwarder.servfail), {label("zone", ".")}); });
    auto& seconds = resolver.seconds[size_t(dns::Path::kForward)];
    Family durations(out, MetricType::Histogram, "forwarder_requests_duration_seconds", "How long forwarded questions took.");
    if (!seconds.empty()) durations.add(histogram(seconds), {label("zone", ".")});
  }
  counter(out, "worker_failures_total", "Questions to an upstream that failed, by reason.", [&](Family& f) {
    for (size_t i = 0; i < std::min(view.upstreams.size(), kMaxUpstreams); i++) {
      auto& u = view.upstreams[i];
      for (auto& [reason, count] : u.events) {
        f.add(double(count), {label("protocol", "udp"), label("upstream_address", u.endpoint.text()), label("reason", reason)});
      }
    }
  });
  gauge(out, "zone_records", "Records of a zone.", [&](Family& f) {
    auto all = list_zones(source);
    for (size_t i = 0; i < std::min(all.size(), kMaxZones); i++) {
      if (all[i].service != dns::ServiceKind::kResolver) continue;
      f.add(double(all[i].view->table->records()), {label("zone", all[i].view->apex.text())});
    }
  });
  return prometheus::TextSerializer().Serialize(out);
}

}  // namespace ls::api
