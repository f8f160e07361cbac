#pragma once
/// Forwarder: asks upstreams on behalf of clients. One a worker, on the worker's io_context; Upstreams and Cache are shared.
///
/// A question goes to the best upstreams at once; the first good answer wins: NOERROR or NXDOMAIN with the right id, address,
/// port and question. SERVFAIL, REFUSED and the like count only when all have answered so or time is over. A retry goes out after
/// the upstream's own p95. TC: the same upstream again over TCP. All failed: stale data, else SERVFAIL at once.
/// Against spoofing (faults.md 6): id from the kernel's generator, connected sockets from a pool of random source ports that is
/// redrawn, 0x20 spelling where the upstream keeps it, one question in flight for all clients that ask the same, wrong answers counted,
/// above a limit the question goes over TCP.
/// A loop (an upstream that sends our questions back to us) is found by a probe name: status and metrics say so.
/// Bounded: `max_in_flight` questions, `max_waiters` clients a question; above it SERVFAIL at once.
/// Thread: the worker's. Cost: O(upstreams asked) a question; timers are a heap.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dns/cache.h"
#include "dns/routes.h"
#include "dns/upstreams.h"

namespace boost::asio {
class io_context;
}

namespace ls::dns {

struct ForwarderOptions {
  Millis timeout{5'000};  ///< for the whole question
  size_t max_in_flight = 4096, max_waiters = 1024;
  size_t ports = 64;        ///< sockets for each upstream, each with a port of its own
  bool mixed_case = true;   ///< 0x20
  bool cookies = true;      ///< RFC 7873 towards upstreams
  uint16_t udp_size = 1232;
  size_t mismatch_limit = 16;  ///< wrong answers to one question before it goes over TCP
};

struct ForwarderView {
  uint64_t in_flight = 0, questions = 0, shared = 0, answered = 0, servfail = 0, stale = 0, overflow = 0, mismatches = 0,
           tcp_fallbacks = 0, retries = 0, loops = 0;  ///< loops: of all workers
  uint64_t fewer_ports = 0;  ///< questions that had to share a port: no descriptor for a new one
};

class Forwarder {
 public:
  Forwarder(boost::asio::io_context& io, Upstreams& upstreams, Cache& cache, const Clock& clock, ForwarderOptions options);
  ~Forwarder();

  /// What happened to one question, for `dns explain`. Filled when asked for; given without being asked for with stale answers only,
  /// then with nothing but the source.
  struct Trace {
    std::string group;
    struct Asked {
      Endpoint upstream;
      bool tcp = false;
      double at_ms = 0, took_ms = 0;  ///< since the question came
      std::string outcome;            ///< "NOERROR", "timeout", "mismatch", "cancelled"
    };
    std::vector<Asked> asked;
    std::string source;  ///< "upstream 10.0.0.1:53", "stale cache", "none"
  };

  /// `reply`: a whole message that answers `query`'s question (with upstream's flags, id and spelling of the client), not cut to
  /// the client's size: the caller does that. Called exactly once, never from inside ask(). Not after the Forwarder's end.
  using Done = std::function<void(std::span<const uint8_t> reply, const Trace* trace)>;
  void ask(const Query& query, const ForwardGroup& group, Done done, bool trace = false);

  /// True when `query` is this host's own loop probe, come back from an upstream: answer REFUSED, do not forward.
  bool is_own_probe(const Query& query);
  ForwarderView view() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A response cut down so that it fits `limit`: whole records are taken from the end, TC set when answers are missing. Also lays the
/// client's id, RD/CD and spelling over it; the OPT of the upstream's hop is taken out and ours put in when the question had one,
/// with `cookie` (client and server cookie, or empty). For answers of upstreams; zone answers are built to size. False: malformed.
/// Thread: any; no allocation after the first.
bool fit_response(std::span<const uint8_t> response, const Query& query, size_t limit, std::span<uint8_t> out, size_t& size,
                  std::span<const uint8_t> cookie = {});

}  // namespace ls::dns
