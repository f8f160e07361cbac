#include "app/watchdog_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <set>

#include "util/unique_fd.h"

namespace ls::watchdog {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMark = "# Written by loadstar-watchdog(8)";
// Far above anything a C library reads; what is larger is no resolver file.
constexpr size_t kMaxFile = 1 << 20;

struct Current {
  bool exists = false;
  std::string text;
  mode_t mode = 0644;
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Where a chain of links ends, whether or not something is there.
Result<fs::path> follow(fs::path path) {
  for (int i = 0; i < 40; i++) {  // MAXSYMLINKS of Linux
    char buf[PATH_MAX];
    auto n = ::readlink(path.c_str(), buf, sizeof buf);
    if (n < 0) return path;
    fs::path next(std::string(buf, size_t(n)));
    path = next.is_absolute() ? next : path.parent_path() / next;
  }
  return fail(ELOOP, path.native());
}

Result<Current> read_current(const fs::path& path) {
  Current out;
  // O_NONBLOCK: somebody may have put a pipe there.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd && errno == ENOENT) return out;
  if (!fd) return fail(errno, path.native());
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return fail(errno, path.native());
  if (S_ISDIR(st.st_mode)) return fail(EISDIR, path.native());
  if (!S_ISREG(st.st_mode)) return fail(path.native() + ": is no plain file");
  out.exists = true;
  out.mode = st.st_mode & 0777;
  out.uid = st.st_uid;
  out.gid = st.st_gid;
  char buf[16384];
  while (out.text.size() <= kMaxFile) {
    auto n = ::read(fd.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, path.native());
    if (n == 0) return out;
    out.text.append(buf, size_t(n));
  }
  return fail(EFBIG, path.native());
}

Result<> write_all(int fd, std::string_view text) {
  size_t done = 0;
  while (done < text.size()) {
    auto n = ::pwrite(fd, text.data() + done, text.size() - done, off_t(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, "write");
    done += size_t(n);
  }
  return {};
}

/// A file beside `path` with the text, on the disk, renamed over it.
Result<> replace(const fs::path& path, const std::string& text, const Current& like) {
  auto folder = path.parent_path();
  std::string beside = (folder / fmt::format(".{}.loadstar-XXXXXX", path.filename().native())).native();
  UniqueFd fd(::mkostemp(beside.data(), O_CLOEXEC));
  if (!fd) return fail(errno, "make a file in " + folder.native());
  auto step = [&]() -> Result<> {
    LS_TRY(write_all(fd.get(), text));
    if (::fchmod(fd.get(), like.mode) != 0) return fail(errno, "set the mode");
    // Without the right to give files away the new one is ours; who may read it is in the mode.
    if (like.exists && (like.uid != ::geteuid() || like.gid != ::getegid())) {
      [[maybe_unused]] int ignored = ::fchown(fd.get(), like.uid, like.gid);
    }
    if (::fsync(fd.get()) != 0) return fail(errno, "force to disk");
    if (::rename(beside.c_str(), path.c_str()) != 0) return fail(errno, "rename");
    return {};
  }();
  if (!step) {
    auto error = std::move(step.error());
    ::unlink(beside.c_str());
    return pass(std::move(error), beside);
  }
  UniqueFd dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir) ::fsync(dir.get());
  return {};
}

/// For a file that cannot be renamed over. The new text is complete before anything is cut off; on failure the old one is written
/// back into the room it had.
Result<> overwrite(const fs::path& path, const std::string& text, const Current& old) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail(errno, path.native());
  auto done = write_all(fd.get(), text);
  if (!done || ::ftruncate(fd.get(), off_t(text.size())) != 0 || ::fsync(fd.get()) != 0) {
    int error = done ? errno : done.error().code.value();
    if (write_all(fd.get(), old.text)) {
      [[maybe_unused]] int ignored = ::ftruncate(fd.get(), off_t(old.text.size()));
    }
    return fail(error, path.native() + ": write in place");
  }
  return {};
}

/// What rename(2) and mkstemp(3) say where only the file itself can be written.
bool only_in_place(const Error& e) {
  auto code = e.code.value();
  return code == EBUSY || code == EXDEV || code == EROFS || code == EACCES;
}

Result<bool> put(const fs::path& path, const std::string& text, const Current& old) {
  auto done = replace(path, text, old);
  if (done) return false;
  if (!old.exists || !only_in_place(done.error())) return tl::make_unexpected(std::move(done.error()));
  LS_TRY(overwrite(path, text, old));
  return true;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    auto end = std::min(text.find('\n'), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

/// Lines of `a` that `b` does not have.
std::string only_in(std::string_view a, std::string_view b) {
  auto other = lines_of(b);
  std::multiset<std::string> have(other.begin(), other.end());
  std::string out;
  for (auto& line : lines_of(a)) {
    if (auto it = have.find(line); it != have.end()) {
      have.erase(it);
    } else {
      out += (out.empty() ? "" : " | ") + line;
    }
  }
  return out;
}

}  // namespace

bool is_ours(std::string_view text) { return text.starts_with(kMark); }

std::optional<std::string> resolv_conf_text(std::span<const Endpoint> local, std::span<const Endpoint> upstreams,
                                            std::string_view search) {
  std::vector<IpAddress> servers;
  auto take = [&](std::span<const Endpoint> from) {
    for (auto& e : from) {
      bool known = std::find(servers.begin(), servers.end(), e.address) != servers.end();
      if (e.port == 53 && !known && servers.size() < kMaxServers) servers.push_back(e.address);
    }
  };
  take(local);
  if (servers.empty()) take(upstreams);
  if (servers.empty()) return std::nullopt;
  std::string out = fmt::format(
      "{}. What is changed here is lost within seconds.\n"
      "# To stop that: watchdog.write_resolv_conf = false in loadstar.toml, then restart loadstar-watchdog.\n"
      "# loadstar-watchdog --restore brings back what was here before.\n"
      "options timeout:1\noptions attempts:3\n",
      kMark);
  if (search.find_first_not_of(' ') != search.npos) out += fmt::format("search {}\n", search);
  for (auto& s : servers) out += fmt::format("nameserver {}\n", s.text());
  return out;
}

Result<Written> ResolvConf::write(const std::string& text) const {
  LS_ASSIGN(auto path, follow(file_));
  LS_ASSIGN(auto old, read_current(path));
  Written out;
  if (old.exists && old.text == text) return out;
  if (old.exists && !is_ours(old.text)) {
    Current like = old;
    like.exists = false;
    if (auto kept = replace(before_, old.text, like); !kept) {
      return pass(std::move(kept.error()), "keep a copy of " + path.native() + " before it is replaced");
    }
  }
  LS_ASSIGN(out.in_place, put(path, text, old));
  out.changed = true;
  out.removed = only_in(old.text, text);
  out.added = only_in(text, old.text);
  return out;
}

Result<bool> ResolvConf::restore() const {
  LS_ASSIGN(auto kept, read_current(before_));
  if (!kept.exists) return false;
  LS_ASSIGN(auto path, follow(file_));
  LS_ASSIGN(auto now, read_current(path));
  bool ours = !now.exists || is_ours(now.text);
  if (ours) {
    now.mode = kept.mode;
    LS_TRY(put(path, kept.text, now));
  }
  if (::unlink(before_.c_str()) != 0) return fail(errno, before_.native());
  return ours;
}

}  // namespace ls::watchdog
