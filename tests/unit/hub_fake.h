#pragma once
/// A scripted hub on loopback, on the test's own io_context: it answers requests with what the test says, and a stream sends what it is given,
/// right or wrong. Nothing here knows hub::Server.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hub/record.h"
#include "state_builders.h"

namespace ls::test {

namespace asio = boost::asio;
using asio::ip::tcp;

inline std::string framed(const std::string& record) { return fmt::format("{}\n{}", record.size(), record); }

class FakeHub {
 public:
  struct Stream {
    explicit Stream(tcp::socket s) : socket(std::move(s)) {}
    tcp::socket socket;
    asio::streambuf in;
    std::string target, head;  ///< of the request
    bool gone = false;         ///< the follower left

    /// One chunk with these octets.
    void raw(const std::string& octets) { write(fmt::format("{:x}\r\n{}\r\n", octets.size(), octets)); }
    void send(const std::string& record) { raw(framed(record)); }
    void write(const std::string& octets) {
      boost::system::error_code ec;
      asio::write(socket, asio::buffer(octets), ec);
    }
    void close() {
      boost::system::error_code ec;
      socket.close(ec);
    }
  };
  using StreamPtr = std::shared_ptr<Stream>;

  explicit FakeHub(asio::io_context& io) : io_(io), acceptor_(io, tcp::endpoint(asio::ip::make_address("127.0.0.1"), 0)) {
    port_ = acceptor_.local_endpoint().port();
    accept();
  }
  ~FakeHub() { down(); }

  std::string address() const { return fmt::format("127.0.0.1:{}", port_); }
  /// Nothing listens any more, and all streams are cut.
  void down() {
    boost::system::error_code ec;
    acceptor_.close(ec);
    for (auto& s : all_) s->close();
    streams.clear();
  }
  void up() {
    acceptor_ = tcp::acceptor(io_, tcp::endpoint(asio::ip::make_address("127.0.0.1"), port_));
    accept();
  }

  /// Answer to /v1/hub instead of a stream: "503 Service Unavailable\r\nRetry-After: 1".
  std::string refuse, refusal_text = "no\n";
  std::string content_type = "application/recordio";
  bool mute = false;         ///< takes requests and says nothing
  bool tells_time = true;
  int64_t clock_shift_us = 0;
  size_t requests = 0, time_requests = 0;
  std::vector<StreamPtr> streams;               ///< that were answered 200, in order
  std::function<void(Stream&)> on_stream;       ///< its first records

 private:
  void accept() {
    acceptor_.async_accept([this](boost::system::error_code ec, tcp::socket socket) {
      if (ec) return;
      auto stream = std::make_shared<Stream>(std::move(socket));
      all_.push_back(stream);
      read(stream);
      accept();
    });
  }
  void read(const StreamPtr& stream) {
    asio::async_read_until(stream->socket, stream->in, "\r\n\r\n", [this, stream](boost::system::error_code ec, size_t n) {
      if (ec) {
        stream->gone = true;
        return;
      }
      stream->head.assign(asio::buffers_begin(stream->in.data()), asio::buffers_begin(stream->in.data()) + ptrdiff_t(n));
      stream->in.consume(n);
      stream->target = stream->head.substr(4, stream->head.find(' ', 4) - 4);
      answer(stream);
      read(stream);
    });
  }
  void answer(const StreamPtr& stream) {
    if (mute) return;
    if (stream->target.starts_with("/v1/hub/time")) {
      ++time_requests;
      auto now = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
      auto text = tells_time ? fmt::format("{{\"clock_us\":{}}}", now + clock_shift_us) : std::string("{}");
      return stream->write(fmt::format("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}", text.size(), text));
    }
    ++requests;
    if (!refuse.empty()) return stream->write(fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\n\r\n{}", refuse, refusal_text.size(), refusal_text));
    stream->write(fmt::format("HTTP/1.1 200 OK\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n", content_type));
    streams.push_back(stream);
    if (on_stream) on_stream(*stream);
  }

  asio::io_context& io_;
  tcp::acceptor acceptor_;
  uint16_t port_ = 0;
  std::vector<StreamPtr> all_;
};

}  // namespace ls::test
