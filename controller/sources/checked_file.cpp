#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sources/checked_file.h"
#include "util/address.h"
#include "util/unique_fd.h"

namespace ls {
namespace {

constexpr size_t kMaxHead = 128;  // octets of the first line

std::string head_of(std::string_view format, std::string_view body) {
  return fmt::format("{} {} {:016x}\n", format, body.size(), hash_bytes(body.data(), body.size()));
}

Result<> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    auto n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, "write " + path);
    text.remove_prefix(size_t(n));
  }
  return {};
}

}  // namespace

Result<> save_checked(const std::filesystem::path& file, std::string_view format, std::string_view text) {
  auto path = file.string(), beside = path + ".new";
  unlink(beside.c_str());
  auto written = [&]() -> Result<> {
    UniqueFd fd(open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail(errno, "make " + beside);
    LS_TRY(write_all(fd.get(), head_of(format, text), beside));
    LS_TRY(write_all(fd.get(), text, beside));
    if (fsync(fd.get()) != 0) return fail(errno, "sync " + beside);
    if (rename(beside.c_str(), path.c_str()) != 0) return fail(errno, "rename " + beside + " to " + path);
    return {};
  }();
  if (!written) {
    unlink(beside.c_str());
    return written;
  }
  auto folder = file.parent_path().empty() ? std::filesystem::path(".") : file.parent_path();
  UniqueFd dir(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir || fsync(dir.get()) != 0) return fail(errno, "sync " + folder.string());
  return {};
}

Result<std::string> load_checked(const std::filesystem::path& file, std::string_view format, size_t most) {
  auto path = file.string();
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail(errno, "open " + path);
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return fail(errno, "look at " + path);
  if (!S_ISREG(st.st_mode) || st.st_size < 0 || uint64_t(st.st_size) > most + kMaxHead) return fail(EILSEQ, path + " is no file of ours, or too large");
  std::string text(size_t(st.st_size), '\0');
  size_t have = 0;
  while (have < text.size()) {
    auto n = read(fd.get(), text.data() + have, text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, "read " + path);
    if (n == 0) break;
    have += size_t(n);
  }
  text.resize(have);
  auto end = text.find('\n');
  std::string_view body;
  if (end != text.npos) body = std::string_view(text).substr(end + 1);
  if (end == text.npos || text.substr(0, end + 1) != head_of(format, body)) return fail(EILSEQ, path + " is damaged");
  text.erase(0, end + 1);
  return text;
}

}  // namespace ls
