#include "bare.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "measure.h"

namespace ls::converge {
namespace {

sockaddr_in loopback(uint16_t port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return to;
}

UniqueFd dial(uint16_t port, int receive_buffer = 0) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (receive_buffer) setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  linger reset{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  auto to = loopback(port);
  if (!fd || connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error("no connection on loopback");
  return fd;
}

}  // namespace

double bare_write_us(size_t sockets, size_t octets, double rounds, double seconds) {
  UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto at = loopback(0);
  socklen_t size = sizeof at;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 || listen(listener.get(), 64) != 0 ||
      getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw std::runtime_error("no listener on loopback");
  std::vector<UniqueFd> near, far;
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  for (size_t i = 0; i < sockets; i++) {
    far.push_back(dial(ntohs(at.sin_port)));
    near.emplace_back(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    epoll_event e{.events = EPOLLIN, .data = {.fd = far.back().get()}};
    epoll_ctl(epoll.get(), EPOLL_CTL_ADD, far.back().get(), &e);
  }
  std::atomic<bool> over{false};
  std::thread reader([&] {
    std::string bytes(256 << 10, '\0');
    epoll_event events[256];
    while (!over) {
      const int n = epoll_wait(epoll.get(), events, 256, 5);
      for (int i = 0; i < n; i++) (void)!recv(events[i].data.fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
    }
  });
  const std::string text(octets, 'x');
  const auto pause = std::chrono::nanoseconds(int64_t(1e9 / rounds));
  const auto begun = std::chrono::steady_clock::now();
  uint64_t writes = 0;
  double cpu = 0;
  for (auto next = begun; next < begun + std::chrono::nanoseconds(int64_t(seconds * 1e9)); next += pause) {
    std::this_thread::sleep_until(next);
    const double before = cpu_of_this_thread();
    for (auto& s : near) writes += send(s.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
    cpu += cpu_of_this_thread() - before;
  }
  over = true;
  reader.join();
  return writes ? cpu / double(writes) * 1e6 : 0;
}

StoppedReaders::StoppedReaders(uint16_t port, size_t readers, ssl_ctx_st* context) {
  constexpr std::string_view kRequest = "GET /v1/hub?node=stopped HTTP/1.1\r\nHost: hub\r\n\r\n";
  for (size_t i = 0; i < readers; i++) {
    auto& fd = sockets_.emplace_back(dial(port, 4096));
    bool sent = false;
    if (context) {
      auto* ssl = tls_.emplace_back(SSL_new(context));
      SSL_set_fd(ssl, fd.get());
      sent = SSL_connect(ssl) == 1 && SSL_write(ssl, kRequest.data(), int(kRequest.size())) > 0;
    } else {
      sent = send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) == ssize_t(kRequest.size());
    }
    if (!sent) throw std::runtime_error("a stopped reader could not ask");
  }
}

StoppedReaders::~StoppedReaders() {
  for (auto* ssl : tls_) SSL_free(ssl);
}

}  // namespace ls::converge
