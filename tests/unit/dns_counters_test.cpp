// Counts of DNS questions in the kernel, read from a real per-CPU map.
#include "datapath/dns_counters.h"

#include "bpf_maps.h"

namespace ls::test {
namespace {

TEST(DnsCounters, AreSummedOverTheCpus) {
  LS_NEED_BPF();
  UniqueFd map(make_map(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_dns_stats", 4, 8, LS_DNS_HOOK_MAX * LS_DNS_RESULT_SLOTS));
  ASSERT_TRUE(map) << std::strerror(errno);
  auto cpus = map_detail::possible_cpus();
  auto set = [&](uint32_t at, uint64_t first) {
    std::vector<uint64_t> values(cpus, 10);
    values[0] = first;
    ASSERT_EQ(bpf_map_update_elem(map.get(), &at, values.data(), 0), 0);
  };
  set(LS_DNS_HOOK_XDP * LS_DNS_RESULT_SLOTS + LS_DNS_HIT, 7);
  set(LS_DNS_HOOK_TRY * LS_DNS_RESULT_SLOTS + LS_DNS_UP_DNSSEC, 1ull << 40);
  set(LS_DNS_HOOK_LO * LS_DNS_RESULT_SLOTS + LS_DNS_RESULT_SLOTS - 1, 5);  // a result of a newer program
  auto counts = read_dns_counts(map.get());
  ASSERT_TRUE(counts) << counts.error().text();
  for (size_t hook = 0; hook < counts->size(); hook++) {
    for (size_t result = 0; result < (*counts)[hook].size(); result++) {
      uint64_t want = 0;
      if (hook == LS_DNS_HOOK_XDP && result == LS_DNS_HIT) want = 7 + 10 * (cpus - 1);
      if (hook == LS_DNS_HOOK_TRY && result == LS_DNS_UP_DNSSEC) want = (1ull << 40) + 10 * (cpus - 1);
      EXPECT_EQ((*counts)[hook][result], want) << hook << " " << result;
    }
  }
  EXPECT_TRUE(read_dns_counts(map.get())) << "the descriptor stays the caller's";
}

TEST(DnsCounters, AnotherMapIsRefused) {
  LS_NEED_BPF();
  UniqueFd array(make_map(BPF_MAP_TYPE_ARRAY, "ls_other", 4, 8, LS_DNS_HOOK_MAX * LS_DNS_RESULT_SLOTS));
  UniqueFd shorter(make_map(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_other", 4, 8, 10));
  UniqueFd wide(make_map(BPF_MAP_TYPE_PERCPU_ARRAY, "ls_other", 4, 16, LS_DNS_HOOK_MAX * LS_DNS_RESULT_SLOTS));
  for (auto* map : {&array, &shorter, &wide}) {
    ASSERT_TRUE(*map) << std::strerror(errno);
    auto counts = read_dns_counts(map->get());
    ASSERT_FALSE(counts);
    EXPECT_EQ(counts.error().code.value(), EPROTO) << counts.error().text();
  }
  auto none = read_dns_counts(-1);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code.value(), EBADF);
}

}  // namespace
}  // namespace ls::test
