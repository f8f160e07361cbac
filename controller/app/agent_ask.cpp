#include "app/agent_ask.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

namespace ls {

namespace asio = boost::asio;

Heard heard_of(const std::error_code& result) {
  if (!result || result == std::errc::connection_refused || result == std::errc::connection_reset) return Heard::kAnswer;
  for (auto silence : {std::errc::operation_canceled, std::errc::timed_out, std::errc::host_unreachable, std::errc::network_unreachable})
    if (result == silence) return Heard::kSilence;
  return Heard::kNothing;
}

void ask_tcp(asio::io_context& io, const Endpoint& where, Millis limit, std::function<void(Heard)> answer) {
  struct Question {
    explicit Question(asio::io_context& i) : socket(i), timer(i) {}
    asio::ip::tcp::socket socket;
    asio::steady_timer timer;
  };
  auto q = std::make_shared<Question>(io);
  boost::system::error_code ec;
  auto address = asio::ip::make_address(where.address.text(), ec);
  q->timer.expires_after(limit);
  q->timer.async_wait([q](boost::system::error_code stopped) {
    boost::system::error_code ignored;
    if (!stopped) q->socket.close(ignored);
  });
  q->socket.async_connect({address, where.port}, [q, answer = std::move(answer)](boost::system::error_code result) {
    q->timer.cancel();
    answer(heard_of(result));
    boost::system::error_code ignored;
    q->socket.close(ignored);
  });
}

}  // namespace ls
