#pragma once
/// Messages out of a TCP stream: each has its length in two octets in front (RFC 1035 4.2.2). Lengths and
/// messages may come split or joined in any way. Thread: one. Memory: kFirst octets, more only while a longer
/// message is on its way, never more than kMost.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ls::dns {

class TcpFraming {
 public:
  static constexpr size_t kFirst = 4096, kMost = 2 + 65535;

  /// Where to read to; never empty. Messages given out before are gone.
  std::span<uint8_t> space();
  /// The first `octets` of space() were filled.
  void received(size_t octets) { end_ += octets; }
  /// The next whole message, good until space() is called.
  std::optional<std::span<const uint8_t>> next();
  /// True when part of a message waits for the rest.
  bool partial() const { return begin_ != end_; }

 private:
  std::vector<uint8_t> bytes_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace ls::dns
