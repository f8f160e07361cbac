#pragma once
/// Takes the HTTP framing off a recorded answer (`.http` captures, spec/captures/README.md): status line,
/// headers, chunks. Incremental; plain values, any thread. Only for files that a recorder wrote: the live
/// source uses Beast.
#include <cstdint>
#include <string>
#include <string_view>

#include "util/result.h"

namespace ls {

class HttpRecording {
 public:
  /// Takes bytes from the front of `bytes` and gives the next piece of the body, a view into them. Empty: all
  /// bytes were taken and none of the body was among them. Errors: an answer other than 200, no JSON, bad
  /// chunks.
  Result<std::string_view> next(std::string_view& bytes);
  uint64_t offset() const { return offset_; }  ///< bytes of the file taken so far
  /// True where the file may end: between chunks (a killed master just closes) or after the last one.
  bool at_border() const { return state_ == State::kDone || (state_ == State::kSize && line_.empty()); }

 private:
  enum class State { kStatus, kHeaders, kSize, kData, kDataEnd, kTrailer, kPlain, kDone };
  Result<> line(std::string_view text);
  tl::unexpected<Error> bad(std::string why) const;

  State state_ = State::kStatus;
  std::string line_;
  uint64_t left_ = 0;  // of the chunk
  uint64_t offset_ = 0;
  bool chunked_ = false;
};

}  // namespace ls
