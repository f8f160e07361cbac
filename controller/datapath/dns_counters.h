#pragma once
/// What became of DNS questions in the kernel: ls_dns_stats, summed over the CPUs.
/// Thread: any. Cost: a look at the map's layout and one batch read. Counts never go back while the map lives; it outlives the daemon.
#include <array>
#include <cstdint>

#include "loadstar/abi/dns.h"
#include "util/result.h"

namespace ls {

/// Packets by [enum ls_dns_hook][enum ls_dns_result].
using DnsCounts = std::array<std::array<uint64_t, LS_DNS_RESULT_MAX>, LS_DNS_HOOK_MAX>;

/// `fd`: of ls_dns_stats, stays the caller's. EPROTO: the map has another layout. EBADF: no descriptor.
Result<DnsCounts> read_dns_counts(int fd);

}  // namespace ls
