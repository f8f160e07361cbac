#include "dns/counters.h"

#include <algorithm>
#include <limits>

namespace ls::dns {

std::string_view to_text(ServiceKind kind) {
  return kind == ServiceKind::kAuthority ? "authority" : "resolver";
}

std::string_view to_text(Path path) {
  constexpr std::array<std::string_view, kPaths> kNames{"zone",  "cache",   "forward",
                                                        "stale", "refused", "error"};
  return kNames[size_t(path)];
}

void WorkerCounters::observe(Path path, std::chrono::nanoseconds took, uint64_t times) {
  double s = std::chrono::duration<double>(took).count();
  size_t i = std::lower_bound(kLatencyBounds.begin(), kLatencyBounds.end(), s) - kLatencyBounds.begin();
  seconds[size_t(path)][i].add(times);
}

void WorkerCounters::add_to(ServiceCounters& sum) const {
  sum.udp_queries += udp_queries.get();
  sum.tcp_queries += tcp_queries.get();
  sum.ignored += ignored.get();
  sum.denied += denied.get();
  sum.slipped += slipped.get();
  sum.rate_dropped += rate_dropped.get();
  sum.truncated += truncated.get();
  sum.transfers += transfers.get();
  sum.tcp_open += tcp_open.get();
  sum.tcp_accepted += tcp_accepted.get();
  sum.tcp_refused += tcp_refused.get();
  sum.tcp_timeouts += tcp_timeouts.get();
  for (size_t p = 0; p < kPaths; p++) {
    for (size_t r = 0; r < responses[p].size(); r++) sum.responses[p][r] += responses[p][r].get();
    auto& out = sum.seconds[p];
    if (out.empty()) {
      for (double bound : kLatencyBounds) out.emplace_back(bound, 0);
      out.emplace_back(std::numeric_limits<double>::infinity(), 0);
    }
    uint64_t below = 0;
    for (size_t i = 0; i < seconds[p].size(); i++) out[i].second += below += seconds[p][i].get();
  }
}

}  // namespace ls::dns
