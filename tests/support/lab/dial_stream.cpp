// SPDX-License-Identifier: Apache-2.0
// ls-dial stream and big: TCP flows that live long. Every byte is compared with what was sent.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "dial.h"

namespace lab {
namespace {

struct Flow {
  int fd = -1;
  bool connected = false;
  std::string line;  // the backend's, complete when it ends in \n
  std::string name;
  uint64_t sent = 0;
  uint64_t received = 0;
  double last_ms = 0;  // when a byte came last
  double next_ms = 0;  // when the next chunk may go
  bool want_out = false;

  bool ready() const { return !line.empty() && line.back() == '\n'; }
};

class Streams {
 public:
  explicit Streams(const Options& o)
      : o_(o),
        chunk_(uint64_t(o.number("chunk", 1000))),
        gap_ms_(double(o.number("gap", -1))),
        idle_(o.number("idle", 0) != 0),
        quiet_(o.number("quiet", 0) != 0),
        stall_ms_(double(o.number("stall", 2000))),
        flows_(size_t(o.number("flows", 1))),
        ep_(epoll_create1(EPOLL_CLOEXEC)),
        buf_(65536) {}
  ~Streams() { close(ep_); }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  int run();

 private:
  void open(size_t i);
  void lose(size_t i, const char* step, int err);
  void serve(size_t i, uint32_t events);
  void take(size_t i, const char* data, size_t n);
  void feed(size_t i);
  void tick(double now);
  void report(double now);

  const Options& o_;
  uint64_t chunk_;
  double gap_ms_;
  bool idle_;
  bool quiet_;
  double stall_ms_;
  std::vector<Flow> flows_;
  int ep_;
  std::vector<char> buf_;
  size_t opened_ = 0, connecting_ = 0, ready_ = 0;
  uint64_t lost_ = 0, resets_ = 0, corrupt_ = 0, bytes_ = 0;
  double max_gap_ms_ = 0;
  std::map<std::string, uint64_t> errors_;
};

void Streams::open(size_t i) {
  Flow& f = flows_[i];
  ++opened_;
  f.fd = socket(o_.target.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (f.fd < 0) return lose(i, "socket", errno);
  const int on = 1;
  setsockopt(f.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  epoll_event ev{};
  ev.events = EPOLLIN | EPOLLOUT;
  ev.data.u64 = i;
  f.want_out = true;
  ++connecting_;
  if (connect(f.fd, o_.target.sa(), o_.target.len) != 0 && errno != EINPROGRESS) {
    --connecting_;
    return lose(i, "connect", errno);
  }
  epoll_ctl(ep_, EPOLL_CTL_ADD, f.fd, &ev);
}

void Streams::lose(size_t i, const char* step, int err) {
  Flow& f = flows_[i];
  ++lost_;
  if (err == ECONNRESET) ++resets_;
  ++errors_[std::string(step) + ":" + error_name(err)];
  Line line;
  line.add("event", "lost").add("flow", uint64_t(i)).add("name", f.name).add("step", step);
  line.add("error", error_name(err)).add("t", now_ms());
  if (f.fd >= 0) close(f.fd);
  f.fd = -1;
}

void Streams::take(size_t i, const char* data, size_t n) {
  Flow& f = flows_[i];
  const double now = now_ms();
  if (f.ready() && !idle_) max_gap_ms_ = std::max(max_gap_ms_, now - std::max(f.last_ms, f.next_ms));
  f.last_ms = now;
  while (n > 0 && !f.ready()) {
    f.line += *data++;
    --n;
    if (!f.ready()) continue;
    f.name = field(f.line, "name");
    ++ready_;
  }
  bytes_ += n;
  for (; n > 0; --n) {
    if (*data++ == pattern(i, f.received++)) continue;
    ++corrupt_;
    return lose(i, "compare", EILSEQ);
  }
}

/// Sends the rest of the current chunk; a new one starts when the last has come back whole and the gap is
/// over.
void Streams::feed(size_t i) {
  Flow& f = flows_[i];
  if (idle_ || !f.ready()) return;
  if (f.sent % chunk_ == 0) {
    if (f.received != f.sent || now_ms() < f.next_ms) return;
    if (gap_ms_ > 0) f.next_ms = now_ms() + gap_ms_;
  }
  char out[65536];
  const size_t n = std::min<uint64_t>(sizeof(out), chunk_ - f.sent % chunk_);
  for (size_t k = 0; k < n; ++k) out[k] = pattern(i, f.sent + k);
  const ssize_t w = send(f.fd, out, n, MSG_NOSIGNAL);
  if (w < 0 && errno != EAGAIN) return lose(i, "send", errno);
  if (w > 0) f.sent += uint64_t(w);
  const bool want_out = f.sent % chunk_ != 0;
  if (want_out == f.want_out) return;
  f.want_out = want_out;
  epoll_event ev{};
  ev.events = EPOLLIN | (want_out ? unsigned(EPOLLOUT) : 0U);
  ev.data.u64 = i;
  epoll_ctl(ep_, EPOLL_CTL_MOD, f.fd, &ev);
}

void Streams::serve(size_t i, uint32_t events) {
  Flow& f = flows_[i];
  if (f.fd < 0) return;
  if (!f.connected) {
    int err = 0;
    socklen_t len = sizeof(err);
    getsockopt(f.fd, SOL_SOCKET, SO_ERROR, &err, &len);
    --connecting_;
    if (err != 0) return lose(i, "connect", err);
    f.connected = true;
    f.last_ms = now_ms();
    f.want_out = false;
    if (quiet_) f.line = "\n", ++ready_;
    epoll_event ev{};
    ev.events = EPOLLIN;
    ev.data.u64 = i;
    epoll_ctl(ep_, EPOLL_CTL_MOD, f.fd, &ev);
  }
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    const ssize_t n = recv(f.fd, buf_.data(), buf_.size(), 0);
    if (n == 0) return lose(i, "read", ENODATA);  // an orderly end, which nobody asked for
    if (n < 0 && errno != EAGAIN) return lose(i, "read", errno);
    if (n > 0) take(i, buf_.data(), size_t(n));
  }
  if (f.fd >= 0) feed(i);
}

void Streams::tick(double now) {
  // Not all SYNs at once: a listener's backlog is finite and an overflow there is nobody's fault here.
  while (opened_ < flows_.size() && connecting_ < 200) open(opened_);
  if (gap_ms_ <= 0) return;
  for (size_t i = 0; i < opened_; ++i) {
    if (flows_[i].fd >= 0 && flows_[i].next_ms <= now) feed(i);
  }
}

void Streams::report(double now) {
  uint64_t stalled = 0;
  std::map<std::string, uint64_t> by_name;
  for (const Flow& f : flows_) {
    if (f.fd < 0) continue;
    ++by_name[f.name];
    const bool due = !idle_ && now >= f.next_ms;
    if (due && now - std::max(f.last_ms, f.next_ms) > stall_ms_) ++stalled;
  }
  Line line;
  line.add("event", "end")
      .add("flows", uint64_t(flows_.size()))
      .add("ready", uint64_t(ready_))
      .add("lost", lost_);
  line.add("resets", resets_).add("stalled", stalled).add("corrupt", corrupt_).add("bytes", bytes_);
  line.add("max_gap_ms", max_gap_ms_).add("errors", errors_).add("by_name", by_name).add("t", now);
}

int Streams::run() {
  if (ep_ < 0) return 2;
  const double start = now_ms();
  const double end = o_.number("seconds", 0) > 0 ? start + double(o_.number("seconds", 0)) * 1e3 : 0;
  const double connect_by = start + double(o_.number("timeout", 10000));
  bool said_ready = false;
  epoll_event events[512];
  while (!stopping && lost_ < flows_.size()) {
    double now = now_ms();
    tick(now);
    const int n = epoll_wait(ep_, events, 512, gap_ms_ > 0 ? 2 : 100);
    for (int k = 0; k < n; ++k) serve(size_t(events[k].data.u64), events[k].events);
    now = now_ms();
    if (!said_ready && (ready_ + lost_ == flows_.size() || now > connect_by)) {
      said_ready = true;
      Line().add("event", "ready").add("ready", uint64_t(ready_)).add("lost", lost_).add("t", now);
    }
    if (end > 0 && now >= end) break;
  }
  report(now_ms());
  return 0;
}

}  // namespace

int run_stream(const Options& o) {
  return Streams(o).run();
}

int run_big(const Options& o) {
  const uint64_t total = uint64_t(o.number("mb", 64)) << 20;
  const double start = now_ms();
  const double by = start + double(o.number("timeout", 60000));
  const int fd = socket(o.target.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 2;
  const timeval connect_by{o.number("timeout", 60000) / 1000, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &connect_by, sizeof(connect_by));
  int err = connect(fd, o.target.sa(), o.target.len) == 0 ? 0 : errno;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  uint64_t sent = 0, received = 0;
  std::string line;
  std::vector<char> in(1 << 18), out(1 << 16);
  while (err == 0 && received < total) {
    pollfd p{fd, short(POLLIN | (sent < total ? POLLOUT : 0)), 0};
    if (poll(&p, 1, 1000) < 0 && errno != EINTR) err = errno;
    if (stopping || now_ms() > by) err = ETIMEDOUT;
    if (err == 0 && (p.revents & (POLLIN | POLLHUP | POLLERR))) {
      const ssize_t n = recv(fd, in.data(), in.size(), 0);
      if (n == 0) err = ENODATA;
      if (n < 0 && errno != EAGAIN) err = errno;
      for (ssize_t k = 0; k < n && err == 0; ++k) {
        if (line.empty() || line.back() != '\n') {
          line += in[size_t(k)];
        } else if (in[size_t(k)] != pattern(1, received++)) {
          err = EILSEQ;
        }
      }
    }
    if (err == 0 && (p.revents & POLLOUT)) {
      const size_t n = std::min<uint64_t>(out.size(), total - sent);
      for (size_t k = 0; k < n; ++k) out[k] = pattern(1, sent + k);
      const ssize_t w = send(fd, out.data(), n, MSG_NOSIGNAL);
      if (w < 0 && errno != EAGAIN) err = errno;
      if (w > 0) sent += uint64_t(w);
    }
  }
  tcp_info info{};
  socklen_t len = sizeof(info);
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
  {
    const double ms = now_ms() - start;
    Line l;
    l.add("event", "end").add("ok", err == 0).add("name", field(line, "name")).add("error", error_name(err));
    l.add("sent", sent).add("received", received).add("ms", ms).add("peer", text(peer_of(fd)));
    l.add("retransmits", uint64_t(info.tcpi_total_retrans)).add("pmtu", uint64_t(info.tcpi_pmtu));
    l.add("mbit_s", ms > 0 ? double(received) * 8 / ms / 1e3 : 0.0);
  }
  close(fd);
  return 0;
}

}  // namespace lab
