#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace ls::cli {
namespace {

/// Characters, not bytes: UTF-8 continuation bytes take no place.
size_t width(std::string_view text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    auto u = static_cast<unsigned char>(c);
    if (u < 0x20 || u == 0x7f) c = '?';
  }
  // The C1 controls U+0080..U+009F are two bytes in UTF-8 and move a terminal's cursor too.
  for (size_t i = 0; i + 1 < out.size(); i++) {
    if (out[i] == '\xc2' && static_cast<unsigned char>(out[i + 1]) < 0xa0) out.replace(i, 2, "?");
  }
  return out;
}

std::string bytes_text(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1023.95 && unit < 3; unit++) value /= 1024;  // what would be printed as 1024.0
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

void Table::row(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (auto& c : cells) c = c.empty() ? "-" : printable(c);
  rows_.push_back(std::move(cells));
}

std::string Table::text(std::string_view indent) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); i++) {
    widths.push_back(width(columns_[i].title));
    for (auto& r : rows_) widths[i] = std::max(widths[i], width(r[i]));
  }
  std::string out;
  auto line = [&](auto cell) {
    std::string text(indent);
    for (size_t i = 0; i < columns_.size(); i++) {
      const std::string& c = cell(i);
      std::string fill(widths[i] - width(c), ' ');
      if (i) text += "  ";
      text += columns_[i].align == Align::kRight ? fill + c : c + fill;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line([&](size_t i) -> const std::string& { return columns_[i].title; });
  for (auto& r : rows_) line([&](size_t i) -> const std::string& { return r[i]; });
  return out;
}

}  // namespace ls::cli
