#pragma once
/// DnsUpstream: a scripted upstream for tests, on one loopback address, UDP and TCP on the same port. Its own thread.
/// Behaviour is changed at any time; counters are read at any time. Questions for A get `address` (or `count` addresses of
/// 10.0.0.0/8), everything else no data with an SOA. Plain poll(2), no dependency on the code under test.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace ls::test {

struct UpstreamScript {
  enum class Kind : uint8_t {
    kAnswer, kSilent, kWrongId, kWrongQuestion, kWrongPort, kWrongAddress, kGarbage, kShort, kTruncate, kForwardPointer, kUnasked
  };
  Kind kind = Kind::kAnswer;
  unsigned after_ms = 0;
  unsigned rcode = 0;
  std::string address = "192.0.2.1";
  unsigned count = 1;            ///< addresses in an answer
  unsigned ttl = 300;
  bool lower_case = false;       ///< the question comes back in lower case
  bool formerr_on_edns = false;  ///< FORMERR, without OPT, for a question with OPT
  bool cookies = false;          ///< answers carry a server cookie
  bool wrong_cookie = false;     ///< the client's part of it is wrong
  bool tcp = true;               ///< false: TCP connections are closed at once
  bool tcp_silent = false;
  unsigned flap_ms = 0;          ///< answers for so long, is silent for so long
  unsigned lies = 0;             ///< with each answer, so many wrong ones before it (wrong id)
};

struct UpstreamCounts {
  uint64_t udp = 0, tcp = 0, answered = 0, tcp_connections = 0, with_edns = 0, with_cookie = 0, mixed_case = 0;
  uint64_t ports = 0;  ///< different source ports seen
};

class DnsUpstream {
 public:
  /// Port 0: any. Throws std::runtime_error when the address cannot be bound.
  explicit DnsUpstream(const std::string& address, uint16_t port = 0, UpstreamScript script = {});
  ~DnsUpstream();
  DnsUpstream(const DnsUpstream&) = delete;
  DnsUpstream& operator=(const DnsUpstream&) = delete;

  uint16_t port() const;
  const std::string& address() const;
  void set(UpstreamScript script);
  UpstreamCounts counts() const;
  /// A spoofer: answers to the last question seen, sent from this very address and port to random ports with random ids; everything
  /// else in them is right, and the address they give is 203.0.113.66. 0: stop.
  void flood(uint64_t per_second);
  uint64_t flooded() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One line of control, as ls-dns-upstream reads it: "answer", "silent", "rcode 2", "delay 20", "truncate", "tcp off", ... Returns false
/// and says why in `error` when it is not understood.
bool apply_line(const std::string& line, UpstreamScript& script, std::string& error);
std::string to_line(const UpstreamCounts& counts);

}  // namespace ls::test
