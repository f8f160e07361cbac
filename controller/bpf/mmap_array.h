#pragma once
/// MmapArray<T>: a BPF_F_MMAPABLE array mapped into this process; a read or a store costs what memory costs
/// (performance.md section 6: 100,000 entries in 1.5 ms against 15-50 ms by syscalls).
///
/// Programs read while we write. So: a word that says whether the rest is valid is written with publish()
/// (release, one store, never torn), everything else with write() while no program can reach it. An index
/// past the end is a programming error and ends the process: a stray store would hit another table. Thread:
/// as Map. The mapping lives as long as the object, also when the descriptor or the pin goes away.
#include <atomic>
#include <cstring>
#include <span>

#include "bpf/map.h"

namespace ls {

enum class MapAccess { kRead, kReadWrite };

namespace map_detail {

/// Owner of one mapping.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : at_(std::exchange(other.at_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();
  static Result<Mapping> of(int fd, const MapShape& shape, MapAccess access);
  void* at() const { return at_; }

 private:
  void* at_ = nullptr;
  size_t bytes_ = 0;
};

[[noreturn]] void index_past_end(const std::string& map, uint64_t index, uint64_t count, uint64_t capacity);

}  // namespace map_detail

template <class T>
class MmapArray {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0,
                "the kernel rounds array values up to 8 bytes");

 public:
  /// EPROTO unless it is an array with 4-byte keys, values of sizeof(T) and BPF_F_MMAPABLE.
  static Result<MmapArray> adopt(UniqueFd fd, MapAccess access = MapAccess::kReadWrite) {
    MmapArray m;
    LS_ASSIGN(m.shape_, map_detail::check_shape(fd.get(), 4, sizeof(T), {map_detail::kArray}));
    LS_ASSIGN(m.mapping_, map_detail::Mapping::of(fd.get(), m.shape_, access));
    m.fd_ = std::move(fd);
    return m;
  }

  uint32_t size() const { return shape_.capacity; }
  const MapShape& shape() const { return shape_; }
  std::span<const T> view() const { return {base(), size()}; }
  const T& operator[](uint32_t i) const {
    check(i, 1);
    return base()[i];
  }

  /// Acquire load of a 4- or 8-byte field.
  template <class W>
  W load(uint32_t i, W T::*field) const {
    check(i, 1);
    return std::atomic_ref<W>(base()[i].*field).load(std::memory_order_acquire);
  }
  /// Release store of a 4- or 8-byte field: what was written before is seen by whoever sees this value.
  template <class W>
  void publish(uint32_t i, W T::*field, std::type_identity_t<W> value) {
    static_assert(sizeof(W) == 4 || sizeof(W) == 8);
    check(i, 1);
    map_detail::before_write(shape_.name);
    std::atomic_ref<W>(base()[i].*field).store(value, std::memory_order_release);
  }
  /// Plain copy, only for entries that no program can reach or whose every mix of old and new is harmless.
  void write(uint32_t i, const T& value) { write_run(i, {&value, 1}); }
  void write_run(uint32_t first, std::span<const T> values) {
    check(first, values.size());
    map_detail::before_write(shape_.name);
    std::memcpy(static_cast<void*>(base() + first), values.data(), values.size_bytes());
  }
  /// Entries to be edited in place by the caller with stores of its own.
  std::span<T> edit(uint32_t first, uint32_t count) {
    check(first, count);
    map_detail::before_write(shape_.name);
    return {base() + first, count};
  }

 private:
  T* base() const { return static_cast<T*>(mapping_.at()); }
  void check(uint64_t first, uint64_t count) const {
    if (first + count > shape_.capacity)
      map_detail::index_past_end(shape_.name, first, count, shape_.capacity);
  }
  UniqueFd fd_;
  map_detail::Mapping mapping_;
  MapShape shape_;
};

}  // namespace ls
