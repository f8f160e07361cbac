#pragma once
/// A file as octets that can be read at any place and are written on purpose: what lease_file.h stands on, and where its tests put a
/// disk that loses writes.
/// Thread: the owner's.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "cni/failure.h"

namespace ls::cni {

class Disk {
 public:
  virtual ~Disk() = default;
  /// The whole file; what write() did is seen at once.
  virtual std::span<const uint8_t> data() const = 0;
  /// May be lost, also in part, by a crash of the machine until sync() returned.
  virtual Result<> write(uint64_t offset, std::span<const uint8_t> bytes) = 0;
  virtual Result<> sync() = 0;
  /// Takes the room on the disk, so that a later write there cannot find it full.
  virtual Result<> make_room(uint64_t offset, uint64_t size) = 0;
};

/// The file (made with mode 0600, `size` octets, sparse) with its lock held until the end of the object. Code 11 when a signal
/// interrupts the wait for the lock (deadline.h); code 5 otherwise. With `make` false, an absent file is nullptr.
Outcome<std::unique_ptr<Disk>> open_locked(const std::filesystem::path& file, uint64_t size, bool make);

}  // namespace ls::cni
