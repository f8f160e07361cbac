#include "app/overlay_memory.h"

#include <fmt/format.h>

#include <cerrno>

#include "sources/checked_file.h"

namespace ls {

using overlay::AllocationFeed;
using overlay::RegistrationAnswer;

namespace {

constexpr std::string_view kFormat = "loadstar-overlay-nodes 1";
constexpr std::string_view kNone = "-\n";  // in place of a text
constexpr size_t kMost = overlay::kMaxAnswerText + overlay::kMaxFeedText + 2 * kNone.size();

}  // namespace

std::optional<OverlayHeld> OverlayMemory::held() const {
  if (!feed) return std::nullopt;
  return OverlayHeld{feed->at, feed->plan};
}

Result<OverlayMemory> load_overlay_memory(const std::filesystem::path& file) {
  LS_ASSIGN(auto text, load_checked(file, kFormat, kMost));
  auto damaged = [&](std::string_view why) { return fail(EILSEQ, fmt::format("{} is damaged: {}", file.string(), why)); };
  // Each of the two is one line: JSON has no line ends inside.
  auto end = text.find('\n');
  if (end == text.npos || text.find('\n', end + 1) != text.size() - 1) return damaged("it has not two lines");
  std::string_view first(text.data(), end + 1), second = std::string_view(text).substr(end + 1);
  OverlayMemory out;
  if (first != kNone) {
    auto answer = overlay::parse_answer(first);
    if (!answer) return damaged(answer.error().text());
    out.answer = std::move(*answer);
  }
  if (second != kNone) {
    auto feed = overlay::parse_feed(second);
    if (!feed) return damaged(feed.error().text());
    if (!feed->full) return damaged("it has only a part of the allocations");
    out.feed = std::move(*feed);
  }
  return out;
}

Result<> save_overlay_memory(const std::filesystem::path& file, const OverlayMemory& memory) {
  auto text = memory.answer ? answer_text(*memory.answer) : std::string(kNone);
  text += memory.feed ? feed_text(*memory.feed) : kNone;
  return save_checked(file, kFormat, text);
}

OverlayMemoryWriter::OverlayMemoryWriter(boost::asio::io_context& io, std::filesystem::path file, OverlayMemory begin, Millis every)
    : file_(std::move(file)), saver_(io, every, "overlay_nodes_not_saved", [this]() -> CopySaver::Write {
        return [file = file_, s = snapshot()]() -> Result<> {
          OverlayMemory memory;
          if (s.answer) memory.answer = *s.answer;
          if (s.at) {
            auto& feed = memory.feed.emplace();
            feed.at = *s.at;
            feed.plan = *s.plan;
            feed.nodes.reserve(s.nodes.size());
            for (auto& n : s.nodes) feed.nodes.push_back(*n);
          }
          return save_overlay_memory(file, memory);
        };
      }) {
  if (begin.answer) answer_ = std::make_shared<const RegistrationAnswer>(std::move(*begin.answer));
  if (!begin.feed) return;
  at_ = std::move(begin.feed->at);
  plan_ = std::make_shared<const overlay::Plan>(std::move(begin.feed->plan));
  for (auto& n : begin.feed->nodes) {
    auto node = n.node;
    nodes_[node] = std::make_shared<const overlay::Allocation>(std::move(n));
  }
}

OverlayMemoryWriter::Snapshot OverlayMemoryWriter::snapshot() const {
  Snapshot out{answer_, at_, plan_, {}};
  out.nodes.reserve(nodes_.size());
  for (auto& [node, allocation] : nodes_) out.nodes.push_back(allocation);
  return out;
}

void OverlayMemoryWriter::allocated(const RegistrationAnswer& answer) {
  // A node that lives says the same every half minute.
  if (answer_ && *answer_ == answer) return;
  answer_ = std::make_shared<const RegistrationAnswer>(answer);
  saver_.changed();
}

void OverlayMemoryWriter::fed(const AllocationFeed& feed) {
  if (!at_ && !feed.full) return;  // changes of nothing; the link begins with everything
  if (feed.full) nodes_.clear();
  for (auto& n : feed.nodes) nodes_[n.node] = std::make_shared<const overlay::Allocation>(n);
  for (auto& n : feed.removed) nodes_.erase(n);
  at_ = feed.at;
  if (!plan_ || *plan_ != feed.plan) plan_ = std::make_shared<const overlay::Plan>(feed.plan);
  saver_.changed();
}

}  // namespace ls
