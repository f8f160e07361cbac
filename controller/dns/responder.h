#pragma once
/// Responder: decides what is done with one question, for one service on one worker. Access list, rate limit,
/// cookies, then the longest suffix: a zone, an upstream by way of the cache, or REFUSED.
///
/// Recursion: a name outside our zones that is asked without RD is answered from the cache if it is there,
/// else REFUSED; nothing is sent to an upstream for it. An alias of ours that leads outside is followed by
/// cache and forwarder, so that a stub resolver gets addresses; without RD, or without upstreams, the alias
/// alone is the answer. When the name outside fails, so does the answer. Cookies (RFC 7873): a valid one
/// exempts from the rate limit, a bad one is answered like none, with a new one. Thread: the worker's.
/// Nothing is allocated for zone answers and cache hits.
#include <functional>
#include <memory>

#include "dns/answer.h"
#include "dns/counters.h"
#include "dns/service.h"

namespace ls::dns {

struct Question {
  std::span<const uint8_t> packet;
  IpAddress client;
  bool tcp = false;
};

struct Reply {
  enum class Next : uint8_t { kNothing, kSend, kForward, kTransfer } next = Next::kNothing;
  Path path = Path::kError;
  Rcode rcode = Rcode::kNoError;
  size_t size = 0;
};

class Responder {
 public:
  struct Shared {
    Service& service;
    Cache& cache;
    Forwarder& forwarder;
    const Clock& clock;
    const CookieSecret& secret;
    uint16_t udp_size;
  };
  explicit Responder(const Shared& shared);
  ~Responder();

  /// Before the questions of a batch: takes the routes and the policy that count, and the time.
  void begin(Instant now);
  /// Inside an Epoch::Guard. kForward: forward() must follow at once, before anything else is answered.
  /// kTransfer (TCP only): take_transfer(). Answers that are sent are counted here.
  Reply answer(const Question& question, std::span<uint8_t> out);

  /// Called once with the answer, unless it fell to the rate limit (then with nothing). Never from inside
  /// forward().
  using Send = std::function<void(std::span<const uint8_t>)>;
  void forward(const Question& question, std::span<const uint8_t> written, Send send);
  std::vector<uint8_t> take_transfer() { return std::move(transfer_); }

  /// As answer() and forward(), without limits, with reasons. Not inside a Guard: takes one from `reader`.
  void explain(std::vector<uint8_t> query, Epoch::Reader& reader, std::function<void(Explained)> done);

  /// Drops routes that no longer count, so that an idle worker does not keep old zones.
  void refresh();
  WorkerCounters& counters() { return counters_; }
  const WorkerCounters& counters() const { return counters_; }

 private:
  struct Job;
  struct Cookies {
    std::array<uint8_t, kBothCookies> bytes;
    bool valid = false;
  };
  void cookies(const Query& query, const IpAddress& client, AnswerLimits& limits, Cookies& cookies) const;
  Reply resolve(const Question& question, const Query& query, const AnswerLimits& limits,
                std::span<uint8_t> out);
  Reply transfer(const Question& question, const Query& query, const AnswerLimits& limits,
                 std::span<uint8_t> out);
  Reply recurse(const Query& query, const ForwardGroup& group, const AnswerLimits& limits,
                std::span<uint8_t> out);
  Reply chase(const Query& query, const Answer& alias, const AnswerLimits& limits, std::span<uint8_t> out);
  Reply plain(const Query& query, Rcode rcode, Path path, bool with_question, const AnswerLimits& limits,
              std::span<uint8_t> out) const;
  /// Rate limit, TC exception, counters. kNothing: it is not to be sent.
  Reply finish(const Query& query, bool exempt, const IpAddress& client, const AnswerLimits& limits,
               std::span<uint8_t> out, Reply reply);
  std::shared_ptr<Job> make_job(std::span<const uint8_t> packet, std::span<const uint8_t> written,
                                const AnswerLimits& limits);
  /// The reply to `job` in scratch_, cut to size.
  Reply complete(Job& job, std::span<const uint8_t> upstream);
  void done(Job& job, std::span<const uint8_t> upstream, const Forwarder::Trace* trace);
  uint64_t random();
  AnswerLimits limits(const Question& question);

  Shared s_;
  WorkerCounters counters_;
  std::shared_ptr<const Routes> routes_;
  std::shared_ptr<const Policy> policy_;
  uint64_t routes_version_ = 0;
  Instant now_{};
  uint32_t unix_s_ = 0;
  uint64_t random_;
  Query query_;
  // What kForward leaves for forward().
  const ForwardGroup* group_ = nullptr;
  bool chase_ = false;
  DnsName target_;
  std::vector<uint8_t> transfer_;
  std::vector<uint8_t> scratch_, chased_;  ///< 64 KiB each
};

}  // namespace ls::dns
