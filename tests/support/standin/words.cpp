#include "standin/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace ls::standin {

Result<Words> split(std::string_view line) {
  Words out;
  std::string word;
  bool in_word = false, quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    if (quoted && c == '\\' && i + 1 < line.size()) {
      word += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
      in_word = true;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\r')) {
      if (in_word) out.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else if (!quoted && !in_word && c == '#') {
      break;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quoted) return fail("a quote is not closed");
  if (in_word) out.push_back(std::move(word));
  return out;
}

Result<Millis> parse_duration(std::string_view text) {
  double v = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  double scale = unit == "ms" ? 1 : unit == "s" || unit.empty() ? 1000 : unit == "m" ? 60'000 : 0;
  if (ec != std::errc() || scale == 0 || !(v >= 0 && v < 1e9))
    return fail(fmt::format("\"{}\" is no duration", text));
  return Millis(static_cast<int64_t>(v * scale));
}

Result<uint32_t> number(std::string_view text, std::string_view what) {
  uint32_t v = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc() || end != text.data() + text.size())
    return fail(fmt::format("{}: \"{}\" is no number", what, text));
  return v;
}

Result<bool> truth(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  return fail(fmt::format("\"{}\" is neither true nor false", text));
}

std::pair<std::string, std::string> option(const std::string& word) {
  size_t eq = word.find('=');
  if (eq == std::string::npos) return {word, ""};
  return {word.substr(0, eq), word.substr(eq + 1)};
}

std::set<std::string> comma_list(const std::string& text) {
  std::set<std::string> out;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    if (end > at) out.insert(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

}  // namespace ls::standin
