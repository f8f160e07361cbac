#pragma once
/// The words of a command line. Plain functions, any thread.
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "util/clock.h"
#include "util/result.h"

namespace ls::standin {

using Words = std::vector<std::string>;

/// Splits at blanks; "double quotes" keep them, a backslash inside takes the next character; # begins a
/// comment.
Result<Words> split(std::string_view line);
/// 250ms, 1.5s, 2m; a bare number is seconds.
Result<Millis> parse_duration(std::string_view text);
Result<uint32_t> number(std::string_view text, std::string_view what);
Result<bool> truth(const std::string& text);
/// "key=value" split at the first '='; without one the value is empty.
std::pair<std::string, std::string> option(const std::string& word);
std::set<std::string> comma_list(const std::string& text);

}  // namespace ls::standin
