#pragma once
/// One TCP connection of a client (RFC 7766): questions may follow one another without waiting, answers go
/// out in the order in which they are ready. Thread: the worker's. Lives as long as one of its handlers or a
/// question at an upstream.
///
/// Bounds: kPending questions at upstreams and kQueued octets of answers (or one answer, or one transfer, above it);
/// above either nothing more is handled or read, so that the client's own window fills. A client that does not take its answers for the idle time is
/// dropped, as is one that does not finish a question within it. After `queries` questions the connection is
/// closed when all are answered.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <vector>

#include "dns/responder.h"
#include "dns/tcp_framing.h"
#include "dns/tcp_limits.h"

namespace ls::dns {

/// What a worker's sessions share.
struct TcpShared {
  Epoch::Reader& reader;
  const Clock& clock;
  std::vector<uint8_t> scratch = std::vector<uint8_t>(65535);
  size_t queries = 65535;
  Millis idle{10'000};
  size_t transfers = 0;  ///< zones on their way, each held in memory
};

class TcpSession : public std::enable_shared_from_this<TcpSession> {
 public:
  static constexpr size_t kPending = 256, kQueued = 256 << 10, kTransfers = 8;

  TcpSession(boost::asio::ip::tcp::socket socket, const IpAddress& client, TcpLimits::Place place,
             Responder& responder, TcpShared& shared);
  ~TcpSession();
  void start();

 private:
  void read();
  void handle();
  void one(std::span<const uint8_t> message);
  void queue(std::span<const uint8_t> message);
  void write();
  void watch();
  void go_on();
  bool room() const;
  void close();

  boost::asio::ip::tcp::socket socket_;
  const IpAddress client_;
  TcpLimits::Place place_;
  Responder& responder_;
  TcpShared& shared_;
  boost::asio::steady_timer timer_;
  TcpFraming framing_;
  std::vector<uint8_t> queued_, writing_;
  size_t written_ = 0;  ///< of writing_
  size_t queries_ = 0, pending_ = 0;
  bool reading_ = false, ended_ = false, closed_ = false, transfer_ = false;
  bool held_back_ = false;  ///< framing_ may hold questions that were not handled for want of room
  std::chrono::steady_clock::time_point moved_;  ///< last question read whole, or octets taken by the client
};

}  // namespace ls::dns
