#pragma once
/// MmapArray<T>: a BPF_F_MMAPABLE array mapped into this process; a read or a store costs what memory costs
/// (performance.md section 6: 100,000 entries in 1.5 ms against 15-50 ms by syscalls).
///
/// Programs read while we write. So: a word that says whether the rest is valid is written with publish()
/// (release, one store, never torn), everything else with write() while no program can reach it. An index
/// past the end is a programming error and ends the process: a stray store would hit another table. Thread:
/// as Map; reads may be on several threads. The mapping lives as long as the object, also when the pin goes away.
///
/// The kernel enters every page of a mapped table at once and counts it as this process's, however little of it is used. So a table is
/// mapped in pieces of kPiece, each when something in it is first asked for (some microseconds), and let_go() gives them back.
#include <atomic>
#include <cstring>
#include <memory>
#include <span>

#include "bpf/map.h"

namespace ls {

enum class MapAccess { kRead, kReadWrite };

namespace map_detail {

inline constexpr size_t kPiece = 256 << 10;

/// Owner of the addresses of one table, and of those pieces of it that are mapped.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept { *this = std::move(other); }
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(bytes_, other.bytes_);
    std::swap(fd_, other.fd_);
    std::swap(prot_, other.prot_);
    std::swap(there_, other.there_);
    return *this;
  }
  ~Mapping();
  /// `fd` is the caller's and stays open. The first piece is mapped, so what cannot be mapped fails here.
  static Result<Mapping> of(int fd, const MapShape& shape, MapAccess access);
  void* at() const { return at_; }
  /// Maps what is not yet. Ends the process when the kernel has no memory for it, as operator new does.
  void need(size_t from, size_t bytes) const {
    for (size_t piece = from / kPiece, end = (from + bytes + kPiece - 1) / kPiece; bytes && piece < end; piece++)
      if (!there_->pieces[piece].load(std::memory_order_acquire)) [[unlikely]]
        map(piece, end);
  }
  size_t mapped() const { return there_ ? there_->count.load(std::memory_order_relaxed) * kPiece : 0; }
  void let_go();

 private:
  struct There {
    std::unique_ptr<std::atomic<bool>[]> pieces;
    std::atomic<size_t> count{0};
  };
  void map(size_t first, size_t end) const;
  Result<> try_map(size_t first, size_t end) const;

  void* at_ = nullptr;
  size_t bytes_ = 0;
  int fd_ = -1, prot_ = 0;
  std::unique_ptr<There> there_;
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
  /// All of it, which maps all of it.
  std::span<const T> view() const { return view(0, size()); }
  std::span<const T> view(uint32_t first, uint32_t count) const {
    check(first, count);
    return {base() + first, count};
  }
  /// Gives back what is mapped, if that is more than `kept` octets. No reference into the table may be held, on any thread.
  void let_go(size_t kept = 0) {
    if (mapping_.mapped() > kept) mapping_.let_go();
  }
  size_t mapped_bytes() const { return mapping_.mapped(); }
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
    mapping_.need(size_t(first) * sizeof(T), size_t(count) * sizeof(T));
  }
  UniqueFd fd_;
  map_detail::Mapping mapping_;
  MapShape shape_;
};

}  // namespace ls
