#include "dns_upstream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <queue>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

namespace ls::test {

namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::vector<uint8_t>;
using Kind = UpstreamScript::Kind;

uint16_t get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
void put16(Bytes& out, unsigned v) {
  out.push_back(static_cast<uint8_t>(v >> 8));
  out.push_back(static_cast<uint8_t>(v));
}
void put32(Bytes& out, uint32_t v) {
  put16(out, v >> 16);
  put16(out, v & 0xffff);
}

struct Asked {
  Bytes question;   ///< name, type, class
  uint16_t id = 0, flags = 0, type = 0;
  size_t name_size = 0;
  bool edns = false, dnssec_ok = false, mixed = false;
  Bytes cookie;
};

bool parse(const uint8_t* data, size_t size, Asked& a) {
  if (size < 17 || (data[2] & 0x80)) return false;
  a.id = get16(data);
  a.flags = get16(data + 2);
  size_t at = 12;
  while (at < size && data[at]) at += size_t{1} + data[at];
  if (at + 5 > size) return false;
  at++;
  a.name_size = at - 12;
  a.type = get16(data + at);
  a.question.assign(data + 12, data + at + 4);
  a.mixed = std::any_of(data + 12, data + at, [](uint8_t c) { return c >= 'A' && c <= 'Z'; });
  at += 4;
  if (get16(data + 10) && at + 11 <= size && data[at] == 0 && get16(data + at + 1) == 41) {
    a.edns = true;
    a.dnssec_ok = data[at + 7] & 0x80;
    const size_t end = std::min(size, at + 11 + get16(data + at + 9));
    for (at += 11; at + 4 <= end; at += size_t{4} + get16(data + at + 2))
      if (get16(data + at) == 10 && at + 4 + get16(data + at + 2) <= end)
        a.cookie.assign(data + at + 4, data + at + 4 + get16(data + at + 2));
  }
  return true;
}

Bytes answer_to(const Asked& a, const UpstreamScript& s, bool tcp, std::mt19937_64& random) {
  const bool plain = s.formerr_on_edns && a.edns;
  const unsigned rcode = plain ? 1 : s.rcode;
  const bool truncated = s.kind == Kind::kTruncate && !tcp;
  const bool data = rcode == 0 && a.type == 1 && !truncated;
  Bytes out;
  put16(out, s.kind == Kind::kWrongId ? a.id ^ (1 + random() % 65535) : a.id);
  put16(out, 0x8080 | (a.flags & 0x0110) | (truncated ? 0x0200 : 0) | rcode);
  put16(out, 1);
  put16(out, data ? s.count + (s.kind == Kind::kUnasked ? 1 : 0) : 0);
  put16(out, data || truncated || (rcode != 0 && rcode != 3) ? 0 : 1);
  const bool opt = a.edns && !plain;
  put16(out, opt ? 1 : 0);
  const size_t name_at = out.size();
  out.insert(out.end(), a.question.begin(), a.question.end());
  if (s.lower_case)
    for (size_t i = 0; i < a.name_size; i++)
      if (out[name_at + i] >= 'A' && out[name_at + i] <= 'Z') out[name_at + i] += 'a' - 'A';
  if (s.kind == Kind::kWrongQuestion && a.name_size > 2) out[name_at + 1] ^= 1;
  in_addr address{};
  inet_pton(AF_INET, s.address.c_str(), &address);
  if (data) {
    for (unsigned i = 0; i < s.count; i++) {
      put16(out, s.kind == Kind::kForwardPointer ? 0xc000 | (out.size() + 2) : 0xc00c);
      put16(out, 1);
      put16(out, 1);
      put32(out, s.ttl);
      put16(out, 4);
      put32(out, s.count == 1 ? ntohl(address.s_addr) : 0x0a000000 + i + 1);
    }
    if (s.kind == Kind::kUnasked) {
      const uint8_t other[] = {6, 'v', 'i', 'c', 't', 'i', 'm', 4, 't', 'e', 's', 't', 0};
      out.insert(out.end(), std::begin(other), std::end(other));
      put16(out, 1);
      put16(out, 1);
      put32(out, s.ttl);
      put16(out, 4);
      put32(out, 0xcb007142);
    }
  } else if (!truncated && (rcode == 0 || rcode == 3)) {
    out.push_back(0);
    put16(out, 6);
    put16(out, 1);
    put32(out, s.ttl);
    put16(out, 22);
    out.insert(out.end(), {0, 0});
    for (uint32_t v : {1u, 3600u, 600u, 86400u, s.ttl}) put32(out, v);
  }
  if (opt) {
    out.push_back(0);
    put16(out, 41);
    put16(out, 1232);
    put32(out, a.dnssec_ok ? 0x8000 : 0);
    if (s.cookies && a.cookie.size() >= 8) {
      put16(out, 20);
      put16(out, 10);
      put16(out, 16);
      for (size_t i = 0; i < 8; i++) out.push_back(static_cast<uint8_t>(a.cookie[i] ^ (s.wrong_cookie ? 0x5a : 0)));
      for (uint8_t i = 0; i < 8; i++) out.push_back(i);
    } else {
      put16(out, 0);
    }
  }
  if (s.kind == Kind::kGarbage)
    for (size_t i = name_at + a.question.size(); i < out.size(); i++) out[i] = static_cast<uint8_t>(random());
  if (s.kind == Kind::kShort) out.resize(2);
  return out;
}

}  // namespace

struct DnsUpstream::Impl {
  std::string address;
  sockaddr_in bound{};
  int udp = -1, tcp = -1, wake = -1, other_port = -1, other_address = -1;
  std::mutex lock;
  UpstreamScript script;
  UpstreamCounts counts;
  std::set<uint16_t> ports;
  Asked last;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> flood_rate{0}, flooded{0};
  Clock::time_point began = Clock::now();
  std::thread thread, flooder;

  struct Later {
    Clock::time_point at;
    Bytes bytes;
    sockaddr_in to;
    int fd;
    bool operator<(const Later& o) const { return at > o.at; }
  };
  std::priority_queue<Later> later;
  std::map<int, Bytes> connections;
  std::mt19937_64 random{std::random_device{}()};

  int udp_socket(const std::string& at, uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int size = 4 << 20;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    inet_pton(AF_INET, at.c_str(), &a.sin_addr);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) {
      ::close(fd);
      return -1;
    }
    return fd;
  }

  bool open(uint16_t port) {
    udp = udp_socket(address, port);
    if (udp < 0) return false;
    socklen_t size = sizeof bound;
    ::getsockname(udp, reinterpret_cast<sockaddr*>(&bound), &size);
    tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int one = 1;
    ::setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(tcp, reinterpret_cast<sockaddr*>(&bound), sizeof bound) != 0 || ::listen(tcp, 64) != 0) return false;
    other_port = udp_socket(address, 0);
    other_address = udp_socket("127.0.0.99", ntohs(bound.sin_port));
    wake = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return true;
  }

  void close_all() {
    for (int* fd : {&udp, &tcp, &other_port, &other_address, &wake}) {
      if (*fd >= 0) ::close(*fd);
      *fd = -1;
    }
    for (auto& [fd, bytes] : connections) ::close(fd);
    connections.clear();
  }

  /// The script of now; nothing while a flapping upstream is silent.
  bool current(UpstreamScript& s) {
    s = script;
    if (s.flap_ms == 0) return s.kind != Kind::kSilent;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began).count();
    return ms / s.flap_ms % 2 == 0;
  }

  void question(const uint8_t* data, size_t size, int fd, const sockaddr_in& from, bool over_tcp) {
    Asked a;
    if (!parse(data, size, a)) return;
    UpstreamScript s;
    bool speaks;
    {
      std::lock_guard held(lock);
      (over_tcp ? counts.tcp : counts.udp)++;
      counts.with_edns += a.edns;
      counts.with_cookie += !a.cookie.empty();
      counts.mixed_case += a.mixed;
      if (!over_tcp && ports.size() < 4096) ports.insert(ntohs(from.sin_port));
      last = a;
      speaks = current(s);
      if (!speaks || (over_tcp && s.tcp_silent)) return;
      counts.answered++;
    }
    if (!over_tcp) {
      UpstreamScript lie = s;
      lie.kind = Kind::kWrongId;
      lie.address = "203.0.113.66";
      for (unsigned i = 0; i < s.lies; i++) send({Clock::now(), answer_to(a, lie, false, random), from, udp}, false);
      if (s.kind == Kind::kWrongPort) fd = other_port;
      if (s.kind == Kind::kWrongAddress) fd = other_address;
    }
    Later reply{Clock::now() + std::chrono::milliseconds(s.after_ms), answer_to(a, s, over_tcp, random), from, fd};
    if (s.after_ms)
      later.push(std::move(reply));
    else
      send(reply, over_tcp);
  }

  void send(const Later& reply, bool over_tcp) {
    if (!over_tcp) {
      ::sendto(reply.fd, reply.bytes.data(), reply.bytes.size(), 0, reinterpret_cast<const sockaddr*>(&reply.to), sizeof reply.to);
      return;
    }
    Bytes framed;
    put16(framed, static_cast<unsigned>(reply.bytes.size()));
    framed.insert(framed.end(), reply.bytes.begin(), reply.bytes.end());
    if (::send(reply.fd, framed.data(), framed.size(), MSG_NOSIGNAL) < 0) return;
  }

  void accept_one() {
    const int fd = ::accept4(tcp, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    std::lock_guard held(lock);
    counts.tcp_connections++;
    if (!script.tcp)
      ::close(fd);
    else
      connections[fd];
  }

  void read_connection(int fd) {
    uint8_t buffer[65536];
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0) {
      if (n < 0 && errno == EAGAIN) return;
      ::close(fd);
      connections.erase(fd);
      return;
    }
    Bytes& in = connections[fd];
    in.insert(in.end(), buffer, buffer + n);
    while (in.size() >= 2 && in.size() >= size_t{2} + get16(in.data())) {
      const size_t size = get16(in.data());
      question(in.data() + 2, size, fd, {}, true);
      in.erase(in.begin(), in.begin() + static_cast<ptrdiff_t>(2 + size));
    }
  }

  void run() {
    while (!stop) {
      std::vector<pollfd> fds{{udp, POLLIN, 0}, {tcp, POLLIN, 0}, {wake, POLLIN, 0}};
      for (auto& [fd, bytes] : connections) fds.push_back({fd, POLLIN, 0});
      timespec wait{1, 0};
      if (!later.empty()) {
        const auto left = std::max<int64_t>(0, std::chrono::nanoseconds(later.top().at - Clock::now()).count());
        wait = {static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
      }
      ::ppoll(fds.data(), fds.size(), &wait, nullptr);
      for (int i = 0; i < 256 && (fds[0].revents & POLLIN); i++) {
        uint8_t buffer[4096];
        sockaddr_in from{};
        socklen_t size = sizeof from;
        const ssize_t n = ::recvfrom(udp, buffer, sizeof buffer, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &size);
        if (n < 0) break;
        question(buffer, static_cast<size_t>(n), udp, from, false);
      }
      if (fds[1].revents & POLLIN) accept_one();
      for (size_t i = 3; i < fds.size(); i++)
        if (fds[i].revents) read_connection(fds[i].fd);
      while (!later.empty() && later.top().at <= Clock::now()) {
        send(later.top(), connections.contains(later.top().fd));
        later.pop();
      }
    }
  }

  void flood() {
    std::mt19937_64 own{std::random_device{}()};
    UpstreamScript s;
    s.address = "203.0.113.66";
    sockaddr_in to{};
    to.sin_family = AF_INET;
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    const auto start = Clock::now();
    uint64_t sent = 0;
    while (!stop && flood_rate) {
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      const auto target = static_cast<uint64_t>(seconds * static_cast<double>(flood_rate.load()));
      Asked a;
      {
        std::lock_guard held(lock);
        a = last;
      }
      if (a.question.empty() || sent >= target) {
        std::this_thread::sleep_for(std::chrono::microseconds(500));
        continue;
      }
      const Bytes base = answer_to(a, s, false, own);
      // What a busy machine could not send in time is not made up for.
      sent = std::max(sent, target - std::min<uint64_t>(target, 2'000));
      for (; sent < target && !stop && flood_rate; sent++) {
        Bytes bytes = base;
        const uint64_t r = own();
        bytes[0] = static_cast<uint8_t>(r);
        bytes[1] = static_cast<uint8_t>(r >> 8);
        to.sin_port = htons(static_cast<uint16_t>(32768 + (r >> 16) % 28232));
        if (::sendto(udp, bytes.data(), bytes.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to), sizeof to) > 0) flooded++;
      }
    }
  }
};

DnsUpstream::DnsUpstream(const std::string& address, uint16_t port, UpstreamScript script) : impl_(std::make_unique<Impl>()) {
  impl_->address = address;
  impl_->script = std::move(script);
  // The port that the kernel gave for UDP may be taken for TCP: try another.
  for (int attempt = 0;; attempt++) {
    if (impl_->open(port)) break;
    impl_->close_all();
    if (port || attempt == 20) throw std::runtime_error("cannot bind " + address);
  }
  impl_->thread = std::thread([this] { impl_->run(); });
}

DnsUpstream::~DnsUpstream() {
  impl_->stop = true;
  const uint64_t one = 1;
  if (::write(impl_->wake, &one, sizeof one) < 0) impl_->stop = true;
  impl_->thread.join();
  if (impl_->flooder.joinable()) impl_->flooder.join();
  impl_->close_all();
}

uint16_t DnsUpstream::port() const { return ntohs(impl_->bound.sin_port); }
const std::string& DnsUpstream::address() const { return impl_->address; }

void DnsUpstream::set(UpstreamScript script) {
  std::lock_guard held(impl_->lock);
  impl_->script = std::move(script);
  impl_->began = Clock::now();
}

UpstreamCounts DnsUpstream::counts() const {
  std::lock_guard held(impl_->lock);
  UpstreamCounts c = impl_->counts;
  c.ports = impl_->ports.size();
  return c;
}

void DnsUpstream::flood(uint64_t per_second) {
  impl_->flood_rate = 0;
  if (impl_->flooder.joinable()) impl_->flooder.join();
  impl_->flood_rate = per_second;
  if (per_second) impl_->flooder = std::thread([this] { impl_->flood(); });
}

uint64_t DnsUpstream::flooded() const { return impl_->flooded; }

bool apply_line(const std::string& line, UpstreamScript& s, std::string& error) {
  static const std::map<std::string, Kind> kKinds{
      {"answer", Kind::kAnswer}, {"silent", Kind::kSilent}, {"wrong-id", Kind::kWrongId}, {"wrong-question", Kind::kWrongQuestion},
      {"wrong-port", Kind::kWrongPort}, {"wrong-address", Kind::kWrongAddress}, {"garbage", Kind::kGarbage}, {"short", Kind::kShort},
      {"truncate", Kind::kTruncate}, {"forward-pointer", Kind::kForwardPointer}, {"unasked", Kind::kUnasked}};
  std::istringstream in(line);
  std::string word, value;
  in >> word >> value;
  if (auto it = kKinds.find(word); it != kKinds.end()) {
    s.kind = it->second;
    return true;
  }
  const std::map<std::string, bool*> switches{{"lower-case", &s.lower_case}, {"formerr-on-edns", &s.formerr_on_edns}, {"cookies", &s.cookies},
                                              {"wrong-cookie", &s.wrong_cookie}, {"tcp", &s.tcp}, {"tcp-silent", &s.tcp_silent}};
  if (auto it = switches.find(word); it != switches.end() && (value == "on" || value == "off")) {
    *it->second = value == "on";
    return true;
  }
  const std::map<std::string, unsigned*> numbers{{"delay", &s.after_ms}, {"rcode", &s.rcode}, {"count", &s.count},
                                                 {"ttl", &s.ttl}, {"flap", &s.flap_ms}, {"lies", &s.lies}};
  if (auto it = numbers.find(word); it != numbers.end() && !value.empty() && value.find_first_not_of("0123456789") == std::string::npos) {
    *it->second = static_cast<unsigned>(std::stoul(value.substr(0, 9)));
    return true;
  }
  if (word == "address" && !value.empty()) {
    s.address = value;
    return true;
  }
  error = "not understood: " + line;
  return false;
}

std::string to_line(const UpstreamCounts& c) {
  std::ostringstream out;
  out << "udp " << c.udp << " tcp " << c.tcp << " answered " << c.answered << " connections " << c.tcp_connections << " edns " << c.with_edns
      << " cookie " << c.with_cookie << " mixed " << c.mixed_case << " ports " << c.ports;
  return out.str();
}

}  // namespace ls::test
