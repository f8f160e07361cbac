#pragma once
/// A DNS server for tests of the watchdog: one thread, UDP and TCP at one address, and it may misbehave.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "util/address.h"
#include "util/clock.h"
#include "util/unique_fd.h"

namespace ls::test {

enum class Behaviour { kAnswer, kSilent, kEmpty, kWrongId, kWrongQuestion, kServfail, kJunk, kWrongIdThenRight, kUdpOnly, kTcpOnly, kSlow };

/// The reply to `question`: header, question, one A record 127.0.0.1.
inline std::string dns_reply(const std::string& question, Behaviour how) {
  std::string reply = question;
  reply[2] = char(0x85);
  reply[3] = 0;
  if (how == Behaviour::kServfail) reply[3] = 2;
  if (how == Behaviour::kWrongId) reply[1] = char(reply[1] ^ 1);
  if (how == Behaviour::kWrongQuestion) reply[13] = 'x';
  if (how == Behaviour::kJunk) return "junk";
  if (how == Behaviour::kEmpty || how == Behaviour::kServfail) return reply;
  reply[7] = 1;
  return reply + std::string("\xc0\x0c\0\1\0\1\0\0\0\5\0\4\x7f\0\0\1", 16);
}

class DnsStandin {
 public:
  /// Port 0: any free one, the same for UDP and TCP.
  explicit DnsStandin(Behaviour how, const std::string& address = "127.0.0.1", uint16_t port = 0) : how_(how) {
    stop_.reset(::eventfd(0, EFD_CLOEXEC));
    for (int i = 0; i < 50; i++) {
      if (bind_both(address, port)) break;
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~DnsStandin() {
    uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  Endpoint endpoint() const { return endpoint_; }
  void set(Behaviour how) { how_ = how; }
  int questions() const { return questions_; }

 private:
  bool bind_both(const std::string& address, uint16_t port) {
    udp_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    tcp_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    int on = 1;
    ::setsockopt(tcp_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
    if (::bind(udp_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return false;
    socklen_t len = sizeof at;
    ::getsockname(udp_.get(), reinterpret_cast<sockaddr*>(&at), &len);
    endpoint_ = {*IpAddress::parse(address), ntohs(at.sin_port)};
    return ::bind(tcp_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 && ::listen(tcp_.get(), 16) == 0;
  }

  void serve() {
    std::vector<UniqueFd> clients;  // those that get no answer stay open until the end
    for (;;) {
      pollfd p[3] = {{stop_.get(), POLLIN, 0}, {udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
      ::poll(p, 3, -1);
      if (p[0].revents != 0) return;
      if (p[1].revents != 0) datagram();
      if (p[2].revents != 0) stream(clients);
    }
  }

  bool mute(bool tcp) const {
    Behaviour how = how_;
    return how == Behaviour::kSilent || how == Behaviour::kSlow || how == (tcp ? Behaviour::kUdpOnly : Behaviour::kTcpOnly);
  }

  void datagram() {
    char buf[1500];
    sockaddr_in from{};
    socklen_t len = sizeof from;
    auto n = ::recvfrom(udp_.get(), buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &len);
    if (n < 14) return;
    questions_++;
    if (mute(false)) return;
    std::string question(buf, size_t(n));
    auto send = [&](Behaviour how) {
      auto reply = dns_reply(question, how);
      ::sendto(udp_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), len);
    };
    if (how_ == Behaviour::kWrongIdThenRight) {
      send(Behaviour::kWrongId);
      send(Behaviour::kAnswer);
    } else {
      send(how_);
    }
  }

  void stream(std::vector<UniqueFd>& clients) {
    UniqueFd client(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) return;
    questions_++;
    if (mute(true)) {
      clients.push_back(std::move(client));
      return;
    }
    char buf[1500];
    size_t have = 0;
    while (have < 33) {  // two octets of length and the question
      auto n = ::recv(client.get(), buf + have, sizeof buf - have, 0);
      if (n <= 0) return;
      have += size_t(n);
    }
    auto how = how_ == Behaviour::kWrongIdThenRight ? Behaviour::kAnswer : Behaviour(how_);
    auto reply = dns_reply(std::string(buf + 2, have - 2), how);
    std::string framed{char(reply.size() >> 8), char(reply.size() & 0xff)};
    framed += reply;
    // In two pieces: a reader must put them together.
    ::send(client.get(), framed.data(), 3, MSG_NOSIGNAL);
    ::send(client.get(), framed.data() + 3, framed.size() - 3, MSG_NOSIGNAL);
  }

  std::atomic<Behaviour> how_;
  std::atomic<int> questions_{0};
  UniqueFd stop_, udp_, tcp_;
  Endpoint endpoint_;
  std::thread thread_;
};

}  // namespace ls::test
