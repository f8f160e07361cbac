#pragma once
/// Text tables for people: aligned, never cut, the same bytes for the same data. Thread: plain values.
#include <string>
#include <string_view>
#include <vector>

namespace ls::cli {

/// Makes text from tenants (task and framework names) harmless for a terminal: control characters become '?'.
std::string printable(std::string_view text);
/// "0 B", "64.0 KiB", "1.5 GiB"
std::string bytes_text(uint64_t bytes);

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// As many cells as columns; an empty cell is shown as "-".
  void row(std::vector<std::string> cells);
  size_t rows() const { return rows_.size(); }
  /// Title line and rows, each ended by a newline and begun by `indent`; no blanks at the end of a line.
  std::string text(std::string_view indent = "") const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ls::cli
