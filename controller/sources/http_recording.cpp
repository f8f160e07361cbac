#include "sources/http_recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "sources/master_address.h"

namespace ls {
namespace {

constexpr size_t kMaxLine = 16 * 1024;  // Mesos' own headers are below 300 bytes

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

tl::unexpected<Error> HttpRecording::bad(std::string why) const {
  return fail(fmt::format("recorded HTTP answer at byte {}: {}", offset_, why));
}

Result<> HttpRecording::line(std::string_view text) {
  switch (state_) {
    case State::kStatus:
      if (!text.starts_with("HTTP/1.") || text.size() < 12) return bad("no status line");
      if (text.substr(8, 4) != " 200")
        return bad(fmt::format("its status is \"{}\", not 200", quote_answer(text)));
      state_ = State::kHeaders;
      return {};
    case State::kHeaders: {
      if (text.empty()) {
        state_ = chunked_ ? State::kSize : State::kPlain;
        return {};
      }
      size_t colon = text.find(':');
      if (colon == std::string_view::npos) return bad("a header without a colon");
      std::string_view name = text.substr(0, colon), value = text.substr(colon + 1);
      while (value.starts_with(' ')) value.remove_prefix(1);
      if (same_word(name, "transfer-encoding")) chunked_ = same_word(value, "chunked");
      if (same_word(name, "content-type") && !same_word(value, "application/json")) {
        return bad(
            fmt::format("its content type is {}, only application/json can be played", quote_answer(value)));
      }
      return {};
    }
    case State::kSize: {
      std::string_view digits = text.substr(0, text.find(';'));
      auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
      if (digits.empty() || ec != std::errc() || end != digits.data() + digits.size()) {
        return bad(fmt::format("\"{}\" is not a chunk size", quote_answer(text)));
      }
      state_ = left_ == 0 ? State::kTrailer : State::kData;
      return {};
    }
    case State::kDataEnd:
      if (!text.empty()) return bad("bytes behind the end of a chunk");
      state_ = State::kSize;
      return {};
    case State::kTrailer:
      if (text.empty()) state_ = State::kDone;
      return {};
    default:
      return {};
  }
}

Result<std::string_view> HttpRecording::next(std::string_view& bytes) {
  while (!bytes.empty()) {
    if (state_ == State::kData || state_ == State::kPlain) {
      std::string_view piece =
          state_ == State::kPlain ? bytes : bytes.substr(0, std::min<uint64_t>(left_, bytes.size()));
      bytes.remove_prefix(piece.size());
      offset_ += piece.size();
      if (state_ == State::kData && (left_ -= piece.size()) == 0) state_ = State::kDataEnd;
      return piece;
    }
    if (state_ == State::kDone) return bad("bytes behind the last chunk");
    size_t end = bytes.find('\n');
    std::string_view part = bytes.substr(0, end);
    if (line_.size() + part.size() > kMaxLine) return bad("a line longer than 16 KB");
    line_ += part;
    size_t taken = end == std::string_view::npos ? bytes.size() : end + 1;
    bytes.remove_prefix(taken);
    offset_ += taken;
    if (end == std::string_view::npos) break;
    std::string whole = std::move(line_);
    line_.clear();
    if (whole.ends_with('\r')) whole.pop_back();
    LS_TRY(line(whole));
  }
  return std::string_view();
}

}  // namespace ls
