#pragma once
/// The query of a request's target, read strictly: unknown parameters and wrong values are errors that name the parameter.
/// Thread: plain values.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/router.h"

namespace ls::api {

/// "%2A" -> "*"; nullopt when a '%' is not followed by two hexadecimal digits.
std::optional<std::string> percent_decoded(std::string_view in);

/// Getters remember the first thing that is wrong; the caller asks for it once with refused().
class Params {
 public:
  static constexpr size_t kDefaultLimit = 1000, kMaxLimit = 100000;

  explicit Params(std::string_view query);
  /// Every other parameter is wrong.
  void only(std::span<const std::string_view> known);
  const std::string* find(std::string_view name) const;
  size_t limit();
  bool flag(std::string_view name);

  template <class Selector>
  std::optional<Selector> selector(std::string_view name) {
    auto* text = find(name);
    if (!text) return std::nullopt;
    auto parsed = Selector::parse(*text);
    if (parsed) return *parsed;
    bad(std::string(name), ": " + parsed.error().text());
    return std::nullopt;
  }

  void bad(std::string name, std::string why);
  /// The reply of status 400 about the first wrong parameter.
  std::optional<Reply> refused() const;

 private:
  std::vector<std::pair<std::string, std::string>> all_;
  std::optional<std::pair<std::string, std::string>> wrong_;
};

}  // namespace ls::api
