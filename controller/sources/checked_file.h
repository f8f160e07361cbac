#pragma once
/// A text on the disk that is either as it was written or an error: one line with format, length and checksum, then the text.
///
/// Written beside and renamed, with the folder synced: a crash leaves the text before or the new one. Thread: any; waits for the disk.
/// Errors of load: ENOENT, there is none; EILSEQ, damaged in whatever octet, of another format or larger than `most`.
#include <filesystem>
#include <string>
#include <string_view>

#include "util/result.h"

namespace ls {

/// `format`: "loadstar-registrations 1".
Result<> save_checked(const std::filesystem::path& file, std::string_view format, std::string_view text);
Result<std::string> load_checked(const std::filesystem::path& file, std::string_view format, size_t most);

}  // namespace ls
