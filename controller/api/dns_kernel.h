#pragma once
/// What the API says about DNS answers given in the kernel. Plain values, threads: any.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "loadstar/abi/dns.h"

namespace ls::api {

struct KernelDnsView {
  bool enabled = false;         ///< by configuration
  std::string problem;          ///< why nothing is answered in the kernel, or not everything
  /// [hook][result] of enum ls_dns_hook and ls_dns_result, all CPUs together.
  std::array<std::array<uint64_t, LS_DNS_RESULT_MAX>, LS_DNS_HOOK_MAX> counts{};
  uint64_t names = 0, views = 0, ready = 0, cached = 0, no_room = 0, incomplete_zones = 0;
  uint64_t slots_used = 0, slots = 0, bytes_used = 0, bytes = 0;
};

/// One question put to the program as a packet of the network would be.
struct KernelDnsTry {
  std::string result;          ///< label of enum ls_dns_result
  std::string text;            ///< the same as a sentence
  std::vector<uint8_t> answer; ///< the message; empty: it went up
};

}  // namespace ls::api
