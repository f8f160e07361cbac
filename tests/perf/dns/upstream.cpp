// SPDX-License-Identifier: Apache-2.0
/// An upstream that answers every A question after a fixed time: 192.0.2.1 for any name, NODATA for other types.
///
///   dns-upstream --listen ADDRESS:PORT [--delay-us N] [--ttl N] [--cpu N]     prints "ready"
///
/// SIGUSR1: falls silent (questions are read and thrown away); SIGUSR2: speaks again. Ends at SIGTERM and prints how many
/// questions came. UDP only, IPv4 only: for timing.
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

namespace {

constexpr size_t kBatch = 64;

volatile sig_atomic_t silent = 0, ended = 0;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "dns-upstream: %s\n", what.c_str());
  std::exit(2);
}

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
}

struct Reply {
  uint64_t due_ns = 0;
  sockaddr_in to{};
  std::vector<uint8_t> octets;
};

/// Empty when the message is no question.
std::vector<uint8_t> reply_to(const uint8_t* p, size_t len, uint32_t ttl) {
  size_t at = 12;
  if (len < 17 || (p[2] & 0x80)) return {};
  while (at < len && p[at] != 0 && p[at] < 64) at += size_t(p[at]) + 1;
  at += 5;
  if (at > len || p[at - 5] != 0) return {};
  std::vector<uint8_t> out(p, p + at);
  const bool is_a = p[at - 4] == 0 && p[at - 3] == 1, has_opt = p[11] != 0;
  out[2] = uint8_t(0x80 | (p[2] & 1)), out[3] = 0x80;
  out[6] = 0, out[7] = is_a ? 1 : 0, out[8] = out[9] = out[10] = 0, out[11] = has_opt ? 1 : 0;
  if (is_a) {
    for (uint8_t b : {uint8_t{0xc0}, uint8_t{12}, uint8_t{0}, uint8_t{1}, uint8_t{0}, uint8_t{1}, uint8_t(ttl >> 24), uint8_t(ttl >> 16),
                      uint8_t(ttl >> 8), uint8_t(ttl), uint8_t{0}, uint8_t{4}, uint8_t{192}, uint8_t{0}, uint8_t{2}, uint8_t{1}})
      out.push_back(b);
  }
  if (has_opt)
    for (uint8_t b : {0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}) out.push_back(b);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  sockaddr_in self{};
  uint64_t delay_us = 1000;
  uint32_t ttl = 60;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--listen") {
      const size_t colon = value.rfind(':');
      if (colon == std::string::npos || inet_pton(AF_INET, value.substr(0, colon).c_str(), &self.sin_addr) != 1) die("--listen ADDRESS:PORT");
      self.sin_family = AF_INET;
      self.sin_port = htons(uint16_t(std::stoul(value.substr(colon + 1))));
    } else if (key == "--delay-us") {
      delay_us = std::stoull(value);
    } else if (key == "--ttl") {
      ttl = uint32_t(std::stoul(value));
    } else if (key == "--cpu") {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(std::stoul(value), &set);
      if (sched_setaffinity(0, sizeof set, &set) != 0) die("sched_setaffinity");
    } else {
      die("unknown option " + key);
    }
  }
  prctl(PR_SET_TIMERSLACK, 1UL);
  if (!self.sin_family) die("--listen is needed");
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int bytes = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) die(std::string("bind: ") + std::strerror(errno));
  struct sigaction act {};
  act.sa_handler = [](int number) { number == SIGTERM ? ended = 1 : silent = number == SIGUSR1; };
  for (int s : {SIGUSR1, SIGUSR2, SIGTERM}) sigaction(s, &act, nullptr);
  std::printf("ready\n");
  std::fflush(stdout);

  std::vector<std::array<uint8_t, 1500>> buffers(kBatch);
  std::array<mmsghdr, kBatch> messages{};
  std::array<iovec, kBatch> parts{};
  std::array<sockaddr_in, kBatch> from{};
  std::deque<Reply> waiting;
  uint64_t questions = 0;
  while (!ended) {
    timespec wait{1, 0};
    if (!waiting.empty()) {
      const uint64_t now = now_ns(), due = waiting.front().due_ns;
      const uint64_t left = due > now ? due - now : 0;
      wait = {time_t(left / 1'000'000'000), long(left % 1'000'000'000)};
    }
    pollfd p{fd, POLLIN, 0};
    ppoll(&p, 1, &wait, nullptr);
    for (size_t i = 0; i < kBatch; ++i) {
      parts[i] = {buffers[i].data(), buffers[i].size()};
      messages[i].msg_hdr = {.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = nullptr,
                             .msg_controllen = 0, .msg_flags = 0};
    }
    const int n = recvmmsg(fd, messages.data(), kBatch, 0, nullptr);
    const uint64_t now = now_ns();
    for (int i = 0; i < n; ++i) {
      ++questions;
      if (silent) continue;
      auto octets = reply_to(buffers[size_t(i)].data(), messages[size_t(i)].msg_len, ttl);
      if (!octets.empty()) waiting.push_back({now + delay_us * 1000, from[size_t(i)], std::move(octets)});
    }
    while (!waiting.empty() && waiting.front().due_ns <= now_ns()) {
      const Reply& r = waiting.front();
      sendto(fd, r.octets.data(), r.octets.size(), 0, reinterpret_cast<const sockaddr*>(&r.to), sizeof r.to);
      waiting.pop_front();
    }
  }
  std::printf("%lu\n", questions);
  return 0;
}
