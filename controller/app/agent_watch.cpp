#include "app/agent_watch.h"

#include <algorithm>
#include <utility>

#include "util/log.h"

namespace ls {

AgentWatch::AgentWatch(const Clock& clock, AgentWatchOptions options, Ask ask, OnChange on_change)
    : clock_(clock), options_(options), ask_(std::move(ask)), on_change_(std::move(on_change)) {}

AgentWatch::~AgentWatch() { *alive_ = false; }

void AgentWatch::apply(const StateDelta& delta) {
  for (auto& c : delta.agents) {
    if (c.removed) {
      for (auto it = machines_.begin(); it != machines_.end();) {
        it->second.agents.erase(c.agent.id.str());
        if (!it->second.agents.empty()) {
          ++it;
          continue;
        }
        auto address = it->first;
        forget(address, it->second);
        it = machines_.erase(it);
        if (unreachable_.erase(address)) on_change_(address, true);  // nothing of it is left to be judged
      }
      continue;
    }
    auto host = host_of_pid(c.agent.pid);
    if (c.address.is_zero() || !host) continue;  // one that the registry remembers only
    auto& m = machines_[c.address];
    m.port = host->port;
    m.agents.insert(c.agent.id.str());
    // Mesos has just heard of it, so it is not asked at once.
    m.due = clock_.now() + options_.every;
  }
  judge();
}

void AgentWatch::follower(const IpAddress& address, bool there) {
  unsigned& streams = followers_[address];
  if (there) streams++;
  else if (streams > 0) streams--;
  bool left = streams == 0;
  if (left) followers_.erase(address);
  auto it = machines_.find(address);
  if (it == machines_.end()) return;
  if (left) it->second.due = clock_.now();
  else found_alive(address, it->second);
}

void AgentWatch::forget(const IpAddress& address, const Machine& m) {
  if (m.heard) heard_--;
  suspects_.erase(address);
  silent_.erase(address);
  gone_.erase(address);
}

void AgentWatch::found_alive(const IpAddress& address, Machine& m) {
  if (!std::exchange(m.heard, true)) heard_++;
  m.failures = 0;
  m.due = clock_.now() + options_.every;
  suspects_.erase(address);
  silent_.erase(address);
  gone_.erase(address);
  if (unreachable_.erase(address)) {
    log::info("agent_reachable", {{"agent", address.text()}});
    on_change_(address, true);
  }
  judge();
}

size_t AgentWatch::at_once() const {
  auto a_question = options_.again + Millis(1000);  // it takes this long when nobody answers: ticks come once a second
  size_t needed = machines_.size() * size_t(a_question.count()) / size_t(std::max<int64_t>(options_.every.count(), 1));
  return std::clamp(needed, kAtOnce, kMostAtOnce);
}

void AgentWatch::tick() {
  Instant now = clock_.now();
  if (isolated_ && silent_.size() == heard_ - gone_.size()) others_since_ = now;
  if (isolated_ && now - others_since_ >= options_.given_up) {
    // Others answer all the time, so the network of this master works: those are lost, and not this master.
    for (auto& address : std::exchange(silent_, {})) give_up(address);
    judge();
  }
  const size_t most = at_once();
  auto it = machines_.upper_bound(last_asked_);
  for (size_t left = machines_.size(); left > 0 && open_ < most; left--) {
    if (it == machines_.end()) it = machines_.begin();
    auto& [address, m] = *it++;
    if (m.asking || m.due > now) continue;
    if (followers_.contains(address)) {
      found_alive(address, m);
      continue;
    }
    m.asking = true;
    m.asked_at = now;
    last_asked_ = address;
    open_++;
    ask_({address, m.port}, [this, alive = std::weak_ptr<bool>(alive_), where = address](Heard heard) {
      if (auto still = alive.lock(); still && *still) answered(where, heard);
    });
  }
}

void AgentWatch::answered(const IpAddress& address, Heard heard) {
  open_--;
  auto it = machines_.find(address);
  if (it == machines_.end()) return;
  auto& m = it->second;
  m.asking = false;
  if (heard == Heard::kAnswer || followers_.contains(address)) return found_alive(address, m);
  Instant now = clock_.now();
  m.due = m.asked_at + options_.again;
  if (heard == Heard::kNothing) return;
  if (gone_.contains(address)) {
    m.due = now + options_.rarely;
    return;
  }
  if (!m.heard) {
    m.due = now + options_.every;
    return;
  }
  suspects_.insert(address);
  if (++m.failures < options_.failures) return;
  m.due = now + options_.every;
  if (silent_.insert(address).second) {
    m.silent_since = now;
  } else if (!isolated_ && now - m.silent_since >= options_.given_up) {
    silent_.erase(address);
    give_up(address);
  }
  judge();
}

/// It is in silent_ no more.
void AgentWatch::give_up(const IpAddress& address) {
  log::info("agent_given_up", {{"agent", address.text()}});
  suspects_.erase(address);
  gone_.insert(address);
  machines_[address].due = clock_.now() + options_.rarely;
}

void AgentWatch::judge() {
  const size_t counted = heard_ - gone_.size();
  auto most = [&](size_t n) { return counted > 1 && n * 2 > counted; };
  bool isolated = most(silent_.size());
  if (isolated != isolated_) {
    isolated_ = isolated;
    others_since_ = clock_.now();
    log::warn(isolated ? "agents_silent" : "agents_answer", {{"silent", silent_.size()}, {"agents", counted}});
    if (isolated_) {
      auto before = std::exchange(unreachable_, {});
      for (auto& address : before)
        if (gone_.contains(address)) unreachable_.insert(address);
      for (auto& address : before)
        if (!gone_.contains(address)) on_change_(address, true);
    } else {
      // What was silent then says nothing now.
      for (auto& address : std::exchange(silent_, {})) {
        machines_[address].failures = 0;
        suspects_.erase(address);
      }
    }
  }
  // Of a round of questions the first ones fail first: who is silent is told when it is known that the others are not.
  if (isolated_ || most(suspects_.size())) return;
  for (auto& address : silent_) {
    if (!unreachable_.insert(address).second) continue;
    log::warn("agent_unreachable", {{"agent", address.text()}});
    on_change_(address, false);
  }
}

}  // namespace ls
