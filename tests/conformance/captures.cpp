// Recordings of a running cluster: every record decodes, and what the stream says agrees with the snapshots taken beside it.
#include <algorithm>
#include <charconv>
#include <sstream>

#include "cluster.h"

namespace ls::conformance {
namespace {

constexpr const char* kSuite = "captures";

struct Record {
  double at = 0;  ///< seconds after the request; 0 without an index
  std::string text;
};

/// "<decimal length> LF <record>" repeated. nullopt: not so framed.
std::optional<std::vector<Record>> split_records(std::string_view bytes) {
  std::vector<Record> out;
  while (!bytes.empty()) {
    size_t lf = bytes.find('\n');
    size_t length = 0;
    if (lf == bytes.npos) return std::nullopt;
    auto [end, error] = std::from_chars(bytes.data(), bytes.data() + lf, length);
    if (error != std::errc{} || end != bytes.data() + lf || length > bytes.size() - lf - 1) return std::nullopt;
    out.push_back({0, std::string(bytes.substr(lf + 1, length))});
    bytes.remove_prefix(lf + 1 + length);
  }
  return out;
}

/// The body of a raw answer in chunks. A recording may end in the middle of one (RFC 9112 7.1).
std::optional<std::string> unchunk(std::string_view http) {
  size_t end = http.find("\r\n\r\n");
  if (end == http.npos || http.substr(0, end).find("chunked") == http.npos) return std::nullopt;
  http.remove_prefix(end + 4);
  std::string out;
  while (!http.empty()) {
    size_t length = 0, line = http.find("\r\n");
    if (line == http.npos) break;
    auto [stop, error] = std::from_chars(http.data(), http.data() + line, length, 16);
    if (error != std::errc{}) return std::nullopt;
    http.remove_prefix(line + 2);
    out += http.substr(0, length);
    http.remove_prefix(std::min(http.size(), length + 2));
    if (length == 0) break;
  }
  return out;
}

std::vector<Json> read_lines(const fs::path& file) {
  std::vector<Json> out;
  std::istringstream in(read_bytes(file).value_or(""));
  for (std::string line; std::getline(in, line);) out.push_back(Json::parse(line, nullptr, false));
  return out;
}

/// Records of a stream with the times of the index beside it; reports what does not fit.
std::optional<std::vector<Record>> read_stream(const fs::path& file, std::string& wrong) {
  auto bytes = read_bytes(file);
  if (!bytes) return std::nullopt;
  auto records = split_records(*bytes);
  if (!records) {
    wrong = "is not framed as lengths and records";
    return std::nullopt;
  }
  fs::path index = fs::path(file).replace_extension(".index");
  if (!fs::exists(index)) return records;
  auto lines = read_lines(index);
  if (lines.size() != records->size())
    wrong += "has " + std::to_string(records->size()) + " records, its index " + std::to_string(lines.size()) + "\n";
  for (size_t i = 0; i < std::min(lines.size(), records->size()); i++)
    if (lines[i].is_object()) (*records)[i].at = lines[i].value("t", 0.0);
  return records;
}

std::string decode_all(const std::vector<Record>& records) {
  Cluster cluster;
  std::string wrong;
  for (size_t i = 0; i < records.size(); i++) {
    std::string one = cluster.feed(records[i].text);
    one += cluster.check();
    if (!one.empty()) wrong += "record " + std::to_string(i) + ": " + one + "\n";
  }
  return wrong;
}

/// What a client can meet: tasks that run or are being killed, and the services. Health is left out for the latter: the last
/// status of such a task need not carry it (mesos-state.md 7).
Json live_view(const Cluster& c) {
  Json out{{"tasks", Json::array()}, {"services", Json::array()}};
  c.state.for_each_task([&](const TaskPtr& t) {
    if (t->phase() != TaskPhase::kRunning && t->phase() != TaskPhase::kKilling) return;
    Json j = task_json(*t);
    if (t->phase() == TaskPhase::kKilling) j["task"].erase("healthy");
    out["tasks"].push_back(std::move(j));
  });
  for (auto& s : c.vips.full().services) {
    Json j{{"service", s.key.text()}, {"name", s.name}, {"backends", Json::array()}};
    for (auto& b : s.backends) j["backends"].push_back(backend_json(b));
    out["services"].push_back(std::move(j));
  }
  return out;
}

void report(Report& r, const fs::path& file, const std::string& what, const std::string& wrong) {
  if (wrong.empty()) {
    r.pass(kSuite);
  } else {
    r.fail(kSuite, what, file.string() + "\n" + wrong);
  }
}

/// Snapshots at known times against the stream that ran beside them. The clocks are one, but a snapshot takes a while and
/// its line is written after it: the stream must agree at some point of the seconds around.
void follow_timeline(const fs::path& folder, const fs::path& stream, Report& r) {
  constexpr double kBefore = 3, kAfter = 1;
  std::string wrong;
  auto records = read_stream(stream, wrong);
  if (!records) return;
  double start = 0;
  std::istringstream lines(read_bytes(folder / "timeline.txt").value_or(""));
  std::vector<std::pair<double, std::string>> snapshots;
  for (std::string line; std::getline(lines, line);) {
    double at = std::strtod(line.c_str(), nullptr);
    if (line.find("recorders start") != line.npos) start = at;
    size_t name = line.find(" snapshot ");
    if (start > 0 && name != line.npos) snapshots.emplace_back(at, line.substr(name + 10));
  }
  for (auto& [at, name] : snapshots) {
    fs::path file = folder / (name + ".get_state.json");
    if (!fs::exists(file)) continue;
    Cluster listed, streamed;
    std::string problem = listed.feed(read_bytes(file).value_or(""));
    Json want = live_view(listed);
    std::string nearest;
    bool met = false;
    for (auto& record : *records) {
      double when = start + record.at;
      if (when > at + kAfter) break;
      streamed.feed(record.text);
      if (when < at - kBefore && &record != &records->back() && start + (&record + 1)->at < at - kBefore) continue;
      std::string d = difference(want, live_view(streamed));
      met = met || d.empty();
      if (nearest.empty() || d.size() < nearest.size()) nearest = d;
    }
    report(r, file, "stream at " + name, problem + (met ? "" : "the stream never agrees around then; at best:\n" + nearest));
  }
}

int number_of(const fs::path& file) { return std::atoi(file.filename().c_str()); }

/// Streams of one leader after the other: a new leader's first words withdraw nothing, and once all agents are back the
/// state is what the next snapshot says.
void follow_failovers(const std::vector<fs::path>& streams, const std::vector<fs::path>& snapshots, Report& r) {
  Cluster cluster;
  for (size_t i = 0; i < streams.size(); i++) {
    std::string wrong;
    auto records = read_stream(streams[i], wrong);
    if (!records) continue;
    for (size_t k = 0; k < records->size(); k++) {
      wrong += cluster.feed((*records)[k].text, {.leader_changed = i > 0});
      wrong += cluster.check();
      for (auto& c : cluster.delta.tasks)
        if (c.before && c.removed && c.after->phase() == TaskPhase::kRunning)
          wrong += "record " + std::to_string(k) + " withdraws the running task " + c.after->id + "\n";
      for (auto& c : cluster.delta.tasks)
        if (c.before && !c.removed && !c.before->waiting() && c.after->waiting())
          wrong += "record " + std::to_string(k) + " makes the task " + c.after->id + " wait\n";
    }
    if (!cluster.state.held_agents().empty()) wrong += "agents are still held at the end\n";
    report(r, streams[i], "leader " + std::to_string(i + 1), wrong);
    for (auto& s : snapshots) {
      if (number_of(s) != number_of(streams[i]) + 1) continue;
      Cluster listed;
      std::string d = listed.feed(read_bytes(s).value_or(""));
      d += difference(live_view(listed), live_view(cluster));
      report(r, s, "state after leader " + std::to_string(i + 1), d);
    }
  }
}

bool ends_with(const fs::path& file, std::string_view end) { return file.filename().string().ends_with(end); }

}  // namespace

bool run_captures(const fs::path& folder, Report& r) {
  std::vector<fs::path> streams, snapshots, raw;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    auto& file = it->path();
    if (ends_with(file, "stream-json.recordio")) streams.push_back(file);
    if (ends_with(file, "stream-json.http")) raw.push_back(file);
    if (ends_with(file, "get_state.json")) snapshots.push_back(file);
  }
  if (streams.empty() && snapshots.empty() && !fs::exists(folder / "requests.txt")) return false;
  for (auto* list : {&streams, &snapshots, &raw}) std::sort(list->begin(), list->end());

  for (auto& file : snapshots) {
    Cluster cluster;
    auto text = read_bytes(file);
    std::string wrong = text ? cluster.feed(*text) : "cannot be read";
    wrong += cluster.check();
    report(r, file, "snapshot", wrong);
  }
  for (auto& file : streams) {
    std::string wrong;
    auto records = read_stream(file, wrong);
    if (records) wrong += decode_all(*records);
    report(r, file, "stream", wrong);
  }
  for (auto& file : raw) {
    auto body = unchunk(read_bytes(file).value_or(""));
    auto records = body ? split_records(*body) : std::nullopt;
    report(r, file, "answer", records ? decode_all(*records) : "is no chunked answer with framed records");
  }
  if (fs::exists(folder / "timeline.txt") && fs::exists(folder / "stream-json.recordio"))
    follow_timeline(folder, folder / "stream-json.recordio", r);
  std::vector<fs::path> leaders;
  for (auto& s : streams)
    if (number_of(s) > 0) leaders.push_back(s);
  if (leaders.size() > 1) follow_failovers(leaders, snapshots, r);
  return true;
}

}  // namespace ls::conformance
