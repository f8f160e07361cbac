#include "dns/tcp_listener.h"

#include <sys/socket.h>

#include "dns/sockets.h"
#include "util/log.h"

namespace ls::dns {
namespace {

constexpr std::chrono::milliseconds kPause{200};  // after an error of accept: no descriptors, no memory

}  // namespace

TcpListener::TcpListener(boost::asio::io_context& io, UniqueFd fd, bool v4, Responder& responder,
                         TcpLimits& limits, TcpShared& shared)
    : io_(io),
      acceptor_(io, v4 ? boost::asio::ip::tcp::v4() : boost::asio::ip::tcp::v6(), fd.release()),
      pause_(io),
      responder_(responder),
      limits_(limits),
      shared_(shared) {}

void TcpListener::accept() {
  acceptor_.async_accept([this](boost::system::error_code error, boost::asio::ip::tcp::socket socket) {
    if (error == boost::asio::error::operation_aborted) return;
    if (error) {
      log::warn("dns_accept_failed", {{"error", error.message()}});
      pause_.expires_after(kPause);
      pause_.async_wait([this](boost::system::error_code stopped) {
        if (!stopped) accept();
      });
      return;
    }
    responder_.counters().tcp_accepted.add();
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    boost::system::error_code ignored;
    if (getpeername(socket.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size) == 0) {
      IpAddress client = from_sockaddr(peer).address;
      if (auto place = limits_.enter(client)) {
        socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
        socket.non_blocking(true, ignored);
        std::make_shared<TcpSession>(std::move(socket), client, std::move(place), responder_, shared_)
            ->start();
      } else {
        responder_.counters().tcp_refused.add();
      }
    }
    accept();
  });
}

}  // namespace ls::dns
