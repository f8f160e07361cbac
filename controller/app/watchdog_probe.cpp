#include "app/watchdog_probe.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "util/unique_fd.h"

namespace ls::watchdog {
namespace {

constexpr size_t kHeader = 12;  // RFC 1035 section 4.1.1
constexpr std::string_view kName("\5ready\7spartan\0", 15);

uint16_t random_id() {
  uint16_t id = 0;
  while (::getrandom(&id, sizeof id, 0) < 0 && errno == EINTR) {
  }
  return id;
}

uint8_t octet(std::string_view m, size_t at) { return static_cast<uint8_t>(m[at]); }

socklen_t fill(const Endpoint& e, sockaddr_storage& out) {
  out = {};
  if (e.address.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(e.port);
    v4->sin_addr.s_addr = htonl(e.address.v4());
    return sizeof *v4;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(e.port);
  std::memcpy(&v6->sin6_addr, e.address.bytes().data(), 16);
  return sizeof *v6;
}

/// One server over one transport. Sockets are connected, so the kernel drops what comes from elsewhere.
struct Try {
  ProbeResult* result;
  bool stream;
  UniqueFd fd;
  std::string question, out, in;
  bool done = false;
  std::string why = "no answer in time";

  void finish(bool good, std::string error) {
    done = true;
    fd.reset();
    (stream ? result->tcp : result->udp) = good;
    (stream ? result->tcp_error : result->udp_error) = std::move(error);
  }
  void failed(int error) { finish(false, std::strerror(error)); }

  void start() {
    question = probe_question(random_id());
    if (stream) {
      out += char(question.size() >> 8);
      out += char(question.size() & 0xff);
    }
    out += question;
    sockaddr_storage to;
    auto len = fill(result->server, to);
    fd.reset(::socket(to.ss_family, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return failed(errno);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), len) != 0 && errno != EINPROGRESS) failed(errno);
  }

  short wants() const { return out.empty() ? POLLIN : POLLOUT; }

  void ready() {
    if (!out.empty()) {
      auto n = ::send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL);
      if (n < 0) return soft(errno) ? void() : failed(errno);
      out.erase(0, size_t(n));
      return;
    }
    char buf[4096];
    auto n = ::recv(fd.get(), buf, sizeof buf, 0);
    if (n < 0) return soft(errno) ? void() : failed(errno);
    if (!stream) return judge({buf, size_t(n)});
    if (n == 0) return finish(false, "the connection was closed");
    in.append(buf, size_t(n));
    if (in.size() < 2) return;
    size_t want = size_t(octet(in, 0)) << 8 | octet(in, 1);
    if (in.size() < 2 + want) return;
    judge({in.data() + 2, want});
    // A second message on one connection would be no answer to one question.
    if (!done) finish(false, why);
  }

  void judge(std::string_view reply) {
    auto fault = answer_fault(question, reply);
    if (fault.empty()) return finish(true, "");
    why = fault;
  }

  static bool soft(int error) { return error == EAGAIN || error == EINTR || error == EINPROGRESS; }
};

}  // namespace

std::string_view to_text(Health health) {
  constexpr std::array<std::string_view, 3> kTexts{"up", "degraded", "down"};
  return kTexts[size_t(health)];
}

std::string probe_question(uint16_t id) {
  std::string m(kHeader, '\0');
  m[0] = char(id >> 8);
  m[1] = char(id & 0xff);
  m[2] = 1;  // RD, as every client sets it
  m[5] = 1;  // one question
  m += kName;
  m.append("\0\1\0\1", 4);  // A, IN
  return m;
}

std::string_view answer_fault(std::string_view question, std::string_view reply) {
  if (reply.size() < kHeader) return "the answer is too short";
  if (reply[0] != question[0] || reply[1] != question[1]) return "the answer has another id";
  if ((octet(reply, 2) & 0xf8) != 0x80) return "what came is no answer";
  if (auto rcode = octet(reply, 3) & 15; rcode != 0) {
    constexpr std::array<std::string_view, 6> kTexts{"", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    return size_t(rcode) < kTexts.size() ? kTexts[size_t(rcode)] : "the answer is an error";
  }
  if ((octet(reply, 2) & 2) != 0) return "the answer is cut";
  auto asked = question.substr(kHeader);
  bool same = reply.substr(4, 2) == question.substr(4, 2) && reply.size() >= question.size() &&
              std::equal(asked.begin(), asked.end(), reply.begin() + kHeader,
                         [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? char(b + 32) : b); });
  if (!same) return "the answer is to another question";
  if (octet(reply, 6) == 0 && octet(reply, 7) == 0) return "the answer is empty";
  // A record has ten octets beside its name (RFC 1035 section 4.1.3).
  if (reply.size() < question.size() + 11) return "the answer is too short";
  return "";
}

std::vector<ProbeResult> probe(std::span<const Endpoint> servers, Millis timeout) {
  SystemClock clock;
  auto deadline = clock.now() + timeout;
  std::vector<ProbeResult> results(servers.size());
  std::vector<Try> tries;
  tries.reserve(2 * servers.size());
  for (size_t i = 0; i < servers.size(); i++) {
    results[i].server = servers[i];
    for (bool stream : {false, true}) {
      auto& t = tries.emplace_back();
      t.result = &results[i];
      t.stream = stream;
      t.start();
    }
  }
  std::vector<pollfd> polls;
  std::vector<Try*> who;
  for (;;) {
    polls.clear();
    who.clear();
    for (auto& t : tries) {
      if (t.done) continue;
      polls.push_back({t.fd.get(), t.wants(), 0});
      who.push_back(&t);
    }
    auto left = std::chrono::ceil<Millis>(deadline - clock.now());
    if (polls.empty() || left.count() <= 0) break;
    if (::poll(polls.data(), polls.size(), int(left.count())) <= 0) continue;
    for (size_t i = 0; i < polls.size(); i++) {
      if (polls[i].revents != 0) who[i]->ready();
    }
  }
  for (auto& t : tries) {
    if (!t.done) t.finish(false, t.why);
  }
  return results;
}

}  // namespace ls::watchdog
