#include "hub/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace ls::hub {

TextPtr framed(std::string record) {
  constexpr size_t kCopied = 64 << 10;
  auto text = std::make_shared<Text>();
  auto head = fmt::format("{}\n", record.size());
  if (record.size() <= kCopied) {
    text->body = std::move(head) + record;
  } else {
    text->head = std::move(head);
    text->body = std::move(record);
  }
  return text;
}

// ---- History ----

void History::restart(uint64_t seq) {
  entries_.clear();
  run_ = {};
  begin_ = end_;
  last_ = seq;
}

void History::add(uint64_t first, uint64_t last, TextPtr text) {
  entries_.push_back({first, last, end_, text});
  end_ += text->size();
  last_ = last;
  while (entries_.size() > 1 && bytes() > limit_) {
    begin_ += entries_.front().text->size();
    entries_.pop_front();
  }
}

std::deque<History::Entry>::const_iterator History::find(uint64_t seq) const {
  auto it = std::lower_bound(entries_.begin(), entries_.end(), seq + 1, [](const Entry& e, uint64_t first) { return e.first < first; });
  return it != entries_.end() && it->first == seq + 1 ? it : entries_.end();
}

const History::Entry* History::after(uint64_t seq) const {
  auto it = find(seq);
  return it != entries_.end() ? &*it : nullptr;
}

TextPtr History::run_after(uint64_t seq, uint64_t& last) {
  auto it = find(seq);
  if (it == entries_.end()) return nullptr;
  auto next = std::next(it);
  if (next == entries_.end() || it->text->size() + next->text->size() > kRun) {
    last = it->last;
    return it->text;
  }
  if (!run_.text || run_.after != seq) {
    auto text = std::make_shared<Text>();
    for (; it != entries_.end() && text->size() + it->text->size() <= kRun; ++it) {
      text->body += it->text->head;
      text->body += it->text->body;
      run_.last = it->last;
    }
    run_.after = seq;
    run_.text = std::move(text);
  }
  last = run_.last;
  return run_.text;
}

bool History::holds(uint64_t seq) const { return seq == last_ || after(seq); }

uint64_t History::bytes_after(uint64_t seq) const {
  auto* next = after(seq);
  return next ? end_ - next->offset : 0;
}

// ---- Batch ----

namespace {
size_t others(const StateDelta& d) { return d.agents.size() + d.frameworks.size() + d.recovered.size(); }
size_t others(const Changes& c) { return c.agents.size() + c.frameworks.size() + c.recovered.size(); }
}  // namespace

Changes& Batch::open(int64_t received_us) {
  auto& c = records_.emplace_back();
  c.received_us = received_us;
  return c;
}

void Batch::add(const StateDelta& delta, int64_t received_us) {
  if (delta.empty()) return;
  // Within a record tasks come before agents (events_of), and an agent or framework has one change: two deltas with some do not share.
  Changes* c = records_.empty() || (others(delta) && others(records_.back())) ? &open(received_us) : &records_.back();
  for (auto& f : delta.frameworks)
    if (!f.removed) c->frameworks.push_back(f);
  for (auto& t : delta.tasks) {
    if (c->tasks.size() >= kTasks) c = &open(received_us);
    c->tasks.push_back({nullptr, t.after, t.removed});
  }
  for (auto& f : delta.frameworks)
    if (f.removed) c->frameworks.push_back(f);
  c->agents.insert(c->agents.end(), delta.agents.begin(), delta.agents.end());
  c->recovered.insert(c->recovered.end(), delta.recovered.begin(), delta.recovered.end());
}

std::vector<Changes> Batch::take(uint64_t& seq) {
  auto out = std::exchange(records_, {});
  for (auto& c : out) {
    c.first = seq + 1;
    seq += c.agents.size() + c.frameworks.size() + c.tasks.size() + c.recovered.size();
    c.last = seq;
  }
  return out;
}

}  // namespace ls::hub
