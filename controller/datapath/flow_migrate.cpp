#include "datapath/flow_migrate.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "bpf/mmap_array.h"
#include "loadstar/abi/flow_place.h"

namespace ls::datapath {
namespace {

ls_tuple tuple_of(const ls_flow4& f) {
  ls_tuple t{};
  t.src[3] = f.src_be;
  t.dst[3] = f.dst_be;
  t.sport = f.sport_be;
  t.dport = f.dport_be;
  t.proto = f.proto;
  return t;
}

ls_tuple tuple_of(const ls_flow6& f) {
  ls_tuple t{};
  for (int i = 0; i < 4; i++) {
    t.src[i] = f.src_be[i];
    t.dst[i] = f.dst_be[i];
  }
  t.sport = f.sport_be;
  t.dport = f.dport_be;
  t.proto = f.proto;
  t.v6 = 1;
  return t;
}

Result<UniqueFd> duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail(errno, "duplicate the descriptor of a flow table");
  return copy;
}

/// The entry as it was at one moment, by the reader's rule of abi/flow.h; false when it never stood still.
template <class Entry>
bool read_whole(const Entry& shared, Entry& copy) {
  for (int tries = 0; tries < 8; tries++) {
    uint32_t before = std::atomic_ref<uint32_t>(const_cast<uint32_t&>(shared.version)).load(std::memory_order_acquire);
    copy = shared;
    std::atomic_thread_fence(std::memory_order_acquire);
    uint32_t after = std::atomic_ref<uint32_t>(const_cast<uint32_t&>(shared.version)).load(std::memory_order_relaxed);
    if (before == after && !(before & 1)) return true;
  }
  return false;
}

template <class Bucket>
Result<uint64_t> migrate(int old_fd, int new_fd, FlowSeed seed) {
  LS_ASSIGN(UniqueFd from_fd, duplicate(old_fd));
  LS_ASSIGN(UniqueFd to_fd, duplicate(new_fd));
  LS_ASSIGN(auto from, MmapArray<Bucket>::adopt(std::move(from_fd), MapAccess::kRead));
  LS_ASSIGN(auto to, MmapArray<Bucket>::adopt(std::move(to_fd)));
  uint32_t mask = to.size() - 1;
  uint64_t carried = 0;
  for (const Bucket& bucket : from.view()) {
    for (const auto& shared : bucket.way) {
      auto entry = shared;
      if (!read_whole(shared, entry) || entry.kind == LS_FLOW_FREE) continue;
      entry.version = 0;
      auto tuple = tuple_of(entry);
      uint64_t h = ls_flow_hash(&tuple, seed.seed0, seed.seed1);
      for (uint32_t b : {ls_bucket1(h, mask), ls_bucket2(h, mask)}) {
        Bucket next = to[b];
        int way = 0;
        while (way < LS_FLOW_WAYS && next.way[way].kind != LS_FLOW_FREE) way++;
        if (way == LS_FLOW_WAYS) continue;
        next.way[way] = entry;
        to.write(b, next);
        carried++;
        break;
      }
    }
  }
  return carried;
}

}  // namespace

Result<uint64_t> migrate_flows(int old_fd, int new_fd, FlowSeed seed) {
  LS_ASSIGN(MapShape shape, map_shape(old_fd));
  if (shape.value_size == sizeof(ls_flow4_bucket)) return migrate<ls_flow4_bucket>(old_fd, new_fd, seed);
  if (shape.value_size == sizeof(ls_flow6_bucket)) return migrate<ls_flow6_bucket>(old_fd, new_fd, seed);
  return fail("carry flows over: " + shape.name + " is no flow table");
}

}  // namespace ls::datapath
