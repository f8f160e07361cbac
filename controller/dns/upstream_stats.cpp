#include "dns/upstream_stats.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace ls::dns {

namespace {

// Bucket i holds round trips up to 0.02 ms * 2^(i/4): four to a doubling, an error of at most 19 %, up to 17 s.
constexpr double kFirstMs = 0.02;

size_t bucket_of(double ms, size_t buckets) {
  if (ms <= kFirstMs) return 0;
  auto i = static_cast<size_t>(std::ceil(4 * std::log2(ms / kFirstMs)));
  return std::min(i, buckets - 1);
}

double upper_ms(size_t bucket) { return kFirstMs * std::exp2(static_cast<double>(bucket) / 4); }

}  // namespace

void UpstreamStats::fade(Instant now) {
  if (faded_ == Instant{}) faded_ = now;
  // In steps of a 64th of the half-life, so that a busy upstream does not pay for it with each answer.
  auto passed = std::chrono::duration<double>(now - faded_).count();
  double half = std::chrono::duration<double>(half_life_).count();
  if (half <= 0 || passed < half / 64) return;
  double factor = std::exp2(-passed / half);
  good_ *= factor;
  bad_ *= factor;
  for (float& b : buckets_) b *= static_cast<float>(factor);
  faded_ = now;
}

void UpstreamStats::asked(Instant now) {
  queries_++;
  in_flight_++;
  last_asked_ = now;
}

void UpstreamStats::good(std::chrono::nanoseconds took, Instant now) {
  settle();
  count(UpstreamEvent::kGood);
  fade(now);
  good_ += 1;
  in_a_row_ = 0;
  backoff_ = Upstreams::kProbeMin;
  double ms = std::max(0.0, std::chrono::duration<double, std::milli>(took).count());
  rtt_ms_ = measured_ ? rtt_ms_ + (ms - rtt_ms_) / 8 : ms;
  measured_ = true;
  buckets_[bucket_of(ms, kBuckets)] += 1;
  if (since_p95_++ % 16 == 0 || queries_ < 64) p95_ = p95_ms(now);
}

void UpstreamStats::failed(UpstreamEvent event, Instant now) {
  settle();
  count(event);
  if (event == UpstreamEvent::kMismatch || event == UpstreamEvent::kTruncated || event == UpstreamEvent::kGood) return;
  fade(now);
  bad_ += 1;
  last_failure_ = event;
  if (in_a_row_ < Upstreams::kFailuresInARow) in_a_row_++;
  if (in_a_row_ == Upstreams::kFailuresInARow && next_probe_ <= now) {
    // Failures of questions that were on the way together count as one step of the back-off.
    next_probe_ = now + backoff_;
    backoff_ = std::min(backoff_ * 2, Upstreams::kProbeMax);
  }
}

double UpstreamStats::failure_share(Instant now) {
  fade(now);
  return bad_ / (good_ + bad_ + kPrior);
}

double UpstreamStats::expected_ms(Instant now) {
  // Differences that are noise must not turn two equal servers into a first and a second: round trips count in steps of a fifth
  // above 50 us, losses in steps of a hundredth.
  constexpr double kLeastMs = 0.05;
  const double rtt = rtt_ms_ <= kLeastMs ? 0 : kLeastMs * std::exp2(std::floor(std::log2(rtt_ms_ / kLeastMs) * 4) / 4);
  return rtt + std::floor(failure_share(now) * 100) / 100 * kLossMs;
}

std::optional<double> UpstreamStats::p95_ms(Instant now) {
  fade(now);
  double sum = 0;
  for (float b : buckets_) sum += b;
  if (sum < 0.01) return measured_ ? std::optional(rtt_ms_ * 2) : std::nullopt;
  double seen = 0;
  for (size_t i = 0; i < kBuckets; i++) {
    seen += buckets_[i];
    if (seen >= 0.95 * sum) return upper_ms(i);
  }
  return upper_ms(kBuckets - 1);
}

bool UpstreamStats::claim_probe(Instant now) {
  if (looping(now)) return false;
  if (aside()) {
    if (now < next_probe_) return false;
    next_probe_ = now + backoff_;
    backoff_ = std::min(backoff_ * 2, Upstreams::kProbeMax);
    return true;
  }
  if (now - last_asked_ < Upstreams::kRefresh) return false;
  last_asked_ = now;
  return true;
}

bool UpstreamStats::looping(Instant now) const {
  if (loop_) return true;
  // A new probe is on its way: what the one before it said still holds.
  return loop_before_ && now - token_made_ < Upstreams::kLoopWait;
}

std::optional<uint64_t> UpstreamStats::loop_probe(Instant now, uint64_t random) {
  if (token_ && now < next_loop_probe_) return std::nullopt;
  token_ = random;
  token_made_ = now;
  next_loop_probe_ = now + Upstreams::kLoopEvery;
  loop_before_ = loop_;
  loop_ = false;
  return token_;
}

bool UpstreamStats::loop_seen(uint64_t token, Instant) {
  if (token_ != token) return false;
  loop_ = true;
  return true;
}

void UpstreamStats::fill(UpstreamView& view, Instant now) {
  view.rtt_ms = measured_ ? rtt_ms_ : 0;
  view.p95_ms = p95_ms(now).value_or(0);
  view.failure_share = failure_share(now);
  view.loop = looping(now);
  view.aside = aside() || view.loop;
  if (view.loop)
    view.reason = "loop: a probe sent to it came back to this host";
  else if (aside())
    view.reason = fmt::format("{} failures in a row, the last: {}", Upstreams::kFailuresInARow, to_text(last_failure_));
  view.queries = queries_;
  view.in_flight = in_flight_;
  view.good = events_[0];
  for (size_t i = 1; i < kUpstreamEvents; i++)
    view.events.emplace_back(std::string(to_text(static_cast<UpstreamEvent>(i))), events_[i]);
}

}  // namespace ls::dns
