#pragma once
/// Upstreams: what is known of each server that questions are forwarded to, and which to ask next. No I/O; time is an argument.
///
/// Threads: any (each upstream's numbers are atomics; workers share one object, so that all learn from each). What is shown by
/// `loadstar dns upstreams` comes from here. Cost: O(upstreams of the group) a question.
/// Rule: the two best by expected time are asked at once (all, when there are one or two). Expected time = smoothed round trip
/// (RFC 6298 weights) plus the share of lost questions times the price of a loss; both fade with a half-life, so an old outage
/// is forgotten. An upstream that fails is asked again as a third, whose answer nobody waits for, at most every `probe_interval`
/// (1 s, doubled to 30 s): lessons.md 45. Never none: when all fail, all are asked. An upstream that works but is not among the
/// best is asked as a third every few seconds, so that its numbers stay fresh. One that sends our own questions back to us (a
/// loop) is not asked at all until a later probe does not come back.
/// Set aside: after kFailuresInARow failures without a good answer between them. kMismatch and kTruncated are counted, but are no
/// failures: the first may be somebody else's packet (who could otherwise silence an upstream), the second is an answer.
/// Bounded: kMaxUpstreams in all; further endpoints share the last number and are counted in lost().
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
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
inline constexpr size_t kUpstreamEvents = 8;
std::string_view to_text(UpstreamEvent);  ///< metric label: "timeout"

struct UpstreamView {
  Endpoint endpoint;
  double rtt_ms = 0, p95_ms = 0;  ///< 0: nothing measured yet
  double failure_share = 0;       ///< 0..1, fading
  bool aside = false;             ///< failing: only probed
  bool loop = false;              ///< sends our own questions back: not asked
  std::string reason;             ///< why aside; empty otherwise
  uint64_t queries = 0, good = 0;
  std::vector<std::pair<std::string, uint64_t>> events;  ///< by to_text(UpstreamEvent), without kGood
  uint64_t in_flight = 0;
};

class Upstreams {
 public:
  static constexpr size_t kMaxUpstreams = 4096;
  static constexpr unsigned kFailuresInARow = 3;
  static constexpr Millis kProbeMin{1'000}, kProbeMax{30'000};  ///< between probes of one set aside; doubles
  static constexpr Millis kRefresh{5'000};     ///< one that is not among the best is measured this often
  static constexpr Millis kLoopEvery{600'000}, kLoopWait{5'000};  ///< between loop probes; how long one may take to come back

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
  /// What became of a question counted by asked(). `took` is since it was sent; only read for kGood.
  void result(uint32_t number, UpstreamEvent event, std::chrono::nanoseconds took, Instant now);
  /// As result(), but says nothing about the upstream's health: all upstreams said so, so the name is at fault.
  void excused(uint32_t number, UpstreamEvent event);
  /// A question counted by asked() of which nothing will be known.
  void dropped(uint32_t number);
  /// Counts an event that belongs to no question.
  void note(uint32_t number, UpstreamEvent event);
  bool aside(uint32_t number) const;

  /// The token of a loop probe that is to be sent to this upstream now; nothing when none is due. Tokens are shared by all workers.
  std::optional<uint64_t> loop_probe(uint32_t number, Instant now, uint64_t random);
  /// A probe with this token came back to us. True when it is one of ours; the upstream is set aside as a loop.
  bool loop_seen(uint64_t token, Instant now);
  uint64_t loops() const;  ///< probes that came back
  uint64_t lost() const;   ///< endpoints beyond kMaxUpstreams

  std::vector<UpstreamView> view(Instant now) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ls::dns
