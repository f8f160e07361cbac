#pragma once
/// A secret or a token that stands in a file of its own. Thread: any; reads the file at each call, so that it can be replaced.
#include <string>

#include "util/result.h"

namespace ls {

/// Without its last line end. Errors: not readable, empty, larger than 64 KB, or with a control character in it: a line end inside
/// would let the file write HTTP headers of its own.
Result<std::string> read_secret(const std::string& path);

}  // namespace ls
