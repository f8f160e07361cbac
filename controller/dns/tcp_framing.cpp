#include "dns/tcp_framing.h"

#include <algorithm>
#include <cstring>

#include "dns/wire_bytes.h"

namespace ls::dns {

std::span<uint8_t> TcpFraming::space() {
  size_t have = end_ - begin_;
  if (have && begin_) std::memmove(bytes_.data(), bytes_.data() + begin_, have);
  begin_ = 0;
  end_ = have;
  size_t need = have >= 2 ? size_t(2) + load16(bytes_.data()) : 2;
  size_t size = std::max(kFirst, need);
  if (bytes_.size() < size || (bytes_.size() > kFirst && size == kFirst && have <= kFirst)) {
    bytes_.resize(size);
    bytes_.shrink_to_fit();
  }
  // A whole message that was not fetched would leave no room.
  if (end_ == bytes_.size()) bytes_.resize(std::min(bytes_.size() * 2, 2 * kMost));
  return std::span(bytes_).subspan(end_);
}

std::optional<std::span<const uint8_t>> TcpFraming::next() {
  size_t have = end_ - begin_;
  if (have < 2) return {};
  size_t length = load16(bytes_.data() + begin_);
  if (have < 2 + length) return {};
  std::span<const uint8_t> message(bytes_.data() + begin_ + 2, length);
  begin_ += 2 + length;
  return message;
}

}  // namespace ls::dns
