#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "sources/registrations.h"
#include "util/address.h"
#include "util/unique_fd.h"

namespace ls {
namespace {

constexpr std::string_view kFormat = "loadstar-registrations 1";

std::string head_of(std::string_view body) {
  return fmt::format("{} {} {:016x}\n", kFormat, body.size(), hash_bytes(body.data(), body.size()));
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

Result<> save_feed(const std::filesystem::path& file, const dns::RegistrationFeed& feed) {
  auto body = feed_text(feed);
  auto path = file.string(), beside = path + ".new";
  unlink(beside.c_str());
  auto written = [&]() -> Result<> {
    UniqueFd fd(open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail(errno, "make " + beside);
    LS_TRY(write_all(fd.get(), head_of(body), beside));
    LS_TRY(write_all(fd.get(), body, beside));
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

Result<dns::RegistrationFeed> load_feed(const std::filesystem::path& file) {
  auto path = file.string();
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail(errno, "open " + path);
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return fail(errno, "look at " + path);
  if (!S_ISREG(st.st_mode) || st.st_size > off_t(dns::kMaxFeedBytes)) return fail(EILSEQ, path + " is no copy of registrations");
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
  if (end == text.npos || text.substr(0, end + 1) != head_of(body)) return fail(EILSEQ, path + " is damaged");
  auto feed = dns::parse_feed(body);
  if (!feed) return fail(EILSEQ, fmt::format("{} is damaged: {}", path, feed.error().text()));
  return feed;
}

}  // namespace ls
