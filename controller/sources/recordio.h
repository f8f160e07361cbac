#pragma once
/// RecordIO, the framing of Mesos' event stream: `<decimal length> LF <bytes>`, repeated
/// (spec/mesos-operator-stream.md section 3). The borders of what is fed have no relation to the borders of
/// records.
///
/// A snapshot of a large cluster is one record of 150 MB and more. Its bytes are written once, into the
/// buffer that is handed over: the buffer grows with what has arrived (realloc, which moves pages and copies
/// nothing at such sizes), never at once to what the peer announced. Each record has kPadding zero bytes
/// behind it, so that simdjson parses it in place.
///
/// Thread: plain values. Errors: the peer does not speak RecordIO, or a record is longer than the limit; the
/// stream is then lost, every later call gives the same error until reset().
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "util/result.h"

namespace ls {

/// One record and its padding. Move-only: there is one copy of the text.
class PaddedRecord {
 public:
  static constexpr size_t kPadding = 64;  ///< SIMDJSON_PADDING of simdjson 3

  PaddedRecord() = default;
  PaddedRecord(PaddedRecord&& o) noexcept : data_(std::move(o.data_)), size_(std::exchange(o.size_, 0)) {}
  PaddedRecord& operator=(PaddedRecord&& o) noexcept {
    data_ = std::move(o.data_);
    size_ = std::exchange(o.size_, 0);
    return *this;
  }
  static PaddedRecord copy_of(std::string_view text);

  std::string_view text() const { return {data_.get(), size_}; }
  const char* data() const { return data_.get(); }
  size_t size() const { return size_; }
  size_t allocated() const { return data_ ? size_ + kPadding : 0; }  ///< bytes that may be read from data()

 private:
  friend class RecordIoReader;
  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::unique_ptr<char, Free> data_;
  size_t size_ = 0;
};

class RecordIoReader {
 public:
  /// 2 GiB. The largest state the spec speaks of (400,000 active tasks, section 14) is below 1 GB.
  static constexpr uint64_t kDefaultLimit = 2ull << 30;

  explicit RecordIoReader(uint64_t limit = kDefaultLimit) : limit_(limit) {}

  /// Takes bytes from the front of `bytes` until one record is complete. No record: all bytes were taken and
  /// more are needed. Call again with the rest until it gives none. Cost: one memcpy of the payload.
  Result<std::optional<PaddedRecord>> next(std::string_view& bytes);

  bool mid_record() const { return digits_ > 0 || in_payload_; }
  uint64_t offset() const { return offset_; }  ///< bytes taken so far
  uint64_t record_offset() const {
    return record_offset_;
  }  ///< where the record being read begins (its length line)
  uint64_t records() const { return records_; }
  void reset();

 private:
  Result<> read_length(std::string_view& bytes);
  bool grow(uint64_t needed);
  tl::unexpected<Error> lost(std::string why);

  uint64_t limit_;
  uint64_t length_ = 0;
  uint64_t offset_ = 0, record_offset_ = 0, records_ = 0;
  size_t capacity_ = 0;  // of current_.data_, without padding
  int digits_ = 0;
  bool in_payload_ = false;
  PaddedRecord current_;  // size_: bytes present
  std::optional<Error> error_;
};

}  // namespace ls
