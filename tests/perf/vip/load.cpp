// vip-load server CPU PORT,PORT,...
// vip-load client MODE SECONDS CPU PID,PID,... ADDRESS PORT,PORT,...
//
// MODE conn:   64 connections in flight; 64-byte request and answer, the server closes.
//      rr:     64 open connections, a request as soon as the answer is there.
//      stream: one connection, as many bytes as go.
// The client prints one JSON line. cpu_us is the scheduler run time of itself and of the PIDs during the measured time.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "load.h"

namespace {

using namespace perf;

constexpr int kInFlight = 64;
constexpr double kWarm = 0.1;  // seconds before anything is counted
constexpr int kBatch = 256;

struct Conn {
  int fd = -1;
  size_t have = 0;
  bool answered = false;
  double asked = 0;
  char buffer[kMessage] = {};
};

class Client {
 public:
  Client(std::string mode, double seconds, std::vector<int> pids, const char* address, const std::vector<int>& ports)
      : mode_(std::move(mode)), seconds_(seconds), pids_(std::move(pids)) {
    for (int port : ports) {
      sockaddr_in a{};
      a.sin_family = AF_INET;
      a.sin_port = htons(uint16_t(port));
      must(inet_pton(AF_INET, address, &a.sin_addr) == 1, "address");
      targets_.push_back(a);
    }
    ep_ = epoll_create1(0);
    must(ep_ >= 0, "epoll_create1");
  }

  void run() {
    if (mode_ == "stream") {
      stream();
    } else {
      for (auto& c : conns_) open(c);
      double begin = wall_s();
      while (wall_s() < begin + kWarm) turn();
      start();
      while (wall_s() < begin_wall_ + seconds_) turn();
      stop();
    }
    print();
  }

 private:
  void open(Conn& c) {
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    must(c.fd >= 0, "socket");
    c.have = 0;
    c.answered = false;
    auto& to = targets_[next_++ % targets_.size()];
    if (connect(c.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) fail("connect");
    epoll_event e{};
    e.events = EPOLLOUT;
    e.data.ptr = &c;
    must(epoll_ctl(ep_, EPOLL_CTL_ADD, c.fd, &e) == 0, "epoll_ctl");
  }

  void fail(const char* what) {
    if (errors_++ == 0) first_error_ = std::string(what) + ": " + std::strerror(errno);
  }

  void ask(Conn& c) {
    char request[kMessage] = {mode_ == "conn" ? kClose : kKeep};
    c.asked = wall_s();
    if (send(c.fd, request, kMessage, MSG_NOSIGNAL) != ssize_t(kMessage)) fail("send");
  }

  void again(Conn& c) {
    close(c.fd);
    open(c);
  }

  void answer(Conn& c) {
    uint16_t port;
    std::memcpy(&port, c.buffer + 2, sizeof port);
    backends_[port]++;
    c.have = 0;
    c.answered = true;
    if (mode_ == "conn") return;  // the server's end of the connection follows
    times_.push_back(float(wall_s() - c.asked));
    ops_++;
    ask(c);
  }

  void on(Conn& c, uint32_t events) {
    if (events & EPOLLOUT) {
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error) {
        errno = error;
        fail("connect");
        return again(c);
      }
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.ptr = &c;
      must(epoll_ctl(ep_, EPOLL_CTL_MOD, c.fd, &e) == 0, "epoll_ctl");
      return ask(c);
    }
    char past;
    ssize_t n = c.answered && mode_ == "conn" ? recv(c.fd, &past, 1, 0)
                                              : recv(c.fd, c.buffer + c.have, kMessage - c.have, 0);
    if (n > 0) {
      c.have += size_t(n);
      if (c.have == kMessage) answer(c);
    } else if (n == 0 && c.answered && mode_ == "conn") {
      ops_++;
      again(c);
    } else if (n == 0 || errno != EAGAIN) {
      if (n == 0) errno = ECONNRESET;
      fail("recv");
      again(c);
    }
  }

  void turn() {
    epoll_event events[kBatch];
    int n = epoll_wait(ep_, events, kBatch, 100);
    for (int i = 0; i < n; i++) on(*static_cast<Conn*>(events[i].data.ptr), events[i].events);
  }

  void stream() {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0, "socket");
    must(connect(fd, reinterpret_cast<const sockaddr*>(&targets_[0]), sizeof targets_[0]) == 0, "connect");
    std::vector<char> chunk(128 * 1024);
    chunk[0] = kSwallow;
    must(send(fd, chunk.data(), kMessage, MSG_NOSIGNAL) == ssize_t(kMessage), "send");
    auto push = [&](double until) {
      for (uint64_t bytes = 0;;) {
        ssize_t n = send(fd, chunk.data(), chunk.size(), MSG_NOSIGNAL);
        must(n > 0, "send");
        bytes += uint64_t(n);
        if (wall_s() >= until) return bytes;
      }
    };
    push(wall_s() + kWarm);
    start();
    ops_ = push(begin_wall_ + seconds_);
    stop();
  }

  void start() {
    ops_ = 0;
    times_.clear();
    begin_machine_ = machine_s();
    begin_cpu_ = cpu_s(pids_);
    begin_wall_ = wall_s();
  }
  void stop() {
    wall_ = wall_s() - begin_wall_;
    cpu_ = cpu_s(pids_) - begin_cpu_;
    machine_ = machine_s() - begin_machine_;
  }

  void print() {
    double p50 = 0;
    if (!times_.empty()) {
      std::nth_element(times_.begin(), times_.begin() + long(times_.size() / 2), times_.end());
      p50 = double(times_[times_.size() / 2]) * 1e6;
    }
    std::printf("{\"ops\": %llu, \"wall_us\": %.0f, \"cpu_us\": %.0f, \"machine_us\": %.0f, \"p50_us\": %.1f, \"errors\": %llu, "
                "\"first_error\": \"%s\", \"backends\": {",
                static_cast<unsigned long long>(ops_), wall_ * 1e6, cpu_ * 1e6, machine_ * 1e6, p50,
                static_cast<unsigned long long>(errors_), first_error_.c_str());
    const char* comma = "";
    for (auto& [port, n] : backends_) {
      std::printf("%s\"%u\": %llu", comma, unsigned{port}, static_cast<unsigned long long>(n));
      comma = ", ";
    }
    std::puts("}}");
  }

  std::string mode_;
  double seconds_;
  std::vector<int> pids_;
  std::vector<sockaddr_in> targets_;
  int ep_ = -1;
  Conn conns_[kInFlight];
  size_t next_ = 0;
  uint64_t ops_ = 0, errors_ = 0;
  std::string first_error_;
  std::map<uint16_t, uint64_t> backends_;
  std::vector<float> times_;
  double begin_cpu_ = 0, begin_wall_ = 0, begin_machine_ = 0, cpu_ = 0, wall_ = 0, machine_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "server") return serve(numbers(argv[3]), std::atoi(argv[2]));
  if (argc == 8 && std::string(argv[1]) == "client") {
    pin(std::atoi(argv[4]));
    Client(argv[2], std::atof(argv[3]), numbers(argv[5]), argv[6], numbers(argv[7])).run();
    return 0;
  }
  std::fputs("usage: vip-load server CPU PORTS | client MODE SECONDS CPU PIDS ADDRESS PORTS\n", stderr);
  return 2;
}
