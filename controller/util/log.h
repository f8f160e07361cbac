#pragma once
/// Structured log: one event a line, fields not prose.
///
///   log::info("backend_removed", {{"vip", key.text()}, {"backend", be}, {"cause", "task_killed"}, {"took_ms", 3}});
///
/// Output: journald fields when stderr is the journal (JOURNAL_STREAM), else logfmt or JSON on stderr.
/// A line equal to the one before it within 10 s is counted, not repeated (`repeated=N` on the next one).
/// Thread: any. Never throws, never blocks on a remote. Level can change at run time.
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ls::log {

enum class Level { kDebug, kInfo, kWarn, kError };
enum class Format { kAuto, kLogfmt, kJson };

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
  template <class N>
    requires(std::is_arithmetic_v<N> && !std::is_same_v<N, bool>)
  Field(std::string_view k, N v) : key(k), value(std::to_string(v)) {}
};
using Fields = std::initializer_list<Field>;

void setup(Level level, Format format);
void set_level(Level level);
Level level();

void write(Level level, std::string_view event, Fields fields);
inline void debug(std::string_view event, Fields f = {}) { write(Level::kDebug, event, f); }
inline void info(std::string_view event, Fields f = {}) { write(Level::kInfo, event, f); }
inline void warn(std::string_view event, Fields f = {}) { write(Level::kWarn, event, f); }
inline void error(std::string_view event, Fields f = {}) { write(Level::kError, event, f); }

}  // namespace ls::log
