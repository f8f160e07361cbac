#include "util/result.h"

namespace ls {

std::string Error::text() const {
  if (!code) return doing;
  return doing + ": " + code.message();
}

Error Error::within(std::string_view step) && {
  doing.insert(0, ": ");
  doing.insert(0, step);
  return std::move(*this);
}

tl::unexpected<Error> fail(int err, std::string doing) {
  return fail(std::error_code(err, std::generic_category()), std::move(doing));
}

tl::unexpected<Error> fail(std::error_code code, std::string doing) {
  return tl::make_unexpected(Error{code, std::move(doing)});
}

tl::unexpected<Error> fail(std::string doing) { return tl::make_unexpected(Error{{}, std::move(doing)}); }

tl::unexpected<Error> pass(Error&& e, std::string_view step) {
  return tl::make_unexpected(std::move(e).within(step));
}

}  // namespace ls
