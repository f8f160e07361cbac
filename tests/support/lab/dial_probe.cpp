// SPDX-License-Identifier: Apache-2.0
// ls-dial udpflow and trace: what one UDP socket sees over time, and of ICMP errors.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
// After <ctime>: it uses struct timespec without asking for it.
#include <linux/errqueue.h>

#include "dial.h"

namespace lab {
namespace {

/// Kernel's error queue entry: who sent the error, and for which destination of ours. The destination is
/// right only if the packet quoted inside the ICMP message was translated too.
struct QueuedError {
  Endpoint destination;
  Endpoint offender;
  sock_extended_err e{};
  bool found = false;
};

QueuedError read_error(int fd) {
  QueuedError q;
  char data[2048];
  char control[512];
  iovec iov{data, sizeof(data)};
  msghdr msg{};
  msg.msg_name = q.destination.sa();
  msg.msg_namelen = q.destination.len;
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof(control);
  if (recvmsg(fd, &msg, MSG_ERRQUEUE) < 0) return q;
  for (cmsghdr* c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
    const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
    const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
    if (!v4 && !v6) continue;
    std::memcpy(&q.e, CMSG_DATA(c), sizeof(q.e));
    const auto* offender = SO_EE_OFFENDER(reinterpret_cast<sock_extended_err*>(CMSG_DATA(c)));
    std::memcpy(&q.offender.ss, offender, v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    q.found = true;
  }
  return q;
}

}  // namespace

int run_udpflow(const Options& o) {
  const bool connected = o.number("free", 0) == 0;
  const double gap_ms = double(o.number("gap", 20));
  const double start = now_ms();
  const double end = o.number("seconds", 0) > 0 ? start + double(o.number("seconds", 0)) * 1e3 : 0;
  const int fd = socket(o.target.family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || (connected && connect(fd, o.target.sa(), o.target.len) != 0)) return 2;
  uint64_t sent = 0, answered = 0, other_source = 0;
  std::map<std::string, uint64_t> by_name, errors;
  std::string last;
  // One event a change, not one a datagram.
  const auto say = [&](const std::string& what, bool is_error) {
    if (what == last) return;
    last = what;
    Line()
        .add("event", is_error ? "error" : "name")
        .add(is_error ? "error" : "name", what)
        .add("t", now_ms());
  };
  const std::string target = text(o.target);
  double next = start;
  while (!stopping && (end == 0 || now_ms() < end)) {
    if (now_ms() >= next) {
      next += gap_ms;
      const std::string data = "seq=" + std::to_string(sent++);
      const ssize_t n = connected ? send(fd, data.data(), data.size(), 0)
                                  : sendto(fd, data.data(), data.size(), 0, o.target.sa(), o.target.len);
      if (n < 0) ++errors["send:" + error_name(errno)], say("send:" + error_name(errno), true);
    }
    pollfd p{fd, POLLIN, 0};
    poll(&p, 1, std::max(1, int(next - now_ms())));
    for (;;) {
      char buf[2048];
      Endpoint from;
      const ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, from.sa(), &from.len);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) {
        ++errors["recv:" + error_name(errno)];
        say("recv:" + error_name(errno), true);
        break;
      }
      ++answered;
      other_source += text(from) != target;
      const std::string name = field(std::string(buf, size_t(n)), "name");
      ++by_name[name];
      say(name, false);
    }
  }
  close(fd);
  Line line;
  line.add("event", "end").add("sent", sent).add("answered", answered).add("by_name", by_name);
  line.add("errors", errors).add("other_source", other_source).add("t", now_ms());
  return 0;
}

int run_trace(const Options& o) {
  const bool v4 = o.target.family() == AF_INET;
  const int fd = socket(o.target.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 2;
  const int on = 1;
  const int ttl = int(o.number("ttl", 2));
  setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on));
  setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_UNICAST_HOPS, &ttl, sizeof(ttl));
  if (connect(fd, o.target.sa(), o.target.len) != 0 || send(fd, "?", 1, 0) != 1) return 2;
  pollfd p{fd, POLLIN, 0};
  poll(&p, 1, int(o.number("timeout", 2000)));
  char buf[2048];
  const ssize_t n = p.revents & POLLIN ? recv(fd, buf, sizeof(buf), MSG_DONTWAIT) : -1;
  const QueuedError q = read_error(fd);
  {
    Line line;
    line.add("event", "end")
        .add("answered", n > 0)
        .add("error", q.found ? error_name(int(q.e.ee_errno)) : "");
    line.add("offender", text(q.offender)).add("destination", q.found ? text(q.destination) : "");
    line.add("type", q.e.ee_type).add("code", q.e.ee_code).add("info", uint64_t(q.e.ee_info));
    line.add("name", n > 0 ? field(std::string(buf, size_t(n)), "name") : "");
  }
  close(fd);
  return 0;
}

}  // namespace lab
