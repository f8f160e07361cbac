#pragma once
/// SharedText: an immutable string that many records share (framework and agent ids, framework names).
/// Thread: reads from any; copies are atomic reference counts. Cost: 16 bytes a holder, equality is a pointer
/// comparison when both came from the same place.
#include <compare>
#include <memory>
#include <string>
#include <string_view>

namespace ls {

class SharedText {
 public:
  SharedText() = default;
  explicit SharedText(std::string_view text)
      : text_(text.empty() ? nullptr : std::make_shared<const std::string>(text)) {}

  std::string_view view() const { return text_ ? std::string_view(*text_) : std::string_view(); }
  std::string str() const { return std::string(view()); }
  bool empty() const { return !text_; }

  friend bool operator==(const SharedText& a, const SharedText& b) {
    return a.text_ == b.text_ || a.view() == b.view();
  }
  friend auto operator<=>(const SharedText& a, const SharedText& b) { return a.view() <=> b.view(); }

 private:
  std::shared_ptr<const std::string> text_;
};

}  // namespace ls
