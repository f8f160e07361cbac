#pragma once
/// Builds the families of one scrape, for metrics.cpp and metrics_dns.cpp. Thread: plain values.
#include <prometheus/metric_family.h>

#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "util/histogram.h"

namespace ls::api {

using Families = std::vector<prometheus::MetricFamily>;
using Labels = std::vector<prometheus::ClientMetric::Label>;

inline prometheus::ClientMetric::Label label(const char* name, std::string_view value) { return {name, std::string(value)}; }

class Family {
 public:
  Family(Families& out, prometheus::MetricType type, const char* name, const char* help) : out_(out) { family_ = {name, help, type, {}}; }
  /// A family without a sample is not shown at all.
  ~Family() {
    if (!family_.metric.empty()) out_.push_back(std::move(family_));
  }
  Family(const Family&) = delete;

  Family& add(double value, Labels labels = {}) {
    prometheus::ClientMetric m;
    m.label = std::move(labels);
    (family_.type == prometheus::MetricType::Counter ? m.counter.value : m.gauge.value) = value;
    family_.metric.push_back(std::move(m));
    return *this;
  }
  Family& add(const HistogramView& h, Labels labels) {
    prometheus::ClientMetric m;
    m.label = std::move(labels);
    uint64_t total = 0;
    for (size_t i = 0; i < h.counts.size(); i++) {
      total += h.counts[i];
      if (i < h.bounds.size()) m.histogram.bucket.push_back({total, h.bounds[i]});
    }
    m.histogram.sample_count = total;
    m.histogram.sample_sum = h.sum;
    family_.metric.push_back(std::move(m));
    return *this;
  }

 private:
  Families& out_;
  prometheus::MetricFamily family_;
};

template <class Fill>
void counter(Families& out, const char* name, const char* help, Fill fill) {
  Family f(out, prometheus::MetricType::Counter, name, help);
  fill(f);
}
template <class Fill>
void gauge(Families& out, const char* name, const char* help, Fill fill) {
  Family f(out, prometheus::MetricType::Gauge, name, help);
  fill(f);
}

}  // namespace ls::api
