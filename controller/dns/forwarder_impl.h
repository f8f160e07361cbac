#pragma once
/// Forwarder::Impl, shared by forwarder.cpp (questions, time, ends), forwarder_send.cpp (what goes out) and forwarder_receive.cpp
/// (what comes in). Thread: the worker's; the counters may be read by any.
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <vector>

#include "dns/forwarder.h"
#include "dns/random_source.h"
#include "dns/response.h"
#include "dns/upstream_peer.h"

namespace ls::dns {

struct Waiter {
  Forwarder::Done done;
  std::string name;  ///< as this client spelt it
  uint16_t id = 0, flags = 0;
  bool trace = false;
};

/// A bad answer: counts against the upstream only when another one had a good one.
struct Blame {
  uint32_t number;
  UpstreamEvent event;
};

/// How good an answer that is not good is; the best goes to the client when there is no other.
enum class BadRank : uint8_t { kNone, kFormErr, kNotImp, kRefused, kServFail, kTruncated };

struct Question {
  uint64_t number = 0;
  std::string key;              ///< empty: loop probe
  std::vector<uint8_t> packet;  ///< a question of our own making, which `query` points into
  Query query;
  std::vector<uint32_t> peers;  ///< those asked first, then `later`
  size_t first = 0;             ///< how many of `peers` were asked at once
  size_t next = 0;              ///< of `peers`, to be asked next
  unsigned rounds = 0;          ///< how often all were asked
  std::vector<std::unique_ptr<Exchange>> exchanges;
  std::vector<Waiter> waiters;
  std::vector<Blame> blame;
  std::vector<uint8_t> best;    ///< the best of the bad answers
  BadRank best_rank = BadRank::kNone;
  Millis patience{0};
  Instant started{}, ends{}, retry_at{}, stale_at{}, timer_at{};
  size_t mismatches = 0;
  bool answered = false, over_tcp = false, want_trace = false;
  Forwarder::Trace trace;

  bool dnssec_ok() const { return query.edns && query.edns->dnssec_ok; }
  bool checking_disabled() const { return query.flags & kCd; }
};

struct Forwarder::Impl {
  static constexpr unsigned kMaxRounds = 6;              ///< times one upstream gets one question
  static constexpr Millis kJudgeMin{100}, kJudgeMax{1'000};  ///< after the winner's answer, for the others
  static constexpr Millis kStaleAfter{1'800};            ///< RFC 8767 5: client response timer

  static constexpr Millis kTick{1};                      ///< how late a retry or a judgement may be for the sake of others

  struct Due {
    Instant at;
    uint64_t question;
    bool operator<(const Due& other) const { return at > other.at; }
  };

  Impl(boost::asio::io_context& io, Upstreams& upstreams, Cache& cache, const Clock& clock, ForwarderOptions options);
  ~Impl();

  // forwarder.cpp
  void ask(const Query& query, const ForwardGroup& group, Done done, bool trace);
  void refuse(Waiter waiter, const Query& query);
  Question& make_question(const Query& query, const std::string& key);
  void start_trace(Question& q, const ForwardGroup& group);
  void start(Question& q, std::span<const uint32_t> group, Instant now);
  void probe_loops(std::span<const uint32_t> group, Instant now);
  void schedule(Question& q, Instant at);
  void arm();
  /// Entries of questions that have ended or were scheduled for an earlier time are left behind in the heap.
  bool outlived(const Due& entry) const;
  void on_timer();
  void on_time(Question& q, Instant now);
  void ask_next(Question& q, Instant now);
  /// Looks what to do after something failed: ask the next, wait, or end.
  void advance(Question& q, Instant now);
  void win(Question& q, Exchange& by, const Response& response, Instant now);
  void fail(Question& q, Instant now);
  void reply(Question& q, const Response& response, const std::string& source);
  void reply_servfail(Question& q);
  bool reply_stale(Question& q, Instant now);
  void close(Question& q, Instant now);
  void judge(Question& q, Instant now);
  void erase(Question& q);
  void trace_result(Exchange& e, std::string outcome, Instant now);

  // forwarder_send.cpp
  struct How {
    bool tcp = false, probe = false, plain = false, exact_case = false, cookie_again = false;
  };
  Peer& peer(uint32_t number);
  /// False: it failed at once (no descriptors, no route); already counted.
  bool send(Question& q, uint32_t number, How how, Instant now);
  bool send_udp(Exchange& e, std::span<uint8_t> message, Instant now);
  bool send_tcp(Exchange& e, std::span<uint8_t> message);
  size_t build(const Question& q, Exchange& e, std::span<uint8_t> out);
  void detach(Exchange& e);

  // forwarder_receive.cpp
  void on_datagram(Port& port, std::span<const uint8_t> bytes);
  void on_message(TcpLink& link, std::span<const uint8_t> bytes);
  void on_refused(Port& port);
  void on_closed(TcpLink& link);
  void failed_at_once(const std::vector<Exchange*>& all, bool tcp);
  void mismatch(Pending& pending, Peer& peer);
  void receive(Exchange& e, std::span<const uint8_t> bytes);
  enum class Match { kYes, kNo, kCase };
  Match match(const Exchange& e, bool well) const;
  enum class Cookies { kGood, kForged, kMissing };
  Cookies check_cookies(Exchange& e);
  void bad_answer(Exchange& e, UpstreamEvent event, BadRank rank, std::span<const uint8_t> bytes, Instant now);
  void again(Exchange& e, How how, Instant now);

  boost::asio::io_context& io;
  Upstreams& upstreams;
  Cache& cache;
  const Clock& clock;
  const ForwarderOptions options;
  RandomSource random;
  std::shared_ptr<int> alive = std::make_shared<int>(0);
  PeerEvents events;
  std::vector<std::unique_ptr<Peer>> peers;  ///< by number; empty where not used
  std::unordered_map<Endpoint, uint32_t> numbers;
  std::unordered_map<std::string, Question*> in_flight;
  std::unordered_map<uint64_t, std::unique_ptr<Question>> questions;
  uint64_t next_question = 0;
  std::priority_queue<Due> due;
  boost::asio::steady_timer timer;
  Instant armed_for = Instant::max(), next_loop_check{};
  Response response;
  std::vector<uint8_t> scratch;

  struct Counters {
    std::atomic<uint64_t> in_flight{0}, questions{0}, shared{0}, answered{0}, servfail{0}, stale{0}, overflow{0}, mismatches{0},
        tcp_fallbacks{0}, retries{0}, fewer_ports{0};
  };
  Counters counters;
  static void add(std::atomic<uint64_t>& c, uint64_t n = 1) { c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
};

}  // namespace ls::dns
