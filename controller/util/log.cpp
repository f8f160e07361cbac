#include "util/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#define SD_JOURNAL_SUPPRESS_LOCATION  // the place in the source says nothing that the event does not, and would name the folder of the build
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace ls::log {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr auto kRepeatWindow = std::chrono::seconds(10);

std::atomic<Level> g_level{Level::kInfo};

bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st {};
  if (!stream || fstat(STDERR_FILENO, &st) != 0) return false;
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) == stream;
}

const char* level_text(Level l) {
  static constexpr const char* kNames[] = {"debug", "info", "warn", "error"};
  return kNames[int(l)];
}

/// Quotes a value when it holds anything that would end or confuse a logfmt field.
void append_logfmt(std::string& out, std::string_view v) {
  if (!v.empty() && v.find_first_of(" \"=\\\n\t\r") == v.npos) {
    out += v;
    return;
  }
  out += '"';
  for (char c : v) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) >= 0x20) {
      out += c;
    }
  }
  out += '"';
}

void append_json(std::string& out, std::string_view v) {
  out += '"';
  for (char c : v) {
    auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      out += fmt::format("\\u{:04x}", u);
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string as_logfmt(std::string_view event, Fields fields) {
  std::string out = "event=";
  append_logfmt(out, event);
  for (auto& f : fields) {
    out += ' ';
    out += f.key;
    out += '=';
    append_logfmt(out, f.value);
  }
  return out;
}

std::string as_json(Level l, std::string_view event, Fields fields) {
  std::string out = "\"level\":";
  append_json(out, level_text(l));
  out += ",\"event\":";
  append_json(out, event);
  for (auto& f : fields) {
    out += ',';
    append_json(out, f.key);
    out += ':';
    append_json(out, f.value);
  }
  return out;
}

void to_journal(Level l, std::string_view event, Fields fields, const std::string& message) {
  static constexpr int kPriority[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR};
  std::vector<std::string> parts{"MESSAGE=" + message, "PRIORITY=" + std::to_string(kPriority[int(l)]),
                                 "LOADSTAR_EVENT=" + std::string(event)};
  for (auto& f : fields) {
    std::string key = "LOADSTAR_";
    for (char c : f.key) key += (c >= 'a' && c <= 'z') ? char(c - 32) : c;
    parts.push_back(key + "=" + f.value);
  }
  std::vector<iovec> iov;
  for (auto& p : parts) iov.push_back({p.data(), p.size()});
  sd_journal_sendv(iov.data(), int(iov.size()));
}

struct Sink {
  std::mutex mutex;
  Format format = Format::kLogfmt;
  bool journal = false;
  std::shared_ptr<spdlog::logger> out;
  std::string last;
  SteadyClock::time_point last_at;
  uint64_t repeated = 0;

  Sink() {
    out = std::make_shared<spdlog::logger>("loadstar", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    out->set_level(spdlog::level::debug);
    use(Format::kLogfmt);
  }
  void use(Format f) {
    format = f;
    out->set_pattern(f == Format::kJson ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%e%z\",%v}"
                                        : "time=%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  }
};

Sink& sink() {
  static Sink* s = new Sink;  // never destroyed: threads may log while the process ends
  return *s;
}

void emit(Sink& s, Level l, std::string_view event, Fields fields) {
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                          spdlog::level::warn, spdlog::level::err};
  if (s.journal) {
    to_journal(l, event, fields, as_logfmt(event, fields));
  } else if (s.format == Format::kJson) {
    s.out->log(kLevels[int(l)], "{}", as_json(l, event, fields));
  } else {
    s.out->log(kLevels[int(l)], "{}", as_logfmt(event, fields));
  }
}

}  // namespace

void setup(Level l, Format format) {
  g_level = l;
  auto& s = sink();
  std::lock_guard lock(s.mutex);
  s.journal = format == Format::kAuto && stderr_is_journal();
  s.use(format == Format::kJson ? Format::kJson : Format::kLogfmt);
}

void set_level(Level l) { g_level = l; }
Level level() { return g_level; }

void write(Level l, std::string_view event, Fields fields) {
  if (l < g_level) return;
  auto& s = sink();
  std::lock_guard lock(s.mutex);
  std::string line = as_logfmt(event, fields);
  auto now = SteadyClock::now();
  if (line == s.last && now - s.last_at < kRepeatWindow) {
    s.repeated++;
    return;
  }
  if (s.repeated) emit(s, l, "repeated", {{"times", s.repeated}, {"line", s.last}});
  s.repeated = 0;
  s.last = std::move(line);
  s.last_at = now;
  emit(s, l, event, fields);
}

}  // namespace ls::log
