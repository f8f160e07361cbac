#pragma once
/// The Prometheus text of GET /metrics, made from the Provider on every scrape: nothing is collected on a timer.
/// Thread: the admin thread. Names and labels: ecosystem.md section 2; every label has a bounded set of values.
/// A part that cannot be read is left out and counted in loadstar_scrape_errors_total{part}.
#include <map>
#include <string>

#include "api/provider.h"

namespace ls::api {

class Metrics {
 public:
  explicit Metrics(Provider& provider) : provider_(provider) {}
  /// Text exposition format 0.0.4.
  std::string text(const std::vector<LoopView>& own_loops);

 private:
  Provider& provider_;
  std::map<std::string, uint64_t> scrape_errors_{{"drops", 0}, {"maps", 0}, {"stats", 0}};
};

}  // namespace ls::api
