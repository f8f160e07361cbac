#include "bpf/object.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>

#include "util/unique_fd.h"

namespace ls::bpf {
namespace {

/// The most that kernels before 6.4 take (kernel/bpf/verifier.c: UINT_MAX >> 8). Never touched pages cost
/// nothing.
constexpr size_t kVerifierLogBytes = 0xffffffffu >> 8;
constexpr size_t kShownLines = 50;

thread_local std::string last_warning;

int keep_warning(libbpf_print_level level, const char* format, va_list args) {
  if (level != LIBBPF_WARN) return 0;
  char line[512];
  std::vsnprintf(line, sizeof line, format, args);
  std::string_view text(line);
  // The verifier's log is taken from its buffer, and these two say nothing that the error does not say.
  if (text.find("-- BEGIN PROG LOAD LOG --") != text.npos || text.find("failed to load object") != text.npos)
    return 0;
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  if (text.starts_with("libbpf: ")) text.remove_prefix(8);
  last_warning = text;
  return 0;
}

}  // namespace

void quiet_libbpf() {
  static std::once_flag once;
  std::call_once(once, [] { libbpf_set_print(keep_warning); });
}

std::string log_tail(std::string_view log, size_t lines) {
  while (!log.empty() && (log.back() == '\n' || log.back() == '\0')) log.remove_suffix(1);
  size_t at = log.size();
  for (size_t i = 0; i < lines && at != log.npos && at != 0; i++) at = log.rfind('\n', at - 1);
  if (at == log.npos || at == 0) return std::string(log);
  return std::string(log.substr(at + 1));
}

Result<MapLayout> map_layout(int fd) {
  bpf_map_info raw;
  std::memset(&raw, 0, sizeof raw);
  uint32_t len = sizeof raw;
  if (bpf_obj_get_info_by_fd(fd, &raw, &len) != 0) return fail(errno, "read a map");
  return MapLayout{std::string(raw.name, strnlen(raw.name, sizeof raw.name)),
                   raw.type,
                   raw.key_size,
                   raw.value_size,
                   raw.max_entries,
                   raw.map_flags,
                   raw.id};
}

uint64_t map_memory_bytes(int fd) {
  std::ifstream in(fmt::format("/proc/self/fdinfo/{}", fd));
  for (std::string key; in >> key;) {
    uint64_t bytes = 0;
    if (key == "memlock:" && in >> bytes) return bytes;
  }
  return 0;
}

Result<ProgramInfo> program_info(int fd) {
  bpf_prog_info raw;
  std::memset(&raw, 0, sizeof raw);
  uint32_t len = sizeof raw;
  if (bpf_obj_get_info_by_fd(fd, &raw, &len) != 0) return fail(errno, "read a program");
  ProgramInfo out;
  out.name.assign(raw.name, strnlen(raw.name, sizeof raw.name));
  out.id = raw.id;
  for (auto byte : raw.tag) out.tag += fmt::format("{:02x}", byte);
  out.instructions = raw.xlated_prog_len / 8;
  out.verified = raw.verified_insns;
  out.loaded_ns = raw.load_time;
  return out;
}

Result<ProgramInfo> program_info_by_id(uint32_t id) {
  int fd = bpf_prog_get_fd_by_id(id);
  if (fd < 0) return fail(errno, fmt::format("open program {}", id));
  return program_info(UniqueFd(fd).get());
}

void Object::Close::operator()(bpf_object* o) const {
  bpf_object__close(o);
}
Object::Object(Object&&) noexcept = default;
Object& Object::operator=(Object&&) noexcept = default;
Object::~Object() = default;

Result<Object> Object::open(std::string name, std::span<const std::byte> elf) {
  quiet_libbpf();
  LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name.c_str());
  bpf_object* o = bpf_object__open_mem(elf.data(), elf.size(), &opts);
  if (!o) return fail(errno, "open BPF object " + name);
  return Object(std::move(name), o);
}

std::vector<MapLayout> Object::maps() const {
  std::vector<MapLayout> out;
  bpf_map* m;
  bpf_object__for_each_map(m, object_.get()) {
    if (bpf_map__is_internal(m)) continue;
    out.push_back({bpf_map__name(m), uint32_t(bpf_map__type(m)), bpf_map__key_size(m), bpf_map__value_size(m),
                   bpf_map__max_entries(m), bpf_map__map_flags(m), 0});
  }
  return out;
}

std::vector<std::string> Object::program_names() const {
  std::vector<std::string> out;
  bpf_program* p;
  bpf_object__for_each_program(p, object_.get()) out.emplace_back(bpf_program__name(p));
  return out;
}

Result<> Object::resize(const std::string& map, uint32_t max_entries) {
  bpf_map* m = bpf_object__find_map_by_name(object_.get(), map.c_str());
  if (!m) return fail(ENOENT, fmt::format("size of {} in {}", map, name_));
  if (int err = bpf_map__set_max_entries(m, max_entries)) return fail(-err, "size of " + map);
  return {};
}

Result<> Object::share(const std::string& map, int fd) {
  bpf_map* m = bpf_object__find_map_by_name(object_.get(), map.c_str());
  if (!m) return fail(ENOENT, fmt::format("share {} with {}", map, name_));
  if (int err = bpf_map__reuse_fd(m, fd)) return fail(-err, fmt::format("share {} with {}", map, name_));
  return {};
}

/// Found by the type data and not by a struct of the skeleton, so that every object may have the globals it needs.
Result<bool> Object::set_bytes(const std::string& name, const void* value, size_t bytes) {
  auto* btf = bpf_object__btf(object_.get());
  int id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -ENOENT;
  if (id < 0) return false;
  auto* section = btf__type_by_id(btf, uint32_t(id));
  auto* var = btf_var_secinfos(section);
  for (int i = 0; i < btf_vlen(section); i++, var++) {
    auto* type = btf__type_by_id(btf, var->type);
    if (!type || name != btf__name_by_offset(btf, type->name_off)) continue;
    bpf_map* map;
    bpf_object__for_each_map(map, object_.get()) {
      std::string_view map_name = bpf_map__name(map);
      size_t room = 0;
      auto* at = map_name.ends_with(".rodata") ? const_cast<void*>(bpf_map__initial_value(map, &room)) : nullptr;
      if (!at) continue;
      if (var->size != bytes || size_t(var->offset) + bytes > room) break;
      std::memcpy(static_cast<char*>(at) + var->offset, value, bytes);
      return true;
    }
    return fail(EPROTO, fmt::format("set constant {} of {} in {} bytes", name, name_, bytes));
  }
  return false;
}

void Object::skip_programs() {
  bpf_program* p;
  bpf_object__for_each_program(p, object_.get()) bpf_program__set_autoload(p, false);
}

Result<> Object::load(const std::string& verifier_log) {
  struct Unmap {
    void operator()(char* p) const { munmap(p, kVerifierLogBytes); }
  };
  struct Log {
    bpf_program* program;
    std::unique_ptr<char, Unmap> text;
  };
  std::vector<Log> logs;
  bpf_program* p;
  bpf_object__for_each_program(p, object_.get()) {
    // Mappings of their own: only what the verifier writes becomes memory. calloc would hand out former ones again, zeroed page by
    // page, and malloc would from then on take blocks of this size from its heap.
    void* fresh = mmap(nullptr, kVerifierLogBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fresh == MAP_FAILED) continue;
    Log log{p, std::unique_ptr<char, Unmap>(static_cast<char*>(fresh))};
    if (bpf_program__set_log_buf(p, log.text.get(), kVerifierLogBytes) == 0) logs.push_back(std::move(log));
  }
  last_warning.clear();
  int err = bpf_object__load(object_.get());
  for (auto& log : logs) bpf_program__set_log_buf(log.program, nullptr, 0);
  if (!err) return {};

  std::string doing = "load " + name_;
  bool verifier = false;
  for (auto& log : logs) {
    if (!*log.text) continue;
    verifier = true;
    std::string_view text(log.text.get());
    if (!verifier_log.empty()) {
      std::ofstream out(verifier_log, std::ios::trunc);
      out << "program " << bpf_program__name(log.program) << "\n" << text;
      doing += out.flush() ? fmt::format(" (whole log in {})", verifier_log)
                           : fmt::format(" (log could not be written to {})", verifier_log);
    }
    doing += fmt::format(": the verifier refuses {}, its last lines:\n{}\n", bpf_program__name(log.program),
                         log_tail(text, kShownLines));
  }
  if (!verifier && !last_warning.empty()) doing += ": " + last_warning;
  return fail(-err, std::move(doing));
}

int Object::map_fd(const std::string& name) const {
  return bpf_object__find_map_fd_by_name(object_.get(), name.c_str());
}

int Object::program_fd(const std::string& name) const {
  bpf_program* p = bpf_object__find_program_by_name(object_.get(), name.c_str());
  return p ? bpf_program__fd(p) : -1;
}

}  // namespace ls::bpf
