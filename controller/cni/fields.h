#pragma once
/// Inside of ls_cni: typed fields of JSON objects. Absent and null are the same; the wrong type is code 6 with the field's name.
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cni/failure.h"

namespace ls::cni {

/// Returns from the enclosing function with the failure of `expr` (an Outcome).
#define LS_CNI_TRY(expr)                                                                     \
  do {                                                                                       \
    if (auto ls_r_ = (expr); !ls_r_) return ::tl::make_unexpected(std::move(ls_r_.error())); \
  } while (0)

class Fields {
 public:
  /// `j` is an object and outlives this; `place` names it in errors, empty for the whole.
  Fields(const nlohmann::json& j, std::string place) : j_(j), place_(std::move(place)) {}

  /// nullptr: absent.
  const nlohmann::json* find(std::string_view key) const;
  std::string name(std::string_view key) const;

  Outcome<std::optional<std::string>> text(std::string_view key) const;
  Outcome<std::optional<bool>> flag(std::string_view key) const;
  /// From `least` to `most`; another number is code 7.
  Outcome<std::optional<uint32_t>> number(std::string_view key, uint32_t least, uint32_t most) const;
  /// nullptr: absent.
  Outcome<const nlohmann::json*> object(std::string_view key) const;
  Outcome<const nlohmann::json*> list(std::string_view key) const;
  tl::unexpected<Failure> wrong(std::string_view key, std::string_view wanted) const;

 private:
  const nlohmann::json& j_;
  std::string place_;
};

}  // namespace ls::cni
