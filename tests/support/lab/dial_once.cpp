// SPDX-License-Identifier: Apache-2.0
// ls-dial once: connect or send, read the answer line, compare the echo, say what the socket saw.
#include <cerrno>
#include <poll.h>
#include <unistd.h>

#include <vector>

#include "dial.h"

namespace lab {
namespace {

struct Attempt {
  std::string line;  // of the backend
  std::string step;  // where it failed; empty: it did not
  int err = 0;
  std::string self, peer, from;
};

bool failed(Attempt& a, const char* step, int err) {
  a.step = step;
  a.err = err;
  return false;
}

void set_timeouts(int fd, long ms) {
  timeval tv{ms / 1000, (ms % 1000) * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/// Binds to --source and --source-port, if given; attempt i to --source-port + i with --source-ports-differ.
bool bind_source(const Options& o, int fd, long i, Attempt& a) {
  if (!o.has("source") && !o.has("source-port")) return true;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  Endpoint from;
  const char* any = o.target.family() == AF_INET ? "0.0.0.0" : "::";
  const long port = o.number("source-port", 0) + (o.number("source-ports-differ", 0) != 0 ? i : 0);
  if (!parse(o.get("source", any).c_str(), uint16_t(port), from)) {
    return failed(a, "source", EINVAL);
  }
  if (bind(fd, from.sa(), from.len) != 0) return failed(a, "bind", errno);
  return true;
}

std::string payload_of(size_t n, uint64_t seed) {
  std::string data(n, 0);
  for (size_t i = 0; i < n; ++i) data[i] = pattern(seed, i);
  return data;
}

/// A blocking socket says EAGAIN (EINPROGRESS for connect) when its time is over.
int timed_out(int err) {
  return err == EAGAIN || err == EINPROGRESS ? ETIMEDOUT : err;
}

bool read_exact(int fd, std::string& into, size_t n) {
  while (into.size() < n) {
    char buf[65536];
    const ssize_t got = recv(fd, buf, std::min(sizeof(buf), n - into.size()), 0);
    if (got < 0) return false;
    if (got == 0) {
      errno = ECONNABORTED;  // ended by the other side too early
      return false;
    }
    into.append(buf, size_t(got));
  }
  return true;
}

/// One HTTP request; the server closes. The backend's line is the body.
bool http(const Options& o, int fd, Attempt& a) {
  const std::string request = "GET / HTTP/1.1\r\nHost: " + o.address + "\r\nConnection: close\r\n\r\n";
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) return failed(a, "send", timed_out(errno));
  std::string in;
  for (;;) {
    char buf[4096];
    const ssize_t n = recv(fd, buf, sizeof(buf), 0);
    if (n < 0) return failed(a, "answer", timed_out(errno));
    if (n == 0) break;
    in.append(buf, size_t(n));
  }
  const size_t body = in.find("\r\n\r\n");
  if (body == std::string::npos || in.compare(0, 12, "HTTP/1.1 200") != 0) return failed(a, "answer", EPROTO);
  a.line = in.substr(body + 4);
  return true;
}

bool tcp(const Options& o, int fd, const std::string& payload, Attempt& a) {
  if (connect(fd, o.target.sa(), o.target.len) != 0) return failed(a, "connect", timed_out(errno));
  a.self = text(self_of(fd));
  a.peer = text(peer_of(fd));
  if (o.number("http", 0) != 0) return http(o, fd, a);
  std::string in;
  while (in.empty() || in.back() != '\n') {
    if (in.size() > 1000) return failed(a, "line", EPROTO);
    if (!read_exact(fd, in, in.size() + 1)) return failed(a, "line", timed_out(errno));
  }
  a.line = in;
  if (!payload.empty()) {
    if (send(fd, payload.data(), payload.size(), MSG_NOSIGNAL) != ssize_t(payload.size())) {
      return failed(a, "send", timed_out(errno));
    }
    std::string echo;
    if (!read_exact(fd, echo, payload.size())) return failed(a, "echo", timed_out(errno));
    if (echo != payload) return failed(a, "compare", EILSEQ);
  }
  const std::string end = o.get("end", "fin");
  if (end == "server") {
    char rest;
    if (send(fd, kCloseFirst, sizeof(kCloseFirst) - 1, MSG_NOSIGNAL) < 0) return failed(a, "bye", errno);
    const ssize_t n = recv(fd, &rest, 1, 0);
    if (n != 0) return failed(a, "bye", n < 0 ? timed_out(errno) : EPROTO);
  } else if (end == "rst") {
    const linger now{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  return true;
}

bool udp(const Options& o, int fd, const std::string& payload, bool connected, Attempt& a) {
  const std::string data = payload.empty() ? std::string("?") : payload;
  if (connected && connect(fd, o.target.sa(), o.target.len) != 0) return failed(a, "connect", errno);
  const ssize_t sent = connected ? send(fd, data.data(), data.size(), 0)
                                 : sendto(fd, data.data(), data.size(), 0, o.target.sa(), o.target.len);
  if (sent < 0) return failed(a, "send", errno);
  std::vector<char> buf(65536);
  Endpoint from;
  const ssize_t n = recvfrom(fd, buf.data(), buf.size(), 0, from.sa(), &from.len);
  a.self = text(self_of(fd));
  if (connected) a.peer = text(peer_of(fd));
  if (n < 0) return failed(a, "answer", timed_out(errno));
  a.from = text(from);
  const std::string in(buf.data(), size_t(n));
  const size_t end = in.find('\n');
  if (end == std::string::npos) return failed(a, "line", EPROTO);
  a.line = in.substr(0, end + 1);
  if (in.substr(end + 1) != data) return failed(a, "compare", EILSEQ);
  return true;
}

}  // namespace

int run_once(const Options& o) {
  const std::string proto = o.get("proto", "tcp");
  const long count = o.number("count", 1);
  const std::string payload = payload_of(size_t(o.number("payload", 0)), uint64_t(getpid()));
  bool go_on = true;
  for (long i = 0; i < count && go_on && !stopping; ++i) {
    if (i > 0 && o.number("interval", 0) > 0) usleep(useconds_t(o.number("interval", 0)) * 1000);
    Attempt a;
    const double start = now_ms();
    const int fd = socket(o.target.family(), (proto == "tcp" ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (fd < 0) return 2;
    set_timeouts(fd, o.number("timeout", 2000));
    const bool ok = bind_source(o, fd, i, a) &&
                    (proto == "tcp" ? tcp(o, fd, payload, a) : udp(o, fd, payload, proto == "udp", a));
    close(fd);
    if (stopping && !ok && a.err == EINTR) break;  // cut off by the end, says nothing about the service
    go_on = ok || o.number("stop", 0) == 0;
    const double end = now_ms();
    Line line;
    line.add("i", uint64_t(i))
        .add("ok", ok)
        .add("name", field(a.line, "name"))
        .add("seen", field(a.line, "peer"));
    line.add("at", field(a.line, "local")).add("self", a.self).add("peer", a.peer).add("from", a.from);
    line.add("step", a.step).add("error", error_name(a.err)).add("ms", end - start).add("t", end);
  }
  return 0;
}

}  // namespace lab
