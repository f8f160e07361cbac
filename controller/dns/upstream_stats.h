#pragma once
/// UpstreamStats: the numbers of one upstream. Pure; not thread safe (Upstreams guards each). Time is an argument.
///
/// Round trips: smoothed mean (RFC 6298 weight 1/8) and a histogram on a logarithmic scale whose counts fade, for the p95.
/// Failures: two counts, good and bad, that fade with the same half-life; the share is bad / (good + bad + kPrior), so that it
/// goes to zero when nothing more is known.
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "dns/upstreams.h"

namespace ls::dns {

class UpstreamStats {
 public:
  explicit UpstreamStats(Millis half_life) : half_life_(half_life) {}

  void asked(Instant now);
  void good(std::chrono::nanoseconds took, Instant now);
  void failed(UpstreamEvent event, Instant now);
  void excused(UpstreamEvent event) { count(event); settle(); }
  void note(UpstreamEvent event) { count(event); }
  void settle() { in_flight_ -= in_flight_ > 0; }

  /// Milliseconds a question is expected to take; 0 when nothing is known, so that a new upstream is tried.
  double expected_ms(Instant now);
  double failure_share(Instant now);
  bool aside() const { return in_a_row_ >= Upstreams::kFailuresInARow; }
  std::optional<double> p95_ms(Instant now);
  std::optional<double> p95_ms() const { return p95_; }
  /// A question may go along to see how it does: it is aside and its probe is due, or it was not asked for long. Claims the turn.
  bool claim_probe(Instant now);

  bool looping(Instant now) const;
  std::optional<uint64_t> loop_probe(Instant now, uint64_t random);
  bool loop_seen(uint64_t token, Instant now);

  void fill(UpstreamView& view, Instant now);

 private:
  static constexpr size_t kBuckets = 80;
  static constexpr double kPrior = 1.0;
  /// Price of a lost question, in ms: what a client waits at most for the next try (Options::retry_max).
  static constexpr double kLossMs = 1000;

  void fade(Instant now);
  void count(UpstreamEvent event) { events_[static_cast<size_t>(event)]++; }

  const Millis half_life_;
  Instant faded_{};
  double rtt_ms_ = 0;
  bool measured_ = false;
  double good_ = 0, bad_ = 0;
  std::array<float, kBuckets> buckets_{};
  std::optional<double> p95_;
  unsigned since_p95_ = 0;
  unsigned in_a_row_ = 0;
  Millis backoff_ = Upstreams::kProbeMin;
  Instant next_probe_{}, last_asked_{};
  UpstreamEvent last_failure_ = UpstreamEvent::kTimeout;
  uint64_t queries_ = 0, in_flight_ = 0;
  std::array<uint64_t, kUpstreamEvents> events_{};
  std::optional<uint64_t> token_;
  Instant token_made_{}, next_loop_probe_{};
  bool loop_ = false, loop_before_ = false;
};

}  // namespace ls::dns
