#include "app/state_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "sources/checked_file.h"

namespace ls {
namespace {

using nlohmann::json;
using std::chrono::microseconds;
using std::chrono::seconds;
using Wall = std::chrono::system_clock;

constexpr size_t kMost = size_t(1) << 30;  // a state of 400,000 tasks is a third of it
constexpr int64_t kLatest = int64_t(1) << 53;  // microseconds: the year 2255, and exact in a double

/// The snapshot's own format is part of it: who reads another one begins anew.
std::string format() { return fmt::format("loadstar-state 1.{}", hub::kFormat); }

std::string head_text(const SavedState& s) {
  json head{{"saved", std::chrono::duration_cast<seconds>(s.saved.time_since_epoch()).count()}, {"hosts", s.hosts}};
  if (!s.leader.empty()) head["leader"] = s.leader;
  if (!s.masters.empty()) head["masters"] = s.masters;
  if (!s.leader_id.empty()) head["leader_id"] = s.leader_id;
  if (s.elected) head["elected_us"] = std::chrono::duration_cast<microseconds>(s.elected->time_since_epoch()).count();
  return head.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<std::string> text_of(const json& head, const char* key) {
  auto it = head.find(key);
  if (it == head.end()) return std::string();
  if (!it->is_string()) return fail(EILSEQ, fmt::format("{} is no text", key));
  return it->get<std::string>();
}

Result<std::vector<std::string>> texts_of(const json& head, const char* key) {
  std::vector<std::string> out;
  auto it = head.find(key);
  if (it == head.end()) return out;
  if (!it->is_array()) return fail(EILSEQ, fmt::format("{} is no list", key));
  for (auto& t : *it) {
    if (!t.is_string()) return fail(EILSEQ, fmt::format("{} holds something that is no text", key));
    out.push_back(t.get<std::string>());
  }
  return out;
}

Result<int64_t> number_of(const json& head, const char* key) {
  auto it = head.find(key);
  if (it == head.end() || !it->is_number_integer()) return fail(EILSEQ, fmt::format("{} is missing or no whole number", key));
  auto n = it->get<int64_t>();
  if (n < 0 || n > kLatest) return fail(EILSEQ, fmt::format("{} is {}", key, n));
  return n;
}

Result<SavedState> parse_head(std::string_view line) {
  auto head = json::parse(line, nullptr, false);
  if (!head.is_object()) return fail(EILSEQ, "its first line is no JSON object");
  SavedState out;
  LS_ASSIGN(int64_t saved, number_of(head, "saved"));
  if (saved > kLatest / 1'000'000) return fail(EILSEQ, fmt::format("saved is {}", saved));
  out.saved = Wall::time_point(seconds(saved));
  LS_ASSIGN(out.hosts, texts_of(head, "hosts"));
  LS_ASSIGN(out.leader, text_of(head, "leader"));
  LS_ASSIGN(out.masters, texts_of(head, "masters"));
  LS_ASSIGN(out.leader_id, text_of(head, "leader_id"));
  if (head.contains("elected_us")) {
    LS_ASSIGN(int64_t elected, number_of(head, "elected_us"));
    out.elected = Wall::time_point(std::chrono::duration_cast<Wall::duration>(microseconds(elected)));
  }
  return out;
}

}  // namespace

hub::Image image_of(StateDelta&& everything) {
  hub::Image image;
  image.agents = std::move(everything.agents);
  for (auto& r : everything.recovered) image.recovered.push_back(std::move(r.id));
  for (auto& f : everything.frameworks) image.frameworks.push_back(std::move(f.framework));
  image.tasks.reserve(everything.tasks.size());
  for (auto& t : everything.tasks) image.tasks.push_back(std::move(t.after));
  return image;
}

Result<> save_state(const std::filesystem::path& file, SavedState state) {
  std::string text = head_text(state) + hub::encode(state.image);
  state.image = {};  // the tasks are in the text now
  if (text.size() > kMost) return fail(EFBIG, fmt::format("write {}: the state takes {} octets of at most {}", file.string(), text.size(), kMost));
  return save_checked(file, format(), text);
}

Result<SavedState> load_state(const std::filesystem::path& file) {
  LS_ASSIGN(auto text, load_checked(file, format(), kMost));
  auto unusable = [&](const Error& e) { return fail(EILSEQ, fmt::format("{}: {}", file.string(), e.doing)); };
  size_t end = text.find('\n');
  if (end == text.npos) return unusable({{}, "it has one line only"});
  auto out = parse_head(std::string_view(text).substr(0, end));
  if (!out) return unusable(out.error());
  size_t size = text.size() - end - 1;
  text.resize(text.size() + PaddedRecord::kPadding);
  auto record = hub::decode(std::string_view(text).substr(end + 1, size), size + PaddedRecord::kPadding);
  if (!record) return unusable(record.error());
  auto* image = *record ? std::get_if<hub::Image>(&**record) : nullptr;
  if (!image) return unusable({{}, "it holds no snapshot"});
  out->image = std::move(*image);
  return out;
}

bool same_cluster(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::any_of(a.begin(), a.end(), [&](auto& host) { return std::find(b.begin(), b.end(), host) != b.end(); });
}

StateKeeper::StateKeeper(boost::asio::io_context& io, std::filesystem::path file, Millis every, std::function<SavedState()> take)
    : saver_(io, every, "state_not_saved", [file = std::move(file), take = std::move(take)]() -> CopySaver::Write {
        auto state = std::make_shared<SavedState>(take());
        state->saved = std::chrono::time_point_cast<seconds>(Wall::now());
        return [file, state] { return save_state(file, std::move(*state)); };
      }) {}

}  // namespace ls
