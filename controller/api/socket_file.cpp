#include "api/socket_file.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <vector>

namespace ls::api {
namespace {

Result<> connects_nowhere(const std::string& path, const sockaddr_un& address) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return errno == ENOENT ? Result<>{} : fail(errno, "look at " + path);
  if (!S_ISSOCK(st.st_mode)) return fail(EEXIST, path + " is not a socket, it is left alone");
  UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail(errno, "make a socket");
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN) {
    return fail(EADDRINUSE, "another process listens on " + path);
  }
  return errno == ECONNREFUSED ? Result<>{} : fail(errno, "ask who listens on " + path);
}

Result<> set_owner(const std::string& path, const std::string& group) {
  if (!group.empty()) {
    auto number = group_number(group);
    if (!number) return pass(std::move(number.error()), "find the owner of " + path);
    if (chown(path.c_str(), uid_t(-1), *number) != 0) return fail(errno, "give " + path + " to the group " + group);
  }
  if (chmod(path.c_str(), 0660) != 0) return fail(errno, "set the mode of " + path);
  return {};
}

}  // namespace

Result<gid_t> group_number(const std::string& group) {
  std::vector<char> buffer(16384);
  struct group entry {};
  struct group* found = nullptr;
  if (int err = getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found)) {
    return fail(err, "look up the group " + group);
  }
  if (!found) return fail("there is no group '" + group + "'");
  return found->gr_gid;
}

SocketFile::~SocketFile() {
  struct stat now {};
  if (fd && lstat(path_.c_str(), &now) == 0 && now.st_ino == inode_ && now.st_dev == device_) unlink(path_.c_str());
}

Result<SocketFile> SocketFile::listen(const std::string& path, const std::string& group) {
  if (path.empty() || path.size() > 100) {  // sun_path holds 108, our temporary name is longer by 4
    return fail(ENAMETOOLONG, "the API socket's path '" + path + "' must have 1 to 100 bytes");
  }
  if (auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) {
    if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return fail(errno, "make " + folder.string());
  }
  SocketFile file(path);
  auto lock_path = path + ".lock";
  file.lock_ = UniqueFd(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.lock_) return fail(errno, "open " + lock_path);
  if (flock(file.lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(errno == EWOULDBLOCK ? EADDRINUSE : errno, "another process holds " + lock_path);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  LS_TRY(connects_nowhere(path, address));

  // Made beside and renamed: under its own name it has mode and group and listens from the first moment.
  auto beside = path + ".new";
  unlink(beside.c_str());
  file.fd = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!file.fd) return fail(errno, "make a socket");
  sockaddr_un temporary{};
  temporary.sun_family = AF_UNIX;
  beside.copy(temporary.sun_path, sizeof temporary.sun_path - 1);
  if (bind(file.fd.get(), reinterpret_cast<sockaddr*>(&temporary), sizeof temporary) != 0) {
    return fail(errno, "bind " + beside);
  }
  LS_TRY(set_owner(beside, group));
  if (::listen(file.fd.get(), 128) != 0) return fail(errno, "listen on " + beside);
  struct stat st {};
  if (lstat(beside.c_str(), &st) != 0) return fail(errno, "look at " + beside);
  if (rename(beside.c_str(), path.c_str()) != 0) return fail(errno, "rename " + beside + " to " + path);
  file.inode_ = st.st_ino;
  file.device_ = st.st_dev;
  return file;
}

}  // namespace ls::api
