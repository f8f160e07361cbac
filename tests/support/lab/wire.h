// SPDX-License-Identifier: Apache-2.0
/// What the lab's tools share: addresses as text, the clock, errors by name.
/// Every address is an IPv6 socket address inside; an IPv4-mapped one is printed as plain IPv4, because that
/// is what the tests compare with what Mesos says.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace lab {

/// A client that sends exactly this asks the server to close first, so that TIME_WAIT stays at the server.
inline constexpr char kCloseFirst[] = "BYE!\n";

struct Endpoint {
  sockaddr_storage ss{};
  socklen_t len = sizeof(sockaddr_storage);

  sockaddr* sa() { return reinterpret_cast<sockaddr*>(&ss); }
  const sockaddr* sa() const { return reinterpret_cast<const sockaddr*>(&ss); }
  int family() const { return ss.ss_family; }
};

/// "1.2.3.4:80" or "[fd00::1]:80"; empty for a family that is neither.
inline std::string text(const Endpoint& e) {
  char buf[INET6_ADDRSTRLEN] = "";
  if (e.family() == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(e.ss);
    inet_ntop(AF_INET, &in.sin_addr, buf, sizeof(buf));
    return std::string(buf) + ":" + std::to_string(ntohs(in.sin_port));
  }
  if (e.family() != AF_INET6) return {};
  const auto& in6 = reinterpret_cast<const sockaddr_in6&>(e.ss);
  const std::string port = ":" + std::to_string(ntohs(in6.sin6_port));
  if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
    inet_ntop(AF_INET, in6.sin6_addr.s6_addr + 12, buf, sizeof(buf));
    return buf + port;
  }
  inet_ntop(AF_INET6, &in6.sin6_addr, buf, sizeof(buf));
  return "[" + std::string(buf) + "]" + port;
}

inline bool parse(const char* address, uint16_t port, Endpoint& out) {
  out = {};
  auto& in = reinterpret_cast<sockaddr_in&>(out.ss);
  auto& in6 = reinterpret_cast<sockaddr_in6&>(out.ss);
  if (inet_pton(AF_INET, address, &in.sin_addr) == 1) {
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    out.len = sizeof(in);
    return true;
  }
  if (inet_pton(AF_INET6, address, &in6.sin6_addr) == 1) {
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    out.len = sizeof(in6);
    return true;
  }
  return false;
}

inline Endpoint self_of(int fd) {
  Endpoint e;
  if (getsockname(fd, e.sa(), &e.len) != 0) e.ss.ss_family = AF_UNSPEC;
  return e;
}

inline Endpoint peer_of(int fd) {
  Endpoint e;
  if (getpeername(fd, e.sa(), &e.len) != 0) e.ss.ss_family = AF_UNSPEC;
  return e;
}

/// CLOCK_MONOTONIC in milliseconds: the clock of Python's time.monotonic(), so that both sides can be
/// compared.
inline double now_ms() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return double(ts.tv_sec) * 1e3 + double(ts.tv_nsec) / 1e6;
}

inline std::string error_name(int err) {
  if (err == 0) return {};
  const char* name = strerrorname_np(err);
  return name ? name : std::to_string(err);
}

/// The value of `key` ("name", "peer", "local") in an answer line of ls-echo.
inline std::string field(const std::string& line, const char* key) {
  const std::string mark = std::string(key) + "=";
  for (size_t at = 0; (at = line.find(mark, at)) != std::string::npos; at += mark.size()) {
    if (at != 0 && line[at - 1] != ' ') continue;
    const size_t from = at + mark.size();
    return line.substr(from, line.find_first_of(" \n", from) - from);
  }
  return {};
}

/// Byte `pos` of the stream of flow `seed`: small letters only (never kCloseFirst), with a period that no
/// buffer size shares, so that a byte lost, doubled or from another flow is seen.
inline char pattern(uint64_t seed, uint64_t pos) {
  return char('a' + (pos * 7 + (pos / 26) * 3 + (pos / 1019) + seed * 5) % 26);
}

}  // namespace lab
