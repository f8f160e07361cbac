#include "app/agent_watch.h"

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
        it = machines_.erase(it);
        silent_.erase(address);
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

void AgentWatch::found_alive(const IpAddress& address, Machine& m) {
  m.heard = true;
  m.failures = 0;
  m.due = clock_.now() + options_.every;
  silent_.erase(address);
  if (unreachable_.erase(address)) {
    log::info("agent_reachable", {{"agent", address.text()}});
    on_change_(address, true);
  }
  judge();
}

void AgentWatch::tick() {
  Instant now = clock_.now();
  for (auto& [address, m] : machines_) {
    if (open_ >= kAtOnce) break;
    if (m.asking || m.due > now) continue;
    if (followers_.contains(address)) {
      found_alive(address, m);
      continue;
    }
    m.asking = true;
    open_++;
    ask_({address, m.port}, [this, alive = std::weak_ptr<bool>(alive_), where = address](bool answer) {
      if (auto still = alive.lock(); still && *still) answered(where, answer);
    });
  }
}

void AgentWatch::answered(const IpAddress& address, bool alive) {
  open_--;
  auto it = machines_.find(address);
  if (it == machines_.end()) return;
  auto& m = it->second;
  m.asking = false;
  if (alive || followers_.contains(address)) return found_alive(address, m);
  m.due = clock_.now() + options_.again;
  if (++m.failures < options_.failures || !m.heard) return;
  m.due = clock_.now() + options_.every;
  silent_.insert(address);
  judge();
}

void AgentWatch::judge() {
  bool isolated = silent_.size() * 2 > machines_.size() && machines_.size() > 1;
  if (isolated != isolated_) {
    isolated_ = isolated;
    log::warn(isolated ? "agents_silent" : "agents_answer", {{"silent", silent_.size()}, {"agents", machines_.size()}});
    if (isolated_) {
      for (auto& address : std::exchange(unreachable_, {})) on_change_(address, true);
    } else {
      // What was silent then says nothing now.
      for (auto& address : std::exchange(silent_, {})) machines_[address].failures = 0;
    }
  }
  if (isolated_) return;
  for (auto& address : silent_) {
    if (!unreachable_.insert(address).second) continue;
    log::warn("agent_unreachable", {{"agent", address.text()}});
    on_change_(address, false);
  }
}

}  // namespace ls
