#include "zk/addresses.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <random>

#include "util/address.h"

namespace ls::zk {
namespace {

constexpr size_t kMaxAddresses = 256;
constexpr uint32_t kLeastSession = 100, kLongestSession = 24 * 3600 * 1000;  // milliseconds; what any server is set up for lies between

uint32_t number(const unsigned char* at) { return uint32_t(at[0]) << 24 | uint32_t(at[1]) << 16 | uint32_t(at[2]) << 8 | at[3]; }

}  // namespace

Result<std::vector<HostPort>> look_up(const std::vector<HostPort>& servers) {
  std::vector<HostPort> out;
  auto add = [&](HostPort one) {
    if (out.size() < kMaxAddresses && std::find(out.begin(), out.end(), one) == out.end()) out.push_back(std::move(one));
  };
  std::string problems;
  for (auto& server : servers) {
    if (IpAddress::parse(server.host)) {
      add(server);
      continue;
    }
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (int rc = getaddrinfo(server.host.c_str(), nullptr, &hints, &found); rc != 0) {
      problems += fmt::format("{}{}: {}", problems.empty() ? "" : "; ", server.host, gai_strerror(rc));
      continue;
    }
    std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
    for (auto* a = found; a; a = a->ai_next) {
      char text[NI_MAXHOST];
      if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) add({text, server.port});
    }
  }
  if (out.empty()) return fail(problems.empty() ? "no server has an address" : problems);
  std::shuffle(out.begin(), out.end(), std::mt19937(std::random_device{}()));
  return out;
}

Greeting check_greeting(const unsigned char* bytes, size_t size, bool again) {
  constexpr uint32_t kOldLength = 36, kLength = 37, kPassword = 16;
  if (size >= 4 && number(bytes) != kOldLength && number(bytes) != kLength) return Greeting::kBad;
  if (size >= 8 && number(bytes + 4) != 0) return Greeting::kBad;  // version of the protocol
  if (size >= 12) {
    uint32_t session = number(bytes + 8);
    bool refused = again && session == 0;
    if (!refused && (session < kLeastSession || session > kLongestSession)) return Greeting::kBad;
  }
  if (size >= 24 && number(bytes + 20) != kPassword) return Greeting::kBad;
  return size < kGreetingSize ? Greeting::kIncomplete : Greeting::kGood;
}

}  // namespace ls::zk
