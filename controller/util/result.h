#pragma once
/// Result<T>: what every fallible function returns; no exception crosses a module.
/// An Error is a code plus what was being tried, one lower-case sentence without a full stop. Each layer
/// puts its own step in front with `within`; whoever handles the error logs it, once.
/// Thread: plain values. Source: DESIGN section 4; tl::expected because g++ 12 lacks std::expected in C++20.
#include <string>
#include <string_view>
#include <system_error>
#include <tl/expected.hpp>
#include <utility>

namespace ls {

struct Error {
  std::error_code code;  ///< may be empty when only the text says what is wrong (bad input)
  std::string doing;

  /// "update ls_svc: No space left on device"
  std::string text() const;
  /// The same error seen from the caller: "while starting: update ls_svc: ...".
  Error within(std::string_view step) &&;
};

template <class T = void>
using Result = tl::expected<T, Error>;

/// `err` is a positive errno value.
tl::unexpected<Error> fail(int err, std::string doing);
tl::unexpected<Error> fail(std::error_code code, std::string doing);
/// Bad input: there is no code, the text names the file, line or field.
tl::unexpected<Error> fail(std::string doing);
/// Passes an error on with one more step in front.
tl::unexpected<Error> pass(Error&& e, std::string_view step);

}  // namespace ls

/// Returns from the enclosing function when `expr` (a Result) holds an error.
#define LS_TRY(expr)                                                              \
  do {                                                                            \
    if (auto ls_r_ = (expr); !ls_r_) return ::tl::make_unexpected(std::move(ls_r_.error())); \
  } while (0)

#define LS_CONCAT_(a, b) a##b
#define LS_CONCAT(a, b) LS_CONCAT_(a, b)
/// LS_ASSIGN(auto map, open_map(path)): declares or assigns the value, or returns the error.
#define LS_ASSIGN(decl, expr) LS_ASSIGN_(LS_CONCAT(ls_v_, __LINE__), decl, expr)
#define LS_ASSIGN_(tmp, decl, expr)                                     \
  auto tmp = (expr);                                                    \
  if (!tmp) return ::tl::make_unexpected(std::move(tmp.error()));       \
  decl = std::move(*tmp)
