// SPDX-License-Identifier: Apache-2.0
// ls-echo: the backend of the network tests. One thread, one epoll, TCP and UDP on the given ports over IPv4
// and IPv6. Every connection and datagram is answered with one line "name=<id> peer=<client> local=<own>",
// then with what it sent. With --http a request is answered with that line as an HTTP body instead, and the
// connection is closed.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <unordered_map>
#include <vector>

#include "wire.h"

namespace {

using lab::Endpoint;

constexpr size_t kBuffer = 256 * 1024;
// A client that does not read its echo is not read from either; this bounds memory per connection.
constexpr size_t kMaxPending = 1 << 20;

struct Conn {
  std::string pending;  // to send
  size_t sent = 0;      // of pending
  bool http = false;
  std::string request;  // http: up to the empty line
  bool close_when_sent = false;
  bool peer_done = false;
  uint32_t events = 0;
};

struct Server {
  std::string name = "echo";
  bool http = false;
  int ep = -1;
  std::unordered_map<int, Conn> conns;
  std::vector<char> buf = std::vector<char>(kBuffer);
  std::unordered_map<int, bool> listeners;  // fd -> is TCP
};

volatile std::sig_atomic_t stopping = 0;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "ls-echo: %s: %s\n", what, std::strerror(errno));
  std::exit(2);
}

void watch(Server& s, int fd, uint32_t events, bool add) {
  epoll_event ev{};
  ev.events = events;
  ev.data.fd = fd;
  if (epoll_ctl(s.ep, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) != 0) die("epoll_ctl");
}

void listen_on(Server& s, uint16_t port, bool tcp) {
  const int fd = socket(AF_INET6, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const int off = 0;
  const int on = 1;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // The answer of a datagram must leave from the address that was asked; a machine has several.
  if (!tcp) setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
  Endpoint any;
  auto& in6 = reinterpret_cast<sockaddr_in6&>(any.ss);
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  if (bind(fd, any.sa(), sizeof(in6)) != 0) die("bind");
  if (tcp && listen(fd, 4096) != 0) die("listen");
  s.listeners[fd] = tcp;
  watch(s, fd, EPOLLIN, true);
}

std::string answer(const Server& s, const Endpoint& peer, const Endpoint& local) {
  return "name=" + s.name + " peer=" + lab::text(peer) + " local=" + lab::text(local) + "\n";
}

void accept_all(Server& s, int listener) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;  // EAGAIN, or a client that left again
    Conn& c = s.conns[fd];
    c = {};
    c.http = s.http;
    if (!c.http) c.pending = answer(s, lab::peer_of(fd), lab::self_of(fd));
    c.events = EPOLLIN | (c.pending.empty() ? 0U : unsigned(EPOLLOUT));
    watch(s, fd, c.events, true);
  }
}

void serve_datagrams(Server& s, int fd) {
  for (;;) {
    Endpoint peer;
    char control[CMSG_SPACE(sizeof(in6_pktinfo))];
    iovec iov{s.buf.data(), s.buf.size()};
    msghdr msg{};
    msg.msg_name = peer.sa();
    msg.msg_namelen = peer.len;
    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control;
    msg.msg_controllen = sizeof(control);
    const ssize_t n = recvmsg(fd, &msg, 0);
    if (n < 0) return;
    peer.len = msg.msg_namelen;

    Endpoint local = lab::self_of(fd);
    in6_pktinfo info{};
    for (cmsghdr* c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
      if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO) continue;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      reinterpret_cast<sockaddr_in6&>(local.ss).sin6_addr = info.ipi6_addr;
    }
    std::string line = answer(s, peer, local);
    iovec out[2] = {{line.data(), line.size()}, {s.buf.data(), size_t(n)}};
    msghdr reply{};
    reply.msg_name = peer.sa();
    reply.msg_namelen = peer.len;
    reply.msg_iov = out;
    reply.msg_iovlen = 2;
    info.ipi6_ifindex = 0;  // the route decides the device, only the source address is asked for
    std::memset(control, 0, sizeof(control));
    reply.msg_control = control;
    reply.msg_controllen = sizeof(control);
    cmsghdr* c = CMSG_FIRSTHDR(&reply);
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(info));
    std::memcpy(CMSG_DATA(c), &info, sizeof(info));
    if (sendmsg(fd, &reply, 0) < 0) std::fprintf(stderr, "ls-echo: reply: %s\n", std::strerror(errno));
  }
}

/// False when the connection is over.
bool send_pending(Conn& c, int fd) {
  while (c.sent < c.pending.size()) {
    const ssize_t n = send(fd, c.pending.data() + c.sent, c.pending.size() - c.sent, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    c.sent += size_t(n);
  }
  c.pending.clear();
  c.sent = 0;
  return !(c.close_when_sent || c.peer_done);
}

void take(const Server& s, Conn& c, int fd, const char* data, size_t n) {
  if (c.http) {
    c.request.append(data, n);
    if (c.request.size() > 16384) c.request.clear(), c.close_when_sent = true;
    if (c.request.find("\r\n\r\n") == std::string::npos) return;
    const std::string body = answer(s, lab::peer_of(fd), lab::self_of(fd));
    c.pending += "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\n\r\n" + body;
    c.close_when_sent = true;
  } else if (n == sizeof(lab::kCloseFirst) - 1 && std::memcmp(data, lab::kCloseFirst, n) == 0) {
    c.close_when_sent = true;
  } else {
    c.pending.append(data, n);
  }
}

/// False when the connection is over.
bool serve_conn(Server& s, Conn& c, int fd, uint32_t events) {
  if (events & EPOLLERR) return false;
  if (events & (EPOLLIN | EPOLLHUP)) {
    const ssize_t n = recv(fd, s.buf.data(), s.buf.size(), 0);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (n == 0) {
      if (c.pending.empty()) return false;
      c.peer_done = true;
    }
    if (n > 0) take(s, c, fd, s.buf.data(), size_t(n));
  }
  if (!send_pending(c, fd)) return false;
  const bool more = c.pending.size() - c.sent < kMaxPending && !c.peer_done;
  const uint32_t want = (more ? unsigned(EPOLLIN) : 0U) | (c.pending.empty() ? 0U : unsigned(EPOLLOUT));
  if (want != c.events) watch(s, fd, c.events = want, false);
  return true;
}

int run(Server& s) {
  std::printf("ready\n");
  std::fflush(stdout);
  epoll_event events[256];
  while (!stopping) {
    const int n = epoll_wait(s.ep, events, 256, -1);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (auto l = s.listeners.find(fd); l != s.listeners.end()) {
        l->second ? accept_all(s, fd) : serve_datagrams(s, fd);
        continue;
      }
      auto it = s.conns.find(fd);
      if (it == s.conns.end() || serve_conn(s, it->second, fd, events[i].events)) continue;
      s.conns.erase(it);
      close(fd);
    }
  }
  return 0;
}

int usage() {
  std::fprintf(stderr,
               "usage: ls-echo --name ID [--http] [--tcp PORT]... [--udp PORT]... [--both PORT]...\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  struct sigaction act {};
  act.sa_handler = [](int) { stopping = 1; };
  sigaction(SIGTERM, &act, nullptr);
  sigaction(SIGINT, &act, nullptr);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  Server s;
  s.ep = epoll_create1(EPOLL_CLOEXEC);
  if (s.ep < 0) die("epoll_create1");
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    if (key == "--http") {
      s.http = true;
      continue;
    }
    if (i + 1 >= argc) return usage();
    const char* value = argv[++i];
    const int port = std::atoi(value);
    const bool valid_port = port > 0 && port < 65536;
    if (key == "--name")
      s.name = value;
    else if (key == "--tcp" && valid_port)
      listen_on(s, uint16_t(port), true);
    else if (key == "--udp" && valid_port)
      listen_on(s, uint16_t(port), false);
    else if (key == "--both" && valid_port)
      listen_on(s, uint16_t(port), true), listen_on(s, uint16_t(port), false);
    else
      return usage();
  }
  if (s.listeners.empty()) return usage();
  return run(s);
}
