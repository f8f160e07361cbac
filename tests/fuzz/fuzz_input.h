#pragma once
/// What the fuzz targets share: a property that must hold, and pieces of the input.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace ls::fuzz {

inline void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

/// Takes pieces off the input; a line ends at a line feed.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t octet() {
    if (rest_.empty()) return 0;
    auto c = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return c;
  }
  std::string line() {
    auto end = rest_.find('\n');
    std::string out(rest_.substr(0, end));
    rest_.remove_prefix(end == rest_.npos ? rest_.size() : end + 1);
    return out;
  }
  std::string_view all() const { return rest_; }

 private:
  std::string_view rest_;
};

}  // namespace ls::fuzz
