#pragma once
/// What `loadstard import` makes of other programs' files, and how it reads and shows that. Thread: any.
#include <string>
#include <vector>

#include "util/result.h"

namespace ls {

struct Imported {
  std::string toml;                   ///< empty with an error
  std::vector<std::string> warnings;  ///< what behaves otherwise, has no use here, or has to be done by hand
  std::string error;                  ///< "FILE: KEY: ..."
};

/// A whole file of at most 16 MiB (EFBIG).
Result<std::string> read_import(const std::string& path);

/// The text on standard output, warnings or the error on standard error; the exit status.
int print_imported(const Imported&);

}  // namespace ls
