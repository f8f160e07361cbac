// SPDX-License-Identifier: Apache-2.0
/// Asks a DNS server over UDP as fast as it answers, or at a given rate, and checks what comes back.
///
///   dns-generate --to ADDRESS:PORT --names FILE [options], prints one JSON object
///
/// Each line of FILE is "name type [answer]"; with an answer (an IPv4 address), the first A record of the reply has to
/// be that. Questions are encoded before the clock starts. A reply counts when its id is in flight and its question is
/// byte for byte the one that was asked. What is not answered within --timeout is lost.
///
/// Without --rate there are always --window questions in flight: the server is never idle, and nothing is thrown away
/// at a full socket. With it, questions leave on time whatever comes back, up to --window in flight.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr size_t kBatch = 64;
constexpr size_t kHeader = 12;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "dns-generate: %s\n", what.c_str());
  std::exit(2);
}
void must(bool ok, const char* what) {
  if (!ok) die(std::string(what) + ": " + std::strerror(errno));
}

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
}

struct Options {
  sockaddr_storage to{};
  socklen_t to_len = 0;
  std::string names;
  double seconds = 2, rate = 0, timeout = 1;
  size_t window = 128, sockets = 4, udp_size = 0, once = 0;
  int cpu = -1;
};

void set_target(Options& o, const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) die("--to ADDRESS:PORT");
  std::string host = text.substr(0, colon);
  const uint16_t port = uint16_t(std::stoul(text.substr(colon + 1)));
  if (!host.empty() && host.front() == '[') host = host.substr(1, host.size() - 2);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&o.to);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&o.to);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET, v4->sin_port = htons(port), o.to_len = sizeof *v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(port), o.to_len = sizeof *v6;
  } else {
    die("no address: " + host);
  }
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    if (i + 1 == argc) die("no value for " + key);
    const std::string value = argv[++i];
    if (key == "--to") set_target(o, value);
    else if (key == "--names") o.names = value;
    else if (key == "--seconds") o.seconds = std::stod(value);
    else if (key == "--rate") o.rate = std::stod(value);
    else if (key == "--timeout") o.timeout = std::stod(value);
    else if (key == "--window") o.window = std::stoul(value);
    else if (key == "--sockets") o.sockets = std::stoul(value);
    else if (key == "--edns") o.udp_size = std::stoul(value);
    else if (key == "--once") o.once = std::stoul(value);  // so many questions, in the order of the file, then end
    else if (key == "--cpu") o.cpu = std::stoi(value);
    else die("unknown option " + key);
  }
  if (!o.to_len || o.names.empty()) die("--to and --names are needed");
  if (o.sockets == 0 || o.window == 0 || o.window / o.sockets >= 60'000) die("--window and --sockets do not fit");
  return o;
}

struct Question {
  std::vector<uint8_t> packet;  ///< id 0
  size_t question_len = 0;      ///< octets after the header that the reply has to repeat
  uint32_t answer_be = 0;       ///< 0: any
  std::string text;
};

uint16_t type_of(const std::string& text) {
  static const std::map<std::string, uint16_t> known{{"A", 1},    {"NS", 2},    {"CNAME", 5}, {"SOA", 6},  {"PTR", 12}, {"MX", 15},
                                                     {"TXT", 16}, {"AAAA", 28}, {"SRV", 33},  {"ANY", 255}};
  auto i = known.find(text);
  if (i == known.end()) die("unknown type " + text);
  return i->second;
}

std::vector<Question> read_questions(const Options& o) {
  std::ifstream in(o.names);
  if (!in) die("cannot read " + o.names);
  std::vector<Question> all;
  for (std::string row; std::getline(in, row);) {
    std::istringstream words(row);
    std::string name, type, answer;
    if (!(words >> name >> type)) continue;
    words >> answer;
    Question q;
    q.text = name + " " + type;
    q.packet.assign(kHeader, 0);
    q.packet[2] = 1;  // RD
    q.packet[5] = 1;
    std::istringstream labels(name);
    for (std::string label; std::getline(labels, label, '.');) {
      if (label.empty() || label.size() > 63) die("bad name " + name);
      q.packet.push_back(uint8_t(label.size()));
      for (char c : label) q.packet.push_back(uint8_t(c));
    }
    const uint16_t t = type_of(type);
    for (uint8_t b : {uint8_t{0}, uint8_t(t >> 8), uint8_t(t), uint8_t{0}, uint8_t{1}}) q.packet.push_back(b);
    q.question_len = q.packet.size() - kHeader;
    if (o.udp_size) {
      q.packet[11] = 1;
      for (uint8_t b : {uint8_t{0}, uint8_t{0}, uint8_t{41}, uint8_t(o.udp_size >> 8), uint8_t(o.udp_size), uint8_t{0}, uint8_t{0},
                        uint8_t{0}, uint8_t{0}, uint8_t{0}, uint8_t{0}})
        q.packet.push_back(b);
    }
    if (!answer.empty()) must(inet_pton(AF_INET, answer.c_str(), &q.answer_be) == 1, "answer");
    all.push_back(std::move(q));
  }
  if (all.empty()) die("no questions in " + o.names);
  return all;
}

/// Microseconds in buckets of 1/16 of an octave.
struct Histogram {
  std::array<uint64_t, 16 * 48> counts{};
  uint64_t total = 0;
  double max_us = 0;
  static size_t bucket(uint64_t ns) {
    if (ns < 16) return ns;
    const int top = 63 - __builtin_clzll(ns);
    return std::min(size_t(top - 3) * 16 + ((ns >> (top - 4)) & 15), counts_size - 1);
  }
  static constexpr size_t counts_size = 16 * 48;
  static double middle_us(size_t b) {
    if (b < 16) return double(b) / 1e3;
    return double((16ull + b % 16) << (b / 16 - 1)) * (1 + 0.5 / 16) / 1e3;
  }
  void add(uint64_t ns) {
    ++counts[bucket(ns)];
    ++total;
    max_us = std::max(max_us, double(ns) / 1e3);
  }
  double quantile(double q) const {
    uint64_t seen = 0;
    for (size_t b = 0; b < counts.size(); ++b)
      if ((seen += counts[b]) > uint64_t(q * double(total))) return std::min(middle_us(b), max_us);
    return max_us;
  }
};

struct InFlight {
  uint32_t question = 0;
  uint64_t sent_ns = 0;  ///< 0: not in flight
};
struct Sent {
  uint64_t ns;
  uint16_t id;
};

struct Socket {
  int fd = -1;
  std::vector<InFlight> ids = std::vector<InFlight>(65536);
  std::deque<Sent> order;
  uint16_t next_id = 1;
  size_t in_flight = 0;
};

struct Counts {
  uint64_t sent = 0, answers = 0, with_data = 0, truncated = 0, wrong = 0, strange = 0, lost = 0, refused = 0;
  std::array<uint64_t, 16> rcodes{};
  std::string first_wrong;
};

/// Offset of the type field after a name at `at`; 0 when it is cut off.
size_t after_name(const uint8_t* p, size_t len, size_t at) {
  while (at < len) {
    if (p[at] == 0) return at + 1;
    if (p[at] >= 0xc0) return at + 2;
    at += size_t(p[at]) + 1;
  }
  return 0;
}

class Generator {
 public:
  Generator(const Options& o, std::vector<Question> questions) : o_(o), questions_(std::move(questions)), sockets_(o.sockets) {
    for (Socket& s : sockets_) {
      s.fd = socket(o.to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      must(s.fd >= 0, "socket");
      const int bytes = 8 << 20;
      setsockopt(s.fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
      setsockopt(s.fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
      must(connect(s.fd, reinterpret_cast<const sockaddr*>(&o.to), o.to_len) == 0, "connect");
    }
  }

  void run() {
    const uint64_t begin = now_ns(), end = begin + uint64_t(o_.seconds * 1e9);
    const auto timeout = uint64_t(o_.timeout * 1e9);
    uint64_t stop = 0;
    for (;;) {
      const uint64_t now = now_ns();
      const bool over = o_.once ? counts_.sent >= o_.once : now >= end;
      if (over && !stop) {
        stop = now;
        wall_ = now - begin;
        at_end_ = counts_.answers;
      }
      bool moved = false;
      size_t waiting = 0;
      for (Socket& s : sockets_) {
        if (!over) moved |= send(s, now, begin);
        moved |= receive(s);
        expire(s, now, timeout);
        waiting += s.in_flight;
      }
      if (over && (waiting == 0 || now > stop + timeout + 100'000'000)) break;
      if (!moved) wait();
    }
    if (o_.once) wall_ = now_ns() - begin;
  }

  void print() const {
    std::printf("{\"sent\": %lu, \"answers\": %lu, \"answers_in_time\": %lu, \"with_data\": %lu, \"truncated\": %lu, \"wrong\": %lu, "
                "\"strange\": %lu, \"lost\": %lu, \"refused\": %lu, \"wall_us\": %lu, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
                "\"p999_us\": %.1f, \"max_us\": %.1f, \"rcodes\": {",
                counts_.sent, counts_.answers, at_end_, counts_.with_data, counts_.truncated, counts_.wrong, counts_.strange, counts_.lost,
                counts_.refused, wall_ / 1000, latency_.quantile(0.5), latency_.quantile(0.9), latency_.quantile(0.99),
                latency_.quantile(0.999), latency_.max_us);
    const char* between = "";
    for (size_t i = 0; i < counts_.rcodes.size(); ++i) {
      if (!counts_.rcodes[i]) continue;
      std::printf("%s\"%zu\": %lu", between, i, counts_.rcodes[i]);
      between = ", ";
    }
    std::printf("}, \"first_wrong\": \"%s\"}\n", counts_.first_wrong.c_str());
  }

 private:
  uint32_t next_question() {
    if (o_.once) return uint32_t(counts_.sent % questions_.size());
    random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
    return uint32_t((random_ >> 11) % questions_.size());
  }

  bool send(Socket& s, uint64_t now, uint64_t begin) {
    size_t room = o_.window / sockets_.size() + (o_.window % sockets_.size() ? 1 : 0);
    room = s.in_flight < room ? room - s.in_flight : 0;
    if (o_.rate > 0) {
      const auto due = uint64_t(double(now - begin) / 1e9 * o_.rate);
      room = std::min(room, due > counts_.sent ? size_t(due - counts_.sent) : 0);
    }
    if (o_.once) room = std::min(room, size_t(o_.once - std::min<uint64_t>(o_.once, counts_.sent)));
    const size_t n = std::min(room, kBatch);
    if (n == 0) return false;
    std::array<mmsghdr, kBatch> messages{};
    std::array<iovec, kBatch * 2> parts{};
    std::array<std::array<uint8_t, 2>, kBatch> ids{};
    std::array<uint32_t, kBatch> chosen{};
    for (size_t i = 0; i < n; ++i) {
      while (s.ids[s.next_id].sent_ns) ++s.next_id;
      chosen[i] = next_question();
      ids[i] = {uint8_t(s.next_id >> 8), uint8_t(s.next_id)};
      const Question& q = questions_[chosen[i]];
      s.ids[s.next_id] = {chosen[i], now};
      parts[2 * i] = {ids[i].data(), 2};
      parts[2 * i + 1] = {const_cast<uint8_t*>(q.packet.data()) + 2, q.packet.size() - 2};
      messages[i].msg_hdr.msg_iov = &parts[2 * i];
      messages[i].msg_hdr.msg_iovlen = 2;
      ++s.next_id;
      ++counts_.sent;
    }
    int done = sendmmsg(s.fd, messages.data(), unsigned(n), 0);
    if (done < 0 && errno == ECONNREFUSED) ++counts_.refused;
    const size_t good = done < 0 ? 0 : size_t(done);
    for (size_t i = 0; i < n; ++i) {
      const uint16_t id = uint16_t(ids[i][0] << 8 | ids[i][1]);
      if (i < good) {
        s.order.push_back({now, id});
        ++s.in_flight;
      } else {
        s.ids[id].sent_ns = 0;
        --counts_.sent;
        if (done < 0 && errno == ECONNREFUSED) ++counts_.sent, ++counts_.lost;  // asked, and nobody was there
      }
    }
    return good > 0;
  }

  bool receive(Socket& s) {
    std::array<mmsghdr, kBatch> messages{};
    std::array<iovec, kBatch> parts{};
    for (size_t i = 0; i < kBatch; ++i) {
      parts[i] = {buffers_[i].data(), buffers_[i].size()};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int n = recvmmsg(s.fd, messages.data(), kBatch, 0, nullptr);
    if (n < 0 && errno == ECONNREFUSED) ++counts_.refused;
    if (n <= 0) return false;
    const uint64_t now = now_ns();
    for (int i = 0; i < n; ++i) check(s, buffers_[size_t(i)].data(), messages[size_t(i)].msg_len, now);
    return true;
  }

  void wrong(const Question& q, const char* why) {
    ++counts_.wrong;
    if (counts_.first_wrong.empty()) counts_.first_wrong = q.text + ": " + why;
  }

  void check(Socket& s, const uint8_t* p, size_t len, uint64_t now) {
    if (len < kHeader || !(p[2] & 0x80)) {
      ++counts_.strange;
      return;
    }
    const uint16_t id = uint16_t(p[0] << 8 | p[1]);
    InFlight& f = s.ids[id];
    if (!f.sent_ns) {  // late, or twice
      ++counts_.strange;
      return;
    }
    const Question& q = questions_[f.question];
    if (len < kHeader + q.question_len || std::memcmp(p + kHeader, q.packet.data() + kHeader, q.question_len) != 0) {
      ++counts_.strange;
      return;
    }
    latency_.add(now - f.sent_ns);
    f.sent_ns = 0;
    --s.in_flight;
    ++counts_.answers;
    ++counts_.rcodes[p[3] & 15];
    const bool data = p[6] || p[7];
    if (p[2] & 2) ++counts_.truncated;
    if (data && (p[3] & 15) == 0) ++counts_.with_data;
    if (!q.answer_be) return;
    if ((p[3] & 15) != 0 || !data) {
      // A refusal to answer is no wrong answer; a "no" is.
      if ((p[3] & 15) == 3) wrong(q, "NXDOMAIN");
      if ((p[3] & 15) == 0) wrong(q, "no data");
      return;
    }
    const size_t at = after_name(p, len, kHeader + q.question_len);
    if (at == 0 || at + 14 > len || p[at + 1] != 1 || std::memcmp(p + at + 10, &q.answer_be, 4) != 0) wrong(q, "another address");
  }

  void expire(Socket& s, uint64_t now, uint64_t timeout) {
    while (!s.order.empty() && s.order.front().ns + timeout < now) {
      const Sent first = s.order.front();
      s.order.pop_front();
      InFlight& f = s.ids[first.id];
      if (f.sent_ns != first.ns) continue;
      f.sent_ns = 0;
      --s.in_flight;
      ++counts_.lost;
    }
    while (!s.order.empty() && s.ids[s.order.front().id].sent_ns != s.order.front().ns) s.order.pop_front();
  }

  void wait() {
    std::vector<pollfd> fds;
    for (const Socket& s : sockets_) fds.push_back({s.fd, POLLIN, 0});
    timespec t{0, o_.rate > 0 ? 50'000 : 1'000'000};
    ppoll(fds.data(), fds.size(), &t, nullptr);
  }

  const Options& o_;
  const std::vector<Question> questions_;
  std::vector<Socket> sockets_;
  std::vector<std::array<uint8_t, 4096>> buffers_ = std::vector<std::array<uint8_t, 4096>>(kBatch);
  Counts counts_;
  Histogram latency_;
  uint64_t wall_ = 0, at_end_ = 0;
  uint64_t random_ = 0x9e3779b97f4a7c15ull;
};

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  if (o.cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(size_t(o.cpu), &set);
    must(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
  }
  Generator g(o, read_questions(o));
  g.run();
  g.print();
  return 0;
}
