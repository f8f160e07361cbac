// The server of vip-load: one thread, any number of ports. An answer names the port it came from, so that the client knows
// which backend it met.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

namespace perf {
namespace {

constexpr size_t kChunk = 256 * 1024;
constexpr int kBatch = 256;

struct Conn {
  int fd;
  uint16_t port;  ///< listener: its own
  bool listener = false;
  bool swallows = false;
  size_t have = 0;
  char buffer[kMessage];
};

void finish(Conn* c) {
  close(c->fd);
  delete c;
}

void watch(int ep, Conn* c) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.ptr = c;
  must(epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) == 0, "epoll_ctl");
}

void accept_all(int ep, const Conn* listener) {
  for (int fd; (fd = accept4(listener->fd, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;)
    watch(ep, new Conn{fd, listener->port, false, false, 0, {}});
}

void read_on(Conn* c, char* chunk) {
  if (c->swallows) {
    ssize_t n = recv(c->fd, chunk, kChunk, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) finish(c);
    return;
  }
  ssize_t n = recv(c->fd, c->buffer + c->have, kMessage - c->have, 0);
  if (n <= 0) {
    if (n == 0 || errno != EAGAIN) finish(c);
    return;
  }
  c->have += size_t(n);
  if (c->have < kMessage) return;
  c->have = 0;
  if (c->buffer[0] == kSwallow) {
    c->swallows = true;
    return;
  }
  bool ends = c->buffer[0] == kClose;
  std::memcpy(c->buffer + 2, &c->port, sizeof c->port);
  if (send(c->fd, c->buffer, kMessage, MSG_NOSIGNAL) != ssize_t(kMessage) || ends) finish(c);
}

}  // namespace

int serve(const std::vector<int>& ports, int cpu) {
  pin(cpu);
  int ep = epoll_create1(0);
  must(ep >= 0, "epoll_create1");
  for (int port : ports) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    must(fd >= 0, "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(uint16_t(port));
    must(bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0, "bind");
    must(listen(fd, 4096) == 0, "listen");
    watch(ep, new Conn{fd, uint16_t(port), true, false, 0, {}});
  }
  std::vector<char> chunk(kChunk);
  std::puts("ready");
  std::fflush(stdout);
  for (epoll_event events[kBatch];;) {
    int n = epoll_wait(ep, events, kBatch, -1);
    for (int i = 0; i < n; i++) {
      auto* c = static_cast<Conn*>(events[i].data.ptr);
      if (c->listener)
        accept_all(ep, c);
      else
        read_on(c, chunk.data());
    }
  }
}

}  // namespace perf
