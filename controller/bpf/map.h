#pragma once
/// Typed owners of BPF maps. Knows nothing of the product.
///
///   LS_ASSIGN(auto svc, (Map<ls_svc_key, ls_svc_ref>::adopt(std::move(fd))));
///   LS_TRY(svc.put(key, ref));                       // "update ls_svc: Argument list too long"
///
/// Thread: a handle belongs to one thread; several handles of one map may live on several threads.
/// Errors: the errno of the syscall; EPROTO when the map behind the descriptor has another layout.
/// Cost: put and erase one syscall (about 1 us); iteration one syscall for kBatch entries.
/// Counters: every failed update or delete is counted by (map, errno), see map_errors().
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "util/result.h"
#include "util/unique_fd.h"

namespace ls {

/// What the kernel says about a map.
struct MapShape {
  std::string name;
  uint32_t type = 0;  ///< enum bpf_map_type
  uint32_t key_size = 0, value_size = 0;
  uint32_t capacity = 0;  ///< max_entries
  uint32_t flags = 0;
};
Result<MapShape> map_shape(int fd);

/// Gives a descriptor for a map name; the caller of adopt() owns it.
using MapOpener = std::function<Result<UniqueFd>(std::string_view name)>;

struct MapErrorCount {
  std::string map;
  int error;  ///< errno value
  uint64_t count;
};
/// Failed updates and deletes since the process started. Thread: any.
std::vector<MapErrorCount> map_errors();

/// Called before every write of every map wrapper of this process, with the map's name. A non-zero result is
/// the errno that the write reports instead of being done (stores into a mapped array cannot fail and ignore
/// it). For tests only: full maps, crashes between two writes, a reader that looks after every write. Null in
/// production.
using MapWriteHook = std::function<int(const std::string& map)>;
void set_map_write_hook_for_tests(MapWriteHook hook);

namespace map_detail {

inline constexpr uint32_t kBatch = 4096;
inline constexpr uint32_t kHash = 1, kArray = 2, kPerCpuArray = 6, kLruHash = 9, kLpmTrie = 11;  // enum bpf_map_type
extern MapWriteHook* write_hook;

inline int before_write(const std::string& map) {
  return write_hook ? (*write_hook)(map) : 0;
}

/// Checks type and sizes; the error names the map and both layouts.
Result<MapShape> check_shape(int fd, uint32_t key_size, uint32_t value_size,
                             std::initializer_list<uint32_t> types);
Result<> update(int fd, const std::string& name, const void* key, const void* value, uint64_t flags);
Result<> erase(int fd, const std::string& name, const void* key);
/// False: no such key.
Result<bool> lookup(int fd, const std::string& name, const void* key, void* value);
/// Calls `each(keys, values, n)` for every entry, in batches.
Result<> walk(int fd, const MapShape& shape, size_t value_stride,
              const std::function<void(const char* keys, const char* values, uint32_t n)>& each);
unsigned possible_cpus();

}  // namespace map_detail

/// A hash map (plain or LRU), an array or a trie of prefixes, used through syscalls.
template <class K, class V>
class Map {
  static_assert(std::is_trivially_copyable_v<K> && std::has_unique_object_representations_v<K>,
                "a BPF map key may hold no padding: the kernel compares bytes");
  static_assert(std::is_trivially_copyable_v<V>);

 public:
  /// EPROTO unless the descriptor is a hash, LRU hash, array or LPM trie map with exactly these key and value sizes.
  static Result<Map> adopt(UniqueFd fd) {
    Map m;
    LS_ASSIGN(m.shape_,
              map_detail::check_shape(fd.get(), sizeof(K), sizeof(V),
                                      {map_detail::kHash, map_detail::kLruHash, map_detail::kArray, map_detail::kLpmTrie}));
    m.fd_ = std::move(fd);
    return m;
  }

  /// Makes or replaces. E2BIG: the map is full. EBUSY is tried again three times first (kernels before 6.15
  /// give it when a bucket is locked, lessons.md 16).
  Result<> put(const K& key, const V& value, uint64_t flags = 0) {
    return map_detail::update(fd_.get(), shape_.name, &key, &value, flags);
  }
  /// Absent is success: reconcilers are idempotent.
  Result<> erase(const K& key) { return map_detail::erase(fd_.get(), shape_.name, &key); }
  Result<std::optional<V>> get(const K& key) const {
    V value;
    LS_ASSIGN(bool found, map_detail::lookup(fd_.get(), shape_.name, &key, &value));
    return found ? std::optional<V>(value) : std::nullopt;
  }
  /// Every entry once; entries made or deleted meanwhile may or may not be seen.
  template <class F>
  Result<> for_each(F&& each) const {
    return map_detail::walk(
        fd_.get(), shape_, sizeof(V), [&](const char* keys, const char* values, uint32_t n) {
          for (uint32_t i = 0; i < n; i++) {
            K k;
            V v;
            __builtin_memcpy(static_cast<void*>(&k), keys + size_t(i) * sizeof(K), sizeof(K));
            __builtin_memcpy(static_cast<void*>(&v), values + size_t(i) * sizeof(V), sizeof(V));
            each(std::as_const(k), std::as_const(v));
          }
        });
  }
  /// How many entries there are now; cost: a walk.
  Result<uint32_t> entries() const {
    uint32_t total = 0;
    LS_TRY(map_detail::walk(fd_.get(), shape_, sizeof(V), [&](auto, auto, uint32_t n) { total += n; }));
    return total;
  }
  const MapShape& shape() const { return shape_; }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  MapShape shape_;
};

/// A per-CPU array whose value is a struct of 64-bit counters, read as sums over the possible CPUs.
template <class V>
class PerCpuArray {
  static_assert(std::is_trivially_copyable_v<V> && sizeof(V) % 8 == 0 && alignof(V) == 8,
                "a value of 64-bit counters only");

 public:
  static Result<PerCpuArray> adopt(UniqueFd fd) {
    PerCpuArray m;
    LS_ASSIGN(m.shape_, map_detail::check_shape(fd.get(), 4, sizeof(V), {map_detail::kPerCpuArray}));
    m.fd_ = std::move(fd);
    return m;
  }
  /// Sum of one entry; zero for an index past the end. One syscall.
  Result<V> sum(uint32_t index) const {
    std::vector<uint64_t> raw(map_detail::possible_cpus() * kWords);
    LS_TRY(map_detail::lookup(fd_.get(), shape_.name, &index, raw.data()));
    return add_up(raw.data());
  }
  /// Sums of all entries, by index.
  Result<std::vector<V>> sums() const {
    std::vector<V> all(shape_.capacity, V{});
    size_t stride = map_detail::possible_cpus() * sizeof(V);
    LS_TRY(map_detail::walk(fd_.get(), shape_, stride, [&](const char* keys, const char* values, uint32_t n) {
      std::vector<uint64_t> raw(stride / 8);
      for (uint32_t i = 0; i < n; i++) {
        uint32_t index;
        __builtin_memcpy(&index, keys + size_t(i) * 4, 4);
        __builtin_memcpy(raw.data(), values + i * stride, stride);
        if (index < all.size()) all[index] = add_up(raw.data());
      }
    }));
    return all;
  }
  /// Sets one entry to zero on every CPU. Counts that programs add at the same time may survive.
  Result<> clear(uint32_t index) {
    std::vector<uint64_t> zero(map_detail::possible_cpus() * kWords);
    return map_detail::update(fd_.get(), shape_.name, &index, zero.data(), 0);
  }
  const MapShape& shape() const { return shape_; }

 private:
  static constexpr size_t kWords = sizeof(V) / 8;
  static V add_up(const uint64_t* raw) {
    uint64_t total[kWords] = {};
    for (unsigned cpu = 0; cpu < map_detail::possible_cpus(); cpu++) {
      for (size_t w = 0; w < kWords; w++) total[w] += raw[cpu * kWords + w];
    }
    V out;
    __builtin_memcpy(static_cast<void*>(&out), total, sizeof(V));
    return out;
  }
  UniqueFd fd_;
  MapShape shape_;
};

}  // namespace ls
