/// ls-dns-forward-load ADDRESS PORT RATE SECONDS PREFIX [CPU]: asks for unique names (PREFIX-N.perf.loadtest A) at a steady rate over
/// UDP, open loop, and prints one line of JSON: asked, answered, wrong (not NOERROR), lost (no answer 3 s after the last question),
/// p50, p90, p99 and max in ms, late99: how late the generator itself was (p99, ms). No retries: a lost packet is a lost question.
///
/// One thread on one CPU. An answer's time is the kernel's, taken when the packet reached the socket's side of the stack: what the
/// generator does meanwhile is not in the figure. A question's time is taken just before it is sent.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr size_t kSockets = 8;  // 65536 ids each: no id is used twice
constexpr size_t kBatch = 32;

struct Ask {
  int64_t sent = 0, took = 0;
  int rcode = -1;
};

/// The clock of the kernel's packet timestamps.
int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

size_t question(uint8_t* to, uint16_t id, const std::string& label) {
  std::memset(to, 0, 12);
  to[0] = static_cast<uint8_t>(id >> 8);
  to[1] = static_cast<uint8_t>(id);
  to[2] = 1;
  to[5] = 1;
  size_t at = 12;
  for (const std::string& part : {label, std::string("perf"), std::string("loadtest")}) {
    to[at++] = static_cast<uint8_t>(part.size());
    std::memcpy(to + at, part.data(), part.size());
    at += part.size();
  }
  const uint8_t end[] = {0, 0, 1, 0, 1};
  std::memcpy(to + at, end, sizeof end);
  return at + sizeof end;
}

double at(const std::vector<double>& sorted, double share) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * static_cast<double>(sorted.size())))];
}

struct Generator {
  std::vector<Ask> asks;
  std::array<pollfd, kSockets> fds{};
  size_t open = 0;  ///< questions without an answer, of those that were sent
  std::array<std::array<uint8_t, 4096>, kBatch> buffers;
  std::array<std::array<uint8_t, 64>, kBatch> control;
  std::array<iovec, kBatch> parts{};
  std::array<mmsghdr, kBatch> messages{};

  bool connect_to(const sockaddr_in& to) {
    for (pollfd& p : fds) {
      p = {::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), POLLIN, 0};
      const int size = 4 << 20, on = 1;
      ::setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
      ::setsockopt(p.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
      if (::connect(p.fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return false;
    }
    return true;
  }

  void ask(size_t i, const std::string& prefix) {
    uint8_t packet[512];
    const size_t size = question(packet, static_cast<uint16_t>(i / kSockets), prefix + "-" + std::to_string(i));
    const int fd = fds[i % kSockets].fd;
    asks[i].sent = now_ns();
    if (::send(fd, packet, size, 0) < 0 && errno == ECONNREFUSED && ::send(fd, packet, size, 0) < 0) return;
    open++;
  }

  void take(size_t s, size_t sent) {
    for (;;) {
      for (size_t i = 0; i < kBatch; i++) {
        parts[i] = {buffers[i].data(), buffers[i].size()};
        messages[i].msg_hdr = {};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = control[i].data();
        messages[i].msg_hdr.msg_controllen = control[i].size();
      }
      const int n = ::recvmmsg(fds[s].fd, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
      for (int i = 0; i < n; i++) {
        const uint8_t* p = buffers[static_cast<size_t>(i)].data();
        const size_t number = (static_cast<size_t>(p[0]) << 8 | p[1]) * kSockets + s;
        if (messages[static_cast<size_t>(i)].msg_len < 12 || number >= sent || asks[number].rcode >= 0) continue;
        int64_t came = now_ns();
        msghdr& h = messages[static_cast<size_t>(i)].msg_hdr;
        for (cmsghdr* c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
          timespec t{};
          if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
          std::memcpy(&t, CMSG_DATA(c), sizeof t);
          came = int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
        }
        asks[number].took = came - asks[number].sent;
        asks[number].rcode = p[3] & 15;
        open--;
      }
      if (n < static_cast<int>(kBatch)) return;
    }
  }

  void wait(int64_t ns, size_t sent) {
    const timespec left{ns / 1'000'000'000, ns % 1'000'000'000};
    if (::ppoll(fds.data(), fds.size(), &left, nullptr) <= 0) return;
    for (size_t s = 0; s < kSockets; s++)
      if (fds[s].revents) take(s, sent);
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 && argc != 7) {
    std::fprintf(stderr, "usage: ls-dns-forward-load ADDRESS PORT RATE SECONDS PREFIX [CPU]\n");
    return 2;
  }
  if (argc == 7) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(std::stoul(argv[6]), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) return 1;
  }
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[2])));
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  const double rate = std::atof(argv[3]), seconds = std::atof(argv[4]);
  const size_t count = static_cast<size_t>(rate * seconds);
  if (count == 0 || count > kSockets * 60'000) return 2;
  Generator g;
  g.asks.resize(count);
  if (!g.connect_to(to)) return 1;
  std::vector<double> late;
  late.reserve(count);
  const int64_t start = now_ns() + 1'000'000;
  for (size_t i = 0; i < count;) {
    const int64_t due = start + static_cast<int64_t>(static_cast<double>(i) / rate * 1e9), left = due - now_ns();
    if (left > 0) {
      g.wait(left, i);
      continue;
    }
    late.push_back(static_cast<double>(-left) / 1e6);
    g.ask(i++, argv[5]);
  }
  for (const int64_t end = now_ns() + 3'000'000'000; g.open && now_ns() < end;) g.wait(20'000'000, count);
  std::vector<double> ms;
  size_t wrong = 0;
  for (auto& a : g.asks) {
    if (a.rcode < 0) continue;
    wrong += a.rcode != 0;
    ms.push_back(static_cast<double>(a.took) / 1e6);
  }
  std::sort(ms.begin(), ms.end());
  std::sort(late.begin(), late.end());
  std::printf("{\"asked\":%zu,\"answered\":%zu,\"wrong\":%zu,\"lost\":%zu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"late99\":%.3f}\n", count,
              ms.size(), wrong, count - ms.size(), at(ms, 0.5), at(ms, 0.9), at(ms, 0.99), ms.empty() ? 0 : ms.back(), at(late, 0.99));
  return 0;
}
