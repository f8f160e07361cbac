#pragma once
/// Accepts TCP connections of one endpoint on one worker. Above the limits a connection is closed at once and
/// counted. Thread: the worker's.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "dns/tcp_session.h"
#include "util/unique_fd.h"

namespace ls::dns {

class TcpListener {
 public:
  TcpListener(boost::asio::io_context& io, UniqueFd fd, bool v4, Responder& responder, TcpLimits& limits,
              TcpShared& shared);
  void start() { accept(); }

 private:
  void accept();

  boost::asio::io_context& io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  Responder& responder_;
  TcpLimits& limits_;
  TcpShared& shared_;
};

}  // namespace ls::dns
