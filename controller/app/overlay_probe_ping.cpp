#include "app/overlay_probe_ping.h"

#include <fmt/format.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include <array>
#include <boost/asio/generic/datagram_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <random>
#include <string>

namespace ls::overlay_probe {
namespace {

using Steady = std::chrono::steady_clock;
using Protocol_ = asio::generic::datagram_protocol;
constexpr size_t kHeader = 8;  // ICMP echo
constexpr size_t kToken = 8;
/// Room for the answers of a check at full size: 256 in flight, of which each costs the kernel up to 4 KiB with 1500 octets and 16 KiB with 9000.
constexpr int kReceiveBytes = 4 << 20;

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

Address fill(const IpAddress& a) {
  Address out;
  if (a.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.bytes);
    v4->sin_family = AF_INET;
    v4->sin_addr.s_addr = htonl(a.v4());
    out.size = sizeof *v4;
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.bytes);
    v6->sin6_family = AF_INET6;
    std::memcpy(&v6->sin6_addr, a.bytes().data(), 16);
    out.size = sizeof *v6;
  }
  return out;
}

IpAddress address_of(const sockaddr_storage& s) {
  if (s.ss_family == AF_INET) return IpAddress::from_v4(ntohl(reinterpret_cast<const sockaddr_in&>(s).sin_addr.s_addr));
  return IpAddress::from_bytes(reinterpret_cast<const sockaddr_in6&>(s).sin6_addr.s6_addr);
}

}  // namespace

struct PingSocket::Impl : std::enable_shared_from_this<Impl> {
  struct Waiting {
    IpAddress to;
    asio::steady_timer* timer;
    Steady::time_point sent;
    std::optional<double> rtt;
  };

  Impl(asio::any_io_executor e, bool v) : socket(e), v4(v) {
    std::random_device random;
    token = uint64_t(random()) << 32 | random();
    next = uint16_t(random());
  }

  void listen() {
    socket.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](const Code& ec) {
      if (ec || self->closed) return;
      self->receive();
      self->listen();
    });
  }
  void receive();

  asio::basic_datagram_socket<Protocol_> socket;
  bool v4, closed = false;
  uint64_t token = 0;
  uint16_t next = 0;
  std::map<uint16_t, Waiting*> waiting;
};

void PingSocket::Impl::receive() {
  for (int i = 0; i < 64; i++) {
    std::array<uint8_t, 64> buffer;
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    auto got = ::recvfrom(socket.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0) return;
    if (size_t(got) < kHeader + kToken || buffer[0] != (v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY)) continue;
    if (std::memcmp(buffer.data() + kHeader, &token, kToken) != 0) continue;
    auto it = waiting.find(uint16_t(buffer[6] << 8 | buffer[7]));
    if (it == waiting.end() || it->second->to != address_of(from)) continue;
    auto& w = *it->second;
    w.rtt = std::chrono::duration<double, std::milli>(Steady::now() - w.sent).count();
    w.timer->cancel();
  }
}

Result<std::shared_ptr<PingSocket>> PingSocket::open(asio::any_io_executor executor, const Via& via) {
  bool v4 = via.source.is_v4();
  auto doing = fmt::format("open a ping socket on {}", via.source.text());
  int family = v4 ? AF_INET : AF_INET6, protocol = v4 ? int(IPPROTO_ICMP) : int(IPPROTO_ICMPV6);
  int fd = ::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) return fail(errno, doing);
  auto impl = std::make_shared<Impl>(std::move(executor), v4);
  Code ec;
  impl->socket.assign(Protocol_(family, protocol), fd, ec);
  if (ec) ::close(fd);
  tie_to_device(fd, via.ifindex, ec);
  auto local = fill(via.source);
  if (!ec && ::bind(fd, reinterpret_cast<sockaddr*>(&local.bytes), local.size) != 0) ec = last_errno();
  int probe = v4 ? int(IP_PMTUDISC_PROBE) : int(IPV6_PMTUDISC_PROBE);
  if (!ec && ::setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &probe, sizeof probe) != 0)
    ec = last_errno();
  if (ec) return fail(std::error_code(ec), doing);
  // Past net.core.rmem_max with CAP_NET_ADMIN; with less, a check of many nodes would lose answers.
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBytes, sizeof kReceiveBytes) != 0)
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBytes, sizeof kReceiveBytes);
  impl->listen();
  return std::shared_ptr<PingSocket>(new PingSocket(std::move(impl)));
}

PingSocket::PingSocket(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
PingSocket::~PingSocket() { close(); }

void PingSocket::close() {
  impl_->closed = true;
  Code ignored;
  impl_->socket.close(ignored);
  for (auto& [_, w] : impl_->waiting) w->timer->cancel();
}

asio::awaitable<std::optional<double>> PingSocket::ping(IpAddress to, size_t octets, Millis limit) {
  auto self = impl_;
  if (self->closed || self->waiting.size() > 60'000) co_return std::nullopt;
  while (self->waiting.contains(self->next)) self->next++;
  auto number = self->next++;
  size_t ip = to.is_v4() ? 20 : 40;
  std::string packet(std::max(octets, ip + kHeader + kToken) - ip, '\0');
  packet[0] = char(to.is_v4() ? ICMP_ECHO : ICMP6_ECHO_REQUEST);  // the kernel fills in identifier and checksum
  packet[6] = char(number >> 8);
  packet[7] = char(number & 0xff);
  std::memcpy(packet.data() + kHeader, &self->token, kToken);
  asio::steady_timer timer(self->socket.get_executor());
  Impl::Waiting w{to, &timer, Steady::now(), std::nullopt};
  timer.expires_after(limit);
  self->waiting.emplace(number, &w);
  auto target = fill(to);
  auto sent = ::sendto(self->socket.native_handle(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                       reinterpret_cast<sockaddr*>(&target.bytes), target.size);
  if (sent == ssize_t(packet.size())) {
    Code ec;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
  }
  self->waiting.erase(number);
  co_return w.rtt;
}

}  // namespace ls::overlay_probe
