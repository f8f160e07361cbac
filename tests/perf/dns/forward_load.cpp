/// ls-dns-forward-load ADDRESS PORT RATE SECONDS PREFIX: asks for unique names (PREFIX-N.perf.loadtest A) at a steady rate over UDP, open loop,
/// and prints one line of JSON: asked, answered, wrong (not NOERROR), lost (no answer 3 s after the last question), p50, p90, p99 and
/// max in ms. No retries: a lost packet is a lost question.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kSockets = 16;  // 65536 ids each: no id is used twice

struct Ask {
  std::atomic<int64_t> sent{0}, took{0};
  std::atomic<int> rcode{-1};
};

int64_t now_ns() { return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count(); }

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

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: ls-dns-forward-load ADDRESS PORT RATE SECONDS PREFIX\n");
    return 2;
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[2])));
  inet_pton(AF_INET, argv[1], &to.sin_addr);
  const double rate = std::atof(argv[3]), seconds = std::atof(argv[4]);
  const size_t count = static_cast<size_t>(rate * seconds);
  if (count == 0 || count > kSockets * 60'000) return 2;
  int sockets[kSockets];
  for (int& fd : sockets) {
    fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int size = 4 << 20;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    timeval wait{0, 100'000};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return 1;
  }
  std::vector<Ask> asks(count);
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (size_t s = 0; s < kSockets; s++) {
    readers.emplace_back([&, s] {
      uint8_t buffer[4096];
      while (!stop) {
        const ssize_t n = ::recv(sockets[s], buffer, sizeof buffer, 0);
        if (n < 12) continue;
        const size_t i = (static_cast<size_t>(buffer[0]) << 8 | buffer[1]) * kSockets + s;
        if (i >= count || asks[i].rcode >= 0) continue;
        asks[i].took = now_ns() - asks[i].sent;
        asks[i].rcode = buffer[3] & 15;
      }
    });
  }
  const auto start = Clock::now();
  uint8_t packet[512];
  for (size_t i = 0; i < count; i++) {
    const auto due = start + std::chrono::nanoseconds(static_cast<int64_t>(static_cast<double>(i) / rate * 1e9));
    while (Clock::now() < due) {
      const auto left = due - Clock::now();
      if (left > std::chrono::microseconds(120)) std::this_thread::sleep_for(left - std::chrono::microseconds(60));
    }
    const size_t size = question(packet, static_cast<uint16_t>(i / kSockets), std::string(argv[5]) + "-" + std::to_string(i));
    asks[i].sent = now_ns();
    if (::send(sockets[i % kSockets], packet, size, 0) < 0 && errno == ECONNREFUSED) ::send(sockets[i % kSockets], packet, size, 0);
  }
  auto all = [&] { return std::all_of(asks.begin(), asks.end(), [](auto& a) { return a.rcode >= 0; }); };
  for (const auto end = Clock::now() + std::chrono::seconds(3); Clock::now() < end && !all();)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stop = true;
  for (auto& t : readers) t.join();
  std::vector<double> ms;
  size_t wrong = 0;
  for (auto& a : asks) {
    if (a.rcode < 0) continue;
    wrong += a.rcode != 0;
    ms.push_back(static_cast<double>(a.took) / 1e6);
  }
  std::sort(ms.begin(), ms.end());
  std::printf("{\"asked\":%zu,\"answered\":%zu,\"wrong\":%zu,\"lost\":%zu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f}\n", count, ms.size(),
              wrong, count - ms.size(), at(ms, 0.5), at(ms, 0.9), at(ms, 0.99), ms.empty() ? 0 : ms.back());
  return 0;
}
