#include "datapath/map_copy.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace ls::datapath {
namespace {

constexpr uint32_t kBatch = 4096;

Result<> copy_array(int from, int to, const bpf::MapLayout& layout, uint32_t entries) {
  std::vector<uint32_t> keys(kBatch);
  std::vector<std::byte> values(size_t(kBatch) * layout.value_bytes);
  uint32_t position = 0;
  for (uint32_t done = 0; done < entries;) {
    uint32_t n = std::min(kBatch, entries - done);
    int err = bpf_map_lookup_batch(from, done ? &position : nullptr, &position, keys.data(), values.data(),
                                   &n, nullptr);
    if (err && errno != ENOENT) return fail(errno, "read " + layout.name);
    if (n == 0) break;
    if (bpf_map_update_batch(to, keys.data(), values.data(), &n, nullptr) != 0)
      return fail(errno, "copy " + layout.name);
    done += n;
  }
  return {};
}

Result<> copy_each(int from, int to, const bpf::MapLayout& layout, size_t value_bytes, uint32_t limit) {
  std::vector<std::byte> key(layout.key_bytes), next(layout.key_bytes), value(value_bytes);
  bool first = true;
  for (uint32_t n = 0; n < limit; n++) {
    if (bpf_map_get_next_key(from, first ? nullptr : key.data(), next.data()) != 0) {
      if (errno == ENOENT) return {};
      return fail(errno, "walk " + layout.name);
    }
    first = false;
    key = next;
    if (bpf_map_lookup_elem(from, key.data(), value.data()) != 0) {
      if (errno == ENOENT) continue;  // deleted since
      return fail(errno, "read " + layout.name);
    }
    if (bpf_map_update_elem(to, key.data(), value.data(), BPF_ANY) != 0)
      return fail(errno, "copy " + layout.name);
  }
  return {};
}

}  // namespace

bool can_copy(const bpf::MapLayout& layout) {
  switch (layout.type) {
    case BPF_MAP_TYPE_ARRAY:
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_LRU_HASH:
    case BPF_MAP_TYPE_PERCPU_ARRAY:
      return true;
    default:
      return false;
  }
}

Result<> copy_map(int from, int to) {
  LS_ASSIGN(auto a, bpf::map_layout(from));
  LS_ASSIGN(auto b, bpf::map_layout(to));
  if (!a.same_shape(b) || !can_copy(a)) return fail(EINVAL, "copy " + a.name);
  uint32_t common = std::min(a.max_entries, b.max_entries);
  switch (a.type) {
    case BPF_MAP_TYPE_ARRAY:
      return copy_array(from, to, a, common);
    case BPF_MAP_TYPE_PERCPU_ARRAY: {
      int cpus = libbpf_num_possible_cpus();
      if (cpus < 0) return fail(-cpus, "count the CPUs");
      return copy_each(from, to, a, size_t(cpus) * ((a.value_bytes + 7) & ~7u), common);
    }
    default:
      // A walk over a hash that others write may meet an entry twice, so the limit is generous, not exact.
      return copy_each(from, to, a, a.value_bytes, 2 * a.max_entries);
  }
}

}  // namespace ls::datapath
