#include "datapath/dns_counters.h"

#include <fcntl.h>

#include <cerrno>

#include "bpf/map.h"

namespace ls {
namespace {

struct Count {
  uint64_t value;
};

}  // namespace

Result<DnsCounts> read_dns_counts(int fd) {
  UniqueFd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own) return fail(errno, "open ls_dns_stats");
  LS_ASSIGN(auto stats, PerCpuArray<Count>::adopt(std::move(own)));
  if (stats.shape().capacity < LS_DNS_HOOK_MAX * LS_DNS_RESULT_SLOTS)
    return fail(EPROTO, "read ls_dns_stats, which has " + std::to_string(stats.shape().capacity) + " entries");
  LS_ASSIGN(auto sums, stats.sums());
  DnsCounts out{};
  for (size_t hook = 0; hook < out.size(); hook++) {
    for (size_t result = 0; result < out[hook].size(); result++) out[hook][result] = sums[hook * LS_DNS_RESULT_SLOTS + result].value;
  }
  return out;
}

}  // namespace ls
