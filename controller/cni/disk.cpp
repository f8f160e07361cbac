#include "cni/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "cni/deadline.h"
#include "util/unique_fd.h"

namespace ls::cni {
namespace {

class FileDisk final : public Disk {
 public:
  FileDisk(UniqueFd fd, std::filesystem::path file, const uint8_t* data, size_t size)
      : fd_(std::move(fd)), file_(std::move(file)), data_(data), size_(size) {}
  ~FileDisk() override { munmap(const_cast<uint8_t*>(data_), size_); }

  std::span<const uint8_t> data() const override { return {data_, size_}; }

  Result<> write(uint64_t offset, std::span<const uint8_t> bytes) override {
    while (!bytes.empty()) {
      ssize_t n = pwrite(fd_.get(), bytes.data(), bytes.size(), off_t(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(errno, "write " + file_.native());
      bytes = bytes.subspan(size_t(n));
      offset += uint64_t(n);
    }
    return {};
  }

  Result<> sync() override {
    int r;
    do r = fdatasync(fd_.get());
    while (r != 0 && errno == EINTR);
    if (r != 0) return fail(errno, "sync " + file_.native());
    return {};
  }

  Result<> make_room(uint64_t offset, uint64_t size) override {
    int r;
    do r = fallocate(fd_.get(), 0, off_t(offset), off_t(size));
    while (r != 0 && errno == EINTR);
    // Where the file system cannot, a full disk shows at the write.
    if (r != 0 && errno != EOPNOTSUPP) return fail(errno, "make room in " + file_.native());
    return {};
  }

 private:
  UniqueFd fd_;
  std::filesystem::path file_;
  const uint8_t* data_;
  size_t size_;
};

}  // namespace

Outcome<std::unique_ptr<Disk>> open_locked(const std::filesystem::path& file, uint64_t size, bool make) {
  if (make) {
    std::error_code e;
    std::filesystem::create_directories(file.parent_path(), e);
    if (e) return refuse(Code::kIo, fmt::format("make folder {}: {}", file.parent_path().native(), e.message()));
  }
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600));
  if (!fd && errno == ENOENT && !make) return std::unique_ptr<Disk>();
  if (!fd) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "open " + file.native()});
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  while (fcntl(fd.get(), F_OFD_SETLKW, &lock) != 0) {
    if (errno != EINTR) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "lock " + file.native()});
    if (Deadline::passed()) return refuse(Code::kTryAgain, fmt::format("the lock of {} is held by others", file.native()));
  }
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "look at " + file.native()});
  if (!S_ISREG(st.st_mode)) return refuse(Code::kIo, fmt::format("{} is no file", file.native()));
  if (st.st_size == 0 && ftruncate(fd.get(), off_t(size)) != 0)
    return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "make " + file.native()});
  if (st.st_size != 0 && uint64_t(st.st_size) != size)
    return refuse(Code::kIo, fmt::format("{} has {} octets instead of {}: damaged, or of another version", file.native(), st.st_size, size));
  void* at = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return refuse(Code::kIo, Error{std::error_code(errno, std::generic_category()), "map " + file.native()});
  return std::unique_ptr<Disk>(std::make_unique<FileDisk>(std::move(fd), file, static_cast<const uint8_t*>(at), size));
}

}  // namespace ls::cni
