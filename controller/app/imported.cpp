#include "app/imported.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "util/unique_fd.h"

namespace ls {
namespace {

constexpr size_t kMaxFile = 16 << 20;  // the largest real ones have some kilobytes

}  // namespace

Result<std::string> read_import(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno, path);
  std::string text;
  char buf[16384];
  for (;;) {
    auto n = ::read(fd.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, path);
    if (n == 0) return text;
    text.append(buf, size_t(n));
    if (text.size() > kMaxFile) return fail(EFBIG, path);
  }
}

int print_imported(const Imported& got) {
  for (auto& w : got.warnings) std::fprintf(stderr, "warning: %s\n", w.c_str());
  if (!got.error.empty()) {
    std::fprintf(stderr, "loadstard: %s\n", got.error.c_str());
    return 1;
  }
  return std::fwrite(got.toml.data(), 1, got.toml.size(), stdout) == got.toml.size() && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace ls
