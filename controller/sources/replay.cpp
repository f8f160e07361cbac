#include "sources/replay.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "sources/http_recording.h"
#include "util/unique_fd.h"

namespace ls {
namespace {

namespace asio = boost::asio;

constexpr size_t kReadBytes = 64 * 1024;
constexpr int kRecordsATurn = 64;
constexpr double kLongestRecording_s = 1e9;  // 30 years: what fits every clock

struct IndexEntry {
  double t_s = 0;
  uint64_t length = 0;
};

Result<std::vector<IndexEntry>> read_index(const std::string& path) {
  std::ifstream in(path);
  if (!in) return fail(errno ? errno : EIO, fmt::format("open index {}", path));
  std::vector<IndexEntry> out;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty()) continue;
    auto doc = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!doc.is_object() || !doc.contains("t") || !doc["t"].is_number() || !doc.contains("length") ||
        !doc["length"].is_number_unsigned()) {
      return fail(
          fmt::format("index {} line {}: expected an object with the numbers t and length", path, number));
    }
    IndexEntry e{doc["t"].get<double>(), doc["length"].get<uint64_t>()};
    if (!(e.t_s >= 0 && e.t_s < kLongestRecording_s) || (!out.empty() && e.t_s < out.back().t_s)) {
      return fail(
          fmt::format("index {} line {}: t is {}, before the line above or no time", path, number, e.t_s));
    }
    out.push_back(e);
  }
  return out;
}

/// What the file is, by its first bytes: a recording of the stream's body, of the whole HTTP answer, or one JSON document (an
/// answer of GET_STATE or of /master/state), which is played as one record.
enum class Form { kRecords, kHttp, kDocument };

class ReplaySource final : public Source {
 public:
  ReplaySource(asio::io_context& io, ReplayConfig config, UniqueFd fd, std::vector<IndexEntry> index,
               Form form, SourceSink& sink)
      : run_(std::make_shared<Run>(io, std::move(config), std::move(fd), std::move(index), form, sink)) {}
  ~ReplaySource() override { stop(); }

  void start() override {
    asio::post(run_->io, [run = run_] { run->begin(run); });
  }
  void stop() override {
    run_->stopped = true;
    run_->timer.cancel();
  }
  SourceStatus status() const override {
    SourceStatus s = run_->status;
    if (run_->last_byte) {
      s.last_byte_age =
          std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - *run_->last_byte);
    }
    return s;
  }

 private:
  struct Run {
    Run(asio::io_context& i, ReplayConfig c, UniqueFd f, std::vector<IndexEntry> x, Form f_, SourceSink& s)
        : io(i),
          config(std::move(c)),
          fd(std::move(f)),
          index(std::move(x)),
          http(f_ == Form::kHttp),
          document(f_ == Form::kDocument),
          sink(s),
          timer(i),
          reader(config.record_limit),
          chunk(kReadBytes) {
      status.since = std::chrono::steady_clock::now();
    }

    void begin(const std::shared_ptr<Run>& self);
    void turn(const std::shared_ptr<Run>& self);
    void end(Result<> how);
    Result<bool> next_record();
    Result<bool> next_document();
    Result<> check_end();
    bool due(const std::shared_ptr<Run>& self);

    asio::io_context& io;
    const ReplayConfig config;
    UniqueFd fd;
    const std::vector<IndexEntry> index;  // empty: no pace
    const bool http, document;
    SourceSink& sink;
    asio::steady_timer timer;
    HttpRecording framing;
    RecordIoReader reader;
    std::vector<char> chunk;
    std::string_view raw, body;  // views into chunk: not yet unframed, not yet read as records
    std::optional<PaddedRecord> ready;
    Instant began{};
    std::optional<Instant> last_byte;
    bool stopped = false;
    SourceStatus status;
  };

  std::shared_ptr<Run> run_;
};

void ReplaySource::Run::begin(const std::shared_ptr<Run>& self) {
  if (stopped) return;
  began = std::chrono::steady_clock::now();
  status.connected = true;
  status.since = began;
  status.endpoint = config.file;
  status.connects = 1;
  SourceInfo info;
  info.endpoint = config.file;
  sink.on_connected(info);
  turn(self);
}

/// The whole file, once.
Result<bool> ReplaySource::Run::next_document() {
  if (ready) return true;
  if (status.records > 0) return false;
  struct stat file;
  if (::fstat(fd.get(), &file) != 0) return fail(errno, "read");
  const auto size = static_cast<uint64_t>(file.st_size);
  if (size > config.record_limit) return fail("the document is longer than the limit of a record");
  // As a record with its length in front, so that the text is written once and grows where it lies.
  const std::string length = std::to_string(size) + "\n";
  std::string_view fresh = length;
  while (!ready) {
    LS_ASSIGN(ready, reader.next(fresh));
    if (ready || !fresh.empty()) continue;
    ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, "read");
    if (n == 0) return fail("the document ends before the size that the file had");
    fresh = std::string_view(chunk.data(), static_cast<size_t>(n));
  }
  status.bytes += size;
  last_byte = std::chrono::steady_clock::now();
  return true;
}

/// Makes `ready` hold the next record; false at the end of the file.
Result<bool> ReplaySource::Run::next_record() {
  if (document) return next_document();
  while (!ready) {
    if (!body.empty()) {
      LS_ASSIGN(ready, reader.next(body));
      continue;
    }
    if (!raw.empty()) {
      if (http) {
        LS_ASSIGN(body, framing.next(raw));
      } else {
        body = std::exchange(raw, {});
      }
      status.bytes += body.size();
      continue;
    }
    ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, "read");
    if (n == 0) return false;
    raw = std::string_view(chunk.data(), static_cast<size_t>(n));
    last_byte = std::chrono::steady_clock::now();
  }
  return true;
}

Result<> ReplaySource::Run::check_end() {
  if (reader.mid_record()) {
    return fail(fmt::format("the file ends at byte {}{} in the middle of record {}, which begins at byte {}",
                            reader.offset(), http ? " of the body" : "", reader.records(),
                            reader.record_offset()));
  }
  if (http && !framing.at_border()) {
    return fail(fmt::format("the file ends at byte {} in the middle of the HTTP answer", framing.offset()));
  }
  if (!index.empty() && reader.records() != index.size()) {
    return fail(fmt::format("the file has {} records, its index {}", reader.records(), index.size()));
  }
  return {};
}

/// True when it is time for `ready`; else the timer was set.
bool ReplaySource::Run::due(const std::shared_ptr<Run>& self) {
  if (index.empty()) return true;
  std::chrono::duration<double> after(
      std::min(index[status.records].t_s / config.speed, kLongestRecording_s));
  Instant at = began + std::chrono::duration_cast<std::chrono::nanoseconds>(after);
  if (std::chrono::steady_clock::now() >= at) return true;
  timer.expires_at(at);
  timer.async_wait([self](const boost::system::error_code& ec) {
    if (!ec) self->turn(self);
  });
  return false;
}

void ReplaySource::Run::turn(const std::shared_ptr<Run>& self) {
  for (int i = 0; i < kRecordsATurn && !stopped; ++i) {
    auto more = next_record();
    if (!more) return end(tl::make_unexpected(std::move(more.error())));
    if (!*more) return end(check_end());
    if (!index.empty()) {
      if (status.records >= index.size()) {
        return end(fail(fmt::format("record {} is not in the index", status.records)));
      }
      if (ready->size() != index[status.records].length) {
        return end(fail(fmt::format("record {} has {} bytes, by the index {}", status.records, ready->size(),
                                    index[status.records].length)));
      }
    }
    if (!due(self)) return;
    ++status.records;
    PaddedRecord record = std::move(*ready);
    ready.reset();
    sink.on_record(std::move(record));
  }
  if (!stopped) asio::post(io, [self] { self->turn(self); });
}

void ReplaySource::Run::end(Result<> how) {
  if (stopped) return;
  fd.reset();
  if (how && !config.disconnect_at_end) {
    status.complete = true;
    sink.on_end_of_recording();
    return;
  }
  status.complete = how.has_value();
  Error why = how ? Error{{}, "the recording is over"} : std::move(how.error());
  why = std::move(why).within(fmt::format("play {}", config.file));
  status.connected = false;
  status.since = std::chrono::steady_clock::now();
  status.last_error = why.text();
  ++status.failures;
  sink.on_disconnected(why);
}

}  // namespace

Result<std::unique_ptr<Source>> make_replay_source(asio::io_context& io, ReplayConfig config,
                                                   SourceSink& sink) {
  if (!(config.speed >= 0) || std::isinf(config.speed)) return fail("replay speed: must be 0 or above");
  UniqueFd fd(::open(config.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(errno, fmt::format("open recording {}", config.file));
  char head[64] = {};
  // pread, so that the file is still read from its beginning.
  ssize_t n = ::pread(fd.get(), head, sizeof head, 0);
  if (n < 0) return fail(errno, fmt::format("read recording {}", config.file));
  std::string_view begin(head, static_cast<size_t>(n));
  auto first = begin.find_first_not_of(" \t\r\n");
  Form form = begin.starts_with("HTTP/")                        ? Form::kHttp
              : first != begin.npos && begin[first] == '{' ? Form::kDocument
                                                                : Form::kRecords;
  std::vector<IndexEntry> index;
  if (config.speed > 0 && form != Form::kDocument) {
    LS_ASSIGN(index, read_index(std::filesystem::path(config.file).replace_extension(".index").string()));
  }
  return std::unique_ptr<Source>(
      new ReplaySource(io, std::move(config), std::move(fd), std::move(index), form, sink));
}

}  // namespace ls
