#pragma once
/// MemoryDisk: a disk that loses what was not synced. `crash_at` counts writes and syncs; from that one on nothing happens any more, and
/// survive() gives what a machine finds after losing power then: of the writes since the last sync, any subset, each wholly, in part, or not.
#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cni/lease_file.h"

namespace ls::cni::test {

/// What outlives a Disk object: the "platters".
struct Platters {
  std::vector<uint8_t> bytes;    ///< as the process sees them
  std::vector<uint8_t> durable;  ///< as of the last sync
  struct Write {
    uint64_t offset;
    std::vector<uint8_t> bytes;
  };
  std::vector<Write> pending;
  int operations = 0, crash_at = -1;
  bool crashed = false;

  explicit Platters(size_t size) : bytes(size), durable(size) {}

  /// The process dies, the machine lives: everything written is there.
  void process_dies() {
    crashed = false;
    crash_at = -1;
  }
  /// The machine loses power.
  void power_fails(std::mt19937& random) {
    for (auto& w : pending) {
      size_t n = w.bytes.size();
      switch (random() % 3) {
        case 0: n = 0; break;
        case 1: n = random() % (n + 1); break;
        default: break;
      }
      std::copy(w.bytes.begin(), w.bytes.begin() + long(n), durable.begin() + long(w.offset));
    }
    pending.clear();
    bytes = durable;
    crashed = false;
    crash_at = -1;
  }
};

class MemoryDisk final : public Disk {
 public:
  explicit MemoryDisk(Platters& p) : p_(p) {}
  std::span<const uint8_t> data() const override { return p_.bytes; }
  Result<> write(uint64_t offset, std::span<const uint8_t> bytes) override {
    if (dead()) return fail(EIO, "write");
    p_.pending.push_back({offset, {bytes.begin(), bytes.end()}});
    std::copy(bytes.begin(), bytes.end(), p_.bytes.begin() + long(offset));
    return {};
  }
  Result<> sync() override {
    if (dead()) return fail(EIO, "sync");
    for (auto& w : p_.pending) std::copy(w.bytes.begin(), w.bytes.end(), p_.durable.begin() + long(w.offset));
    p_.pending.clear();
    return {};
  }
  Result<> make_room(uint64_t, uint64_t) override { return {}; }

 private:
  bool dead() {
    if (p_.operations++ == p_.crash_at) p_.crashed = true;
    return p_.crashed;
  }
  Platters& p_;
};

/// Records that tests use, and the room they need; the rest of the file is not kept in memory.
inline constexpr size_t kTestSlots = 300;
inline constexpr size_t kTestSize = LeaseFile::kRecordsAt + kTestSlots * sizeof(LeaseRecord);

}  // namespace ls::cni::test
