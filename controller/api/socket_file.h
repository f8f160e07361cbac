#pragma once
/// The file of a listening unix socket: made so that nobody ever sees it half set up, removed only if it is still this one.
/// Thread: one. Errors: see Server::start.
#include <sys/types.h>

#include <string>

#include "util/result.h"
#include "util/unique_fd.h"

namespace ls::api {

class SocketFile {
 public:
  static Result<SocketFile> listen(const std::string& path, const std::string& group);
  ~SocketFile();
  SocketFile(SocketFile&&) = default;

  UniqueFd fd;  ///< listening; whoever accepts on it works with a duplicate

 private:
  explicit SocketFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  UniqueFd lock_;  ///< held while we live, so that two starting daemons cannot both find the socket stale
  ino_t inode_ = 0;
  dev_t device_ = 0;
};

/// The number of a group; ENOENT in the text when there is none of that name.
Result<gid_t> group_number(const std::string& group);

}  // namespace ls::api
