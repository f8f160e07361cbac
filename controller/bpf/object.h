#pragma once
/// Object: one compiled BPF file on its way into the kernel: open, change map sizes, share maps, load.
/// Thread: one at a time; libbpf's message hook is per process and set by quiet_libbpf(). Cost: load runs the
/// verifier. Errors: a refused program is reported by name with the last 50 lines of the verifier's log, the
/// whole log goes to a file on request (lessons.md 24: a log that did not fit hid the cause).
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "util/result.h"

struct bpf_object;

namespace ls::bpf {

struct ProgramInfo {
  std::string name;
  uint32_t id = 0;
  std::string tag;            ///< 16 hex digits, the kernel's hash of the instructions
  uint32_t instructions = 0;  ///< after the verifier, 8 bytes each
  uint32_t verified = 0;      ///< instructions the verifier walked, of 1,000,000; 0 on kernels before 5.16
  uint64_t loaded_ns = 0;     ///< CLOCK_BOOTTIME
};
/// What decides whether two maps can stand for each other.
struct MapLayout {
  std::string name;
  uint32_t type = 0;  ///< enum bpf_map_type
  uint32_t key_bytes = 0;
  uint32_t value_bytes = 0;
  uint32_t max_entries = 0;
  uint32_t flags = 0;
  uint32_t id = 0;  ///< the kernel's number of the map; 0 for one that is not made yet
  /// Equal in everything but name, id and size.
  bool same_shape(const MapLayout& o) const {
    return type == o.type && key_bytes == o.key_bytes && value_bytes == o.value_bytes && flags == o.flags;
  }
};
/// Of a map in the kernel.
Result<MapLayout> map_layout(int map_fd);
/// Bytes the kernel charged for it (fdinfo), 0 when it does not say.
uint64_t map_memory_bytes(int map_fd);

/// What the kernel knows of a loaded program.
Result<ProgramInfo> program_info(int program_fd);
/// By number, for programs of others; EPERM without CAP_SYS_ADMIN.
Result<ProgramInfo> program_info_by_id(uint32_t id);

/// Sends libbpf's messages to nobody; the last warning becomes part of the error that is returned. Called by
/// everything here.
void quiet_libbpf();

class Object {
 public:
  static Result<Object> open(std::string name, std::span<const std::byte> elf);
  Object(Object&&) noexcept;
  Object& operator=(Object&&) noexcept;
  ~Object();

  std::vector<MapLayout> maps() const;  ///< without libbpf's own (.rodata and so on)
  std::vector<std::string> program_names() const;
  /// ENOENT when the file has no such map.
  Result<> resize(const std::string& map, uint32_t max_entries);
  /// Uses an existing map of the same layout instead of making one. `fd` stays the caller's.
  Result<> share(const std::string& map, int fd);
  /// Sets a read-only global of the programs, before load. False when the file has none of that name, EPROTO when it has
  /// another size.
  template <class T>
  Result<bool> set_constant(const std::string& name, const T& value) {
    return set_bytes(name, &value, sizeof value);
  }
  /// Load makes the maps only.
  void skip_programs();
  /// `verifier_log`: path for the whole log of a refused program, empty for none.
  Result<> load(const std::string& verifier_log);

  int map_fd(const std::string& name) const;      ///< -1: none; valid while the Object lives
  int program_fd(const std::string& name) const;  ///< the same

 private:
  struct Close {
    void operator()(bpf_object* o) const;
  };
  Object(std::string name, bpf_object* o) : name_(std::move(name)), object_(o) {}
  Result<bool> set_bytes(const std::string& name, const void* value, size_t bytes);
  std::string name_;
  std::unique_ptr<bpf_object, Close> object_;
};

/// The last `lines` lines of a log.
std::string log_tail(std::string_view log, size_t lines);

}  // namespace ls::bpf
