#include "app/overlay_probe_talk.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <random>

namespace ls::overlay_probe {
namespace {

using asio::ip::tcp;
using asio::ip::udp;
using Steady = std::chrono::steady_clock;

constexpr int kAttempts = 3;
constexpr size_t kHeaders4 = 28;  // IPv4 20, UDP 8

auto redirect(Code& ec) { return asio::redirect_error(asio::use_awaitable, ec); }

double since_ms(Steady::time_point begin) {
  return std::chrono::duration<double, std::milli>(Steady::now() - begin).count();
}

template <class Endpoint_>
Endpoint_ to(const Endpoint& e) {
  return {to_asio(e.address), e.port};
}

/// No two neighbouring blocks are equal, so that data in another order is noticed.
std::string pattern(size_t bytes) {
  std::string out(bytes, '\0');
  std::minstd_rand random(uint32_t(std::random_device{}()));
  std::generate(out.begin(), out.end(), [&] { return char(random() >> 8); });
  return out;
}

/// Bytes that the peer has not acknowledged; 0 also when it cannot be read.
int outstanding(tcp::socket& s) {
  int bytes = 0;
  return ::ioctl(s.native_handle(), SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

}  // namespace

size_t large_question(uint32_t mtu) { return std::max<size_t>(mtu, kHeaders4 + kWitnessBytes) - kHeaders4; }

asio::awaitable<std::optional<WitnessAnswer>> ask_witness(const Via& via, const Endpoint& peer, uint16_t port, size_t size, Millis limit) {
  udp::socket socket(co_await asio::this_coro::executor);
  Code ec;
  open_via(socket, via, 0, ec);
  int on = 1, probe = IP_PMTUDISC_PROBE;
  if (!ec && ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on) != 0) ec = last_errno();
  // Whole or not at all: a large question that is cut shows nothing.
  if (!ec) (void)::setsockopt(socket.native_handle(), IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
  if (!ec) socket.connect(to<udp::endpoint>(peer), ec);
  if (ec) co_return std::nullopt;
  std::random_device random;
  Witness question{false, Seen::kNothing, port, uint64_t(random()) << 32 | random()};
  for (int i = 0; i < kAttempts; i++) {
    auto begin = Steady::now();
    Limit until(socket, limit);
    co_await socket.async_send(asio::buffer(to_wire(question, size)), redirect(ec));
    while (!ec && !until.over()) {
      char buffer[64];
      size_t got = co_await socket.async_receive(asio::buffer(buffer), redirect(ec));
      auto answer = ec ? std::nullopt : from_wire({buffer, got});
      if (answer && answer->answer && answer->number == question.number && answer->port == port)
        co_return WitnessAnswer{answer->seen, since_ms(begin)};
    }
    if (ec == asio::error::connection_refused) break;
  }
  co_return std::nullopt;
}

asio::awaitable<TcpAnswer> knock(const Via& via, const Endpoint& peer, Millis limit, double& rtt_ms) {
  tcp::socket socket(co_await asio::this_coro::executor);
  Code ec;
  open_via(socket, via, 0, ec);
  if (ec) co_return TcpAnswer::kUnreachable;
  auto begin = Steady::now();
  Limit until(socket, limit);
  co_await socket.async_connect(to<tcp::endpoint>(peer), redirect(ec));
  rtt_ms = since_ms(begin);
  if (!ec) co_return TcpAnswer::kConnected;
  if (ec == asio::error::connection_refused || ec == asio::error::connection_reset) co_return TcpAnswer::kRefused;
  co_return until.over() ? TcpAnswer::kNone : TcpAnswer::kUnreachable;
}

asio::awaitable<bool> udp_refused(const Via& via, const Endpoint& peer, Millis limit) {
  udp::socket socket(co_await asio::this_coro::executor);
  Code ec;
  open_via(socket, via, 0, ec);
  if (!ec) socket.connect(to<udp::endpoint>(peer), ec);
  // One octet: too short for a VXLAN header, so a tunnel's socket drops it without a word.
  if (!ec) socket.send(asio::buffer("", 1), 0, ec);
  if (ec) co_return false;
  Limit until(socket, limit);
  char buffer[16];
  co_await socket.async_receive(asio::buffer(buffer), redirect(ec));
  co_return ec == asio::error::connection_refused;
}

asio::awaitable<TalkReport> talk(const Via& via, const Endpoint& peer, size_t bytes, uint32_t mtu, TalkLimits limits) {
  TalkReport report;
  auto conclude = [&](Verdict v, std::string what) {
    report.verdict = v;
    report.what = std::move(what);
    return report;
  };
  auto there = co_await ask_witness(via, peer, 0, kWitnessBytes, limits.witness);
  if (!there) co_return conclude(Verdict::kNoPeer, fmt::format("nobody answers on port {} of its tunnel address", peer.port));
  report.rtt_ms = there->rtt_ms;

  tcp::socket socket(co_await asio::this_coro::executor);
  Code ec;
  open_via(socket, via, 0, ec);
  if (ec) co_return conclude(Verdict::kUnclear, fmt::format("a socket on {}: {}", via.source.text(), ec.message()));
  auto port = socket.local_endpoint(ec).port();
  bool over = false;
  {
    Limit until(socket, limits.connect);
    co_await socket.async_connect(to<tcp::endpoint>(peer), redirect(ec));
    over = until.over() || ec == asio::error::timed_out;
  }
  if (ec && over) {
    auto heard = co_await ask_witness(via, peer, port, kWitnessBytes, limits.witness);
    if (!heard) co_return conclude(Verdict::kUnclear, "it answered before the connection and not after");
    if (heard->seen == Seen::kNothing) co_return conclude(Verdict::kOursLost, "connection requests of this node do not arrive");
    if (heard->seen == Seen::kRequest) co_return conclude(Verdict::kTheirsLost, "its answers to connection requests do not arrive");
    if (heard->seen == Seen::kCannotTell) co_return conclude(Verdict::kOneSideLost, "no connection comes to be");
    co_return conclude(Verdict::kUnclear, "the connection came to be too late");
  }
  if (ec) co_return conclude(Verdict::kUnclear, "connect: " + ec.message());

  auto data = pattern(bytes);
  {
    Limit until(socket, limits.data);
    co_await asio::async_write(socket, asio::buffer(data), redirect(ec));
    // The end of our side is also seen as acknowledged or not.
    Code ignored;
    if (!ec) socket.shutdown(tcp::socket::shutdown_send, ignored);
    over = until.over();
  }
  std::string back(bytes + 1, '\0');
  size_t size = 0;
  if (!over && !ec) {
    Limit until(socket, limits.data);
    size = co_await asio::async_read(socket, asio::buffer(back), redirect(ec));
    over = until.over() && ec != asio::error::eof;
  }
  if (over) {
    bool ours = outstanding(socket) > 0;
    auto still = co_await ask_witness(via, peer, 0, kWitnessBytes, limits.witness);
    if (!still) co_return conclude(Verdict::kUnclear, "it answered before the connection and not after");
    if (!ours) co_return conclude(Verdict::kTheirsLost, "data that it sends does not arrive, this node's does");
    auto large = co_await ask_witness(via, peer, 0, large_question(mtu), limits.witness);
    if (!large) co_return conclude(Verdict::kTooLarge, fmt::format("packets of {} octets do not arrive, small ones do", mtu));
    co_return conclude(Verdict::kOursLost, "data of this node does not arrive, connection requests do");
  }
  if (ec && ec != asio::error::eof) co_return conclude(Verdict::kUnclear, "data: " + ec.message());
  if (size != bytes) co_return conclude(Verdict::kUnclear, fmt::format("it ended the connection after {} of {} octets", size, bytes));
  if (!std::equal(data.begin(), data.end(), back.begin())) co_return conclude(Verdict::kChanged, "data comes back changed");
  co_return conclude(Verdict::kGood, "good");
}

}  // namespace ls::overlay_probe
