#pragma once
/// What one worker holds for one upstream: its sockets, what it learned about the server's habits, its cookie. Thread: the worker's.
///
/// UDP: a pool of connected sockets, each on a port of the kernel's choice. connect() without bind() draws the port at random
/// (Linux, udp_lib_get_port: a random start in ip_local_port_range and a random odd step). A socket is replaced after kUses questions
/// or kAge; the old one stays until its last answer is in. Connected sockets give answers of the right address and port only, and
/// tell at once when nobody listens (ICMP). When the process has no descriptors left, the sockets that are open are shared.
/// TCP: one connection, questions pipelined (RFC 7766), answers in any order; closed when idle for kTcpIdle.
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dns/random_source.h"
#include "util/address.h"
#include "util/clock.h"

namespace ls::dns {

struct Question;
struct Peer;
struct Port;
struct TcpLink;

/// One message sent to one upstream that may still be answered.
struct Exchange {
  Question* question = nullptr;
  Peer* peer = nullptr;
  std::shared_ptr<Port> port;     ///< with UDP
  std::shared_ptr<TcpLink> link;  ///< with TCP
  uint16_t id = 0;
  bool edns = false, mixed = false, cookie = false;
  bool probe = false;         ///< nobody waits for it
  bool resolved = false;      ///< answered, failed or judged lost
  bool without_edns = false;  ///< sent because the upstream answered FORMERR to EDNS
  bool cookie_again = false;  ///< sent because of BADCOOKIE
  int trace = -1;             ///< index into the trace
  Instant sent{};
  std::string name;           ///< as spelt
};

/// The exchanges on one socket or connection, by message id. Few at a time, so they are searched one by one.
class Pending {
 public:
  Exchange* find(uint16_t id) const {
    for (auto& [known, exchange] : list_)
      if (known == id) return exchange;
    return nullptr;
  }
  void add(Exchange* e) { list_.emplace_back(e->id, e); }
  void remove(const Exchange* e) {
    for (auto& entry : list_) {
      if (entry.second != e) continue;
      entry = list_.back();
      list_.pop_back();
      return;
    }
  }
  bool empty() const { return list_.empty(); }
  size_t size() const { return list_.size(); }
  std::vector<Exchange*> all() const {
    std::vector<Exchange*> out;
    for (auto& [id, e] : list_) out.push_back(e);
    return out;
  }

 private:
  std::vector<std::pair<uint16_t, Exchange*>> list_;
};

struct Port {
  Port(boost::asio::io_context& io, int fd) : socket(io, fd) {}
  boost::asio::posix::stream_descriptor socket;
  Peer* peer = nullptr;
  Pending pending;
  unsigned uses = 0;
  Instant opened{};
};

/// What a Peer tells its owner. Called from the io_context's handlers, never from inside port() or send_tcp().
struct PeerEvents {
  std::function<void(Port&, std::span<const uint8_t>)> datagram;
  std::function<void(Port&)> refused;                                 ///< ICMP: nobody listens there
  std::function<void(TcpLink&, std::span<const uint8_t>)> message;
  std::function<void(TcpLink&)> closed;                               ///< its pending exchanges fail
};

struct TcpLink : std::enable_shared_from_this<TcpLink> {
  static constexpr size_t kMaxPending = 256, kMaxQueued = 1 << 20;
  TcpLink(boost::asio::io_context& io, const PeerEvents& owner_events, std::weak_ptr<int> owner)
      : socket(io), idle(io), events(owner_events), alive(std::move(owner)) {}
  void start(const Endpoint& endpoint);
  bool send(std::span<const uint8_t> message);  ///< false: too much is waiting
  void close();

  boost::asio::ip::tcp::socket socket;
  boost::asio::steady_timer idle;
  const PeerEvents& events;  ///< valid while `alive` is
  std::weak_ptr<int> alive;
  Peer* peer = nullptr;
  Pending pending;
  bool connected = false, ended = false, heard = false;

 private:
  void write();
  void read();
  void end();
  void wait_idle();
  std::deque<std::vector<uint8_t>> queue_;
  size_t queued_ = 0;
  bool writing_ = false;
  std::vector<uint8_t> in_;
  size_t have_ = 0;
};

struct Peer {
  static constexpr unsigned kUses = 512;
  static constexpr Millis kAge{60'000};
  static constexpr Millis kTcpIdle{10'000};
  static constexpr Millis kRemember{600'000};  ///< that an upstream knows no EDNS or does not keep case
  static constexpr unsigned kCaseMisses = 3;
  static constexpr size_t kMaxPendingPerPort = 1024;

  Peer(boost::asio::io_context& io, uint32_t n, const Endpoint& e, size_t ports, RandomSource& random, const PeerEvents& peer_events,
       std::weak_ptr<int> owner);

  /// A socket for one question; nullptr with `error` (errno) when there is none. `fewer` counts pools that could not grow.
  std::shared_ptr<Port> port(Instant now, int& error, uint64_t& fewer);
  std::shared_ptr<TcpLink> tcp();
  bool edns(Instant now) const { return now >= no_edns_until; }
  bool keeps_case(Instant now) const { return now >= no_case_until; }
  void case_missed(Instant now);

  boost::asio::io_context& io;
  const uint32_t number;
  const Endpoint endpoint;
  RandomSource& random;
  const PeerEvents& events;
  std::weak_ptr<int> alive;
  std::vector<std::shared_ptr<Port>> ports;
  size_t open = 0;
  std::shared_ptr<TcpLink> link;
  Instant no_edns_until{}, no_case_until{};
  unsigned case_misses = 0;
  std::array<uint8_t, 8> client_cookie;
  std::vector<uint8_t> server_cookie;
  bool speaks_cookies = false;

 private:
  std::shared_ptr<Port> open_port(Instant now, int& error);
  void wait(const std::shared_ptr<Port>& port);
};

}  // namespace ls::dns
