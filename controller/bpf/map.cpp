#include "bpf/map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bpf/mmap_array.h"

namespace ls {
namespace {

constexpr int kMaxErrno = 160;  // above EHWPOISON (133), the last errno of Linux

/// Error counts of one map name. Slots are only ever added, so readers need no lock.
struct ErrorSlot {
  std::atomic<bool> ready{false};
  char name[BPF_OBJ_NAME_LEN + 1] = {};
  std::array<std::atomic<uint64_t>, kMaxErrno> by_errno{};
};
std::array<ErrorSlot, 64> g_errors;  // more maps than any program of ours has
std::atomic<size_t> g_error_slots{0};

void count_error(const std::string& map, int error) {
  if (error < 0 || error >= kMaxErrno) error = 0;
  size_t used = std::min(g_error_slots.load(std::memory_order_acquire), g_errors.size());
  for (size_t i = 0; i < used; i++) {
    auto& s = g_errors[i];
    if (s.ready.load(std::memory_order_acquire) && map == s.name) {
      s.by_errno[size_t(error)].fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  // Two threads may add the same name at once; map_errors() adds both slots up.
  size_t mine = g_error_slots.fetch_add(1, std::memory_order_acq_rel);
  if (mine >= g_errors.size()) return;
  auto& s = g_errors[mine];
  map.copy(s.name, sizeof s.name - 1);
  s.by_errno[size_t(error)].fetch_add(1, std::memory_order_relaxed);
  s.ready.store(true, std::memory_order_release);
}

tl::unexpected<Error> counted(int error, const char* what, const std::string& map) {
  count_error(map, error);
  return fail(error, fmt::format("{} {}", what, map));
}

std::string type_text(uint32_t type) {
  const char* text = libbpf_bpf_map_type_str(bpf_map_type(type));
  return text ? text : fmt::format("type {}", type);
}

}  // namespace

Result<MapShape> map_shape(int fd) {
  bpf_map_info info{};
  uint32_t len = sizeof info;
  if (bpf_obj_get_info_by_fd(fd, &info, &len)) return fail(errno, "read what kind of map a descriptor is");
  return MapShape{info.name, info.type, info.key_size, info.value_size, info.max_entries, info.map_flags};
}

std::vector<MapErrorCount> map_errors() {
  std::vector<MapErrorCount> out;
  size_t used = std::min(g_error_slots.load(std::memory_order_acquire), g_errors.size());
  for (size_t i = 0; i < used; i++) {
    auto& s = g_errors[i];
    if (!s.ready.load(std::memory_order_acquire)) continue;
    for (int e = 0; e < kMaxErrno; e++) {
      uint64_t n = s.by_errno[size_t(e)].load(std::memory_order_relaxed);
      if (!n) continue;
      auto same =
          std::find_if(out.begin(), out.end(), [&](auto& o) { return o.map == s.name && o.error == e; });
      if (same != out.end()) {
        same->count += n;
      } else {
        out.push_back({s.name, e, n});
      }
    }
  }
  return out;
}

void set_map_write_hook_for_tests(MapWriteHook hook) {
  static MapWriteHook held;
  held = std::move(hook);
  map_detail::write_hook = held ? &held : nullptr;
}

namespace map_detail {

MapWriteHook* write_hook = nullptr;

Result<MapShape> check_shape(int fd, uint32_t key_size, uint32_t value_size,
                             std::initializer_list<uint32_t> types) {
  LS_ASSIGN(auto shape, map_shape(fd));
  bool type_ok = std::find(types.begin(), types.end(), shape.type) != types.end();
  if (type_ok && shape.key_size == key_size && shape.value_size == value_size) return shape;
  std::string wanted;
  for (auto t : types) wanted += (wanted.empty() ? "" : " or ") + type_text(t);
  return fail(
      EPROTO,
      fmt::format(
          "adopt map {}: it is {} with key {} and value {} bytes, wanted {} with key {} and value {} bytes",
          shape.name, type_text(shape.type), shape.key_size, shape.value_size, wanted, key_size, value_size));
}

Result<> update(int fd, const std::string& name, const void* key, const void* value, uint64_t flags) {
  for (int left = 3;; left--) {
    int error = before_write(name);
    if (!error && bpf_map_update_elem(fd, key, value, flags)) error = errno;
    if (!error) return {};
    if (error != EBUSY || !left) return counted(error, "update", name);
    count_error(name, error);
  }
}

Result<> erase(int fd, const std::string& name, const void* key) {
  for (int left = 3;; left--) {
    int error = before_write(name);
    if (!error && bpf_map_delete_elem(fd, key)) error = errno;
    if (!error || error == ENOENT) return {};
    if (error != EBUSY || !left) return counted(error, "delete from", name);
    count_error(name, error);
  }
}

Result<bool> lookup(int fd, const std::string& name, const void* key, void* value) {
  if (!bpf_map_lookup_elem(fd, key, value)) return true;
  if (errno == ENOENT) return false;
  return fail(errno, "look up in " + name);
}

Result<> walk(int fd, const MapShape& shape, size_t value_stride,
              const std::function<void(const char*, const char*, uint32_t)>& each) {
  // The kernel returns whole buckets of a hash; ENOSPC says one did not fit, then a larger batch is tried.
  uint32_t batch = std::min(kBatch, std::max(shape.capacity, 16u));
  std::vector<char> keys, values;
  // A cursor of the kernel: an index, or for a hash a bucket number; never longer than a key or 8 bytes.
  std::vector<char> from(std::max<size_t>(shape.key_size, 8)), next(from.size());
  bool first = true;
  for (;;) {
    keys.resize(size_t(batch) * shape.key_size);
    values.resize(size_t(batch) * value_stride);
    uint32_t n = batch;
    int rc = bpf_map_lookup_batch(fd, first ? nullptr : from.data(), next.data(), keys.data(), values.data(),
                                  &n, nullptr);
    int error = rc ? errno : 0;
    if (error == ENOSPC && batch < (1u << 22)) {
      batch *= 2;
      continue;
    }
    if (error && error != ENOENT) return fail(error, "walk through " + shape.name);
    if (n) each(keys.data(), values.data(), n);
    if (error == ENOENT) return {};
    from.swap(next);
    first = false;
  }
}

unsigned possible_cpus() {
  static const unsigned n = unsigned(std::max(1, libbpf_num_possible_cpus()));
  return n;
}

Mapping::~Mapping() {
  if (at_) munmap(at_, bytes_);
}

Result<Mapping> Mapping::of(int fd, const MapShape& shape, MapAccess access) {
  if (!(shape.flags & BPF_F_MMAPABLE))
    return fail(EPROTO, fmt::format("adopt map {}: it was made without BPF_F_MMAPABLE", shape.name));
  size_t page = size_t(sysconf(_SC_PAGESIZE));
  Mapping m;
  m.bytes_ = (size_t(shape.value_size) * shape.capacity + page - 1) / page * page;
  void* at = mmap(nullptr, m.bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return fail(errno, fmt::format("find {} octets of addresses for {}", m.bytes_, shape.name));
  m.at_ = at;
  m.fd_ = fd;
  m.prot_ = access == MapAccess::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  m.there_ = std::make_unique<There>();
  m.there_->pieces.reset(new std::atomic<bool>[(m.bytes_ + kPiece - 1) / kPiece] {});
  if (auto first = m.try_map(0, 1); !first) return pass(std::move(first.error()), fmt::format("map {}", shape.name));
  return m;
}

// Two threads may map a piece at the same time: the second puts the same pages in the place of the first's, and whoever reads meanwhile
// waits in the page fault until they are there.
Result<> Mapping::try_map(size_t first, size_t end) const {
  const size_t from = first * kPiece, bytes = std::min(end * kPiece, bytes_) - from;
  void* at = mmap(static_cast<char*>(at_) + from, bytes, prot_, MAP_SHARED | MAP_FIXED, fd_, off_t(from));
  if (at == MAP_FAILED) return fail(errno, fmt::format("map {} octets at {} into memory", bytes, from));
  for (size_t i = first; i < end; i++)
    if (!there_->pieces[i].exchange(true, std::memory_order_acq_rel)) there_->count.fetch_add(1, std::memory_order_relaxed);
  return {};
}

void Mapping::map(size_t first, size_t end) const {
  size_t until = first + 1;
  while (until < end && !there_->pieces[until].load(std::memory_order_acquire)) until++;
  if (auto mapped = try_map(first, until); !mapped) {
    fmt::print(stderr, "loadstar: {}\n", mapped.error().text());
    std::abort();
  }
}

void Mapping::let_go() {
  if (mmap(at_, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) return;  // it stays mapped
  for (size_t i = 0, n = (bytes_ + kPiece - 1) / kPiece; i < n; i++) there_->pieces[i].store(false, std::memory_order_release);
  there_->count.store(0, std::memory_order_relaxed);
}

void index_past_end(const std::string& map, uint64_t index, uint64_t count, uint64_t capacity) {
  fmt::print(stderr, "loadstar: access to entries {}..{} of {} which has {}\n", index, index + count - 1, map,
             capacity);
  std::abort();
}

}  // namespace map_detail
}  // namespace ls
