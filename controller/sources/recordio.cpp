#include "sources/recordio.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

namespace ls {
namespace {

constexpr int kMaxDigits = 20;  // 18446744073709551615
constexpr size_t kFirstStep =
    64 * 1024;  // most events fit; then doubling, so a lying length costs twice what was sent

std::string show(char c) {
  auto u = static_cast<unsigned char>(c);
  return u >= 0x20 && u < 0x7f ? fmt::format("'{}'", c) : fmt::format("byte {:#04x}", u);
}

}  // namespace

PaddedRecord PaddedRecord::copy_of(std::string_view text) {
  PaddedRecord r;
  r.data_.reset(static_cast<char*>(std::malloc(text.size() + kPadding)));
  if (!r.data_) throw std::bad_alloc();
  if (!text.empty()) std::memcpy(r.data_.get(), text.data(), text.size());
  std::memset(r.data_.get() + text.size(), 0, kPadding);
  r.size_ = text.size();
  return r;
}

void RecordIoReader::reset() {
  *this = RecordIoReader(limit_);
}

tl::unexpected<Error> RecordIoReader::lost(std::string why) {
  error_ = Error{std::make_error_code(std::errc::protocol_error),
                 fmt::format("read record {} at byte {} of the stream: {}", records_, record_offset_, why)};
  current_ = {};
  capacity_ = 0;
  return tl::make_unexpected(*error_);
}

Result<> RecordIoReader::read_length(std::string_view& bytes) {
  while (!bytes.empty()) {
    char c = bytes.front();
    if (digits_ == 0) record_offset_ = offset_;
    if (c == '\n') {
      if (digits_ == 0) return lost("empty length");
      if (length_ > limit_)
        return lost(fmt::format("its length {} is above the limit of {} bytes", length_, limit_));
      bytes.remove_prefix(1);
      ++offset_;
      in_payload_ = true;
      return {};
    }
    if (c < '0' || c > '9') return lost(fmt::format("{} in its length", show(c)));
    if (++digits_ > kMaxDigits) return lost("its length has more than 20 digits");
    uint64_t digit = static_cast<uint64_t>(c - '0');
    if (length_ > (std::numeric_limits<uint64_t>::max() - digit) / 10)
      return lost("its length is above 2^64");
    length_ = length_ * 10 + digit;
    bytes.remove_prefix(1);
    ++offset_;
  }
  return {};
}

bool RecordIoReader::grow(uint64_t needed) {
  uint64_t want = std::min<uint64_t>(length_, std::max<uint64_t>({needed, kFirstStep, capacity_ * 2ull}));
  auto* p = static_cast<char*>(std::realloc(current_.data_.get(), want + PaddedRecord::kPadding));
  if (!p) return false;
  (void)current_.data_.release();  // realloc took it
  current_.data_.reset(p);
  capacity_ = want;
  return true;
}

Result<std::optional<PaddedRecord>> RecordIoReader::next(std::string_view& bytes) {
  if (error_) return tl::make_unexpected(*error_);
  if (!in_payload_) {
    LS_TRY(read_length(bytes));
    if (!in_payload_) return std::nullopt;
  }
  uint64_t take = std::min<uint64_t>(bytes.size(), length_ - current_.size_);
  uint64_t needed = current_.size_ + take;
  if (!current_.data_ || needed > capacity_) {
    if (!grow(needed)) return lost(fmt::format("no memory for {} of its {} bytes", needed, length_));
  }
  if (take > 0) std::memcpy(current_.data_.get() + current_.size_, bytes.data(), take);
  current_.size_ = needed;
  offset_ += take;
  bytes.remove_prefix(take);
  if (current_.size_ < length_) return std::nullopt;

  std::memset(current_.data_.get() + length_, 0, PaddedRecord::kPadding);
  PaddedRecord done = std::move(current_);
  current_ = {};
  capacity_ = 0;
  length_ = 0;
  digits_ = 0;
  in_payload_ = false;
  record_offset_ = offset_;
  ++records_;
  return done;
}

}  // namespace ls
