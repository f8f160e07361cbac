#pragma once
/// Upstreams: what is known of each server that questions are forwarded to, and which to ask next. No I/O; time is an argument.
///
/// Threads: any (each upstream's numbers are atomics; workers share one object, so that all learn from each). What is shown by
/// `loadstar dns upstreams` comes from here. Cost: O(upstreams of the group) a question.
/// Rule: the two best by expected time are asked at once (all, when there are one or two). Expected time = smoothed round trip
/// (RFC 6298 weights) plus the share of lost questions times the price of a loss; both fade with a half-life, so an old outage
/// is forgotten. An upstream that fails is asked again as a third, whose answer nobody waits for, at most every `probe_interval`
/// (1 s, doubled to 30 s): lessons.md 45. Never none: when all fail, all are asked.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "util/address.h"
#include "util/clock.h"

namespace ls::dns {

enum class UpstreamEvent : uint8_t {
  kGood, kTimeout, kRefused,      ///< REFUSED
  kServFail, kMalformed, kUnreachable, kMismatch, kTruncated
};
std::string_view to_text(UpstreamEvent);  ///< metric label: "timeout"

struct UpstreamView {
  Endpoint endpoint;
  double rtt_ms = 0, p95_ms = 0;  ///< 0: nothing measured yet
  double failure_share = 0;       ///< 0..1, fading
  bool aside = false;             ///< failing: only probed
  uint64_t queries = 0, good = 0;
  std::vector<std::pair<std::string, uint64_t>> events;  ///< by to_text(UpstreamEvent), without kGood
  uint64_t in_flight = 0;
};

class Upstreams {
 public:
  struct Options {
    size_t parallel = 2;
    Millis retry_min{10}, retry_max{1000};  ///< bounds of the wait for p95
    Millis half_life{30'000};
  };
  explicit Upstreams(Options options);
  ~Upstreams();

  /// Number for an endpoint, stable for the life of this object. Cost: O(1) after the first time.
  uint32_t number(const Endpoint& endpoint);
  Endpoint endpoint(uint32_t number) const;

  /// What to ask now for one question. `random` breaks ties, so that equal servers share the load.
  struct Choice {
    std::vector<uint32_t> now;    ///< asked at once
    std::vector<uint32_t> later;  ///< asked one after the other, each when the ones before took their p95, in this order
    std::vector<uint32_t> probe;  ///< asked as well; an answer counts, nobody waits for it
  };
  Choice choose(std::span<const uint32_t> group, Instant now, uint64_t random);
  /// How long to wait for the ones asked before the next is asked.
  Millis patience(std::span<const uint32_t> asked) const;

  void asked(uint32_t number, Instant now);
  void result(uint32_t number, UpstreamEvent event, Millis took, Instant now);

  std::vector<UpstreamView> view(Instant now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
