#pragma once
/// Random octets of the kernel's generator (getrandom), fetched a block at a time. For message ids, ports' choice, letter cases and cookies.
/// Thread: one. Ends the process when the kernel gives none: predictable ids would be worse.
#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace ls::dns {

class RandomSource {
 public:
  template <class T>
  T get() {
    if (at_ + sizeof(T) > block_.size()) fill();
    T value;
    std::memcpy(&value, block_.data() + at_, sizeof(T));
    std::memset(block_.data() + at_, 0, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  /// 0 to n - 1; the bias is below n / 2^32.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(uint64_t{get<uint32_t>()} * n >> 32); }

 private:
  void fill() {
    for (size_t have = 0; have < block_.size();) {
      const ssize_t n = ::getrandom(block_.data() + have, block_.size() - have, 0);
      if (n < 0 && errno != EINTR) std::abort();
      if (n > 0) have += static_cast<size_t>(n);
    }
    at_ = 0;
  }
  std::array<uint8_t, 256> block_;
  size_t at_ = block_.size();
};

}  // namespace ls::dns
