#include "bpf/pin.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace ls::bpf {
namespace {

std::string parent_of(const std::string& path) {
  auto slash = path.find_last_of('/');
  if (slash == path.npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// What /proc calls the file behind a descriptor of each kind ("bpf-link" on some kernels, "bpf_link" on
/// others).
bool is_kind(std::string_view anon_name, PinKind kind) {
  switch (kind) {
    case PinKind::kMap:
      return anon_name == "anon_inode:bpf-map";
    case PinKind::kProgram:
      return anon_name == "anon_inode:bpf-prog";
    case PinKind::kLink:
      break;
  }
  return anon_name == "anon_inode:bpf-link" || anon_name == "anon_inode:bpf_link";
}

}  // namespace

Result<> require_bpffs(const std::string& dir) {
  std::string at = dir;
  struct statfs fs {};
  while (statfs(at.c_str(), &fs) != 0) {
    if (errno != ENOENT || at == "/" || at == ".") return fail(errno, "look at " + at);
    at = parent_of(at);
  }
  if (fs.f_type != BPF_FS_MAGIC) {
    return fail(ENODEV, fmt::format("no bpffs at {}; mount one with: mount -t bpf bpf /sys/fs/bpf", dir));
  }
  return {};
}

Result<> make_pin_dir(const std::string& dir, mode_t mode) {
  if (!exists(dir)) {
    auto parent = parent_of(dir);
    if (!exists(parent)) LS_TRY(make_pin_dir(parent, mode));
    if (mkdir(dir.c_str(), mode) != 0 && errno != EEXIST) return fail(errno, "make folder " + dir);
  }
  struct stat st {};
  if (stat(dir.c_str(), &st) != 0) return fail(errno, "look at " + dir);
  if (!S_ISDIR(st.st_mode)) return fail(ENOTDIR, "use " + dir);
  if ((st.st_mode & 07777) != mode && st.st_uid == geteuid() && chmod(dir.c_str(), mode) != 0) {
    return fail(errno, "set the mode of " + dir);
  }
  return {};
}

Result<> pin(int fd, const std::string& path, mode_t mode) {
  if (bpf_obj_pin(fd, path.c_str()) != 0) return fail(errno, "pin " + path);
  if (chmod(path.c_str(), mode) != 0) return fail(errno, "set the mode of " + path);
  return {};
}

Result<UniqueFd> open_pinned(const std::string& path, PinKind kind) {
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) {
    return fail(EMEDIUMTYPE, fmt::format("open {}: it is no pin but {}", path, S_ISDIR(st.st_mode) ? "a folder" : "a link"));
  }
  int raw = bpf_obj_get(path.c_str());
  if (raw < 0) return fail(errno, "open " + path);
  UniqueFd fd(raw);
  char name[64];
  ssize_t n = readlink(fmt::format("/proc/self/fd/{}", raw).c_str(), name, sizeof name);
  if (n < 0) return fail(errno, "look what is behind " + path);
  if (!is_kind(std::string_view(name, size_t(n)), kind)) {
    return fail(EMEDIUMTYPE, fmt::format("open {}: it is {}", path, std::string_view(name, size_t(n))));
  }
  return fd;
}

Result<> unpin(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail(errno, "remove " + path);
  return {};
}

bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

Result<> move_pin(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return fail(errno, "rename " + from + " to " + to);
  return {};
}

Result<std::vector<std::string>> list_pins(const std::string& dir) {
  std::vector<std::string> out;
  std::unique_ptr<DIR, int (*)(DIR*)> d(opendir(dir.c_str()), closedir);
  if (!d) {
    if (errno == ENOENT) return out;
    return fail(errno, "list " + dir);
  }
  while (dirent* e = readdir(d.get())) {
    std::string name = e->d_name;
    if (name != "." && name != "..") out.push_back(std::move(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<> remove_pin_dir(const std::string& dir) {
  if (!exists(dir)) return {};
  LS_TRY(require_bpffs(dir));  // a wrong path in the configuration must not cost anybody's files
  LS_ASSIGN(auto names, list_pins(dir));
  for (auto& name : names) {
    auto path = dir + "/" + name;
    struct stat st {};
    if (lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) {
      LS_TRY(remove_pin_dir(path));
    } else {
      LS_TRY(unpin(path));
    }
  }
  if (rmdir(dir.c_str()) != 0 && errno != ENOENT) return fail(errno, "remove folder " + dir);
  return {};
}

Result<UniqueFd> lock_pin_dir(const std::string& dir) {
  LS_TRY(require_bpffs(dir));
  if (!exists(dir)) LS_TRY(make_pin_dir(dir, 0750));
  UniqueFd fd(open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, "open " + dir);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(errno, "lock " + dir);
    return fail(EBUSY, "another loadstard works with " + dir + "; stop it first");
  }
  return fd;
}

std::string pin_name(std::string_view text) {
  std::string out;
  for (char c : text) {
    auto u = static_cast<unsigned char>(c);
    if (c == '%' || c == '.' || c == '/' || u <= 0x20 || u >= 0x7f) {
      out += fmt::format("%{:02x}", u);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace ls::bpf
