#include "sources/secret_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>

namespace ls {
namespace {

constexpr size_t kSecretBytes = 64 * 1024;

}  // namespace

Result<std::string> read_secret(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(errno ? errno : EIO, fmt::format("read secret file {}", path));
  std::string out(kSecretBytes + 3, '\0');  // one more than is allowed, with CR and LF
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  out.resize(static_cast<size_t>(in.gcount()));
  if (in.bad()) return fail(EIO, fmt::format("read secret file {}", path));
  if (out.ends_with('\n')) out.pop_back();
  if (out.ends_with('\r')) out.pop_back();
  if (out.empty()) return fail(fmt::format("secret file {} is empty", path));
  if (out.size() > kSecretBytes) return fail(fmt::format("secret file {} is larger than 64 KB", path));
  for (char c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return fail(fmt::format("secret file {} holds a control character", path));
    }
  }
  return out;
}

}  // namespace ls
